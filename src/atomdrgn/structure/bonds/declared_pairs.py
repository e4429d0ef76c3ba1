"""Bonds that a structure's file declares, as pairs of its atoms."""

from collections import defaultdict
from itertools import product

import gemmi
import numpy as np

from ..atoms import Structure

BONDS = (gemmi.ConnectionType.Covale, gemmi.ConnectionType.Disulf, gemmi.ConnectionType.MetalC)


def declared_bonds(structure: Structure) -> np.ndarray:
    """Atoms that the file declares as bonded: (bond, 2) int, the lower number first, sorted.

    They are links between residues (LINK, SSBOND, _struct_conn: covalent, disulfide and metal
    bonds) and what ``conect_map`` of the source says. Bonds to a symmetry mate are left out, and
    those of atoms that are not there, of atoms that cannot be there at once, and of a name that
    several atoms bear.

    Parameters
    ----------
    structure : Structure
        Its `source` says what is declared.

    Returns
    -------
    (bond, 2) int

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> declared_bonds(read_structure("model.pdb")).shape
    (0, 2)
    """
    pairs = np.array(
        [*declared_links(structure), *_conect_pairs(structure)], dtype=np.int64
    ).reshape(-1, 2)
    return np.unique(np.sort(pairs, axis=1), axis=0)


def declared_links(structure: Structure) -> dict[tuple[int, int], float]:
    """Links between residues alone, and how long the file says that they are.

    Parameters
    ----------
    structure : Structure
        Its `source` says what is declared.

    Returns
    -------
    dict
        {(i, j): length, A, or 0 where the file says none}, the lower number first.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> declared_links(read_structure("model.pdb"))
    {}
    """
    links = [
        link
        for link in structure.source.connections
        if link.type in BONDS and link.asu != gemmi.Asu.Different
    ]
    if not links:
        return {}
    atoms = _atoms_by_address(
        structure,
        {partner.chain_name for link in links for partner in (link.partner1, link.partner2)},
    )
    found = {}
    for link in links:
        ends = [_ends(structure, atoms, partner) for partner in (link.partner1, link.partner2)]
        for i, j in product(*ends):
            if i != j and _together(structure.altloc, i, j):
                found[min(i, j), max(i, j)] = link.reported_distance
    return found


def _atoms_by_address(structure: Structure, chains: set[str]) -> dict[tuple, list[int]]:
    atoms = defaultdict(list)
    columns = (
        structure.chain,
        structure.residue,
        structure.insertion_code,
        structure.residue_name,
        structure.atom_name,
    )
    there = np.flatnonzero(np.isin(structure.chain, list(chains)))
    for atom, address in zip(
        there.tolist(),
        zip(*(column[there].tolist() for column in columns), strict=True),
        strict=True,
    ):
        atoms[address].append(atom)
    return atoms


def _ends(
    structure: Structure, atoms: dict[tuple, list[int]], partner: gemmi.AtomAddress
) -> list[int]:
    """Atoms that an address names, those of its alternative location if it says one.

    There are none where one location has two of them.
    """
    place, altloc = partner.res_id, partner.altloc.strip("\0 ")
    named = atoms.get(
        (
            partner.chain_name,
            place.seqid.num,
            place.seqid.icode.strip(),
            place.name,
            partner.atom_name,
        ),
        [],
    )
    named = [atom for atom in named if not altloc or structure.altloc[atom] in ("", altloc)]
    return named if len(set(structure.altloc[named].tolist())) == len(named) else []


def _conect_pairs(structure: Structure) -> list[tuple[int, int]]:
    conect = structure.source.conect_map
    if not conect:
        return []
    serials = np.array([atom.atom.serial for atom in structure.source[0].all()])
    number, first, count = np.unique(serials, return_index=True, return_counts=True)
    atom = dict(zip(number[count == 1].tolist(), first[count == 1].tolist(), strict=True))
    return [
        (atom[i], atom[j])
        for i, partners in conect.items()
        for j in partners
        if i in atom and j in atom and i != j and _together(structure.altloc, atom[i], atom[j])
    ]


def _together(altloc: np.ndarray, i: int, j: int) -> bool:
    return altloc[i] == altloc[j] or not altloc[i] or not altloc[j]

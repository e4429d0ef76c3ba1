"""Declared bonds whose atoms are apart in the model.

It is told which of them are believed, and how long they should be.
"""

import warnings
from collections.abc import Iterable

import gemmi
import numpy as np

from ..atoms import Structure
from .internal_coordinates import distance

# A: farther atoms are another molecule's, or the model is not the one that was declared
LONGEST_DECLARED = 5.0
SHORTEST = 0.7  # A: nearer atoms are one site twice
SLACK = 0.3  # A over the sum of covalent radii, or over the usual length of a bond
# what has bond angles of its own; about a metal they are many and may be straight
NONMETALS = [
    gemmi.Element(symbol).atomic_number for symbol in "H B C N O F Si P S Cl Se Br I".split()
]
# How many atoms other than metals an atom is bonded to at most, where a chain
# or a sugar is joined to it.
MOST_NEIGHBOURS = {
    "H": 1,
    "C": 4,
    "N": 4,
    "O": 2,
    "P": 4,
    "S": 2,
    "Se": 2,
    "F": 1,
    "Cl": 1,
    "Br": 1,
    "I": 1,
}

# A, single bonds (Engh & Huber 1991; Allen et al. 1987). Others have the sum of covalent radii.
USUAL_LENGTHS = {
    "CC": 1.52,
    "CN": 1.46,
    "CO": 1.43,
    "CS": 1.81,
    "OP": 1.60,
    "NP": 1.65,
    "PS": 1.95,
    "SS": 2.04,
}
# to a carbon that holds an oxygen by a double bond
ACYL_LENGTHS = {"N": 1.33, "O": 1.34, "S": 1.77}
SHORTER = 0.2  # A: none of them is shorter than the sum of covalent radii by more


def covalent_length(structure: Structure, pairs: np.ndarray) -> np.ndarray:
    """The sum of the covalent radii of the atoms of each pair, A.

    Parameters
    ----------
    structure : Structure
        The model.
    pairs : (pair, 2) int
        Numbers of atoms.

    Returns
    -------
    (pair,)

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> covalent_length(read_structure("model.pdb"), np.array([[0, 1]])).round(2)
    array([1.44])
    """
    radius = np.array(
        [
            gemmi.Element(int(number)).covalent_r
            for number in range(max(structure.element.max(initial=0), 1) + 1)
        ]
    )
    return radius[structure.element[pairs]].sum(1)


def believed(structure: Structure, pairs: np.ndarray, *, bonds: np.ndarray) -> np.ndarray:
    """Declared bonds that are taken: not too long, and of atoms that still want a partner.

    Parameters
    ----------
    structure : Structure
        The model.
    pairs : (pair, 2) int
        Declared, and not found by distance.
    bonds : (bond, 2) int
        What is bonded otherwise.

    Returns
    -------
    (pair,) bool

    Warns
    -----
    UserWarning
        Some are not taken.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> bonds = np.array([[0, 1], [1, 2], [1, 4]])
    >>> believed(read_structure("model.pdb"), np.array([[2, 3]]), bonds=bonds)
    array([ True])
    """
    apart = distance(structure.position.double().numpy(), pairs)
    taken = np.zeros(len(pairs), dtype=bool)
    refused = [
        f"{label(structure, pairs[row])}, {apart[row]:.1f} A apart"
        for row in np.flatnonzero(apart > LONGEST_DECLARED)
    ]
    for row in np.argsort(apart, kind="stable")[: (apart <= LONGEST_DECLARED).sum()]:
        known = np.concatenate([bonds, pairs[taken]])
        full = (
            []
            if _holds_metal(structure, pairs[row])
            else [atom for atom in pairs[row] if _is_full(structure, atom, known)]
        )
        if full:
            refused.append(
                f"{label(structure, pairs[row])}, {apart[row]:.1f} A apart, where "
                f"{structure.atom_name[full[0]]} has all its bonds already"
            )
        else:
            taken[row] = True
    if refused:
        warnings.warn(
            f"{structure.name}: of the bonds that the file declares {len(refused)} cannot be bonds "
            f"({refused[0]}) and are left out; look at these atoms in the base model",
            UserWarning,
            stacklevel=3,
        )
    return taken


def rest_lengths(
    structure: Structure,
    bonds: np.ndarray,
    *,
    declared: np.ndarray,
    links: dict[tuple[int, int], float],
) -> np.ndarray:
    """How long bonds are in the model, or should be where a declared one is open in it.

    A declared bond is open where it is longer than usual by more than a slack. It should have the
    length that the file says, or the usual one where that is none, such as the distance of the open
    atoms. Bonds of metals are as long as in the model.

    Parameters
    ----------
    structure : Structure
        The model.
    bonds : (bond, 2) int
        All of them.
    declared : (bond,) bool
        Those that the file declares.
    links : dict
        {(i, j): length that the file says, A, or 0}.

    Returns
    -------
    (bond,)
        A.

    Warns
    -----
    UserWarning
        Declared bonds are open in the model.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> bonds = {"bonds": np.array([[0, 1]]), "declared": np.array([True])}
    >>> rest_lengths(read_structure("model.pdb"), **bonds, links={}).round(2)
    array([1.47])
    """
    length = distance(structure.position.double().numpy(), bonds)
    if not declared.any():
        return length
    long = length > covalent_length(structure, bonds) - SHORTER + SLACK
    rows = np.flatnonzero(
        declared
        & (long | (length < SHORTEST))
        & np.isin(structure.element[bonds], NONMETALS).all(1)
    )
    usual = usual_lengths(structure, bonds[rows], bonds=bonds)
    open_ = (length[rows] > usual + SLACK) | (length[rows] < SHORTEST)
    rest, said = length.copy(), []
    for row, size in zip(rows[open_].tolist(), usual[open_].tolist(), strict=True):
        stated = links.get(tuple(bonds[row].tolist()), 0.0)
        rest[row] = stated if abs(stated - size) < SLACK else size
        said.append(
            f"{label(structure, bonds[row])}, {length[row]:.2f} A in place of {rest[row]:.2f}"
        )
    if said:
        warnings.warn(
            f"{structure.name}: of the bonds that the file declares {len(said)} are open in the "
            f"base model ({said[0]}); relaxation closes them",
            UserWarning,
            stacklevel=3,
        )
    return rest


def usual_lengths(structure: Structure, pairs: np.ndarray, *, bonds: np.ndarray) -> np.ndarray:
    """The length that bonds of these elements have, A.

    Parameters
    ----------
    structure : Structure
        The model.
    pairs : (pair, 2) int
        The bonds that are asked for.
    bonds : (bond, 2) int
        All of them, by which an amide is told from an amine, an ester from an ether.

    Returns
    -------
    (pair,)

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> bonds = np.array([[0, 1], [1, 2], [2, 3]])
    >>> usual_lengths(read_structure("model.pdb"), bonds[:1], bonds=bonds)
    array([1.46])
    """
    atoms = np.unique(pairs)
    names = [gemmi.Element(int(number)).name for number in structure.element[atoms]]
    symbol = dict(zip(atoms.tolist(), names, strict=True))
    length = covalent_length(structure, pairs)
    for row, (i, j) in enumerate(pairs.tolist()):
        length[row] = USUAL_LENGTHS.get("".join(sorted((symbol[i], symbol[j]))), length[row])
        for carbon, other in ((i, j), (j, i)):
            if (
                symbol[carbon] == "C"
                and symbol[other] in ACYL_LENGTHS
                and _is_acyl(structure, carbon, other, bonds)
            ):
                length[row] = ACYL_LENGTHS[symbol[other]]
    return length


def label(structure: Structure, pair: Iterable[int | np.integer]) -> str:
    """Two atoms for a message, such as "A:CYS 114 SG - B:GLY 160 C".

    Parameters
    ----------
    structure : Structure
        The model.
    pair : (2,) int
        Numbers of the atoms.

    Returns
    -------
    str

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> label(read_structure("model.pdb"), (0, 1))
    'A:ALA 1 N - A:ALA 1 CA'
    """
    return " - ".join(
        f"{structure.chain[atom]}:{structure.residue_name[atom]} "
        f"{structure.residue[atom]}{structure.insertion_code[atom]} {structure.atom_name[atom]}"
        for atom in pair
    )


def _partners(structure: Structure, atom: int | np.integer, bonds: np.ndarray) -> np.ndarray:
    """Atoms other than metals that are bonded to an atom and can be there when it is."""
    ends = bonds[(bonds == atom).any(1)]
    others = np.unique(ends[ends != atom])
    altloc = structure.altloc
    there = (altloc[others] == "") | (altloc[others] == altloc[atom]) | (altloc[atom] == "")
    return others[there & np.isin(structure.element[others], NONMETALS)]


def _is_full(structure: Structure, atom: int | np.integer, bonds: np.ndarray) -> bool:
    most = MOST_NEIGHBOURS.get(gemmi.Element(int(structure.element[atom])).name)
    if most is None:
        return False
    # two locations of one partner are one partner
    names = {
        (structure.residue[other], structure.atom_name[other], structure.chain[other])
        for other in _partners(structure, atom, bonds)
    }
    return len(names) >= most


def _holds_metal(structure: Structure, pair: np.ndarray) -> bool:
    return not np.isin(structure.element[pair], NONMETALS).all()


def _is_acyl(structure: Structure, carbon: int, other: int, bonds: np.ndarray) -> bool:
    """Whether a carbon has three partners at most, one of them an oxygen that has no other."""
    partners = _partners(structure, carbon, bonds)
    oxygens = [
        atom
        for atom in partners
        if structure.element[atom] == gemmi.Element("O").atomic_number and atom != other
    ]
    return len(set(partners.tolist()) | {other}) <= 3 and any(
        len(_partners(structure, atom, bonds)) == 1 for atom in oxygens
    )

"""Which atoms of a structure are bonded, and the angles and torsions that follow from it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from ..atoms import Structure
from ..residue_kinds import POLYMER_KINDS, residue_kinds
from .declared_pairs import declared_bonds, declared_links
from .internal_coordinates import distance
from .open_bonds import NONMETALS, SHORTEST, SLACK, believed, covalent_length, rest_lengths

# A: a bond that the residue's template lists, or that joins a polymer, in a model that is badly off
LONGEST_LISTED = 2.6
# Of the bonds that a template lists, this part may be absent or be others where it is believed.
MISFIT, MISFIT_IN_CHAIN = 0.1, 0.5
LONGEST_CA_STEP = 4.5  # A between CA atoms that follow each other, where C or N is missing
LONGEST_P_STEP = 8.0  # A, likewise between P atoms
TRACE_ATOMS = ("CA", "P")
LARGEST_RING = 7
HYDROGEN, CARBON, NITROGEN, SULFUR = (gemmi.Element(symbol).atomic_number for symbol in "HCNS")


@dataclass(frozen=True, eq=False)
class Bonding:
    """Tuples of atoms that bonds put together, in a structure's atom numbers.

    Alternative locations never mix in one.

    Parameters
    ----------
    bonds : (bond, 2) int
        Covalent bonds and those of metals.
    lengths : (bond,)
        Of each in the base model, A; of a declared bond that is open there, the length that it
        should have.
    declared : (bond,) bool
        The file declares it.
    steps : (step, 2) int
        Trace atoms that follow each other where the atoms of the bond between them are missing.
    angles : (angle, 3) int
        The centre in the middle.
    impropers : (improper, 4) int
        A centre and three of its neighbours.
    rings : (torsion, 4) int
        Torsions about the bonds of rings of up to seven.
    omega, phi, psi : (torsion, 4) int
        Of peptides: CA C N CA, C N CA C and N CA C N.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> bonding = find_bonds(read_structure("model.pdb"))
    >>> bonding.bonds[:3], bonding.omega.shape
    (array([[0, 1],
           [1, 2],
           [1, 4]]), (22, 4))
    """

    bonds: np.ndarray
    lengths: np.ndarray
    declared: np.ndarray
    steps: np.ndarray
    angles: np.ndarray
    impropers: np.ndarray
    rings: np.ndarray
    omega: np.ndarray
    phi: np.ndarray
    psi: np.ndarray

    def near_pairs(self) -> np.ndarray:
        """Atoms at most two bonds apart, which are no contacts.

        They are (pair, 2) int, the lower number first.
        """
        pairs = np.concatenate([self.bonds, self.steps, self.angles[:, ::2]])
        return np.unique(np.sort(pairs, axis=1), axis=0)


def find_bonds(structure: Structure) -> Bonding:
    """The bonds of a structure as it stands, and what follows from them.

    Atoms are bonded where the file declares it
    (:func:`~atomdrgn.structure.bonds.declared_pairs.declared_bonds`), where the chemical component
    dictionary says so of their residue and names, where a polymer goes on (C to N, O3' to P), and,
    for all that it does not know (ligands of other names, hydrogens of other names, disulfides,
    glycans, metals), where they are nearer to each other than their covalent radii and a slack. The
    dictionary is believed of a residue whose elements and bonds are those of its entry; a name
    alone, such as LIG, says nothing. Water has no bonds but declared ones. A chain is broken where
    two residues that follow each other are too far apart.

    Parameters
    ----------
    structure : Structure
        Any chemistry, atoms missing or not.

    Returns
    -------
    Bonding

    Warns
    -----
    UserWarning
        Declared bonds are open in the model, or so long that they are not taken.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> len(find_bonds(read_structure("model.pdb")).bonds)
    118
    """
    kind = residue_kinds(structure)
    polymer = np.isin(kind, POLYMER_KINDS)
    pairs = _pairs_that_may_bond(structure, kind)
    bonds, declared = _with_declared(
        structure, np.sort(pairs[_are_bonded(structure, pairs, kind=kind)], axis=1)
    )
    together = _altlocs_agree(structure.altloc)
    neighbours = _neighbours(bonds, len(structure))
    omega, phi, psi = _peptides(structure, bonds, neighbours=neighbours, together=together)
    centres = np.isin(structure.element, NONMETALS)
    return Bonding(
        bonds=bonds,
        lengths=rest_lengths(structure, bonds, declared=declared, links=declared_links(structure)),
        declared=declared,
        steps=_steps(structure, bonds, polymer=polymer),
        angles=_tuples(_angles(neighbours, centres=centres, together=together), 3),
        impropers=_tuples(_impropers(structure, neighbours, centres=centres, together=together), 4),
        rings=_tuples(
            _ring_torsions(structure, bonds, neighbours=neighbours, together=together), 4
        ),
        omega=omega,
        phi=phi,
        psi=psi,
    )


def same_site(altloc: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Whether atoms i and j can be there at once.

    They can where they are of one alternative location, or one of them is in all.

    Parameters
    ----------
    altloc : (atom,) str
        Alternative location of each atom, "" for all.
    i, j : (pair,) int
        Numbers of atoms.

    Returns
    -------
    (pair,) bool

    Examples
    --------
    >>> same_site(np.array(["", "A", "B"]), np.array([0, 1]), np.array([1, 2]))
    array([ True, False])
    """
    return (altloc[i] == altloc[j]) | (altloc[i] == "") | (altloc[j] == "")


def _altlocs_agree(altloc: np.ndarray) -> Callable[..., bool]:
    if not (altloc != "").any():
        return lambda *atoms: True
    names = altloc.tolist()
    return lambda *atoms: len({names[atom] for atom in atoms} - {""}) < 2


def _pairs_that_may_bond(structure: Structure, kind: np.ndarray) -> np.ndarray:
    """(pair, 2): within the longest bond, able to be there at once, no water."""
    atoms = np.flatnonzero((kind != "water")[structure.residue_index])
    position = structure.position.double().numpy()
    pairs = atoms[
        cKDTree(position[atoms]).query_pairs(LONGEST_LISTED, output_type="ndarray").reshape(-1, 2)
    ]
    i, j = pairs.T
    apart = np.linalg.norm(position[i] - position[j], axis=1)
    return pairs[same_site(structure.altloc, i, j) & (apart > SHORTEST)]


def _with_declared(structure: Structure, bonds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted bonds with those that the file declares and that are believed, and which these are."""
    listed = declared_bonds(structure)

    def keys(pairs: np.ndarray) -> np.ndarray:
        return pairs[:, 0] * len(structure) + pairs[:, 1]

    new = listed[~np.isin(keys(listed), keys(bonds))]
    # records that draw a trace join CA to CA, P to P: these are steps
    names = structure.atom_name[new]
    new = new[(names[:, 0] != names[:, 1]) | ~np.isin(names[:, 0], TRACE_ATOMS)]
    far = (
        distance(structure.position.double().numpy(), new)
        >= covalent_length(structure, new) + SLACK
    )
    bonds = np.concatenate([bonds, new[~far]])
    bonds = np.concatenate([bonds, new[far][believed(structure, new[far], bonds=bonds)]])
    bonds = bonds[np.lexsort(bonds.T[::-1])]
    return bonds, np.isin(keys(bonds), keys(listed))


def _are_bonded(structure: Structure, pairs: np.ndarray, *, kind: np.ndarray) -> np.ndarray:
    i, j = pairs.T
    polymer = np.isin(kind, POLYMER_KINDS)
    position, residue = structure.position.double().numpy(), structure.residue_index
    apart = np.linalg.norm(position[i] - position[j], axis=1)
    near = apart < covalent_length(structure, pairs) + SLACK
    hydrogens = (structure.element[i] == HYDROGEN).astype(int) + (structure.element[j] == HYDROGEN)
    inside = residue[i] == residue[j]
    listed, unlisted = _in_templates(structure, i, j)
    heavy = inside & (hydrogens == 0)
    fits = _templates_fit(
        structure,
        pairs[heavy],
        listed=(listed & near)[heavy],
        others=(near & ~listed & ~unlisted)[heavy],
        polymer=polymer,
    )[residue[i]]
    listed, unlisted = listed & fits, unlisted | ~fits
    ends = _continues(structure, i, j, near=near, kind=kind) | _continues(
        structure, j, i, near=near, kind=kind
    )
    across = (hydrogens == 0) & (
        ~(polymer[residue[i]] & polymer[residue[j]]) | _crosslinks(structure, i, j)
    )
    by_distance = near & (hydrogens < 2) & np.where(inside, unlisted, across)
    return inside & listed | by_distance | ~inside & ends


def _in_templates(
    structure: Structure, i: np.ndarray, j: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the residue's template lists a bond of two names, and whether it lacks a name."""
    residues, atoms = structure.residue_name, structure.atom_name
    name, which = np.unique(np.stack([residues, atoms]), axis=1, return_inverse=True)
    key, back = np.unique(which[i] * name.shape[1] + which[j], return_inverse=True)
    listed, unlisted = np.zeros(len(key), dtype=bool), np.zeros(len(key), dtype=bool)
    for place, (one, other) in enumerate(zip(*np.divmod(key, name.shape[1]), strict=True)):
        (residue, a), (_, b) = name[:, one].tolist(), name[:, other].tolist()
        bonds, known = _template(residue)
        listed[place] = frozenset((a, b)) in bonds
        unlisted[place] = a not in known or b not in known
    return listed[back], unlisted[back]


def _templates_fit(
    structure: Structure,
    pairs: np.ndarray,
    *,
    listed: np.ndarray,
    others: np.ndarray,
    polymer: np.ndarray,
) -> np.ndarray:
    """(residue,) bool: the atoms and bonds of a residue are those of its template.

    Only those that are there count.

    Of `pairs` inside residues, without hydrogens, `listed` are bonds of the template as long as
    bonds are, `others` are as near and no bonds of it. A residue of a chain is known by its
    backbone besides its name, so that a bad model does not make it another one; of a ligand, every
    atom has to be one of the template.
    """
    expected, known, strange = _compositions(structure)
    names = np.sort(structure.atom_name[pairs], axis=1)
    residue = structure.residue_index[pairs[:, 0]]

    def count(chosen: np.ndarray) -> np.ndarray:  # two locations of an atom count once
        name = np.unique(names[chosen], axis=0, return_inverse=True)[1]
        return np.bincount(
            np.unique(np.stack([residue[chosen], name]), axis=1)[0], minlength=len(expected)
        )

    misfit = expected - count(listed) + count(others)
    in_chain = (misfit <= MISFIT_IN_CHAIN * expected) & (strange <= MISFIT_IN_CHAIN * known)
    return np.where(polymer, in_chain, (misfit <= MISFIT * expected) & (strange == 0))


def _compositions(structure: Structure) -> np.ndarray:
    """Of each residue: bonds that its template has, atoms that it names, and strange atoms.

    The bonds are those between the heavy atoms that are there.

    Strange is what the template does not name, or names as another element.
    """
    first = np.flatnonzero(np.diff(structure.residue_index, prepend=-1))
    names, elements, residues = (
        x.tolist() for x in (structure.atom_name, structure.element, structure.residue_name[first])
    )
    ends = [*first[1:].tolist(), len(structure)]
    keys = [
        (residue, tuple(names[start:end]), tuple(elements[start:end]))
        for residue, start, end in zip(residues, first.tolist(), ends, strict=True)
    ]
    counts = {key: _composition(*key) for key in set(keys)}
    return np.array([counts[key] for key in keys]).T


def _composition(
    residue_name: str, names: tuple[str, ...], elements: tuple[int, ...]
) -> tuple[int, int, int]:
    bonds, template = _template(residue_name)
    heavy = {
        name: element for name, element in zip(names, elements, strict=True) if element != HYDROGEN
    }
    known = {
        name
        for name, element in heavy.items()
        if name in template and element in (0, template[name])
    }
    return sum(pair <= known for pair in bonds), len(known), len(heavy) - len(known)


@cache
def _template(residue_name: str) -> tuple[set[frozenset[str]], dict[str, int]]:
    """Bonds of a residue in the chemical component dictionary, and {atom name: atomic number}.

    Both are empty where it is not there.
    """
    from biotite.structure.info import bonds_in_residue, get_from_ccd

    bonds = {frozenset(pair) for pair in bonds_in_residue(residue_name)}
    if not bonds:
        return bonds, {}
    atoms = get_from_ccd("chem_comp_atom", residue_name)
    number = {
        name: gemmi.Element(symbol).atomic_number
        for name, symbol in zip(
            *(atoms[column].as_array(str).tolist() for column in ("atom_id", "type_symbol")),
            strict=True,
        )
    }
    return bonds, {name: number[name] for pair in bonds for name in pair}


def _continues(
    structure: Structure, i: np.ndarray, j: np.ndarray, *, near: np.ndarray, kind: np.ndarray
) -> np.ndarray:
    """Bool: atom i ends a residue of a polymer, and atom j starts the next one."""
    residue, name, element = structure.residue_index, structure.atom_name, structure.element
    chain = structure.chain[i] == structure.chain[j]
    # conformers of one place are residues of their own: the next place may be one or two further on
    after = (residue[j] - residue[i] >= 1) & (residue[j] - residue[i] <= 3)
    polymer = np.isin(kind, POLYMER_KINDS)
    inside = polymer[residue[i]] & polymer[residue[j]]
    peptide = (name[i] == "C") & (name[j] == "N")
    phosphate = np.isin(name[i], ("O3'", "O3*")) & (name[j] == "P")

    def without(*names: str) -> np.ndarray:
        return ~np.isin(np.arange(len(kind)), residue[np.isin(name, names)])

    # a chromophore has C3 and N1, a phosphoramidate N3': names that are the residue's own, where
    # the usual one is not there
    carbon = (element[i] == CARBON) & ((name[i] == "C") | without("C")[residue[i]])
    nitrogen = (element[j] == NITROGEN) & ((name[j] == "N") | without("N")[residue[j]])
    protein = (kind != "nucleotide")[residue[i]] & (kind != "nucleotide")[residue[j]]
    amide = near & carbon & nitrogen & protein
    amidate = (
        near
        & np.isin(element[i], (NITROGEN, SULFUR))
        & (name[j] == "P")
        & without("O3'", "O3*")[residue[i]]
    )
    return chain & after & inside & (peptide | phosphate | amide | amidate)


def _crosslinks(structure: Structure, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Bool: what joins polymers elsewhere: sulfurs, and an amine with a carboxyl.

    Other atoms as near as a bond are a clash.
    """
    name = structure.atom_name
    amide = [
        np.isin(name[a], ("N", "NZ")) & np.isin(name[b], ("C", "CG", "CD"))
        for a, b in ((i, j), (j, i))
    ]
    return (structure.element[i] == SULFUR) & (structure.element[j] == SULFUR) | amide[0] | amide[1]


def _steps(structure: Structure, bonds: np.ndarray, *, polymer: np.ndarray) -> np.ndarray:
    """Trace atoms of residues that follow each other in a chain without a bond between them.

    They are near each other.
    """
    residue = structure.residue_index
    joined = {tuple(pair) for pair in np.sort(residue[bonds], axis=1).tolist()}
    steps = []
    position = structure.position.double().numpy()
    for name, longest in zip(TRACE_ATOMS, (LONGEST_CA_STEP, LONGEST_P_STEP), strict=True):
        trace = np.flatnonzero((structure.atom_name == name) & polymer[residue])
        trace = trace[np.unique(residue[trace], return_index=True)[1]]
        for i, j in zip(trace[:-1], trace[1:], strict=True):
            follows = structure.chain[i] == structure.chain[j] and residue[j] == residue[i] + 1
            if (
                follows
                and (residue[i], residue[j]) not in joined
                and np.linalg.norm(position[i] - position[j]) < longest
            ):
                steps.append((i, j))
    return _tuples(steps, 2)


def _neighbours(bonds: np.ndarray, count: int) -> list[list[int]]:
    """The sorted list of those bonded to it, for each atom."""
    both = np.concatenate([bonds, bonds[:, ::-1]])
    both = both[np.lexsort(both.T[::-1])]
    ends = np.searchsorted(both[:, 0], np.arange(1, count))
    return [part.tolist() for part in np.split(both[:, 1], ends)]


def _angles(
    neighbours: list[list[int]], *, centres: np.ndarray, together: Callable[..., bool]
) -> Iterator[tuple]:
    for j in np.flatnonzero(centres):
        for i, k in combinations(neighbours[j], 2):
            if together(i, k):
                yield i, j, k


def _impropers(
    structure: Structure,
    neighbours: list[list[int]],
    *,
    centres: np.ndarray,
    together: Callable[..., bool],
) -> Iterator[tuple]:
    hydrogen = (structure.element == HYDROGEN).tolist()
    for j in np.flatnonzero(centres):
        for triple in combinations(neighbours[j], 3):
            if sum(hydrogen[atom] for atom in triple) < 2 and together(*triple):
                yield (j, *triple)


def _ring_torsions(
    structure: Structure,
    bonds: np.ndarray,
    *,
    neighbours: list[list[int]],
    together: Callable[..., bool],
) -> Iterator[tuple]:
    residue = structure.residue_index
    inside = bonds[residue[bonds[:, 0]] == residue[bonds[:, 1]]]
    while len(inside):  # what ends nowhere is no ring
        degree = np.bincount(inside.ravel(), minlength=len(structure))
        kept = (degree[inside] > 1).all(1)
        if kept.all():
            break
        inside = inside[kept]
    within = _neighbours(inside, len(structure))
    for b, c in inside.tolist():
        if _closes(within, b, c):
            for a in neighbours[b]:
                for d in neighbours[c]:
                    if a != c and d != b and a != d and together(a, b, c, d):
                        yield a, b, c, d


def _closes(neighbours: list[list[int]], start: int, end: int) -> bool:
    """Whether there is another way than the bond from `start` to `end`, short enough for a ring."""
    seen, edge = {start}, [atom for atom in neighbours[start] if atom != end]
    for _ in range(LARGEST_RING - 2):
        seen.update(edge)
        edge = [other for atom in edge for other in neighbours[atom] if other not in seen]
        if end in edge:
            return True
    return False


def _peptides(
    structure: Structure,
    bonds: np.ndarray,
    *,
    neighbours: list[list[int]],
    together: Callable[..., bool],
) -> tuple[np.ndarray, ...]:
    name, residue = structure.atom_name.tolist(), structure.residue_index
    outer = bonds[residue[bonds[:, 0]] != residue[bonds[:, 1]]].tolist()
    omega, phi, psi = [], [], []

    def bonded(atom: int, wanted: str) -> list[int]:
        return [
            other
            for other in neighbours[atom]
            if name[other] == wanted and residue[other] == residue[atom]
        ]

    for i, j in outer:
        if {name[i], name[j]} != {"C", "N"}:
            continue
        c, n = (i, j) if name[i] == "C" else (j, i)
        before, after = bonded(c, "CA"), bonded(n, "CA")
        omega += [(a, c, n, b) for a in before for b in after]
        psi += [(first, a, c, n) for a in before for first in bonded(a, "N")]
        phi += [(c, n, b, last) for b in after for last in bonded(b, "C")]
    return tuple(_tuples([row for row in rows if together(*row)], 4) for rows in (omega, phi, psi))


def _tuples(rows: Iterable[tuple], width: int) -> np.ndarray:
    return np.array(list(rows), dtype=np.int64).reshape(-1, width)

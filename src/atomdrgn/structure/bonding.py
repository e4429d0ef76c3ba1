"""Which atoms of a structure are bonded, and what follows from it: angles, impropers, rings, peptides."""

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from .atoms import Structure
from .residue_kinds import residue_kinds

LONGEST_LISTED = 2.6      # A: a bond that the residue's template lists, or that joins a polymer, in a model that is badly off
SHORTEST = 0.7            # A: nearer atoms are one site twice
SLACK = 0.3               # A over the sum of covalent radii: where no template says what is bonded
LONGEST_CA_STEP = 4.5     # A between CA atoms that follow each other, where C or N is missing
LONGEST_P_STEP = 8.0      # A, likewise between P atoms
LARGEST_RING = 7
HYDROGEN = 1
# what has bond angles of its own; about a metal they are many and may be straight
NONMETALS = [gemmi.Element(symbol).atomic_number for symbol in "H B C N O F Si P S Cl Se Br I".split()]


@dataclass(frozen=True, eq=False)
class Bonding:
    """Tuples of atoms that bonds put together, in a structure's atom numbers. Alternative locations never mix in one.

    Parameters
    ----------
    bonds : (bond, 2) int
        Covalent bonds and those of metals.
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
    """

    bonds: np.ndarray
    steps: np.ndarray
    angles: np.ndarray
    impropers: np.ndarray
    rings: np.ndarray
    omega: np.ndarray
    phi: np.ndarray
    psi: np.ndarray

    def near_pairs(self) -> np.ndarray:
        """(pair, 2) int, the lower number first: atoms at most two bonds apart, which are no contacts."""
        pairs = np.concatenate([self.bonds, self.steps, self.angles[:, ::2]])
        return np.unique(np.sort(pairs, axis=1), axis=0)


def find_bonds(structure: Structure) -> Bonding:
    """The bonds of a structure as it stands, and what follows from them.

    Atoms are bonded where the chemical component dictionary says so of their residue and names, where a polymer goes on (C to N,
    O3' to P), and, for all that it does not know (ligands of other names, hydrogens of other names, disulfides, glycans,
    metals), where they are nearer to each other than their covalent radii and a slack. Water has no bonds. A chain is broken
    where two residues that follow each other are too far apart.

    Parameters
    ----------
    structure : Structure
        Any chemistry, atoms missing or not.
    """
    polymer = np.isin(residue_kinds(structure), ("amino acid", "nucleotide", "other polymer"))
    pairs = _pairs_that_may_bond(structure)
    bonds = np.sort(pairs[_are_bonded(structure, pairs, polymer=polymer)], axis=1)
    bonds = bonds[np.lexsort(bonds.T[::-1])]
    together = _altlocs_agree(structure.altloc)
    neighbours = _neighbours(bonds, len(structure))
    omega, phi, psi = _peptides(structure, bonds, neighbours=neighbours, together=together)
    centres = np.isin(structure.element, NONMETALS)
    return Bonding(
        bonds=bonds,
        steps=_steps(structure, bonds, polymer=polymer),
        angles=_tuples(_angles(neighbours, centres=centres, together=together), 3),
        impropers=_tuples(_impropers(structure, neighbours, centres=centres, together=together), 4),
        rings=_tuples(_ring_torsions(structure, bonds, neighbours=neighbours, together=together), 4),
        omega=omega, phi=phi, psi=psi)


def same_site(altloc: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Bool: atoms i and j can be there at once: of one alternative location, or one of them is in all."""
    return (altloc[i] == altloc[j]) | (altloc[i] == "") | (altloc[j] == "")


def _altlocs_agree(altloc):
    if not (altloc != "").any():
        return lambda *atoms: True
    names = altloc.tolist()
    return lambda *atoms: len({names[atom] for atom in atoms} - {""}) < 2


def _pairs_that_may_bond(structure):
    """(pair, 2): within the longest bond, able to be there at once, no water."""
    kind = residue_kinds(structure)
    atoms = np.flatnonzero((kind != "water")[structure.residue_index])
    position = structure.position.double().numpy()
    pairs = atoms[cKDTree(position[atoms]).query_pairs(LONGEST_LISTED, output_type="ndarray").reshape(-1, 2)]
    i, j = pairs.T
    apart = np.linalg.norm(position[i] - position[j], axis=1)
    return pairs[same_site(structure.altloc, i, j) & (apart > SHORTEST)]


def _are_bonded(structure, pairs, *, polymer):
    i, j = pairs.T
    position, residue = structure.position.double().numpy(), structure.residue_index
    apart = np.linalg.norm(position[i] - position[j], axis=1)
    radius = np.array([gemmi.Element(int(number)).covalent_r for number in range(max(structure.element.max(), 1) + 1)])
    near = apart < radius[structure.element[i]] + radius[structure.element[j]] + SLACK
    hydrogens = (structure.element[i] == HYDROGEN).astype(int) + (structure.element[j] == HYDROGEN)
    inside = residue[i] == residue[j]
    listed, unlisted = _in_templates(structure, i, j)
    ends = _continues(structure, i, j, polymer=polymer) | _continues(structure, j, i, polymer=polymer)
    across = (hydrogens == 0) & (~(polymer[residue[i]] & polymer[residue[j]]) | _crosslinks(structure, i, j))
    by_distance = near & (hydrogens < 2) & np.where(inside, unlisted, across)
    return inside & listed | by_distance | ~inside & ends


def _in_templates(structure, i, j):
    """Bool, bool: the residue's template lists a bond of these two names; it does not know one of the names."""
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


@cache
def _template(residue_name):
    """Bonds and atom names of a residue in the chemical component dictionary; empty where it is not there."""
    from biotite.structure.info import bonds_in_residue

    bonds = {frozenset(pair) for pair in bonds_in_residue(residue_name)}
    return bonds, {name for pair in bonds for name in pair}


def _continues(structure, i, j, *, polymer):
    """Bool: atom i ends a residue of a polymer, and atom j starts the next one."""
    residue, name = structure.residue_index, structure.atom_name
    chain = structure.chain[i] == structure.chain[j]
    # conformers of one place are residues of their own: the next place may be one or two further on
    after = (residue[j] - residue[i] >= 1) & (residue[j] - residue[i] <= 3)
    inside = polymer[residue[i]] & polymer[residue[j]]
    peptide = (name[i] == "C") & (name[j] == "N")
    phosphate = np.isin(name[i], ("O3'", "O3*")) & (name[j] == "P")
    return chain & after & inside & (peptide | phosphate)


def _crosslinks(structure, i, j):
    """Bool: what joins polymers elsewhere: sulfurs, and an amine with a carboxyl. Other atoms as near as a bond are a clash."""
    sulfur = gemmi.Element("S").atomic_number
    name = structure.atom_name
    amide = [np.isin(name[a], ("N", "NZ")) & np.isin(name[b], ("C", "CG", "CD")) for a, b in ((i, j), (j, i))]
    return (structure.element[i] == sulfur) & (structure.element[j] == sulfur) | amide[0] | amide[1]


def _steps(structure, bonds, *, polymer):
    """Trace atoms of residues that follow each other in a chain, near each other, with no bond between the residues."""
    residue = structure.residue_index
    joined = {tuple(pair) for pair in np.sort(residue[bonds], axis=1).tolist()}
    steps = []
    position = structure.position.double().numpy()
    for name, longest in (("CA", LONGEST_CA_STEP), ("P", LONGEST_P_STEP)):
        trace = np.flatnonzero((structure.atom_name == name) & polymer[residue])
        trace = trace[np.unique(residue[trace], return_index=True)[1]]
        for i, j in zip(trace[:-1], trace[1:], strict=True):
            follows = structure.chain[i] == structure.chain[j] and residue[j] == residue[i] + 1
            if follows and (residue[i], residue[j]) not in joined and np.linalg.norm(position[i] - position[j]) < longest:
                steps.append((i, j))
    return _tuples(steps, 2)


def _neighbours(bonds, count):
    """For each atom the sorted list of those bonded to it."""
    both = np.concatenate([bonds, bonds[:, ::-1]])
    both = both[np.lexsort(both.T[::-1])]
    ends = np.searchsorted(both[:, 0], np.arange(1, count))
    return [part.tolist() for part in np.split(both[:, 1], ends)]


def _angles(neighbours, *, centres, together):
    for j in np.flatnonzero(centres):
        for i, k in combinations(neighbours[j], 2):
            if together(i, k):
                yield i, j, k


def _impropers(structure, neighbours, *, centres, together):
    hydrogen = (structure.element == HYDROGEN).tolist()
    for j in np.flatnonzero(centres):
        for triple in combinations(neighbours[j], 3):
            if sum(hydrogen[atom] for atom in triple) < 2 and together(*triple):
                yield (j, *triple)


def _ring_torsions(structure, bonds, *, neighbours, together):
    residue = structure.residue_index
    inside = bonds[residue[bonds[:, 0]] == residue[bonds[:, 1]]]
    while len(inside):      # what ends nowhere is no ring
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


def _closes(neighbours, start, end):
    """Whether there is another way than the bond from `start` to `end`, short enough for a ring."""
    seen, edge = {start}, [atom for atom in neighbours[start] if atom != end]
    for _ in range(LARGEST_RING - 2):
        seen.update(edge)
        edge = [other for atom in edge for other in neighbours[atom] if other not in seen]
        if end in edge:
            return True
    return False


def _peptides(structure, bonds, *, neighbours, together):
    name, residue = structure.atom_name.tolist(), structure.residue_index
    outer = bonds[residue[bonds[:, 0]] != residue[bonds[:, 1]]].tolist()
    omega, phi, psi = [], [], []

    def bonded(atom, wanted):
        return [other for other in neighbours[atom] if name[other] == wanted and residue[other] == residue[atom]]

    for i, j in outer:
        if {name[i], name[j]} != {"C", "N"}:
            continue
        c, n = (i, j) if name[i] == "C" else (j, i)
        before, after = bonded(c, "CA"), bonded(n, "CA")
        omega += [(a, c, n, b) for a in before for b in after]
        psi += [(first, a, c, n) for a in before for first in bonded(a, "N")]
        phi += [(c, n, b, last) for b in after for last in bonded(b, "C")]
    return tuple(_tuples([row for row in rows if together(*row)], 4) for rows in (omega, phi, psi))


def _tuples(rows, width):
    return np.array(list(rows), dtype=np.int64).reshape(-1, width)

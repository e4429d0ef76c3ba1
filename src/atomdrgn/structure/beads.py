"""A few Gaussian beads in place of many atoms."""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import gemmi
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from ..errors import InputError, UnmodelledWarning
from ..io.structure_files.structures import left_out
from ..physics.record import Record
from .atoms import Structure
from .residue_kinds import POLYMER_KINDS, residue_kinds

# Width of an atom, A: its thermal motion, B = 50 A^2 (usual at 3-4 A resolution), and the electron
# scattering factor of carbon, which falls at small angles like exp(-B s^2) with B = sum(a b) /
# sum(a) = 17 A^2 (Peng et al. 1996, table 1). A Gaussian of standard deviation sigma in space has B
# = 8 pi^2 sigma^2. What a file says as B-factor is not used: it is a displacement in one file, a
# confidence in the next.
ATOMIC_BLUR = math.sqrt((50 + 17) / (8 * math.pi**2))

# Where a residue has its trace atom only: electrons (hydrogens too) and spread
# of what stands around it.
MEAN_AMINO_ACID_ELECTRONS, MEAN_NUCLEOTIDE_ELECTRONS = 59.0, 165.0
# A on each axis, medians over the residues of 1AON and of a 50S subunit
AMINO_ACID_SPREAD, NUCLEOTIDE_SPREAD = 1.2, 2.0

# A: longer than any bond within and between residues, shorter than the bonds of metals
COVALENT_DISTANCE = 2.0

TORN_SPREAD = 6.0  # A on each axis: no residue is so wide
AMINO_ACID_BACKBONE = {
    "N",
    "CA",
    "C",
    "O",
    "OXT",
    "OT1",
    "OT2",
    "H",
    "HN",
    "H1",
    "H2",
    "H3",
    "HT1",
    "HT2",
    "HT3",
    "HA",
    "HA1",
    "HA2",
    "HA3",
    "D",
    "D1",
    "D2",
    "D3",
    "DA",
}
PHOSPHATE = {"P", "OP1", "OP2", "OP3", "O1P", "O2P", "O3P", "HOP2", "HOP3", "H5T", "H3T"}


@dataclass(frozen=True, eq=False)
class BeadModel(Record):
    """Gaussian beads in place of atoms.

    Tensors are what images are made of; arrays say whose the beads are.

    Parameters
    ----------
    position : (bead, 3)
        Centroid of the atoms, weighted by their electrons, A.
    sigma : (bead,)
        Standard deviation of the Gaussian, A.
    amplitude : (bead,)
        Electrons.
    chain, residue_name, icode : (bead,) str
        The author's names.
    residue : (bead,) int
        The author's number.
    polymer : (bead,) bool
        Of an amino acid or nucleotide in a chain; else of a ligand, a glycan or an ion.
    trace : (bead,) bool
        One a polymer residue: its bead, or its backbone bead. In the order of the chain.
    anchor : (bead,) int
        The trace bead that a bead follows: its own backbone for a side chain, the attached or else
        nearest residue for what is no polymer, itself for a trace bead.
    bead_of_atom : (atom,) int
        The bead that each atom of the structure moves with.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> len(beads), beads.label(0), beads.position.shape
    (24, 'A:1', torch.Size([24, 3]))
    """

    position: Float[Tensor, "bead 3"]
    sigma: Float[Tensor, "bead"]
    amplitude: Float[Tensor, "bead"]
    chain: np.ndarray
    residue: np.ndarray
    icode: np.ndarray
    residue_name: np.ndarray
    polymer: np.ndarray
    trace: np.ndarray
    anchor: np.ndarray
    bead_of_atom: np.ndarray

    def __len__(self) -> int:
        return len(self.polymer)

    def __getitem__(self, index: Any) -> NoReturn:
        raise TypeError(
            "a bead model is not indexed: its arrays refer to each other; index the tensors instead"
        )

    @property
    def trace_index(self) -> Int[Tensor, "trace"]:
        """Numbers of the trace beads."""
        return torch.from_numpy(np.flatnonzero(self.trace))

    @property
    def partner(self) -> np.ndarray:
        """(bead,) int: the backbone bead of a side-chain bead; for every other bead itself."""
        return np.where(self.polymer, self.anchor, np.arange(len(self)))

    @property
    def order(self) -> np.ndarray:
        """(bead,) int: place of the bead's anchor along its chain.

        Places are 0, 1, ... in file order, whatever the numbering.
        """
        trace = np.flatnonzero(self.trace)
        place = np.zeros(len(self), dtype=np.int64)
        for name in np.unique(self.chain[trace]):
            members = trace[self.chain[trace] == name]
            place[members] = np.arange(len(members))
        return place[self.anchor]

    def bright(self, amplitude: float, width2: float = 0.0) -> "BeadModel":
        """The beads as images show them: brighter by a factor, and wider.

        Parameters
        ----------
        amplitude : float
            Amplitudes are multiplied by it.
        width2 : float
            Squared widths are raised by it, A^2.
        """
        return replace(
            self, amplitude=self.amplitude * amplitude, sigma=(self.sigma**2 + width2).sqrt()
        )

    def label(self, bead: int | np.integer) -> str:
        """Name of a bead for a message, such as "A:82B"."""
        return f"{self.chain[bead]}:{self.residue[bead]}{self.icode[bead]}"


def coarse_grain(
    structure: Structure, *, beads: int = 1, atomic_blur: float = ATOMIC_BLUR
) -> BeadModel:
    """Beads of a structure: one or two a residue of a polymer, one a ligand, a sugar or an ion.

    Water has none.

    A bead's amplitude is the sum of atomic numbers times occupancies, of one conformer where there
    are several; its sigma joins the width of an atom with the spread of its atoms, per axis.
    Occupancies count as 1 where a whole file says 0. An amino acid of a CA alone, or a nucleotide
    of a P alone, has the electrons and the spread of the whole residue.

    Parameters
    ----------
    structure : Structure
        With at least one amino acid or nucleotide.
    beads : {1, 2}
        Of a polymer residue. 2: backbone and side chain (glycine: backbone only), sugar-phosphate
        and base.
    atomic_blur : float
        Standard deviation of one atom, A.

    Returns
    -------
    BeadModel

    Raises
    ------
    InputError
        No polymer, or another number of beads.

    Warns
    -----
    UnmodelledWarning
        Residues have their trace atom only, or have atoms far from each other.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), section 3:
    two radial basis functions a residue, amplitudes in proportion to their electrons.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> structure = read_structure("model.pdb")
    >>> len(coarse_grain(structure)), len(coarse_grain(structure, beads=2))
    (24, 48)
    """
    if beads not in (1, 2):
        raise InputError(
            f"{beads} beads a residue were asked for: choose 1, or 2 for backbone and side chain"
        )
    kind = residue_kinds(structure)
    if not np.isin(kind, POLYMER_KINDS).any():
        raise InputError(
            f"{structure.name}: no amino acid or nucleotide among {len(kind)} residues; the base "
            "model has to hold a protein, RNA or DNA"
        )
    site = _sites(structure)
    likeliest, occupancy = _conformers(structure, site)
    electrons = np.where(likeliest, structure.element * np.minimum(occupancy, 1), 0.0)
    atoms, group, place, first = _groups(
        structure, kind, site=site, likeliest=likeliest, beads=beads
    )
    position, amplitude, spread2 = _moments(
        structure.position.double().numpy()[atoms],
        electrons[atoms],
        element=structure.element[atoms],
        group=group,
    )
    bead_kind = kind[structure.residue_index[first]]
    alone = np.bincount(group, likeliest[atoms]) == 1
    amplitude, spread2 = _with_whole_residues(
        structure, bead_kind, first=first, alone=alone, amplitude=amplitude, spread2=spread2
    )
    _warn_of_torn_residues(structure, first, bead_kind, np.sqrt(spread2))
    polymer = np.isin(bead_kind, POLYMER_KINDS)
    trace = polymer & np.concatenate([[True], place[1:] != place[:-1]])
    bead_of_atom = np.full(len(structure), -1, dtype=np.int64)
    bead_of_atom[atoms] = group
    anchor = _anchors(
        structure, position=position, polymer=polymer, trace=trace, bead_of_atom=bead_of_atom
    )
    water = bead_of_atom < 0
    if water.any():
        bead_of_atom[water] = cKDTree(position).query(structure.position.numpy()[water])[1]
    return BeadModel(
        position=torch.tensor(position, dtype=torch.float32),
        sigma=torch.tensor(np.sqrt(atomic_blur**2 + spread2), dtype=torch.float32),
        amplitude=torch.tensor(amplitude, dtype=torch.float32),
        chain=structure.chain[first],
        residue=structure.residue[first],
        icode=structure.insertion_code[first],
        residue_name=structure.residue_name[first],
        polymer=polymer,
        trace=trace,
        anchor=anchor,
        bead_of_atom=bead_of_atom,
    )


def unmodelled(structure: Structure) -> list[str]:
    """What the beads leave out or simplify, in words and with counts; an empty list if nothing.

    Parameters
    ----------
    structure : Structure
        What :func:`coarse_grain` is given.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> unmodelled(read_structure("model.pdb"))
    []
    """
    kind = residue_kinds(structure)
    count, atoms = (kind == "water").sum(), (kind[structure.residue_index] == "water").sum()
    said = left_out(structure.source)
    if count:
        said.append(
            f"{count} waters ({atoms} atoms): they have no beads; in written files they follow the "
            "nearest bead"
        )
    others = ~_conformers(structure, _sites(structure))[0]
    if others.any():
        said.append(
            f"{others.sum()} atoms in alternative locations other than the one with the highest "
            "occupancy: they follow their residue's bead"
        )
    unknown = structure.element == 0
    if unknown.any():
        said.append(f"{unknown.sum()} atoms of unknown element: they add no density")
    zero = structure.occupancy == 0
    if zero.any() and not zero.all():
        said.append(f"{zero.sum()} atoms of occupancy 0: they add no density")
    return said


def _sites(structure: Structure) -> np.ndarray:
    """(atom,) int: place in a chain.

    Residues of one number and chain, side by side and of other letters, are conformers.
    """
    start = np.concatenate([[True], np.diff(structure.residue_index) != 0])
    same = np.ones(len(structure), dtype=bool)
    same[0] = False
    for array in (structure.chain, structure.residue, structure.insertion_code):
        same[1:] &= array[1:] == array[:-1]
    # waters and ligands without numbers of their own stay apart: conformers carry a letter each
    same[1:] &= structure.altloc[1:] != structure.altloc[:-1]
    return np.cumsum(start & ~same) - 1


def _conformers(structure: Structure, site: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which atoms are of the likeliest conformer, and the occupancy of all conformers together.

    They are (atom,) bool and (atom,).

    Conformers bear different letters; atoms of one name and one letter, or none, are so many atoms.
    """
    occupancy = structure.occupancy.astype(float)
    if not occupancy.any():
        occupancy = np.ones_like(occupancy)
    (_, name), (_, letter) = (
        np.unique(names, return_inverse=True) for names in (structure.atom_name, structure.altloc)
    )
    _, same = np.unique(
        structure.residue_index.astype(np.int64) * (name.max() + 1) + name, return_inverse=True
    )
    chosen_letter = np.zeros(same.max() + 1, dtype=np.int64)
    first = _first_of_largest(same, occupancy)
    chosen_letter[same[first]] = letter[first]
    likeliest = letter == chosen_letter[same]
    of_others = np.bincount(same, np.where(likeliest, 0, occupancy)) / np.bincount(same, likeliest)
    residue, first = (
        structure.residue_index,
        np.unique(structure.residue_index, return_index=True)[1],
    )
    mean = np.bincount(residue, occupancy * likeliest) / np.bincount(residue, likeliest)
    chosen = _first_of_largest(site[first], mean)
    # where two residues share a place (a mutation in some copies), the likelier one stands for both
    shared = np.bincount(site[first], mean)[site] / np.maximum(mean[residue], 1e-6)
    return likeliest & chosen[residue], (occupancy + of_others[same]) * np.where(
        mean[residue] > 0, shared, 1
    )


def _first_of_largest(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Bool: the largest of each group, the first one among equals."""
    order = np.lexsort((np.arange(len(group)), -value, group))
    largest = np.zeros(len(group), dtype=bool)
    largest[order[np.unique(group[order], return_index=True)[1]]] = True
    return largest


def _groups(
    structure: Structure, kind: np.ndarray, *, site: np.ndarray, likeliest: np.ndarray, beads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Modelled atoms, the bead of each of these, and the site and the naming atom of each bead."""
    part = _parts(structure, kind) if beads == 2 else 0
    atoms = np.flatnonzero(kind[structure.residue_index] != "water")
    # sites in file order, and the backbone (part 0) before the rest (part 1)
    key, group = np.unique((2 * site + part)[atoms], return_inverse=True)
    # a bead bears the names of its likeliest conformer
    by_likelihood = np.argsort(~likeliest[atoms], kind="stable")
    first = atoms[by_likelihood[np.unique(group[by_likelihood], return_index=True)[1]]]
    return atoms, group, key // 2, first


def _parts(structure: Structure, kind: np.ndarray) -> np.ndarray:
    """(atom,) 0: backbone, or the only bead of its residue; 1: side chain or base."""
    kind = kind[structure.residue_index]
    names, index = np.unique(structure.atom_name, return_inverse=True)
    backbone = np.isin(names, list(AMINO_ACID_BACKBONE))[index]
    sugar_phosphate = np.array(["'" in n or "*" in n or n in PHOSPHATE for n in names.tolist()])[
        index
    ]
    side = (kind == "amino acid") & ~backbone & (structure.residue_name != "GLY")
    return np.where(side | (kind == "nucleotide") & ~sugar_phosphate, 1, 0)


def _moments(
    position: np.ndarray, electrons: np.ndarray, *, element: np.ndarray, group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centroid, sum of electrons and mean square spread per axis of each group.

    Atoms are weighted by atomic number where no electron counts.
    """
    amplitude = np.bincount(group, electrons)
    weight = np.where(amplitude[group] > 0, electrons, np.maximum(element, 1))
    total = np.bincount(group, weight)
    centroid = np.stack([np.bincount(group, weight * x) for x in position.T], 1) / total[:, None]
    spread2 = np.bincount(group, weight * ((position - centroid[group]) ** 2).sum(1)) / (3 * total)
    return centroid, amplitude, spread2


def _with_whole_residues(
    structure: Structure,
    kind: np.ndarray,
    *,
    first: np.ndarray,
    alone: np.ndarray,
    amplitude: np.ndarray,
    spread2: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes and spreads with those of whole residues where a CA, or a P, stands for one."""
    name = structure.atom_name[first]
    amino_acid = (kind == "amino acid") & alone & (name == "CA")
    nucleotide = (kind == "nucleotide") & alone & np.isin(name, ("P", "C4'", "C3'", "C1'"))
    sparse = np.flatnonzero(amino_acid | nucleotide)
    if len(sparse):
        warnings.warn(
            f"{structure.name}: {len(sparse)} residues have their trace atom only; the electrons "
            "and the spread of whole residues are put there",
            UnmodelledWarning,
            stacklevel=3,
        )
    whole = np.array(
        [
            _residue_electrons(structure.residue_name[first[bead]], bool(amino_acid[bead]))
            for bead in sparse
        ]
    )
    amplitude = amplitude.copy()
    # what is left is the occupancy
    amplitude[sparse] *= whole / np.maximum(structure.element[first[sparse]], 1)
    spread2 = np.where(
        amino_acid, AMINO_ACID_SPREAD**2, np.where(nucleotide, NUCLEOTIDE_SPREAD**2, spread2)
    )
    return amplitude, spread2


def _warn_of_torn_residues(
    structure: Structure, first: np.ndarray, kind: np.ndarray, spread: np.ndarray
) -> None:
    torn = np.flatnonzero((spread > TORN_SPREAD) & (np.isin(kind, POLYMER_KINDS)))
    if len(torn):
        atom = first[torn[0]]
        name = f"{structure.chain[atom]}:{structure.residue[atom]}{structure.insertion_code[atom]}"
        warnings.warn(
            f"{structure.name}: the atoms of {len(torn)} residues lie far from each other ({name}: "
            f"{spread[torn[0]]:.0f} A on each axis), and their beads are as wide; check their "
            "coordinates",
            UnmodelledWarning,
            stacklevel=3,
        )


def _residue_electrons(name: str, amino_acid: bool) -> float | int:
    info = gemmi.find_tabulated_residue(name)
    if not (info.is_amino_acid() if amino_acid else info.is_nucleic_acid()):
        return MEAN_AMINO_ACID_ELECTRONS if amino_acid else MEAN_NUCLEOTIDE_ELECTRONS
    # C, N, O and S weigh two daltons an electron, P nearly; in a chain a
    # water of 10 electrons has left
    return round((info.weight - 1.008 * info.hydrogen_count) / 2.002) + info.hydrogen_count - 10


def _anchors(
    structure: Structure,
    *,
    position: np.ndarray,
    polymer: np.ndarray,
    trace: np.ndarray,
    bead_of_atom: np.ndarray,
) -> np.ndarray:
    """(bead,) the trace bead that each bead follows."""
    bead = np.arange(len(position))
    # a side chain stands right behind its backbone
    anchor = np.maximum.accumulate(np.where(trace, bead, -1))
    if polymer.all():
        return anchor
    foreign = np.flatnonzero(~polymer)
    # glycans are trees: sugars that are bonded to each other follow what the
    # first of them is bonded to
    group, bonded = _bonded_groups(structure, polymer, bead_of_atom)
    nearest = np.flatnonzero(polymer)
    tree = cKDTree(position[nearest])
    for members in (foreign[group == g] for g in range(group.max() + 1)):
        to = [bonded[m] for m in members if bonded[m] >= 0]
        anchor[members] = anchor[to[0] if to else nearest[tree.query(position[members].mean(0))[1]]]
    return anchor


def _bonded_groups(
    structure: Structure, polymer: np.ndarray, bead_of_atom: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which beads outside the polymers are bonded together, and to which polymer bead.

    The first is a group number each; the second is -1 where they are bonded to none.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    heavy = np.flatnonzero((bead_of_atom >= 0) & (structure.element > 1))
    near = cKDTree(structure.position.numpy()[heavy])
    foreign = np.flatnonzero(~polymer)
    place = np.full(len(polymer), -1)
    place[foreign] = np.arange(len(foreign))
    inside = heavy[~polymer[bead_of_atom[heavy]]]
    contacts = near.query_ball_point(structure.position.numpy()[inside], COVALENT_DISTANCE)
    i = np.repeat(bead_of_atom[inside], [len(c) for c in contacts])
    j = (
        bead_of_atom[heavy[np.concatenate([np.asarray(c, dtype=int) for c in contacts])]]
        if len(inside)
        else i
    )
    bonded = np.full(len(polymer), -1)
    outward = polymer[j]
    bonded[i[outward][::-1]] = j[outward][::-1]
    inner = ~outward
    graph = coo_matrix(
        (np.ones(inner.sum()), (place[i[inner]], place[j[inner]])), shape=(len(foreign),) * 2
    )
    return connected_components(graph, directed=False)[1], bonded

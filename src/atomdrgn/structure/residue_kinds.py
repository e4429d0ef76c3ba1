"""What each residue of a structure is, decided by its atoms and bonds."""

from collections.abc import Sequence

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from ..io.structure_files.residue_names import WATER_NAMES
from .atoms import Structure

POLYMER_KINDS = ("amino acid", "nucleotide", "other polymer")
# A: longer than any bond along a chain, shorter than any distance between atoms that are not bonded
CHAIN_BOND = 2.0
BACKBONE = {"N", "CA", "C"}
SUGAR, PHOSPHATE = {"C1'", "C1*"}, {"P", "O3'", "O3*"}
# What molecules have that stand alone: a second oxygen at C, phosphates in a row.
FREE_ACID, FREE_PHOSPHATES = {"OXT", "OT2"}, {"PA", "PB", "PG"}
JOINTS = (("C", "N"), ("O3'", "P"), ("O3*", "P"))  # from which atom a chain goes on to which
IN_CHAIN = (gemmi.EntityType.Polymer, gemmi.EntityType.Unknown)


def residue_kinds(structure: Structure) -> np.ndarray:
    """What each residue is, in file order: an amino acid, a nucleotide or something else.

    Names of residues differ between programs, so that atoms decide: N, CA and C are an amino acid,
    C1' with P or O3' is a nucleotide. Molecules that stand alone have these too (ATP, a free amino
    acid): where its record is a HETATM, a residue has to be bonded to a chain, or to stand in one
    as the file has it.

    Parameters
    ----------
    structure : Structure
        Any chemistry.

    Returns
    -------
    (residue,) str
        "amino acid", "nucleotide", "other polymer" (a cap, say), "sugar", "ligand" or "water".

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> np.unique(residue_kinds(read_structure("model.pdb"))).tolist()
    ['amino acid']
    """
    residues = [residue for chain in structure.source[0] for residue in chain]
    kinds = [
        _kind(residue, joined) for residue, joined in zip(residues, _joined(residues), strict=True)
    ]
    for place in _between_amino_acids(residues, kinds):
        kinds[place] = (
            "amino acid"
            if gemmi.find_tabulated_residue(residues[place].name).is_amino_acid()
            else "other polymer"
        )
    return np.array(kinds)


def _kind(residue: gemmi.Residue, joined: bool) -> str:
    """What a residue is, given whether the bonds of a chain join it to another."""
    info = gemmi.find_tabulated_residue(residue.name)
    if (
        info.is_water()
        or residue.name in WATER_NAMES
        or residue.entity_type == gemmi.EntityType.Water
    ):
        return "water"
    names = {atom.name for atom in residue if atom.element.name != "Ca"}
    if _is_amino_acid(residue, names, info, joined):
        return "amino acid"
    if _is_nucleotide(residue, names, info, joined):
        return "nucleotide"
    if (
        residue.entity_type == gemmi.EntityType.Polymer
        and info.is_amino_acid()
        and not _stands_alone(residue, names, joined)
    ):
        return "amino acid"  # a part of one, or a chromophore made of several
    if joined:
        return "other polymer"
    sugar = residue.entity_type == gemmi.EntityType.Branched or info.kind in (
        gemmi.ResidueKind.PYR,
        gemmi.ResidueKind.KET,
    )
    return "sugar" if sugar else "ligand"


def _is_amino_acid(
    residue: gemmi.Residue, names: set[str], info: gemmi.ResidueInfo, joined: bool
) -> bool:
    if "CA" not in names or not (info.is_amino_acid() or names >= BACKBONE or len(names) == 1):
        return False
    if joined:
        return True
    if not (
        info.is_amino_acid()
        or len(names) == 1
        or not names & SUGAR
        and _has_bonded_backbone(residue)
    ):
        return False
    sure = residue.het_flag != "H" and (info.is_amino_acid() or not info.found())
    return sure or residue.entity_type in IN_CHAIN and not _stands_alone(residue, names, joined)


def _is_nucleotide(
    residue: gemmi.Residue, names: set[str], info: gemmi.ResidueInfo, joined: bool
) -> bool:
    if info.is_nucleic_acid():
        return joined or residue.het_flag != "H" or residue.entity_type in IN_CHAIN
    if names == {"P"} and not info.found():
        return residue.het_flag != "H" and residue.entity_type in IN_CHAIN
    if not (names & SUGAR and names & PHOSPHATE):
        return False
    return joined or not (
        residue.het_flag == "H" or info.found() or names & FREE_PHOSPHATES or names >= BACKBONE
    )


def _stands_alone(residue: gemmi.Residue, names: set[str], joined: bool) -> bool:
    """Whether a residue is a HETATM with both oxygens of an acid, not joined to anything.

    It is a free amino acid, or a molecule with the atoms of one.
    """
    return residue.het_flag == "H" and not joined and bool(names & FREE_ACID)


def _has_bonded_backbone(residue: gemmi.Residue) -> bool:
    """The names of a backbone may be anything in a ligand whose atoms a program has numbered."""
    n, ca, c = (residue.find_atom(name, "*").pos for name in ("N", "CA", "C"))
    return n.dist(ca) <= CHAIN_BOND and ca.dist(c) <= CHAIN_BOND


def _joined(residues: Sequence[gemmi.Residue]) -> list[bool]:
    """(residue,) bool: bonded to another as the residues of a chain are."""
    wanted = {name for joint in JOINTS for name in joint}
    ends: dict[str, tuple[list[list[float]], list[int]]] = {name: ([], []) for name in wanted}
    for number, residue in enumerate(residues):
        for atom in residue:
            if atom.name in wanted:
                place, owner = ends[atom.name]
                place.append(atom.pos.tolist())
                owner.append(number)
    joined = np.zeros(len(residues), dtype=bool)
    for one, other in JOINTS:
        (here, mine), (there, theirs) = ends[one], ends[other]
        if here and there:
            pairs = _near(here, there)
            pairs = np.stack([np.array(mine)[pairs[:, 0]], np.array(theirs)[pairs[:, 1]]], 1)
            joined[pairs[pairs[:, 0] != pairs[:, 1]]] = True
    return joined.tolist()


def _between_amino_acids(residues: Sequence[gemmi.Residue], kinds: list[str]) -> list[int]:
    """Places of residues that hold two ends of a protein's chain together, such as chromophores.

    Their atoms may have any name.
    """
    others = [place for place, kind in enumerate(kinds) if kind in ("ligand", "sugar")]
    bonded: dict[str, set[int]] = {element: set() for element in "NC"}
    for element, end in (("N", "C"), ("C", "N")):
        mine = [
            (place, atom)
            for place in others
            for atom in residues[place]
            if atom.element.name == element
        ]
        backbone = [
            atom
            for residue, kind in zip(residues, kinds, strict=True)
            if kind == "amino acid"
            for atom in residue
            if atom.name == end
        ]
        if mine and backbone:
            pairs = _near(
                [atom.pos.tolist() for _, atom in mine], [atom.pos.tolist() for atom in backbone]
            )
            bonded[element] = {mine[i][0] for i in pairs[:, 0].tolist()}
    return sorted(bonded["N"] & bonded["C"])


def _near(places: list[list[float]], others: list[list[float]]) -> np.ndarray:
    """(pair, 2) which places are within a bond of which others."""
    found = cKDTree(others).query_ball_point(places, CHAIN_BOND)
    return np.array([(i, j) for i, near in enumerate(found) for j in near], dtype=int).reshape(
        -1, 2
    )

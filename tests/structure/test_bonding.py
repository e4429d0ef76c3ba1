"""Bonds by template, along chains and by distance; what is broken, another location or a clash is not bonded."""

import numpy as np

from atomdrgn import read_structure
from atomdrgn.structure.bonding import find_bonds
from molecules import atom_line, helix, write_pdb

PYRROLE = {"NX": (0.0, 1.18), "C1": (1.12, 0.36), "C2": (0.70, -0.95), "C3": (-0.70, -0.95), "C4": (-1.12, 0.36)}


def found(tmp_path, *groups):
    structure = read_structure(write_pdb(tmp_path / "model.pdb", *groups))
    return structure, find_bonds(structure)


def names(structure, rows):
    return {tuple(f"{structure.residue[atom]}.{structure.atom_name[atom]}" for atom in row) for row in rows}


def unordered(structure, rows):
    return {frozenset(row) for row in names(structure, rows)}


def test_a_peptide_has_the_bonds_angles_and_torsions_of_its_formula(tmp_path):
    structure, bonding = found(tmp_path, helix("A", 3, names=("GLY",)))
    inside = [("N", "CA"), ("CA", "C"), ("C", "O")]
    expected = {frozenset((f"{i}.{a}", f"{i}.{b}")) for i in (1, 2, 3) for a, b in inside}
    expected |= {frozenset((f"{i}.C", f"{i + 1}.N")) for i in (1, 2)}
    assert unordered(structure, bonding.bonds) == expected
    assert len(bonding.angles) == 3 * 2 + 2 * 3      # N-CA-C and CA-C-O in each; CA-C-N, O-C-N and C-N-CA in each link
    assert {row[0] for row in names(structure, bonding.impropers)} == {"1.C", "2.C"}
    assert names(structure, bonding.omega) == {("1.CA", "1.C", "2.N", "2.CA"), ("2.CA", "2.C", "3.N", "3.CA")}
    assert names(structure, bonding.phi) == {("1.C", "2.N", "2.CA", "2.C"), ("2.C", "3.N", "3.CA", "3.C")}
    assert names(structure, bonding.psi) == {("1.N", "1.CA", "1.C", "2.N"), ("2.N", "2.CA", "2.C", "3.N")}
    assert len(bonding.rings) == 0 and len(bonding.steps) == 0


def test_chains_end_where_residues_are_apart(tmp_path):
    broken = [*helix("A", 3), *helix("A", 3, first=4, start=(0, 0, 12.0))]
    structure, bonding = found(tmp_path, broken, helix("B", 2, start=(9, 0, 0)))
    joined = {(a, b) for a, b in np.sort(structure.residue_index[bonding.bonds], 1).tolist() if a != b}
    assert joined == {(0, 1), (1, 2), (3, 4), (4, 5), (6, 7)}


def test_a_torn_bond_of_a_template_is_kept_and_a_clash_is_none(tmp_path):
    lines = [atom_line(1, "N", "GLY", "A", 1, (0, 0, 0)), atom_line(2, "CA", "GLY", "A", 1, (1.47, 0, 0)),
             atom_line(3, "C", "GLY", "A", 1, (1.9, 2.2, 0)),                                       # 2.2 A: no bond by distance
             atom_line(4, "CA", "GLY", "A", 9, (3.1, 2.9, 0)), atom_line(5, "C", "GLY", "A", 9, (4.6, 2.9, 0))]
    structure, bonding = found(tmp_path, lines)
    expected = ("1.N", "1.CA"), ("1.CA", "1.C"), ("9.CA", "9.C")
    assert unordered(structure, bonding.bonds) == {frozenset(pair) for pair in expected}


def test_what_no_template_knows_is_bonded_by_distance(tmp_path):
    ring = [atom_line(80 + k, name, "Q9Q", "B", 1, (20 + x, y, 0), record="HETATM")
            for k, (name, (x, y)) in enumerate(PYRROLE.items())]
    tail = [atom_line(90, "O9", "Q9Q", "B", 1, (20, 2.5, 0), record="HETATM"),
            atom_line(91, "ZN", "ZN", "B", 2, (20, 4.4, 0), element="ZN", record="HETATM"),
            atom_line(92, "O", "HOH", "B", 3, (20, 5.9, 0), record="HETATM")]
    structure, bonding = found(tmp_path, helix("A", 2), [*ring, *tail])
    ligand = unordered(structure, bonding.bonds[structure.chain[bonding.bonds[:, 0]] == "B"])
    around = list(PYRROLE)
    assert ligand == {frozenset(f"1.{name}" for name in pair) for pair in zip(around, around[1:] + around[:1], strict=True)} | {
        frozenset(("1.NX", "1.O9")), frozenset(("1.O9", "2.ZN"))}
    assert {frozenset(row[1:3]) for row in names(structure, bonding.rings)} == {pair for pair in ligand if "1.O9" not in pair}
    assert "2.ZN" not in {row[1] for row in names(structure, bonding.angles)}


def test_disulfides_and_prolines(tmp_path):
    bridge = [atom_line(60 + k, "SG", "CYS", chain, 20, (20 + 2.05 * k, 0, 0)) for k, chain in enumerate("AB")]
    places = {"N": (0, 0, 0), "CA": (1.46, 0, 0), "CB": (1.9, 1.45, 0), "CG": (0.7, 2.3, 0), "CD": (-0.4, 1.4, 0),
              "C": (2.0, -0.8, 1.1)}
    proline = [atom_line(70 + k, name, "PRO", "C", 1, xyz) for k, (name, xyz) in enumerate(places.items())]
    structure, bonding = found(tmp_path, bridge[:1], bridge[1:], proline)
    assert ("20.SG", "20.SG") in names(structure, bonding.bonds)
    assert {frozenset(row[1:3]) for row in names(structure, bonding.rings)} == {
        frozenset(f"1.{name}" for name in pair) for pair in (("N", "CA"), ("CA", "CB"), ("CB", "CG"), ("CG", "CD"), ("CD", "N"))}


def test_alternative_locations_do_not_mix(tmp_path):
    lines = helix("A", 2)
    at = {"A": (3.3, 0.4, 0.2), "B": (3.1, -0.9, 0.6)}
    lines = [line for line in lines if line[12:16].strip() != "CB"]
    lines += [atom_line(90 + k, "CB", "ALA", "A", 2, xyz, altloc=name, occupancy=0.5) for k, (name, xyz) in enumerate(at.items())]
    structure, bonding = found(tmp_path, lines)
    for rows in (bonding.bonds, bonding.angles, bonding.impropers, bonding.rings):
        for row in structure.altloc[rows].tolist():
            assert len(set(row) - {""}) < 2


def test_trace_atoms_alone_are_joined_by_steps(tmp_path):
    lines = [line for line in helix("A", 6) if line[12:16].strip() == "CA"]
    structure, bonding = found(tmp_path, lines[:3] + lines[4:], helix("B", 2, start=(15, 0, 0)))
    assert names(structure, bonding.steps) == {("1.CA", "2.CA"), ("2.CA", "3.CA"), ("5.CA", "6.CA")}
    assert (structure.chain[bonding.bonds] == "B").all()

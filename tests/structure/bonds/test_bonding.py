"""Bonds by template, along chains and by distance; what is broken, another location or a clash is
not bonded.
"""

import numpy as np
import pytest

from atomdrgn import read_structure
from atomdrgn.structure.bonds.bonding import find_bonds
from linked import (
    MOLECULES,
    Linked,
    chain_of,
    chromophore,
    component,
    drug,
    structure_of,
    thioester,
)
from molecules import atom_line, helix, write_pdb

PYRROLE = {
    "NX": (0.0, 1.18),
    "C1": (1.12, 0.36),
    "C2": (0.70, -0.95),
    "C3": (-0.70, -0.95),
    "C4": (-1.12, 0.36),
}


def found(tmp_path, *groups):
    structure = read_structure(write_pdb(tmp_path / "model.pdb", *groups))
    return structure, find_bonds(structure)


def names(structure, rows):
    return {
        tuple(f"{structure.residue[atom]}.{structure.atom_name[atom]}" for atom in row)
        for row in rows
    }


def unordered(structure, rows):
    return {frozenset(row) for row in names(structure, rows)}


def test_a_peptide_has_the_bonds_angles_and_torsions_of_its_formula(tmp_path):
    structure, bonding = found(tmp_path, helix("A", 3, names=("GLY",)))
    inside = [("N", "CA"), ("CA", "C"), ("C", "O")]
    expected = {frozenset((f"{i}.{a}", f"{i}.{b}")) for i in (1, 2, 3) for a, b in inside}
    expected |= {frozenset((f"{i}.C", f"{i + 1}.N")) for i in (1, 2)}
    assert unordered(structure, bonding.bonds) == expected
    # N-CA-C and CA-C-O in each; CA-C-N, O-C-N and C-N-CA in each link
    assert len(bonding.angles) == 3 * 2 + 2 * 3
    assert {row[0] for row in names(structure, bonding.impropers)} == {"1.C", "2.C"}
    assert names(structure, bonding.omega) == {
        ("1.CA", "1.C", "2.N", "2.CA"),
        ("2.CA", "2.C", "3.N", "3.CA"),
    }
    assert names(structure, bonding.phi) == {
        ("1.C", "2.N", "2.CA", "2.C"),
        ("2.C", "3.N", "3.CA", "3.C"),
    }
    assert names(structure, bonding.psi) == {
        ("1.N", "1.CA", "1.C", "2.N"),
        ("2.N", "2.CA", "2.C", "3.N"),
    }
    assert len(bonding.rings) == 0 and len(bonding.steps) == 0


def test_chains_end_where_residues_are_apart(tmp_path):
    broken = [*helix("A", 3), *helix("A", 3, first=4, start=(0, 0, 12.0))]
    structure, bonding = found(tmp_path, broken, helix("B", 2, start=(9, 0, 0)))
    joined = {
        (a, b) for a, b in np.sort(structure.residue_index[bonding.bonds], 1).tolist() if a != b
    }
    assert joined == {(0, 1), (1, 2), (3, 4), (4, 5), (6, 7)}


def test_a_torn_bond_of_a_template_is_kept_and_a_clash_is_none(tmp_path):
    lines = [
        atom_line(1, "N", "GLY", "A", 1, (0, 0, 0)),
        atom_line(2, "CA", "GLY", "A", 1, (1.47, 0, 0)),
        # 2.2 A: no bond by distance
        atom_line(3, "C", "GLY", "A", 1, (1.9, 2.2, 0)),
        atom_line(4, "CA", "GLY", "A", 9, (3.1, 2.9, 0)),
        atom_line(5, "C", "GLY", "A", 9, (4.6, 2.9, 0)),
    ]
    structure, bonding = found(tmp_path, lines)
    expected = ("1.N", "1.CA"), ("1.CA", "1.C"), ("9.CA", "9.C")
    assert unordered(structure, bonding.bonds) == {frozenset(pair) for pair in expected}


def test_what_no_template_knows_is_bonded_by_distance(tmp_path):
    ring = [
        atom_line(80 + k, name, "Q9Q", "B", 1, (20 + x, y, 0), record="HETATM")
        for k, (name, (x, y)) in enumerate(PYRROLE.items())
    ]
    tail = [
        atom_line(90, "O9", "Q9Q", "B", 1, (20, 2.5, 0), record="HETATM"),
        atom_line(91, "ZN", "ZN", "B", 2, (20, 4.4, 0), element="ZN", record="HETATM"),
        atom_line(92, "O", "HOH", "B", 3, (20, 5.9, 0), record="HETATM"),
    ]
    structure, bonding = found(tmp_path, helix("A", 2), [*ring, *tail])
    ligand = unordered(structure, bonding.bonds[structure.chain[bonding.bonds[:, 0]] == "B"])
    around = list(PYRROLE)
    assert ligand == {
        frozenset(f"1.{name}" for name in pair)
        for pair in zip(around, around[1:] + around[:1], strict=True)
    } | {frozenset(("1.NX", "1.O9")), frozenset(("1.O9", "2.ZN"))}
    assert {frozenset(row[1:3]) for row in names(structure, bonding.rings)} == {
        pair for pair in ligand if "1.O9" not in pair
    }
    assert "2.ZN" not in {row[1] for row in names(structure, bonding.angles)}


def test_disulfides_and_prolines(tmp_path):
    bridge = [
        atom_line(60 + k, "SG", "CYS", chain, 20, (20 + 2.05 * k, 0, 0))
        for k, chain in enumerate("AB")
    ]
    places = {
        "N": (0, 0, 0),
        "CA": (1.46, 0, 0),
        "CB": (1.9, 1.45, 0),
        "CG": (0.7, 2.3, 0),
        "CD": (-0.4, 1.4, 0),
        "C": (2.0, -0.8, 1.1),
    }
    proline = [
        atom_line(70 + k, name, "PRO", "C", 1, xyz) for k, (name, xyz) in enumerate(places.items())
    ]
    structure, bonding = found(tmp_path, bridge[:1], bridge[1:], proline)
    assert ("20.SG", "20.SG") in names(structure, bonding.bonds)
    assert {frozenset(row[1:3]) for row in names(structure, bonding.rings)} == {
        frozenset(f"1.{name}" for name in pair)
        for pair in (("N", "CA"), ("CA", "CB"), ("CB", "CG"), ("CG", "CD"), ("CD", "N"))
    }


def test_alternative_locations_do_not_mix(tmp_path):
    lines = helix("A", 2)
    at = {"A": (3.3, 0.4, 0.2), "B": (3.1, -0.9, 0.6)}
    lines = [line for line in lines if line[12:16].strip() != "CB"]
    lines += [
        atom_line(90 + k, "CB", "ALA", "A", 2, xyz, altloc=name, occupancy=0.5)
        for k, (name, xyz) in enumerate(at.items())
    ]
    structure, bonding = found(tmp_path, lines)
    for rows in (bonding.bonds, bonding.angles, bonding.impropers, bonding.rings):
        for row in structure.altloc[rows].tolist():
            assert len(set(row) - {""}) < 2


def test_trace_atoms_alone_are_joined_by_steps(tmp_path):
    lines = [line for line in helix("A", 6) if line[12:16].strip() == "CA"]
    structure, bonding = found(tmp_path, lines[:3] + lines[4:], helix("B", 2, start=(15, 0, 0)))
    assert names(structure, bonding.steps) == {("1.CA", "2.CA"), ("2.CA", "3.CA"), ("5.CA", "6.CA")}
    assert (structure.chain[bonding.bonds] == "B").all()


def test_records_that_draw_a_trace_are_no_bonds(tmp_path):
    lines = [line for line in helix("A", 4) if line[12:16].strip() == "CA"]
    path = tmp_path / "model.pdb"
    path.write_text("\n".join([*lines, "CONECT    2    7", "CONECT    7   12"]) + "\n")
    structure = read_structure(path)
    bonding = find_bonds(structure)
    assert (
        len(structure.source.conect_map) == 3 and not len(bonding.bonds) and len(bonding.steps) == 3
    )


def between(structure, bonding):
    """Names of bonds from one residue to another, but along a peptide."""
    residue = structure.residue_index[bonding.bonds]
    outer = bonding.bonds[residue[:, 0] != residue[:, 1]]
    return {
        row
        for row in unordered(structure, outer)
        if {name.partition(".")[2] for name in row} != {"C", "N"}
    }


@pytest.mark.parametrize("name", MOLECULES)
@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_what_a_file_declares_is_a_bond(tmp_path, name, ending):
    made = MOLECULES[name]()
    structure = structure_of(made, tmp_path / f"model.{ending}")
    bonding = find_bonds(structure)
    assert between(structure, bonding) == {
        frozenset(end.partition(":")[2].replace(":", ".") for end in link[:2])
        for link in made.links
    }
    if made.links:
        assert bonding.declared.sum() == len(made.links)
        np.testing.assert_allclose(
            sorted(bonding.lengths[bonding.declared]),
            sorted(link[2] for link in made.links),
            atol=0.005,
        )


def test_atoms_of_two_chains_that_nothing_declares_are_a_clash(tmp_path):
    made = thioester()
    made.links = []
    structure = structure_of(made, tmp_path / "model.pdb")
    bonding = find_bonds(structure)
    assert not between(structure, bonding) and not bonding.declared.any()


def test_a_chain_goes_on_through_a_residue_with_names_of_its_own(tmp_path):
    made = chromophore()
    made.links = []
    structure = structure_of(made, tmp_path / "model.pdb")
    assert between(structure, find_bonds(structure)) == {
        frozenset(("65.C", "66.N1")),
        frozenset(("66.C3", "68.N")),
    }


def ligand_bonds(structure):
    bonding = find_bonds(structure)
    return unordered(structure, bonding.bonds[(structure.chain[bonding.bonds] == "L").all(1)])


@pytest.mark.parametrize("conect", [True, False])
def test_a_name_that_is_another_molecule_in_the_dictionary_says_nothing(tmp_path, conect):
    right = ligand_bonds(structure_of(drug("STI"), tmp_path / "right.pdb"))
    assert len(right) == 41
    for name in ("LIG", "UNL", "DRG", "ATP"):
        made = drug(name)
        made.conect = made.conect if conect else []
        assert ligand_bonds(structure_of(made, tmp_path / "model.pdb")) == right, name


def test_a_template_is_believed_where_atoms_are_missing_and_bonds_are_off(tmp_path):
    """As in a model at low resolution: by distance alone the long bond would not be one, and the
    near pair would.
    """
    made = (
        Linked()
        .join(chain_of("A", ["ALA", "ALA"]))
        .join(component("L", 1, "ATP"), "A:1:CB", "L:1:N6", 4.0)
    )
    made.rows = [row for row in made.rows if (row[0], row[3]) not in {("L", "O2G"), ("L", "O3'")}]
    whole = ligand_bonds(structure_of(made, tmp_path / "model.pdb"))
    gamma, beta = (made.rows[made.at(f"L:1:{name}")][5] for name in ("PG", "O3B"))
    gamma += 0.6 * (gamma - beta) / np.linalg.norm(gamma - beta)
    structure = structure_of(made, tmp_path / "model.pdb")
    assert (
        frozenset(("1.PG", "1.O3B")) in whole
        and ligand_bonds(structure) == whole
        and len(whole) == 33 - 2
    )

"""The report counts what was done to a structure: a broken chain, a clash, a mirror, a turned
peptide.
"""

import json

import numpy as np
import pytest
import torch

from atomdrgn import read_structure
from atomdrgn.analysis.structure_files.geometry import (
    COLUMNS,
    Geometry,
    GeometryReport,
    geometry_lines,
    write_geometry,
)
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.bonds.internal_coordinates import off_plane, torsion
from linked import Linked, component, structure_of, thioester
from molecules import peptide, write_pdb

NOTHING = {
    "bond_rms",
    "bond_max",
    "angle_rms_deg",
    "angle_max_deg",
    "new_gaps",
    "new_clashes",
    "omega_flipped",
    "inverted",
    "open_declared_bonds",
    "phi_psi_rms_deg",
    "phi_psi_shifted",
}


@pytest.fixture
def structure(tmp_path):
    return read_structure(
        write_pdb(tmp_path / "two.pdb", peptide("A", 8), peptide("B", 8, start=(11.0, 0.0, 0.0)))
    )


@pytest.fixture
def geometry(structure):
    return Geometry(structure)


def turned(structure, moves, *, about, degrees):
    """The atoms of `moves` turned about the line through two atoms."""
    start, end = structure.position[about[0]], structure.position[about[1]]
    axis = (end - start) / (end - start).norm()
    turn = matrix_from_vector(axis * np.radians(degrees))
    return torch.where(
        moves[:, None], (structure.position - start) @ turn.T + start, structure.position
    )


def atom(structure, chain, residue, name):
    return int(
        np.flatnonzero(
            (structure.chain == chain)
            & (structure.residue == residue)
            & (structure.atom_name == name)
        )[0]
    )


def test_a_rigid_motion_changes_nothing(structure, geometry):
    turn = matrix_from_vector(torch.tensor([0.3, -0.2, 1.0]))
    row = geometry((structure.position @ turn.T + 5).numpy())
    for column in COLUMNS:
        assert row[column] == pytest.approx(geometry.base[column], abs=0.01)
    assert all(geometry.base[column] == 0 for column in NOTHING)


def test_a_stretched_bond_is_a_gap(structure, geometry):
    behind = torch.from_numpy((structure.chain == "B") & (structure.residue > 4))
    row = geometry(
        (structure.position + 2.0 * behind[:, None] * torch.tensor([0.0, 0.0, 1.0])).numpy()
    )
    assert row["new_gaps"] == row["gaps"] == 1 and 0.5 < row["bond_max"] < 2.0
    bonds = len(geometry.bonding.bonds)
    # one bond alone has changed
    assert row["bond_rms"] == pytest.approx(row["bond_max"] / bonds**0.5, rel=1e-3)


def test_molecules_that_are_pushed_together_clash_unless_one_is_absent(structure, geometry):
    second = structure.chain == "B"
    moved = structure.position - 5.0 * torch.from_numpy(second)[:, None] * torch.tensor(
        [1.0, 0.0, 0.0]
    )
    row = geometry(moved.numpy())
    assert (
        row["new_clashes"] > 0 and row["clashes"] == row["new_clashes"] + geometry.base["clashes"]
    )
    alone = geometry(moved.numpy(), ~second)
    assert alone["new_clashes"] == 0 and alone["clashes"] <= geometry.base["clashes"]


def test_a_mirror_image_has_every_hand_inverted(structure, geometry):
    row = geometry((structure.position * torch.tensor([-1.0, 1.0, 1.0])).numpy())
    assert row["inverted"] == 16 and row["bond_max"] < 1e-4  # alanine has one, at CA


def test_a_peptide_that_turns_is_off_its_plane_and_flips(structure, geometry):
    c, n = atom(structure, "A", 4, "C"), atom(structure, "A", 5, "N")
    behind = torch.from_numpy((structure.chain == "A") & (structure.residue > 4))
    omega = np.degrees(torsion(structure.position.double().numpy(), geometry.bonding.omega))
    which = int(np.flatnonzero(geometry.bonding.omega[:, 1] == c)[0])
    for degrees, flipped in ((40.0, 0), (180.0, 1)):
        row = geometry(turned(structure, behind, about=(c, n), degrees=degrees).numpy())
        after = omega.copy()
        after[which] += degrees
        flat = np.degrees(np.abs(off_plane(np.radians(after))))
        assert row["omega_flipped"] == flipped
        assert row["omega_max_deg"] == pytest.approx(flat.max(), abs=0.1)
        assert row["omega_rms_deg"] == pytest.approx(np.sqrt((flat**2).mean()), abs=0.1)


def test_a_turn_of_psi_is_a_shift_of_one_residue(structure, geometry):
    ca, c = atom(structure, "A", 4, "CA"), atom(structure, "A", 4, "C")
    behind = torch.from_numpy((structure.chain == "A") & (structure.residue > 4))
    behind[atom(structure, "A", 4, "O")] = True
    row = geometry(turned(structure, behind, about=(ca, c), degrees=50.0).numpy())
    count = len(geometry.bonding.phi) + len(geometry.bonding.psi)
    assert row["phi_psi_shifted"] == 1 and row["phi_psi_rms_deg"] == pytest.approx(
        50 / count**0.5, rel=1e-3
    )
    assert row["bond_max"] < 1e-3 and row["angle_max_deg"] < 0.1


def test_a_trace_alone_has_gaps_and_no_torsions(tmp_path):
    lines = [line for line in peptide("A", 6) if line[12:16].strip() == "CA"]
    structure = read_structure(write_pdb(tmp_path / "trace.pdb", lines))
    behind = torch.from_numpy(structure.residue > 3)[:, None]
    row = Geometry(structure)((structure.position + behind * torch.tensor([0.0, 0.0, 3.0])).numpy())
    assert (
        row["new_gaps"] == 1
        and row["omega_rms_deg"]
        == row["phi_psi_rms_deg"]
        == row["bond_rms"]
        == row["inverted"]
        == 0
    )


def test_the_report_is_written_and_said(structure, geometry, tmp_path):
    behind = torch.from_numpy((structure.chain == "B") & (structure.residue > 4))[:, None]
    rows = [
        {**geometry((structure.position + far * behind).numpy()), "moved": far}
        for far in (0.0, 1.0, 2.0)
    ]
    report = GeometryReport(geometry.base, ["a", "b", "c"], rows)
    table, words = write_geometry(report, tmp_path)
    lines = table.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["structure", "base", "a", "b", "c"]
    said = json.loads(words.read_text())
    assert set(said["columns"]) == set(lines[0].split(",")[1:]) == {*COLUMNS, "moved"}
    assert said["median"]["moved"] == 1.0 and said["largest"]["moved"] == 2.0
    text = "\n".join(geometry_lines(report))
    assert (
        "3 structures" in text
        and "new ones at most 1" in text
        and "1.00 A r.m.s., at most 2.00" in text
    )
    assert [row["bond_max"] > 0.2 for row in rows] == [
        False,
        False,
        True,
    ] and "1 of them keep a bond" in text


def test_a_declared_bond_that_is_open_is_counted_and_said(tmp_path):
    made = structure_of(thioester(), tmp_path / "model.pdb")
    geometry, second = Geometry(made), made.chain == "B"
    away = torch.tensor(second)[:, None] * torch.nn.functional.normalize(
        made.position[second].mean(0) - made.position[0], dim=0
    )
    rows = [geometry((made.position + far * away).numpy()) for far in (0.0, 0.05, 1.0)]
    assert [row["open_declared_bonds"] for row in rows] == [0, 0, 1] and geometry.base[
        "open_declared_bonds"
    ] == 0
    assert geometry((made.position + away).numpy(), ~second)["open_declared_bonds"] == 0
    said = "\n".join(geometry_lines(GeometryReport(geometry.base, ["a", "b", "c"], rows)))
    assert (
        "bonds that the file declares are open (more than 0.1 A too long) in 1 of them: at most 1 "
        "(base 0)" in said
    )
    assert "declares" not in "\n".join(
        geometry_lines(GeometryReport(geometry.base, ["a"], rows[:1]))
    )


@pytest.mark.filterwarnings("ignore:.*open in the base model")
def test_a_bond_that_the_base_model_leaves_open_is_open_there(tmp_path):
    made = (
        Linked()
        .join(component("A", 1, "CYS"))
        .join(component("B", 1, "CYS"), "A:1:SG", "B:1:SG", 3.0)
    )
    made.link("A:1:SG", "B:1:SG")
    base = Geometry(structure_of(made, tmp_path / "model.pdb")).base
    assert base["open_declared_bonds"] == 1 and base["bond_max"] == pytest.approx(
        3.0 - 2.04, abs=1e-3
    )

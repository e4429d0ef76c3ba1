"""Coordinates put into a PDB file's text are those that the careful writer writes."""

import numpy as np
import pytest

from atomdrgn import read_structure, write_structure
from atomdrgn.io.structure_writing.pdb_series import PdbSeries, fixed_point
from molecules import atom_line, helix, write_pdb


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        0.001,
        -0.001,
        0.9996,
        -0.5,
        9.999,
        -9.999,
        10.0,
        -10.0,
        -123.456,
        1234.5,
        9999.999,
        -999.999,
    ],
)
def test_numbers_are_written_as_by_c(value):
    assert fixed_point(np.array([value])).tobytes() == b"%8.3f" % value


def test_many_numbers_are_written_as_by_c():
    values = np.random.default_rng(0).uniform(-999, 9999, (200, 3)).round(3)
    written = fixed_point(values)
    assert written.shape == (200, 3, 8)
    assert [row.tobytes() for row in written.reshape(-1, 8)] == [
        b"%8.3f" % value for value in values.ravel()
    ]


def test_zero_has_no_sign():
    assert fixed_point(np.array([-0.0001])).tobytes() == b"   0.000"


def test_only_coordinates_differ_from_the_careful_writer(tmp_path):
    """Ends of chains, alternative locations, insertion codes and ions stay as they are."""
    odd = [
        atom_line(90, "CA", "SER", "A", 82, (9, 9, 9), icode="B"),
        atom_line(91, "ZN", "ZN", "A", 99, (0, 0, 0), element="ZN", record="HETATM"),
        atom_line(92, "CB", "ALA", "B", 1, (1, 2, 3), altloc="A"),
        atom_line(93, "CB", "ALA", "B", 1, (1, 2, 4), altloc="B"),
    ]
    structure = read_structure(write_pdb(tmp_path / "odd.pdb", helix("A", 9), odd[:2], odd[2:]))
    write_structure(structure, tmp_path / "base.pdb")
    moved = (structure.position.double() * 9.1 - 77).round(decimals=3)
    write_structure(structure, tmp_path / "moved.pdb", position=moved)
    series = PdbSeries((tmp_path / "base.pdb").read_bytes())
    assert series.with_coordinates(moved.numpy()) == (tmp_path / "moved.pdb").read_bytes()


@pytest.mark.parametrize("largest", [9.99, 99.99, 999.99])
def test_b_factors_too_are_as_the_careful_writer_writes_them(tmp_path, largest):
    structure = read_structure(
        write_pdb(tmp_path / "a.pdb", helix("A", 9), helix("B", 9, start=(9, 0, 0), serial=100))
    )
    b_factor = np.linspace(0, largest, len(structure)).round(2)
    moved = (structure.position.double() * -3.3 + 5).round(decimals=3)
    write_structure(structure, tmp_path / "base.pdb")
    write_structure(structure, tmp_path / "moved.pdb", position=moved, b_factor=b_factor)
    series = PdbSeries((tmp_path / "base.pdb").read_bytes())
    assert series.with_coordinates(moved.numpy(), b_factor) == (tmp_path / "moved.pdb").read_bytes()
    assert b"%6.2f" % largest in series.with_coordinates(moved.numpy(), b_factor)


def test_larger_b_factors_are_the_largest_that_fits_and_none_stay_as_they_are(tmp_path):
    structure = read_structure(write_pdb(tmp_path / "a.pdb", helix("A", 9)))
    write_structure(structure, tmp_path / "base.pdb", b_factor=np.full(len(structure), 12.34))
    text = (tmp_path / "base.pdb").read_bytes()
    position, series = structure.position.double().numpy(), PdbSeries(text)
    assert series.with_coordinates(position) == text
    large = series.with_coordinates(position, np.full(len(structure), 4321.0))
    assert large == text.replace(b" 12.34", b"999.99") != text


def test_anisotropic_b_factors_are_left_out():
    text = b"ATOM      1  CA  ALA A   1       1.000   2.000   3.000\nANISOU    1  CA  ALA A   1     1     2     3\nEND\n"
    assert (
        PdbSeries(text).with_coordinates(np.array([[4.0, 5.0, -6.0]]))
        == b"ATOM      1  CA  ALA A   1       4.000   5.000  -6.000\nEND\n"
    )


LINKS = [
    "SSBOND   1 CYS A    1    CYS A    4                          1555   1555  2.05  ",
    "LINK         CB  ALA A   2                 CA BSER A   9B    1555   1555  9.99  ",
    "LINK         CB  ALA A   2                 CB  ALA A   3     1555   2655  1.50  ",
]


def test_links_have_the_distance_of_each_particle(tmp_path):
    """As the careful writer has them; none between an atom and an image of another by symmetry."""
    lines = helix("A", 6, names=("CYS", "ALA", "ALA"))
    lines += [
        atom_line(80 + i, "SG", "CYS", "A", 1 + 3 * i, (4.5 + 2.05 * i, 0, 2)) for i in (0, 1)
    ]
    lines.sort(key=lambda line: int(line[22:26]))
    lines += [
        atom_line(90 + i, "CA", "SER", "A", 9, (8.0 + i, 1, 1), icode="B", altloc=letter)
        for i, letter in enumerate("AB")
    ]
    path = write_pdb(tmp_path / "a.pdb", lines)
    path.write_text("\n".join(LINKS[:2]) + "\n" + path.read_text())
    structure = read_structure(path)
    write_structure(structure, tmp_path / "base.pdb")
    moved = (structure.position.double() * 1.7 + 3).round(decimals=3)
    write_structure(structure, tmp_path / "moved.pdb", position=moved)
    series = PdbSeries((tmp_path / "base.pdb").read_bytes())
    written = series.with_coordinates(moved.numpy())
    assert written == (tmp_path / "moved.pdb").read_bytes()
    sulfur = np.flatnonzero(structure.atom_name == "SG")
    apart = float((moved[sulfur[0]] - moved[sulfur[1]]).norm())
    assert b"1555   1555 %5.2f" % apart in written and b"  2.05" not in written
    symmetric = PdbSeries("\n".join([LINKS[2], *lines]).encode()).with_coordinates(moved.numpy())
    assert symmetric.startswith(LINKS[2].replace("1.50", "    ").encode())


def test_a_link_of_an_atom_that_is_not_there_has_no_distance():
    lines = [LINKS[2].replace("2655", "1555"), *helix("A", 2)]
    text = PdbSeries("\n".join(lines).encode()).with_coordinates(np.zeros((10, 3)))
    assert text.startswith(LINKS[2].replace("2655", "1555").replace("1.50", "    ").encode())


def test_links_that_are_stretched_out_of_the_columns_have_the_largest_distance():
    lines = [LINKS[2].replace("2655", "1555"), *helix("A", 3)]
    text = PdbSeries("\n".join(lines).encode()).with_coordinates(
        np.arange(45).reshape(15, 3) * 50.0
    )
    assert b"1555   1555 99.99" in text

"""Which declared bonds of atoms that are apart are believed, and how long they should be."""

import warnings

import numpy as np
import pytest

from atomdrgn import read_structure
from atomdrgn.structure.bonds.bonding import find_bonds
from linked import Linked, component
from molecules import atom_line


def parts(name, *, apart, length=None, at="A:1:SG", by="B:1:C", first="CYS", second="GLY"):
    made = Linked().join(component("A", 1, first, without=("OXT",)))
    made.join(component("B", 1, second, without=("OXT",)), at, by, apart)
    made.link(at, by, length=apart if length is None else length)
    return read_structure(made.write(name))


def taken(structure):
    bonding = find_bonds(structure)
    ends = structure.chain[bonding.bonds]
    return bonding, np.flatnonzero(ends[:, 0] != ends[:, 1])


@pytest.mark.parametrize(
    "at, by, first, second, usual",
    [
        ("A:1:SG", "B:1:C", "CYS", "GLY", 1.77),  # thioester
        ("A:1:NZ", "B:1:C", "LYS", "GLY", 1.33),  # isopeptide
        ("A:1:OG", "B:1:C", "SER", "GLY", 1.34),  # ester
        ("A:1:SG", "B:1:CB", "CYS", "ALA", 1.81),  # lanthionine
        ("A:1:SG", "B:1:SG", "CYS", "CYS", 2.04),
        ("A:1:NZ", "B:1:CB", "LYS", "ALA", 1.46),
    ],
)
def test_a_bond_that_is_open_in_the_model_should_have_its_usual_length(
    tmp_path, at, by, first, second, usual
):
    structure = parts(tmp_path / "model.pdb", apart=2.9, at=at, by=by, first=first, second=second)
    with pytest.warns(
        UserWarning, match=rf"model.pdb: .* 1 are open .*{first} 1 .*, 2.90 A in place of {usual}"
    ):
        bonding, across = taken(structure)
    assert bonding.declared[across].all() and bonding.lengths[across] == pytest.approx([usual])


def test_the_length_that_the_file_says_is_taken_where_bonds_have_it(tmp_path):
    for said, expected in ((1.79, 1.79), (2.9, 1.77), (0.0, 1.77)):
        with pytest.warns(UserWarning, match="open in the base model"):
            bonding, across = taken(parts(tmp_path / "model.pdb", apart=2.9, length=said))
        assert bonding.lengths[across] == pytest.approx([expected])


def test_a_bond_as_long_as_bonds_are_keeps_the_length_of_the_model(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bonding, across = taken(parts(tmp_path / "model.pdb", apart=1.9, length=1.77))
    assert bonding.lengths[across] == pytest.approx([1.9], abs=1e-3)


def test_a_bond_of_a_metal_keeps_the_length_of_the_model(tmp_path):
    made = (
        Linked()
        .join(component("A", 1, "CYS"))
        .join([("B", 1, "ZN", "ZN", "Zn", np.zeros(3))], "A:1:SG", "B:1:ZN", 2.9)
    )
    made.link("A:1:SG", "B:1:ZN", length=2.3)
    bonding, across = taken(read_structure(made.write(tmp_path / "model.pdb")))
    assert bonding.lengths[across] == pytest.approx([2.9], abs=1e-3)


def test_atoms_that_are_far_from_each_other_are_not_bonded_and_named(tmp_path):
    with pytest.warns(
        UserWarning,
        match="1 cannot be bonds .A:CYS 1 SG - B:GLY 1 C, 30.0 A apart. and are left out",
    ):
        assert not len(taken(parts(tmp_path / "model.pdb", apart=30.0))[1])


def test_an_atom_that_has_its_bonds_takes_no_open_one(tmp_path):
    """1IGY declares SG 240 - SG 242, 2.99 A apart, besides the disulfides that both are in."""
    pairs = (("A", 0.0, 0.0), ("B", 0.0, 2.05), ("A", 3.0, 0.0), ("B", 3.0, 2.05))
    lines = [
        atom_line(1 + k, "SG", "CYS", chain, 240 + 2 * (x > 0), (x, y, 0))
        for k, (chain, x, y) in enumerate(pairs)
    ]
    beta = [
        atom_line(9, "CB", "CYS", "A", 240, (-0.6, -1.7, 0)),
        atom_line(10, "CB", "CYS", "A", 242, (3.6, -1.7, 0)),
    ]
    disulfide = "SSBOND   1 CYS {}  {}    CYS {}  {}                          1555   1555  2.05"
    heads = [
        disulfide.format(*row)
        for row in (("A", 240, "B", 240), ("A", 242, "B", 242), ("A", 240, "A", 242))
    ]
    path = tmp_path / "model.pdb"
    path.write_text(
        "\n".join([*heads, lines[0], beta[0], lines[2], beta[1], lines[1], lines[3]]) + "\n"
    )
    with pytest.warns(
        UserWarning,
        match="A:CYS 240 SG - A:CYS 242 SG, 3.0 A apart, where SG has all its bonds already",
    ):
        bonding = find_bonds(read_structure(path))
    assert bonding.bonds.tolist() == [[0, 1], [0, 4], [2, 3], [2, 5]]

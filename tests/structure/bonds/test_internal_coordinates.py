"""Distances, angles and torsions are what they are by hand and by another program."""

import gemmi
import numpy as np
import pytest

from atomdrgn.structure.bonds.internal_coordinates import angle, distance, off_plane, torsion, turn

CORNER = np.array([[1.0, 0, 0], [0, 0, 0], [0, 2, 0], [0, 2, 3]])


def test_by_hand():
    np.testing.assert_allclose(distance(CORNER, np.array([[0, 2], [1, 3]])), [5**0.5, 13**0.5])
    np.testing.assert_allclose(
        angle(CORNER, np.array([[0, 1, 2], [1, 0, 2]])), [np.pi / 2, np.arctan(2)]
    )
    assert abs(torsion(CORNER, np.array([[0, 1, 2, 3]]))[0]) == pytest.approx(np.pi / 2)


def test_torsions_agree_with_another_program():
    position = np.random.default_rng(0).normal(size=(40, 3))
    rows = np.arange(40).reshape(10, 4)
    expected = [
        gemmi.calculate_dihedral(*(gemmi.Position(*position[atom]) for atom in row)) for row in rows
    ]
    np.testing.assert_allclose(torsion(position, rows), expected, atol=1e-9)


def test_a_mirror_image_has_the_opposite_torsion():
    row = np.array([[0, 1, 2, 3]])
    assert torsion(CORNER * [1, 1, -1], row) == pytest.approx(-torsion(CORNER, row))


def test_changes_go_the_shorter_way():
    after, before = np.radians([[175.0, -170.0, 10.0], [-175.0, 170.0, -10.0]])
    np.testing.assert_allclose(np.degrees(turn(after, before)), [-10, 20, 20], atol=1e-9)


def test_cis_and_trans_are_flat():
    np.testing.assert_allclose(
        np.degrees(off_plane(np.radians([0.0, 5, -5, 180, 170, -170]))),
        [0, 5, -5, 0, -10, 10],
        atol=1e-9,
    )

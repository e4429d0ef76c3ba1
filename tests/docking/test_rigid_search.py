import math

import numpy as np
import pytest
import torch

from atomdrgn.docking.band import band_of_map, band_of_points
from atomdrgn.docking.docking import density_points
from atomdrgn.docking.docking_loops import turned_transform
from atomdrgn.docking.rigid_search import (
    Placement,
    _padded_transform,
    climbed,
    landscape,
    mean_shell_correlation,
    merged,
    search,
)
from atomdrgn.physics.maps.maps import mirrored
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.placement import moved_rigidly
from docking_scene import map_of, three_helices


def rotation(x, y, z):
    return matrix_from_vector(torch.tensor([x, y, z], dtype=torch.float64)).numpy()


TURN, SHIFT = rotation(1.1, -0.4, 2.0), np.array([6.0, -4.0, 3.0])


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The model's points, its true placement in a map, and that map."""
    structure = read_structure(three_helices(tmp_path_factory.mktemp("model")))
    points, centroid = density_points(structure)
    density_map = map_of(
        moved_rigidly(structure, TURN, SHIFT - TURN @ centroid), shape=(36, 33, 40), noise=0.3
    )
    return points, Placement(TURN, SHIFT), density_map


def test_the_turned_transform_is_that_of_the_turned_model(scene):
    points, placement, density_map = scene
    band = band_of_map(density_map, 7.0)
    transform, cycles = _padded_transform(points, band)
    found = np.empty(len(cycles), np.complex64)
    turned_transform(transform, cycles, placement.rotation.astype(np.float32), found)
    expected = band_of_points(
        points.position @ placement.rotation.T, points.amplitude, band
    ).coefficient
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_the_landscape_is_the_mean_shell_correlation(scene):
    points, placement, density_map = scene
    band = band_of_map(density_map, 6.0)
    ground = landscape(points, band)
    for other in (
        placement,
        Placement(rotation(0.2, 0, 0) @ TURN, SHIFT + 2),
        Placement(np.eye(3), SHIFT),
    ):
        exact = mean_shell_correlation(
            band, band_of_points(points.at(other), points.amplitude, band)
        )
        assert ground.value_and_slope(other.rotation, other.shift)[0] == pytest.approx(
            exact, abs=0.03
        )


def test_slopes_of_the_landscape_are_exact(scene):
    points, _, density_map = scene
    ground = landscape(points, band_of_map(density_map, 6.0))
    start, shift, step = rotation(0.1, -0.2, 0.3) @ TURN, SHIFT + [1.0, -0.5, 0.7], 1e-4
    _, by_turn, by_shift = ground.value_and_slope(start, shift)
    for axis in range(3):
        small = step * np.eye(3)[axis]
        ends = [
            ground.value_and_slope(rotation(*(sign * small)) @ start, shift)[0] for sign in (1, -1)
        ]
        assert by_turn[axis] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-5)
        ends = [ground.value_and_slope(start, shift + sign * small)[0] for sign in (1, -1)]
        assert by_shift[axis] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3, abs=1e-5)


def test_a_placement_climbs_to_where_the_model_is(scene):
    points, placement, density_map = scene
    start = Placement(rotation(0.15, -0.1, 0.12) @ TURN, SHIFT + [1.5, -1.0, 1.0])
    top = climbed(start, landscape(points, band_of_map(density_map, 6.0)))
    angle, distance = top.distance(placement)
    assert math.degrees(angle) < 1 and distance < 0.2


@pytest.mark.parametrize("hand", [False, True])
def test_the_search_finds_the_model_and_the_hand(scene, hand):
    """In a map of three unequal edges, one odd, and in its mirror image, which is the inverted map
    turned about z.
    """
    points, placement, density_map = scene
    given = density_map.with_density(mirrored(density_map.density)) if hand else density_map
    found = search(points, band_of_map(given, 8.0), rotations=2000)
    assert found[hand][0].score > 1.1 * found[not hand][0].score
    half_turn = np.diag([-1.0, -1.0, 1.0]) if hand else np.eye(3)
    true = Placement(half_turn @ placement.rotation, half_turn @ placement.shift)
    angle, distance = found[hand][0].distance(true)
    assert math.degrees(angle) < 20 and distance < 4
    assert all(
        first.score >= second.score
        for first, second in zip(found[hand], found[hand][1:], strict=False)
    )


def test_the_same_search_gives_the_same_placements(scene):
    points, _, density_map = scene
    band = band_of_map(density_map, 10.0)
    one, other = (search(points, band, rotations=300, hands=(False,))[False] for _ in range(2))
    assert [placement.score for placement in one] == [placement.score for placement in other]


def test_placements_that_are_one_are_merged():
    best, near = (
        Placement(np.eye(3), np.zeros(3), 0.9),
        Placement(rotation(0.05, 0, 0), np.array([1.0, 0, 0]), 0.8),
    )
    turned, away = (
        Placement(rotation(0.3, 0, 0), np.zeros(3), 0.7),
        Placement(np.eye(3), np.array([0, 5.0, 0]), 0.85),
    )
    assert merged([near, turned, away, best], 20.0) == [best, away, turned]


def test_distances_are_angles_and_lengths():
    one, other = (
        Placement(TURN, SHIFT),
        Placement(rotation(0, 0.5, 0) @ TURN, SHIFT + [3.0, 0, 4.0]),
    )
    assert one.distance(other) == pytest.approx((0.5, 5.0)) and one.distance(one) == pytest.approx(
        (0, 0), abs=1e-7
    )

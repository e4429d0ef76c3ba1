import numpy as np

from atomdrgn.analysis.examination.traversal import along_motion, through_particles


def test_a_motion_is_followed_from_end_to_end_in_even_steps():
    place = np.random.default_rng(0).normal(0, 1, (2000, 2))
    way = along_motion(place, 1, 9)
    assert way.name == "motion2" and way.place.shape == (9, 2) and way.particle is None
    np.testing.assert_allclose(np.diff(way.place[:, 1]), np.diff(way.place[:, 1])[0], rtol=1e-4)
    np.testing.assert_allclose(
        way.place[[0, -1], 1], np.quantile(place[:, 1], [0.01, 0.99]), atol=1e-5
    )
    assert np.abs(way.place[:, 0]).max() < 0.5


def test_a_bent_band_of_particles_is_not_left():
    x = np.random.default_rng(1).uniform(-3, 3, 3000)
    way = along_motion(np.stack([x, 0.3 * x**2], 1), 0, 21)
    leaves = np.abs(way.place[:, 1] - 0.3 * way.place[:, 0] ** 2)
    assert leaves.max() < 0.5 and np.median(leaves) < 0.1  # a straight line leaves it by 1.7


def test_a_way_goes_through_its_anchors_and_over_particles():
    angle = np.linspace(0, 1.5 * np.pi, 400)
    place = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    way = through_particles(place, np.array([0, 200, 399]), 15)
    assert way.particle[0] == 0 and way.particle[-1] == 399 and len(way.particle) == 15
    np.testing.assert_array_equal(way.place, place[way.particle])
    assert (np.diff(way.particle) > 0).all() and np.linalg.norm(
        np.diff(way.place, axis=0), axis=1
    ).max() < 0.5


def test_groups_that_stand_apart_are_joined_by_more_neighbours_or_not_at_all():
    rng = np.random.default_rng(2)
    near = np.concatenate([rng.normal(0, 0.3, (40, 2)), rng.normal(4, 0.3, (40, 2))])
    assert through_particles(near, np.array([0, 79]), 5) is not None
    far = np.concatenate([rng.normal(0, 0.3, (400, 2)), rng.normal(400, 0.3, (400, 2))])
    assert through_particles(far, np.array([0, 799]), 5) is None

"""Latent spaces: axes that rotate back, clusters and their particles, ways that keep to where
particles are.
"""

import numpy as np
import pytest

from atomdrgn.analysis.examination.latent_space import (
    graph_traversal,
    k_means_on_data,
    principal_axes,
    umap_embedding,
)
from atomdrgn.errors import InputError


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_axes_are_those_along_which_latents_were_drawn():
    turn = np.linalg.qr(drawn(4, 4))[0]
    latent = drawn(20_000, 4, seed=1) * [3, 2, 1, 0.1] @ turn.T + 5
    axes = principal_axes(latent)
    assert np.abs(axes.axis @ turn) == pytest.approx(np.eye(4), abs=0.05)
    assert axes.variance == pytest.approx([9, 4, 1, 0.01], rel=0.05)
    assert axes.share.sum() == pytest.approx(1)


def test_places_along_all_axes_give_the_latents_back_and_are_not_correlated():
    latent = drawn(50, 3) @ drawn(3, 3, seed=1)
    axes = principal_axes(latent)
    place = axes.place(latent)
    assert axes.latent(place) == pytest.approx(latent)
    assert np.cov(place.T) == pytest.approx(np.diag(axes.variance), abs=1e-9)


def test_an_axis_has_one_sign():
    latent = drawn(50, 3)
    assert principal_axes(latent).axis == pytest.approx(principal_axes(latent[::-1]).axis)
    assert (principal_axes(latent).axis.max(1) == np.abs(principal_axes(latent).axis).max(1)).all()


def test_fewer_particles_than_numbers_have_fewer_axes():
    assert principal_axes(drawn(3, 5)).axis.shape == (2, 5)


def test_where_nothing_varies_no_axis_has_a_share():
    assert principal_axes(np.ones((4, 2))).share.tolist() == [0, 0]


def test_clusters_are_found_with_the_largest_first_and_their_centres_on_particles():
    truth = np.repeat([0, 1, 2], [50, 30, 20])
    latent = drawn(100, 2) + np.array([[0, 0], [40, 0], [0, 40]])[truth]
    shuffled = np.random.default_rng(1).permutation(100)
    found = k_means_on_data(latent[shuffled], 3)
    assert (found.label == truth[shuffled]).all()
    assert found.size.tolist() == [50, 30, 20]
    for cluster in range(3):
        members = latent[shuffled][found.label == cluster]
        assert found.centre[cluster] == pytest.approx(members.mean(0))
        distance = np.linalg.norm(members - found.centre[cluster], axis=1)
        assert np.linalg.norm(
            latent[shuffled][found.on_data[cluster]] - found.centre[cluster]
        ) == pytest.approx(distance.min())


def test_the_same_seed_gives_the_same_clusters():
    latent = drawn(200, 3)
    assert (
        k_means_on_data(latent, 5, seed=3).label == k_means_on_data(latent, 5, seed=3).label
    ).all()


def horseshoe(n=400):
    """Particles along a bent line, and the angle of each."""
    angle = np.linspace(0, np.pi, n)
    return np.stack([10 * np.cos(angle), 10 * np.sin(angle)], 1) + 0.05 * drawn(n, 2), angle


def test_a_way_keeps_to_where_particles_are():
    latent, angle = horseshoe()
    path = graph_traversal(latent, [0, len(latent) - 1])
    assert (path[0], path[-1]) == (0, len(latent) - 1)
    # the straight line would go through the middle
    assert np.linalg.norm(latent[path], axis=1).min() > 9
    assert (np.diff(angle[path]) > -0.05).all()


def test_a_way_passes_its_anchors_in_their_order_and_may_turn_back():
    latent, _ = horseshoe()
    path = graph_traversal(latent, [10, 300, 100]).tolist()
    assert path[0] == 10 and path[-1] == 100 and 300 in path
    assert path.index(300) > 1 and max(latent[path, 1]) <= latent[:, 1].max()


def test_a_way_is_the_shortest_among_a_ring_s_two():
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    path = graph_traversal(np.stack([np.cos(angle), np.sin(angle)], 1), [0, 30], neighbours=2)
    assert set(path) <= set(range(31))


def test_particles_at_the_same_place_are_joined():
    latent = np.repeat(np.arange(4.0), 15)[:, None] * [[1.0, 0.0]]
    path = graph_traversal(latent, [0, 14])
    assert (latent[path] == latent[0]).all()


def test_where_no_way_leads_it_is_said():
    latent = drawn(100, 2) + np.repeat([[0, 0], [1000, 0]], 50, axis=0)
    with pytest.raises(InputError, match="no way leads from particle 0 to particle 99"):
        graph_traversal(latent, [0, 99])


@pytest.mark.parametrize("anchors, message", [([1], "at least two"), ([0, 100], "no particle")])
def test_anchors_that_are_none_are_refused(anchors, message):
    with pytest.raises(InputError, match=message):
        graph_traversal(drawn(100, 2), anchors)


@pytest.mark.parametrize(
    "work",
    [
        principal_axes,
        lambda latent: k_means_on_data(latent, 1),
        umap_embedding,
        lambda latent: graph_traversal(latent, [0, 1]),
    ],
)
def test_latents_that_are_not_finite_are_refused(work):
    latent = drawn(10, 2)
    latent[3, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        work(latent)


def test_more_clusters_than_different_latents_are_refused():
    with pytest.raises(InputError, match="choose a number from 1 to 2"):
        k_means_on_data(np.repeat([[0.0], [1.0]], 5, axis=0), 3)


def test_one_particle_has_no_axes():
    with pytest.raises(InputError, match="at least two"):
        principal_axes(np.ones((1, 3)))


@pytest.mark.seconds
def test_umap_keeps_clusters_apart():
    pytest.importorskip("umap")
    latent = drawn(60, 4) + np.repeat([[0.0], [50.0]], 30, axis=0)
    place = umap_embedding(latent, seed=1)
    centre = place.reshape(2, 30, 2).mean(1)
    spread = np.linalg.norm(place.reshape(2, 30, 2) - centre[:, None], axis=-1)
    assert np.linalg.norm(centre[1] - centre[0]) > spread.max()


def test_large_seeds_are_seeds_for_clusters(seed=5_000_000_000):
    latent = np.random.default_rng(0).normal(0, 1, (30, 2))
    once, again = (k_means_on_data(latent, 3, seed=seed).label for _ in range(2))
    assert (once == again).all() and len(np.unique(once)) == 3

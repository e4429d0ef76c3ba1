"""Landscapes of known distributions: their free energies, errors, and basins."""

import numpy as np
import pytest

from atomdrgn.analysis.examination.landscape import basins, free_energy


def drawn(place, sd=0.05, draws=20, seed=0):
    """Draws of particles whose places are known to `sd`."""
    rng = np.random.default_rng(seed)
    return place[:, None] + sd * rng.standard_normal((len(place), draws, place.shape[1]))


def landscape(place, sd=0.05, seed=0):
    return free_energy(
        drawn(place, sd, seed=seed), np.full(place.shape, sd), rng=np.random.default_rng(seed)
    )


def test_a_gaussian_is_a_parabola_within_its_errors():
    place = np.random.default_rng(0).normal(0, 1, (20000, 1))
    found = landscape(place)
    near = np.abs(found.centres[0]) < 2
    apart = (found.free_energy - 0.5 * found.centres[0] ** 2)[near]
    apart -= apart.mean()
    assert near.sum() > 10 and (np.abs(apart) < 4 * found.error[near].max()).all()
    assert np.nanmin(found.free_energy) == 0 and abs(found.population.sum() - 1) < 1e-9


def test_errors_are_the_spread_over_repeats_of_the_experiment():
    rng = np.random.default_rng(1)
    ends = np.array([[-2.0], [2.0]])  # so that all repeats have the same bins
    energies, errors = [], []
    for seed in range(40):
        found = landscape(
            np.concatenate([ends, rng.uniform(-1.9, 1.9, (998, 1))]), sd=1e-9, seed=seed
        )
        energies.append(found.population)
        errors.append(found.error)
    inside = slice(2, -2)
    spread = np.log(np.array(energies)).std(0)[inside].mean()
    # of a difference from the lowest bin, whose own noise is in it
    assert 0.9 < np.median(np.array(errors)[:, inside]) / (2**0.5 * spread) < 1.15


def test_fewer_particles_have_larger_errors_and_bins_are_no_narrower_than_errors():
    rng = np.random.default_rng(2)
    many, few = (landscape(rng.uniform(-1, 1, (n, 1))) for n in (10000, 400))
    assert np.nanmedian(few.error) > 2 * np.nanmedian(many.error)
    blurred = landscape(rng.uniform(-1, 1, (1000, 1)), sd=0.3)
    assert np.diff(blurred.edges[0]).min() >= 0.3 - 1e-9


def test_two_groups_are_two_basins_with_their_populations():
    rng = np.random.default_rng(3)
    first = rng.random(4000) < 0.7
    place = np.where(
        first[:, None], rng.normal((-2, 0), 0.4, (4000, 2)), rng.normal((2, 1), 0.4, (4000, 2))
    )
    found = landscape(place)
    wells, label = basins(found)
    assert (
        len(wells) == 2
        and abs(wells[0].population - first.mean()) < 0.02
        and wells[0].barrier == np.inf
    )
    np.testing.assert_allclose([well.place for well in wells], [(-2, 0), (2, 1)], atol=0.35)
    assert wells[1].barrier > 1 and wells[1].free_energy > 0
    assert (found.at(label, place)[first] == 0).mean() > 0.97 and (
        found.at(label, place)[~first] == 1
    ).mean() > 0.97


@pytest.mark.parametrize("k", [1, 2])
def test_one_group_is_one_basin_however_noisy(k):
    rng = np.random.default_rng(4)
    for n in (60, 300, 3000):
        wells, _ = basins(landscape(rng.normal(0, 1, (n, k))))
        assert len(wells) == 1, n


def test_what_is_empty_has_no_energy_and_a_single_place_is_one_bin():
    gap = landscape(np.concatenate([np.full((50, 1), -5.0), np.full((50, 1), 5.0)]))
    assert np.isnan(gap.free_energy).any() and len(basins(gap)[0]) == 2
    point = free_energy(np.zeros((3, 20, 1)), np.zeros((3, 1)), rng=np.random.default_rng(0))
    assert point.free_energy.tolist() == [0.0] and point.error.tolist() == [0.0]

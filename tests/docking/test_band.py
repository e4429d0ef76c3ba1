import numpy as np
import pytest
import torch

from atomdrgn.docking.band import (
    Band,
    band_of_map,
    band_of_points,
    correlation,
    shell_correlation,
    thinned,
)
from atomdrgn.errors import InputError
from atomdrgn.physics.correlation import fourier_shell_correlation
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.physics.maps.maps import low_pass, window
from atomdrgn.structure.density_map import DensityMap

VOXEL, RESOLUTION = 1.5, 5.0
SIGMA = 1.2


def scene(shape=(24, 27, 32), *, points=20, seed=0):
    """Points about the origin, and their map of so many voxels."""
    generator = np.random.default_rng(seed)
    position = generator.normal(size=(points, 3)) * 4 + [1.0, -2.0, 0.5]
    amplitude = generator.uniform(5, 9, points)
    box = density_of_atoms(
        torch.tensor(position),
        torch.tensor(amplitude),
        SIGMA,
        box_size=max(shape) // 2 * 2,
        voxel_size=VOXEL,
    )
    return position, amplitude, DensityMap(window(box, shape), VOXEL)


def waves(band, position, amplitude):
    return (amplitude * np.exp(-2j * np.pi * band.frequency @ position.T)).sum(1)


def test_points_are_sums_of_waves():
    position, amplitude, density_map = scene()
    band = band_of_map(density_map, RESOLUTION)
    found = band_of_points(position, amplitude, band).coefficient
    np.testing.assert_allclose(found, waves(band, position, amplitude), atol=1e-3 * amplitude.sum())


@pytest.mark.parametrize("shape", [(24, 27, 32), (25, 25, 25), (24, 24, 24)])
def test_a_map_has_its_origin_at_the_box_centre(shape):
    position, amplitude, density_map = scene(shape)
    band = band_of_map(density_map, RESOLUTION)
    blur = np.exp(-2 * np.pi**2 * SIGMA**2 * (band.frequency**2).sum(1))
    expected = waves(band, position, amplitude) * blur / VOXEL**3
    np.testing.assert_allclose(band.coefficient, expected, atol=5e-3 * np.abs(expected).max())


def test_a_band_holds_each_frequency_once_and_nothing_finer():
    band = band_of_map(scene()[2], RESOLUTION)
    length = np.linalg.norm(band.frequency, axis=1)
    assert 0 < length.min() and length.max() <= 1 / RESOLUTION and (band.cycles[:, 0] >= 0).all()
    # all lattice points of the ball but its centre
    reach = [np.arange(-n, n + 1) for n in (np.ceil(band.extent / RESOLUTION)).astype(int)]
    lattice = np.stack(np.meshgrid(*reach, indexing="ij"), -1).reshape(-1, 3)
    assert (
        band.multiplicity.sum()
        == (np.linalg.norm(lattice / band.extent, axis=1) <= 1 / RESOLUTION).sum() - 1
    )


def test_the_grid_is_the_sum_of_waves():
    band = band_of_map(scene()[2], RESOLUTION)
    grid = band.on_grid()
    place = np.array([2, 5, 3])  # z, y, x
    at = place[::-1] / np.array(band.shape[::-1]) * band.extent
    expected = (
        band.multiplicity * (band.coefficient * np.exp(2j * np.pi * band.frequency @ at)).real
    ).sum()
    assert grid[tuple(place)] == pytest.approx(expected, rel=1e-4)


def test_correlations_are_those_of_the_densities():
    first, second = (scene((28, 28, 28), seed=seed)[2] for seed in (0, 1))
    one, other = (band_of_map(m, RESOLUTION) for m in (first, second))
    densities = [
        low_pass(m.density, voxel_size=VOXEL, resolution=RESOLUTION, edge=0.0)
        for m in (first, second)
    ]
    expected = np.corrcoef(*(density.flatten().double().numpy() for density in densities))[0, 1]
    assert correlation(one, other) == pytest.approx(expected, abs=1e-4)
    shells = shell_correlation(one, other)
    expected = fourier_shell_correlation(first.density, second.density)[: len(shells) - 1]
    np.testing.assert_allclose(shells[1:-1], expected[1:], atol=1e-3)


def test_whitened_shells_have_a_power_of_one():
    white = band_of_map(scene()[2], RESOLUTION).whitened()
    np.testing.assert_allclose(white.shell_means(np.abs(white.coefficient) ** 2)[1:], 1, rtol=1e-4)


def test_the_other_hand_is_inverted_through_the_origin():
    position, amplitude, density_map = scene()
    band = band_of_map(density_map, RESOLUTION)
    np.testing.assert_allclose(
        band_of_points(position, amplitude, band).other_hand().coefficient,
        band_of_points(-position, amplitude, band).coefficient,
        atol=1e-3 * amplitude.sum(),
    )


def test_a_cut_band_is_the_band_of_that_resolution():
    density_map = scene()[2]
    cut, direct = band_of_map(density_map, RESOLUTION).cut(8.0), band_of_map(density_map, 8.0)
    assert isinstance(cut, Band) and np.array_equal(cut.cycles, direct.cycles)
    np.testing.assert_array_equal(cut.coefficient, direct.coefficient)


def test_what_is_outside_of_the_box_is_left_out():
    position, amplitude, density_map = scene()
    band = band_of_map(density_map, RESOLUTION)
    far = np.concatenate([position, [[200.0, 0, 0]]])
    np.testing.assert_array_equal(
        band_of_points(far, np.append(amplitude, 50.0), band).coefficient,
        band_of_points(position, amplitude, band).coefficient,
    )


def test_thinned_points_keep_their_weight_and_centroid():
    position, amplitude, _ = scene(points=300)
    few, weight = thinned(position, amplitude, 3.0)
    assert len(few) < 200 and weight.sum() == pytest.approx(amplitude.sum())
    np.testing.assert_allclose(
        (weight[:, None] * few).sum(0), (amplitude[:, None] * position).sum(0)
    )
    assert np.array_equal(np.sort(thinned(position, amplitude, 1e-6)[1]), np.sort(amplitude))


@pytest.mark.parametrize("resolution", [2.9, 19.0, -1.0])
def test_a_resolution_that_the_map_does_not_hold_is_refused(resolution):
    with pytest.raises(InputError, match="choose from 3 to 18 A"):
        band_of_map(scene()[2], resolution)

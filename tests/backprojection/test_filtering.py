import pytest
import torch
from torch.testing import assert_close

from atomdrgn.backprojection.filtering import (
    automatic_mask,
    fsc_weight,
    guinier_b_factor,
    regularisation,
    sharpened,
    shell_mean,
)
from atomdrgn.backprojection.slice_sum import box_sphere
from atomdrgn.physics.correlation import shell_frequencies
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.half_maps import HalfMapCorrelation
from atomdrgn.physics.maps.maps import filtered, map_frequencies
from atomdrgn.physics.maps.masks import spherical_mask


def noise(box_size=32, seed=1):
    return torch.randn(box_size, box_size, box_size, generator=torch.Generator().manual_seed(seed))


def alike(box_size, voxel_size, value=0.999):
    frequency = shell_frequencies(box_size, voxel_size)
    one = torch.full_like(frequency, value)
    return HalfMapCorrelation(frequency, one, one, 0 * one, one, 0.0)


def test_the_weight_is_the_correlation_of_the_mean_of_halves_with_the_signal():
    signal, halves = noise(48), [noise(48) + 1.5 * noise(48, seed) for seed in (2, 3)]
    half = torch.tensor([torch.corrcoef(torch.stack([x.flatten() for x in halves]))[0, 1]])
    expected = torch.corrcoef(torch.stack([(halves[0] + halves[1]).flatten(), signal.flatten()]))[
        0, 1
    ]
    assert float(fsc_weight(half)) == pytest.approx(float(expected), abs=0.02)
    assert fsc_weight(torch.tensor([0.5, -0.1, 0.9])).tolist()[1:] == [0, 0]


def test_the_regularised_sum_is_the_wiener_filter():
    """Signal of power s in noise of power n, weight 1/n in each of two halves: the filter is s / (s
    + n/2).
    """
    s, n = 3.0, 2.0
    half = torch.tensor([s / (s + n)])
    weight = torch.tensor([2 / n])
    assert float(weight / (weight + regularisation(half, weight))) == pytest.approx(s / (s + n / 2))


@pytest.mark.parametrize("b_factor", [0.0, 80.0])
def test_a_known_decay_is_found_and_undone(b_factor):
    k = map_frequencies((48, 48, 48), 1.2)
    blurred = filtered(noise(48), torch.exp(-0.25 * b_factor * k**2))
    found = alike(48, 1.2)
    assert guinier_b_factor(blurred, found, voxel_size=1.2) == pytest.approx(b_factor, abs=3)
    restored = torch.fft.rfftn(
        sharpened(blurred, found.corrected, voxel_size=1.2, b_factor=b_factor)
    )
    held = k < 1 / 2.5
    assert_close(restored[held], torch.fft.rfftn(noise(48))[held], rtol=1e-2, atol=1e-1)


def test_no_line_is_fitted_where_there_is_none():
    assert guinier_b_factor(noise(32), alike(32, 4.0), voxel_size=4.0) is None


def test_the_mask_finds_what_is_dense():
    grid = ImageGrid(32, 4.0)
    body = spherical_mask(32, voxel_size=4.0, radius=20.0, edge=8.0)
    mask = automatic_mask(body + 0.1 * noise(seed=2), body + 0.1 * noise(seed=3), grid)
    assert mask[body > 0.5].min() > 0.99 and float(mask.mean()) < 6 * float(body.mean())
    assert torch.equal(automatic_mask(noise(seed=2), noise(seed=3), grid), box_sphere(grid))


def test_a_shell_mean_is_over_the_whole_shell():
    power = torch.fft.rfftn(noise(16)).abs() ** 2
    assert shell_mean(power, 16)[4] == pytest.approx(16**3, rel=0.3)
    assert_close(shell_mean(torch.ones(16, 16, 9), 16), torch.ones(9))

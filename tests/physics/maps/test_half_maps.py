import pytest
import torch
from torch.testing import assert_close

from atomdrgn.errors import InputError
from atomdrgn.physics.correlation import (
    fourier_shell_correlation,
    resolution_at,
    shell_frequencies,
    shell_index,
)
from atomdrgn.physics.maps.half_maps import correlate_half_maps, randomise_phases
from atomdrgn.physics.maps.maps import low_pass
from atomdrgn.physics.maps.masks import spherical_mask


def noise(box_size=48, seed=1):
    return torch.randn(box_size, box_size, box_size, generator=torch.Generator().manual_seed(seed))


def test_frequencies_count_in_one_over_the_extent():
    assert_close(shell_frequencies(5, 2.0), torch.tensor([0, 0.1, 0.2]))


def test_a_crossing_is_interpolated():
    frequency = torch.tensor([0.0, 0.1, 0.2, 0.3])
    assert resolution_at(frequency, torch.tensor([0.0, 1.0, 0.6, 0.2]), 0.5) == pytest.approx(
        1 / 0.225
    )
    assert resolution_at(frequency, torch.tensor([1.0, 1, 1, 1]), 0.5) == pytest.approx(1 / 0.3)
    assert resolution_at(frequency, torch.tensor([1.0, 0.2, 1, 1]), 0.5) == float("inf")


def test_random_phases_keep_amplitudes_and_what_is_coarser():
    density = noise()
    other = randomise_phases(density, 10, generator=torch.Generator().manual_seed(2))
    before, after = torch.fft.rfftn(density), torch.fft.rfftn(other)
    coarse = shell_index(48, 3) < 10
    assert_close(after[coarse], before[coarse], atol=1e-2, rtol=0)
    assert_close(after.abs(), before.abs(), atol=1e-2, rtol=0)
    assert fourier_shell_correlation(density, other)[12:].abs().max() < 0.15


def test_a_mask_around_nothing_but_noise_gains_no_resolution():
    """Both halves hold the same coarse signal; beyond 12 A there is none, and a tight mask
    correlates what leaks there.
    """
    signal = 30 * low_pass(noise(seed=1), voxel_size=2.0, resolution=12.0)
    halves = [signal + noise(seed=seed) for seed in (2, 3)]
    sharp = spherical_mask(48, voxel_size=2.0, radius=12.0, edge=2.0)
    found = correlate_half_maps(*halves, voxel_size=2.0, mask=sharp)
    fine = found.frequency > 1 / 9.5
    assert found.masked[fine].mean() > 0.2  # what the mask brings
    assert abs(found.corrected[fine].mean()) < 0.12
    assert found.resolution(0.5) > resolution_at(found.frequency, found.masked, 0.5) + 0.5
    assert_close(found.masked[found.frequency < 0.07], found.corrected[found.frequency < 0.07])


def test_what_is_there_stays_there():
    signal = noise(seed=1)
    halves = [signal + 0.7 * noise(seed=seed) for seed in (2, 3)]
    found = correlate_half_maps(
        *halves, voxel_size=2.0, mask=spherical_mask(48, voxel_size=2.0, radius=30.0, edge=10.0)
    )
    expected = torch.full((16,), 1 / 1.49)
    assert_close(found.unmasked[8:24], expected, atol=0.05, rtol=0)
    assert_close(found.corrected[8:24], expected, atol=0.08, rtol=0)


def test_maps_of_other_shapes_and_empty_masks_are_refused():
    with pytest.raises(InputError, match="one shape"):
        correlate_half_maps(noise(8), noise(8), voxel_size=1.0, mask=torch.ones(9, 9, 9))
    with pytest.raises(InputError, match="empty"):
        correlate_half_maps(noise(8), noise(8), voxel_size=1.0, mask=torch.zeros(8, 8, 8))

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.errors import InputError
from atomdrgn.physics.correlation import fourier_shell_correlation
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.physics.maps.maps import (
    fourier_crop,
    low_pass,
    map_frequencies,
    mirrored,
    resampled,
    window,
)

ATOMS = torch.tensor([[3.0, -7, 5], [-10, 4, 2], [0, 9, -12]])


def blobs(box_size, voxel_size, sigma=5.0, position=ATOMS):
    return density_of_atoms(
        position, torch.tensor([1.0, 2, 3]), sigma, box_size=box_size, voxel_size=voxel_size
    )


def test_a_low_pass_takes_what_is_finer_and_leaves_the_rest():
    noise = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(1))
    before, after = (
        torch.fft.rfftn(noise),
        torch.fft.rfftn(low_pass(noise, voxel_size=2.0, resolution=10.0)),
    )
    k = map_frequencies(noise.shape, 2.0)
    assert_close(after[k < 0.094], before[k < 0.094], atol=1e-3, rtol=0)
    assert after[k > 0.106].abs().max() < 1e-3
    with pytest.raises(InputError, match="positive"):
        low_pass(noise, voxel_size=2.0, resolution=0.0)


@pytest.mark.parametrize(("old", "new"), [(48, 32), (48, 31), (47, 32), (47, 31)])
def test_a_crop_in_fourier_space_is_the_map_on_larger_voxels(old, new):
    assert_close(fourier_crop(blobs(old, 2.0), new), blobs(new, 2.0 * old / new), atol=2e-5, rtol=0)


def test_a_crop_needs_a_cube_and_a_smaller_box():
    with pytest.raises(InputError, match="no cube"):
        fourier_crop(torch.zeros(4, 5, 5), 4)
    with pytest.raises(InputError, match="cannot be cropped to 7"):
        fourier_crop(torch.zeros(5, 5, 5), 7)


@pytest.mark.parametrize("box_size", [24, 25])
def test_the_origin_stays_where_it_is_when_cut_padded_or_mirrored(box_size):
    density = torch.zeros(box_size, box_size, box_size)
    density[(box_size // 2,) * 3] = 1
    for new in (16, 17, 30, 31):
        assert window(density, (new,) * 3)[(new // 2,) * 3] == 1
    assert mirrored(density)[(box_size // 2,) * 3] == 1


@pytest.mark.parametrize("box_size", [40, 41])
def test_the_mirror_image_has_its_atoms_at_minus_z(box_size):
    other = blobs(box_size, 2.0, position=ATOMS * torch.tensor([1.0, 1, -1]))
    assert_close(mirrored(blobs(box_size, 2.0)), other)
    assert_close(mirrored(mirrored(other)), other)


@pytest.mark.parametrize(("box_size", "voxel_size"), [(36, 1.7), (35, 2.6), (60, 1.3)])
def test_resampling_keeps_values(box_size, voxel_size):
    result = resampled(
        blobs(48, 2.0), voxel_size=2.0, target_voxel_size=voxel_size, box_size=box_size
    )
    assert_close(result, blobs(box_size, voxel_size), atol=3e-5, rtol=0)


def test_a_map_of_unlike_edges_is_resampled_too():
    cut = window(blobs(48, 2.0), (40, 44, 47))
    assert_close(
        resampled(cut, voxel_size=2.0, target_voxel_size=2.4, box_size=36),
        blobs(36, 2.4),
        atol=3e-5,
        rtol=0,
    )


def test_two_filters_of_one_map_correlate_at_every_shell_they_share():
    density = blobs(32, 2.0, sigma=2.0)
    correlation = fourier_shell_correlation(
        density, low_pass(density, voxel_size=2.0, resolution=8.0)
    )
    assert_close(correlation[:7], torch.ones(7))

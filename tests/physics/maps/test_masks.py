import pytest
import torch
from torch.testing import assert_close

from atomdrgn.errors import InputError
from atomdrgn.physics.maps.masks import density_mask, mask_around, spherical_mask


def test_a_sphere_is_whole_inside_half_in_the_middle_of_its_edge_and_nothing_beyond():
    mask = spherical_mask(41, voxel_size=2.0, radius=20.0, edge=8.0)
    along = mask[20, 20, 20:]
    assert_close(along[:11], torch.ones(11))
    assert along[12].item() == pytest.approx(0.5, abs=1e-6)
    assert along[14:].abs().max() < 1e-6
    assert_close(mask, mask.flip(0)) and assert_close(mask, mask.transpose(0, 2))


def test_a_mask_around_the_origin_is_that_sphere():
    around = mask_around(
        torch.zeros(1, 3), shape=(30, 30, 30), voxel_size=2.0, radius=15.0, edge=6.0
    )
    assert_close(around, spherical_mask(30, voxel_size=2.0, radius=15.0, edge=6.0))


def test_a_mask_around_atoms_knows_its_axes_and_its_centre():
    mask = mask_around(
        torch.tensor([[110.0, 0.0, -14.0]]),
        shape=(20, 22, 24),
        voxel_size=2.0,
        radius=1.0,
        centre=(100.0, 0, 0),
    )
    assert mask.nonzero().tolist() == [[10 - 7, 11, 12 + 5]]
    assert not mask_around(
        torch.tensor([[900.0, 0, 0]]), shape=(8, 8, 8), voxel_size=2.0, radius=5.0
    ).any()
    with pytest.raises(InputError, match="no atoms"):
        mask_around(torch.zeros(0, 3), shape=(8, 8, 8), voxel_size=2.0, radius=5.0)


def test_a_mask_of_what_is_dense_grows_by_what_it_is_told():
    density = spherical_mask(41, voxel_size=2.0, radius=16.0)
    mask = density_mask(density, voxel_size=2.0, level=0.5, extend=8.0, edge=4.0)
    assert_close(mask[20, 20, 20:33], torch.tensor([1.0] * 13))
    assert (
        mask[20, 20, 33].item() == pytest.approx(0.5, abs=1e-6)
        and mask[20, 20, 34:].abs().max() < 1e-6
    )
    with pytest.raises(InputError, match="no voxel is above"):
        density_mask(density, voxel_size=2.0, level=2.0)

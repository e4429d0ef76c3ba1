"""Voxels of volumes: sizes, powers, and a volume found again from its slices."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from atomdrgn import ImageGrid
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.maps.masks import spherical_mask
from atomdrgn.physics.rotations import matrix_from_quaternion
from atomdrgn.subspace.component_grid import ComponentGrid, resized
from atomdrgn.subspace.component_loops import add_to_sums, image_systems


def smooth(box, generator):
    """A volume of coarse waves in a sphere."""
    volume = resized(torch.randn(1, 8, 8, 8, generator=generator), box)[0]
    return volume * spherical_mask(box, voxel_size=1.0, radius=0.25 * box, edge=0.1 * box)


@pytest.mark.parametrize("box", [15, 16])
def test_resizing_there_and_back_changes_nothing(box):
    volume = torch.randn(2, box, box, box, generator=torch.Generator().manual_seed(0))
    coarse = resized(volume, 9)
    assert torch.allclose(resized(resized(coarse, 21), 9), resized(coarse, 9), atol=1e-5)
    assert resized(volume[:0], 9).shape == (0, 9, 9, 9)


def test_powers_are_given_and_measured():
    grid = ComponentGrid(make_disc(ImageGrid(24, 2.0), 6.0))
    box = grid.grid.box_size
    volume = torch.randn(2, box, box, box, generator=torch.Generator().manual_seed(0))
    power = np.linspace(2, 1, grid.shells)
    found = grid.shell_power(grid.with_power(volume, power))
    assert np.allclose(found, power, rtol=1e-3)


def sums_of_slices(grid, volume, count, generator, *, noise=0.0):
    """Systems of slices of one volume at random rotations, whitened where there is noise."""
    rotation = matrix_from_quaternion(
        normalize(torch.randn(count, 4, generator=generator), dim=1)
    ).numpy()
    one = np.ones((count, 1), np.float32)
    transfer = np.full((count, len(grid.disc)), 1 / (noise or 1), np.float32)
    nothing = np.zeros((*transfer.shape, 2), np.float32)
    _, _, slices = image_systems(
        grid.transform(volume[None]), rotation, grid.place, transfer, nothing
    )
    slices += (noise > 0) * torch.randn(slices.shape, generator=generator).numpy()
    sums = grid.empty_sums(1)
    add_to_sums(rotation, grid.place, transfer, slices, one, one, sums)
    return grid.collected(sums)


def test_a_volume_is_found_from_its_slices():
    generator = torch.Generator().manual_seed(0)
    grid = ComponentGrid(make_disc(ImageGrid(32, 2.0), 6.0))
    volume = smooth(grid.grid.box_size, generator)
    systems = sums_of_slices(grid, volume, 1500, generator)
    found = grid.filtered(systems, np.full((1, grid.shells), 1e6))[0]
    inside = spherical_mask(len(volume), voxel_size=1.0, radius=0.35 * len(volume)) > 0
    together = torch.stack([found[inside], volume[inside]])
    assert torch.corrcoef(together)[0, 1] > 0.99
    assert found[inside].norm() == pytest.approx(float(volume[inside].norm()), rel=0.06)


def test_a_mask_says_what_few_noisy_slices_do_not():
    """Within a mask the volume keeps its strength; voxels one by one lose most of it."""
    generator = torch.Generator().manual_seed(0)
    grid = ComponentGrid(make_disc(ImageGrid(48, 2.0), 8.0))
    box = grid.grid.box_size
    mask = spherical_mask(box, voxel_size=1.0, radius=0.25 * box, edge=0.1 * box)
    volume = smooth(box, generator) * mask
    power = grid.shell_power(volume[None])
    noise = 2 * float(power.mean()) ** 0.5
    systems = sums_of_slices(grid, volume, 60, generator, noise=noise)
    alone = grid.filtered(systems, power)[0] * mask
    found = grid.solved(systems, power, mask, torch.zeros(1, box, box, box))[0]

    def strength(each):
        return float((each * volume).sum() / volume.square().sum())

    def correlation(each):
        return float((each * volume).sum() / each.norm() / volume.norm())

    assert strength(alone) < 0.6 < 0.75 < strength(found) < 1.1
    assert correlation(found) > correlation(alone)

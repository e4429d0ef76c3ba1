"""Loops over slices of several volumes beside tensor operations that do the same."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from atomdrgn import ImageGrid
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.maps.slices import SliceSource
from atomdrgn.physics.rotations import matrix_from_quaternion
from atomdrgn.subspace.component_grid import ComponentGrid, packed
from atomdrgn.subspace.component_loops import add_to_sums, image_systems, solve_voxels, times_voxels

BOX, PIXEL, IMAGES, VOLUMES = 20, 3.0, 5, 3


@pytest.fixture
def scene():
    """Grid, volumes, rotations, transfers and data at random."""
    generator = torch.Generator().manual_seed(0)
    grid = ComponentGrid(make_disc(ImageGrid(BOX, PIXEL), 8.0))
    box = grid.grid.box_size
    volumes = torch.randn(VOLUMES, box, box, box, generator=generator)
    rotation = matrix_from_quaternion(normalize(torch.randn(IMAGES, 4, generator=generator), dim=1))
    count = len(grid.disc)
    transfer = torch.randn(IMAGES, count, generator=generator)
    data = torch.randn(IMAGES, count, 2, generator=generator)
    return grid, volumes, rotation, transfer, data


def slices_of(grid, volumes, rotation):
    """Slices by tensor operations, as an image of these voxels has them, (volume, image, frequency)."""
    disc = make_disc(grid.grid, grid.disc.resolution)
    assert torch.equal(disc.x_index, grid.disc.x_index)
    scale = grid.scale / (grid.grid.pixel_size / grid.grid.box_size)
    return torch.stack([SliceSource(each, disc).slices(rotation) * scale for each in volumes])


def test_systems_are_those_of_slices(scene):
    grid, volumes, rotation, transfer, data = scene
    slices = slices_of(grid, volumes, rotation) * transfer
    image = torch.complex(data[..., 0], data[..., 1])
    matrix, right, kept = image_systems(
        grid.transform(volumes), rotation.numpy(), grid.place, transfer.numpy(), data.numpy()
    )
    assert np.allclose(
        matrix, torch.einsum("vif,wif->ivw", slices.conj(), slices).real, rtol=1e-4, atol=1e-4
    )
    assert np.allclose(right, torch.einsum("vif,if->iv", slices.conj(), image).real, atol=1e-4)
    assert np.allclose(kept[..., ::2], slices.real.permute(1, 2, 0), atol=1e-4)
    assert np.allclose(kept[..., 1::2], slices.imag.permute(1, 2, 0), atol=1e-4)


def test_what_is_added_is_the_adjoint_of_slices(scene):
    """The product of slices and images is that of volumes and summed images."""
    grid, volumes, rotation, transfer, data = scene
    generator = np.random.default_rng(0)
    amount = generator.normal(size=(IMAGES, VOLUMES)).astype(np.float32)
    moment = packed(amount[:, :, None] * amount[:, None])
    sums = grid.empty_sums(VOLUMES)
    add_to_sums(rotation.numpy(), grid.place, transfer.numpy(), data.numpy(), amount, moment, sums)
    transform = grid.transform(volumes).astype(np.float64)
    from_sums = (transform * sums[..., : 2 * VOLUMES]).sum()
    _, right, _ = image_systems(
        grid.transform(volumes), rotation.numpy(), grid.place, transfer.numpy(), data.numpy()
    )
    assert from_sums == pytest.approx((right * amount).sum(), rel=1e-4)
    weight = sums[..., 2 * VOLUMES :].sum((0, 1, 2))
    expected = (transfer.square().sum(1).numpy()[:, None] * moment).sum(0)
    assert np.allclose(weight, expected, rtol=1e-4)


def test_voxels_are_solved():
    generator = np.random.default_rng(0)
    root = generator.normal(size=(7, VOLUMES, VOLUMES))
    matrix = root @ root.transpose(0, 2, 1)
    right = generator.normal(size=(7, VOLUMES, 2))
    precision = generator.uniform(0.5, 1, size=(7, VOLUMES)).astype(np.float32)
    systems = np.concatenate([right.reshape(7, -1), packed(matrix)], 1).astype(np.float32)
    expected = np.linalg.solve(matrix + precision[:, :, None] * np.eye(VOLUMES), right)
    found = solve_voxels(systems, precision)
    assert np.allclose(found, expected[..., 0] + 1j * expected[..., 1], rtol=1e-3, atol=1e-4)
    again = times_voxels(systems, precision, found)
    assert np.allclose(again, right[..., 0] + 1j * right[..., 1], rtol=1e-3, atol=1e-4)

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import pad
from torch.testing import assert_close

from atomdrgn.backprojection.slice_sum import bytes_of_sum, empty_sum, padded_grid
from atomdrgn.devices import moved
from atomdrgn.physics.correlation import fourier_shell_correlation
from atomdrgn.physics.fourier import transform
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.physics.maps.maps import mirrored
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.projection.project import project_beads
from atomdrgn.physics.rotations import matrix_from_quaternion
from pretended_device import pretended_device

N_IMAGES = 400


def molecule(grid, seed=3, count=12):
    """Atoms and widths of an asymmetric molecule that fills half of the box."""
    position = (
        0.1 * grid.extent * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
    )
    return position, torch.linspace(1, 3, count), torch.full((count,), 1.2 * grid.pixel_size)


def poses(count, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return Pose(
        matrix_from_quaternion(torch.randn(count, 4, generator=generator)),
        6 * torch.randn(count, 2, generator=generator),
    )


def coefficients(grid, pose):
    """Transforms of padded projections of that molecule."""
    position, amplitude, sigma = molecule(grid)
    image = project_beads(pose.apply(position), amplitude, sigma, grid)
    fine = padded_grid(grid).box_size
    before = fine // 2 - grid.box_size // 2
    return transform(pad(image, (before, fine - grid.box_size - before) * 2))


@pytest.mark.parametrize("box_size", [32, 33])
def test_projections_in_all_directions_make_the_molecule_again(box_size):
    grid, pose = ImageGrid(box_size, 3.0), poses(N_IMAGES)
    value, total = coefficients(grid, pose), empty_sum(grid)
    total.add(value, torch.ones(value.shape), pose, torch.ones(N_IMAGES))
    position, amplitude, sigma = molecule(grid)
    truth = density_of_atoms(position, amplitude, sigma, box_size=box_size, voxel_size=3.0)
    found = total.density(torch.zeros(box_size // 2 + 1))
    assert fourier_shell_correlation(found, truth)[: box_size // 2 - 1].min() > 0.995
    assert_close(found, truth, atol=0.03 * float(truth.max()), rtol=0)
    assert fourier_shell_correlation(mirrored(found), truth)[4:12].max() < 0.6


def slow_sum(grid, value, weight, pose, strength):
    """The same sum, coefficient by coefficient over the whole plane, in plain NumPy."""
    n = padded_grid(grid).box_size
    sums = np.zeros((n, n, n // 2 + 1, 3))
    ky = np.fft.fftfreq(n, 1 / n).astype(int)
    for image in range(len(value)):
        for row in range(n):
            for kx in range(n // 2 + 1):
                if math.hypot(kx, ky[row]) > n // 2 - 1 - 1e-3 or (kx == 0 and ky[row] < 0):
                    continue
                k = np.array([kx, ky[row]], float)
                place = k @ pose.rotation[image, :2].double().numpy()
                v = complex(value[image, row, kx]) * np.exp(
                    2j * np.pi * k @ pose.shift[image].double().numpy() / (n * grid.pixel_size)
                )
                if place[0] < 0:
                    place, v = -place, v.conjugate()
                low = np.floor(place).astype(int)
                for corner in np.ndindex(2, 2, 2):
                    share = np.prod(np.where(corner, place - low, 1 - (place - low))) * float(
                        strength[image]
                    )
                    x, y, z = low + corner
                    sums[z + n // 2, y + n // 2, x] += share * np.array(
                        [v.real, v.imag, float(weight[image, row, kx])]
                    )
    return sums


def test_the_loop_is_the_sum_as_it_is_written():
    grid, pose = ImageGrid(8, 3.0), poses(3)
    generator = torch.Generator().manual_seed(2)
    value = torch.randn(3, 16, 9, generator=generator, dtype=torch.complex64)
    weight, strength = torch.rand(3, 16, 9, generator=generator), torch.tensor([1.0, 0.0, 2.5])
    total = empty_sum(grid)
    total.add(value, weight, pose, strength)
    np.testing.assert_allclose(total.sums, slow_sum(grid, value, weight, pose, strength), atol=2e-5)
    assert total.sums.nbytes == bytes_of_sum(grid)


def test_a_sum_on_another_device_is_the_same():
    grid, pose = ImageGrid(9, 3.0), poses(5)
    generator = torch.Generator().manual_seed(2)
    value = torch.randn(5, 18, 10, generator=generator, dtype=torch.complex64)
    weight, strength = torch.rand(5, 18, 10, generator=generator), torch.arange(5.0)
    here = empty_sum(grid)
    here.add(value, weight, pose, strength)
    with pretended_device() as device:
        there = empty_sum(grid, device)
        there.add(*moved((value, weight, pose, strength), device))
        found = there.sums.cpu()
        density = there.density(torch.full((5,), 0.1))
    assert_close(found, here.sums, rtol=0, atol=2e-5)
    assert_close(density, here.density(torch.full((5,), 0.1)), rtol=1e-3, atol=1e-3)


def test_two_sums_are_the_sum_of_both():
    grid, pose = ImageGrid(16, 3.0), poses(6)
    value = coefficients(grid, pose)
    apart, together = [empty_sum(grid), empty_sum(grid)], empty_sum(grid)
    one = torch.ones(6)
    for total, kept in zip(
        apart, (one * (torch.arange(6) < 2), one * (torch.arange(6) >= 2)), strict=True
    ):
        total.add(value, torch.ones(value.shape), pose, kept)
    together.add(value, torch.ones(value.shape), pose, one)
    np.testing.assert_allclose(apart[0].plus(apart[1]).sums, together.sums, atol=1e-3)


def test_regularisation_weakens_a_shell_by_its_share():
    grid, pose = ImageGrid(16, 3.0), poses(N_IMAGES)
    value, total = coefficients(grid, pose), empty_sum(grid)
    total.add(value, torch.ones(value.shape), pose, torch.ones(N_IMAGES))
    plain, weak = (torch.fft.rfftn(total.density(torch.full((9,), level))) for level in (0.0, 1e6))
    # all weights are small beside a million: what is left is the sum itself, over a million
    assert weak.abs().max() < 0.01 * plain.abs().max()
    assert total.shell_weight()[1:7].min() > 0


def test_no_images_make_an_empty_map():
    assert not empty_sum(ImageGrid(8, 3.0)).density(torch.zeros(5)).any()

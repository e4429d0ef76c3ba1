import math

import numpy as np
import pytest
import torch
from scipy.special import wofz
from torch.testing import assert_close

from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.project import project_beads

PIXEL = 1.7
GRID = ImageGrid(32, PIXEL)


def beads(count=12, *, images=2, spread=0.12, box_size=32):
    """Beads well inside the box: position, amplitude."""
    generator = torch.Generator().manual_seed(3)
    position = (
        spread
        * box_size
        * PIXEL
        * torch.randn(images, count, 3, generator=generator, dtype=torch.float64).clamp(-2, 2)
    )
    return position, 0.5 + torch.rand(count, generator=generator, dtype=torch.float64)


def width(pixels, count=12):
    """Sigma of each bead, A."""
    return torch.full((count,), pixels * PIXEL, dtype=torch.float64)


@pytest.mark.parametrize("pixels", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("box_size", [32, 33])
def test_wide_beads_are_gaussians_sampled_at_the_pixel_centres(pixels, box_size):
    position, amplitude = beads()
    line = (np.arange(box_size) - box_size // 2) * PIXEL
    y, x = np.meshgrid(line, line, indexing="ij")
    sigma = pixels * PIXEL
    expected = np.zeros((2, box_size, box_size))
    for image, positions in zip(expected, position.numpy(), strict=True):
        for (bead_x, bead_y, _), bead_amplitude in zip(positions, amplitude.numpy(), strict=True):
            square = (x - bead_x) ** 2 + (y - bead_y) ** 2
            image += bead_amplitude * np.exp(-square / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    images = project_beads(position, amplitude, width(pixels), ImageGrid(box_size, PIXEL))
    assert_close(images, torch.from_numpy(expected), atol=1e-4 * expected.max(), rtol=0)


@pytest.mark.parametrize("pixels", [0.3, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("box_size", [16, 17])
def test_narrow_beads_are_band_limited(pixels, box_size):
    """A rendering with eight samples a pixel on a plane of 256 pixels, cropped in Fourier space,
    with numpy alone.
    """
    position, amplitude = beads(5, images=1, box_size=box_size)
    plane, oversampling, sigma = 256, 8, pixels * PIXEL
    fine = (np.arange(plane * oversampling) - plane * oversampling // 2) * PIXEL / oversampling
    along = [
        np.exp(-((position[0, :, axis].numpy()[:, None] - fine) ** 2) / (2 * sigma**2))
        for axis in (0, 1)
    ]
    rendered = np.einsum(
        "n,ny,nx->yx", amplitude.numpy() / (2 * np.pi * sigma**2), along[1], along[0]
    )
    coefficient = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(rendered)))
    middle = plane * oversampling // 2
    low = slice(middle - plane // 2, middle + plane // 2)
    cropped = (
        np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(coefficient[low, low]))).real
        / oversampling**2
    )
    window = slice(plane // 2 - box_size // 2, plane // 2 - box_size // 2 + box_size)
    images = project_beads(position, amplitude, width(pixels, 5), ImageGrid(box_size, PIXEL))
    # the plane repeats itself after 256 pixels, the beads' does not: hence the tolerance
    assert_close(
        images[0], torch.from_numpy(cropped[window, window]), atol=2e-4 * cropped.max(), rtol=0
    )


@pytest.mark.parametrize("pixels", [0.02, 0.3, 0.8, 1.49])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_the_profile_is_the_closed_form(pixels, dtype, tolerance):
    """A Gaussian less the part beyond Nyquist, by Faddeeva's function w (Abramowitz & Stegun
    7.1.3).
    """
    center = np.linspace(-40, 40, 201)  # as far as half a box outside the image
    d = center[:, None] - (np.arange(40) - 20)
    faddeeva = wofz(-d / (math.sqrt(2) * pixels) + 1j * math.pi * pixels / math.sqrt(2))
    gaussian = np.exp(-(d**2) / (2 * pixels**2))
    beyond = math.exp(-0.5 * (math.pi * pixels) ** 2) * (np.exp(-1j * math.pi * d) * faddeeva).real
    expected = torch.from_numpy((gaussian - beyond) / (math.sqrt(2 * math.pi) * pixels))
    position = torch.zeros(201, 1, 3, dtype=dtype)
    position[:, 0, 0] = torch.from_numpy(center)
    # the row through the beads, over what a bead on that row leaves there
    image = project_beads(
        position,
        torch.ones(1, dtype=dtype),
        torch.full((1,), pixels, dtype=dtype),
        ImageGrid(40, 1.0),
    )
    on_axis = math.erf(math.pi * pixels / math.sqrt(2)) / (math.sqrt(2 * math.pi) * pixels)
    assert_close(image[:, 20].double() / on_axis, expected, atol=tolerance, rtol=0)


def test_a_point_is_a_sinc():
    position = torch.tensor([[0.3, -0.2, 0.0]], dtype=torch.float64)
    image = project_beads(
        position, torch.ones(1).double(), torch.zeros(1).double(), ImageGrid(9, 1.0)
    )
    pixel = torch.arange(9, dtype=torch.float64) - 4
    assert_close(image, torch.sinc(pixel + 0.2)[:, None] * torch.sinc(pixel - 0.3))


@pytest.mark.parametrize("pixels", [1.0, 1.6, 2.5])
def test_mass_is_conserved(pixels):
    position, amplitude = beads()
    images = project_beads(position, amplitude, width(pixels), ImageGrid(64, PIXEL))
    assert_close(
        images.sum((-2, -1)) * PIXEL**2,
        amplitude.sum().expand(2),
        rtol=2e-3 if pixels < 1.5 else 1e-5,
        atol=0,
    )


@pytest.mark.parametrize("pixels", [0.5, 2.0])
def test_beads_moved_by_whole_pixels_move_the_image(pixels):
    position, amplitude = beads()
    moved = position + PIXEL * torch.tensor([3.0, -2.0, 10.0])
    before, after = (project_beads(p, amplitude, width(pixels), GRID) for p in (position, moved))
    assert_close(after[:, :-2, 3:], before[:, 2:, :-3])


@pytest.mark.parametrize("pixels", [0.5, 2.0])
def test_a_quarter_turn_about_z_turns_the_image(pixels):
    position, amplitude = beads()
    turned = torch.stack([-position[..., 1], position[..., 0], position[..., 2]], -1)
    grid = ImageGrid(33, PIXEL)
    before, after = (project_beads(p, amplitude, width(pixels), grid) for p in (position, turned))
    assert_close(after, before.flip(-2).transpose(-2, -1))


@pytest.mark.parametrize("pixels", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("box_size", [16, 17])
def test_the_box_is_a_window_on_an_infinite_plane(pixels, box_size):
    """Beads in and around the box: what falls outside is lost, and nothing comes back at the other
    side.
    """
    position, amplitude = beads(box_size=60)
    assert (position.abs() > 8 * PIXEL).any()
    window = slice(24 - box_size // 2, 24 - box_size // 2 + box_size)
    plane = project_beads(position, amplitude, width(pixels), ImageGrid(48, PIXEL))
    assert_close(
        project_beads(position, amplitude, width(pixels), ImageGrid(box_size, PIXEL)),
        plane[:, window, window],
    )


@pytest.mark.parametrize("pixels", [0.5, 2.0])
def test_a_bead_far_outside_is_lost(pixels):
    position = torch.tensor([[40.0 * PIXEL, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    image = project_beads(position, torch.ones(1).double(), width(pixels, 1), GRID)
    assert image.abs().max() < 1e-12
    image.sum().backward()
    assert position.grad.abs().max() < 1e-12


def test_gradients_match_finite_differences_for_points_narrow_and_wide_beads():
    position, amplitude = beads(5)
    sigma = PIXEL * torch.tensor([0.0, 0.4, 1.2, 1.8, 3.0], dtype=torch.float64)
    inputs = [tensor.clone().requires_grad_() for tensor in (position, amplitude, sigma)]
    assert torch.autograd.gradcheck(
        lambda *values: project_beads(*values, ImageGrid(9, PIXEL)), inputs
    )


def test_mixed_widths_are_the_sum_of_their_parts():
    position, amplitude = beads()
    sigma = torch.cat([width(0.7, 5), width(2.2, 7)])
    parts = [
        project_beads(position[:, part], amplitude[part], sigma[part], GRID)
        for part in (slice(5), slice(5, 12))
    ]
    assert_close(project_beads(position, amplitude, sigma, GRID), parts[0] + parts[1])


@pytest.mark.parametrize("pixels", [0.5, 2.0])
@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,)])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_any_batch_and_any_number_of_beads(batch, count, pixels):
    position, shared, own = (
        torch.zeros(*batch, count, 3),
        torch.ones(count),
        torch.ones(*batch, count),
    )
    images = project_beads(position, shared, pixels * shared, ImageGrid(9, 1.0))
    assert images.shape == (*batch, 9, 9)
    assert_close(project_beads(position, own, pixels * own, ImageGrid(9, 1.0)), images)
    assert count or not images.any()


def test_each_image_may_have_its_own_occupancies():
    position, amplitude = beads()
    occupancy = torch.stack([torch.ones(12), torch.zeros(12)]).double()
    images = project_beads(position, occupancy * amplitude, width(1.8), GRID)
    assert_close(images[0], project_beads(position[0], amplitude, width(1.8), GRID))
    assert not images[1].any()

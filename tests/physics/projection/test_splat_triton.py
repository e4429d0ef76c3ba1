"""The GPU's kernels: compiled where there is a GPU, through Triton's interpreter in a process of
its own where there is none.
"""

import math
import os
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.dense import project_beads_dense
from atomdrgn.physics.projection.project import project_beads

pytest.importorskip("triton", reason="triton cannot be imported: it is made for Linux")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
PIXEL = 1.75

runs_kernels = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(),
    reason="no GPU: these run in Triton's interpreter, in a process that the first test starts",
)


@pytest.mark.seconds
@pytest.mark.skipif(INTERPRETED, reason="this is the process that the test starts")
def test_the_kernels_in_triton_s_interpreter():
    """Triton reads the variable when it is imported, and another test may have imported it."""
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    found = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert found.returncode == 0, found.stdout + found.stderr


def project(position, amplitude, sigma, grid):
    from atomdrgn.physics.projection.splat_triton import project_beads_triton

    return project_beads_triton(position, amplitude, sigma, grid)


def beads(count, *, images=(2,), box_size=16, width=(0.5, 4.0), spread=1.2):
    """Position, amplitude, sigma in single precision: beads over `spread` of the box, widths in
    pixels.
    """
    generator = torch.Generator().manual_seed(5)
    position = (
        (torch.rand(*images, count, 3, generator=generator) - 0.5) * spread * box_size * PIXEL
    )
    amplitude = 0.2 + torch.rand(count, generator=generator)
    low, high = width if isinstance(width, tuple) else (width, width)
    sigma = low + (high - low) * torch.rand(count, generator=generator)
    return [tensor.to(DEVICE) for tensor in (position, amplitude, PIXEL * sigma)]


def values_and_gradients(function, inputs, box_size):
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    images = function(*inputs, ImageGrid(box_size, PIXEL))
    weight = torch.randn(
        images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    return [images.detach(), *torch.autograd.grad(images, inputs, weight.to(images))]


def assert_as_defined(inputs, box_size):
    found = values_and_gradients(project, inputs, box_size)
    expected = values_and_gradients(
        project_beads_dense, [tensor.double() for tensor in inputs], box_size
    )
    for value, other in zip(found, expected, strict=True):
        assert value.shape == other.shape
        difference = value.double() - other
        assert difference.norm() <= 1e-4 * other.norm()
        assert difference.numel() == 0 or difference.abs().max() <= 1e-4 * other.abs().max()


@runs_kernels
@pytest.mark.parametrize("box_size", [16, 17])
@pytest.mark.parametrize("width", [0.3, 1.5, (1.5, 6.0), (0.3, 4.0)])
def test_images_and_gradients_are_those_of_the_definition(width, box_size):
    assert_as_defined(beads(34, box_size=box_size, width=width), box_size)


@runs_kernels
@pytest.mark.parametrize("box_size", [2, 3])
def test_small_boxes(box_size):
    assert_as_defined(beads(4, box_size=box_size), box_size)


@runs_kernels
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("images", [(), (0,), (2, 1, 2)])
def test_any_batch_and_any_number_of_beads(images, count):
    position, amplitude, sigma = beads(count, images=images)
    scale = 1 + torch.rand(*images, 1, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    assert_as_defined([position, amplitude, sigma], 16)
    assert_as_defined([position, amplitude * scale, sigma * scale], 16)


@runs_kernels
def test_memory_in_any_order():
    position, amplitude, sigma = beads(6)
    strided = (
        position.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        amplitude.repeat_interleave(2)[::2],
        sigma,
    )
    for found, expected in zip(
        values_and_gradients(project, strided, 16),
        values_and_gradients(project, (position, amplitude, sigma), 16),
        strict=True,
    ):
        assert_close(found, expected, rtol=0, atol=0)


@runs_kernels
@pytest.mark.parametrize(("far", "width"), [(1e6, 0.5), (1e6, 2.0), (-1e30, 0.5), (1e30, 2.0)])
def test_beads_far_away_leave_nothing(far, width):
    position, amplitude, sigma = beads(6, width=width)
    whole = project(position[:, 1:], amplitude[1:], sigma[1:], ImageGrid(16, PIXEL))
    position[:, 0] = far
    images, of_position, of_amplitude, of_sigma = values_and_gradients(
        project, (position, amplitude, sigma), 16
    )
    assert_close(images, whole)
    assert not of_position[:, 0].any() and not of_amplitude[0].any() and not of_sigma[0].any()


@runs_kernels
@pytest.mark.parametrize(
    ("which", "wrong"), [(0, math.nan), (0, math.inf), (1, math.nan), (2, math.inf)]
)
def test_what_is_not_finite_spoils_its_image_and_no_other(which, wrong):
    position, amplitude, sigma = beads(6)
    inputs = [position, amplitude.repeat(2, 1), sigma.repeat(2, 1)]
    whole = project(*inputs, ImageGrid(16, PIXEL))
    inputs[which].view(2, -1)[1, 0] = wrong
    images, *gradients = values_and_gradients(project, inputs, 16)
    assert images[1].isnan().all()
    assert_close(images[0], whole[0])
    assert all(gradient[0].isfinite().all() for gradient in gradients)
    assert gradients[1][1].isnan().all()


@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_the_kernels_are_chosen_and_sums_repeat():
    inputs = beads(2000, images=(3,), box_size=64)
    expected = values_and_gradients(project, inputs, 64)
    for function in (project, project_beads):
        for found, value in zip(values_and_gradients(function, inputs, 64), expected, strict=True):
            assert torch.equal(found, value)
    assert_as_defined(inputs, 64)

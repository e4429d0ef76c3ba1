import math

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection import splat as projection_splat
from atomdrgn.physics.projection.dense import project_beads_dense
from atomdrgn.physics.projection.project import project_beads

PIXEL = 1.75  # sigma / PIXEL is exact at the threshold
WIDTHS = {
    "point": 0.0,
    "0.4": 0.4,
    "1.0": 1.0,
    "1.3": 1.3,
    "threshold": 1.5,
    "2.0": 2.0,
    "5.0": 5.0,
    "narrow": (0.2, 1.4),
    "wide": (1.5, 6.0),
    "mixed": (0.3, 4.0),
}


def beads(count, *, images=(2,), box_size=32, width=(0.3, 4.0), spread=1.2):
    """Position, amplitude, sigma in double precision: beads over `spread` of the box, widths in
    pixels.
    """
    generator = torch.Generator().manual_seed(5)
    position = (
        (torch.rand(*images, count, 3, generator=generator, dtype=torch.float64) - 0.5)
        * spread
        * box_size
        * PIXEL
    )
    amplitude = 0.2 + torch.rand(count, generator=generator, dtype=torch.float64)
    low, high = width if isinstance(width, tuple) else (width, width)
    sigma = low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)
    return position, amplitude, PIXEL * sigma


def values_and_gradients(function, inputs, box_size, weight):
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    images = function(*inputs, ImageGrid(box_size, PIXEL))
    found = torch.autograd.grad(images, inputs, weight.to(images.dtype))
    return [images.detach(), *found]


def assert_alike(found, expected, tolerance):
    """Relative to the largest value, and as root mean squares."""
    for value, other in zip(found, expected, strict=True):
        difference = value.double() - other
        assert difference.norm() <= tolerance * other.norm()
        assert difference.abs().max() <= tolerance * other.abs().max()


@pytest.mark.seconds
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-8)])
@pytest.mark.parametrize("box_size", [32, 33])
@pytest.mark.parametrize("width", WIDTHS)
def test_images_and_gradients_are_those_of_the_definition(width, box_size, dtype, tolerance):
    """Beads inside, across the border and outside; white noise as the gradient, which no smoothness
    flatters.
    """
    inputs = [tensor.to(dtype) for tensor in beads(100, box_size=box_size, width=WIDTHS[width])]
    weight = torch.randn(
        2, box_size, box_size, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    found = values_and_gradients(project_beads, inputs, box_size, weight)
    expected = values_and_gradients(
        project_beads_dense, [tensor.double() for tensor in inputs], box_size, weight
    )
    if width == "point":
        assert not expected.pop().any() and not found.pop().any()
    assert_alike(found, expected, tolerance)


def test_many_wide_beads_are_drawn_on_several_canvases(monkeypatch):
    monkeypatch.setattr(projection_splat, "BEADS_WORTH_A_LEVEL", 10)
    inputs = beads(200, width=(0.5, 8.0))
    assert len(projection_splat.levels_of(inputs[2].numpy()[None] / PIXEL, 32, torch.float64)) > 4
    weight = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, expected = (
        values_and_gradients(function, inputs, 32, weight)
        for function in (project_beads, project_beads_dense)
    )
    assert_alike(found, expected, 1e-8)


@pytest.mark.parametrize("box_size", [2, 3, 5])
def test_small_boxes(box_size):
    inputs = beads(8, box_size=box_size)
    weight = torch.ones(2, box_size, box_size, dtype=torch.float64)
    assert_alike(
        values_and_gradients(project_beads, inputs, box_size, weight),
        values_and_gradients(project_beads_dense, inputs, box_size, weight),
        1e-8,
    )


@pytest.mark.parametrize("images", [(), (1,), (3, 2), (2, 1, 2)])
def test_amplitude_and_width_of_each_image(images):
    position, amplitude, sigma = beads(5, images=images)
    scale = 1 + torch.rand(
        *images, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    inputs = [position, amplitude * scale, sigma * scale]
    weight = torch.ones(*images, 32, 32, dtype=torch.float64).cumsum(-1)
    found, expected = (
        values_and_gradients(function, inputs, 32, weight)
        for function in (project_beads, project_beads_dense)
    )
    assert [value.shape for value in found] == [value.shape for value in expected]
    assert_alike(found, expected, 1e-8)


def test_values_that_some_images_share():
    position, amplitude, sigma = beads(5, images=(3, 2))
    inputs = [position, amplitude.expand(3, 1, 5), sigma.expand(1, 1, 5)]
    weight = torch.ones(3, 2, 32, 32, dtype=torch.float64).cumsum(-1)
    found, expected = (
        values_and_gradients(function, inputs, 32, weight)
        for function in (project_beads, project_beads_dense)
    )
    assert [value.shape for value in found] == [value.shape for value in expected]
    assert_alike(found, expected, 1e-8)


def test_memory_in_any_order():
    position, amplitude, sigma = beads(6)
    weight = torch.ones(32, 32, dtype=torch.float64).cumsum(-1).T.expand(2, 32, 32)
    whole = values_and_gradients(project_beads, (position, amplitude, sigma), 32, weight)
    strided = (
        position.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        amplitude.repeat_interleave(2)[::2],
        sigma.flip(0).flip(0),
    )
    for found, expected in zip(
        values_and_gradients(project_beads, strided, 32, weight), whole, strict=True
    ):
        assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("width", [0.8, 2.0])
def test_only_the_gradients_that_are_asked_for(width):
    inputs = beads(5, width=width)
    for wanted in range(3):
        leaves = [
            tensor.clone().requires_grad_(index == wanted) for index, tensor in enumerate(inputs)
        ]
        project_beads(*leaves, ImageGrid(32, PIXEL)).sum().backward()
        assert [leaf.grad is not None for leaf in leaves] == [index == wanted for index in range(3)]
    assert not project_beads(*inputs, ImageGrid(32, PIXEL)).requires_grad


def test_gradients_match_finite_differences_at_the_border():
    inputs = [
        tensor.requires_grad_() for tensor in beads(4, box_size=9, width=(0.6, 2.5), spread=1.5)
    ]
    assert torch.autograd.gradcheck(
        lambda *values: project_beads(*values, ImageGrid(9, PIXEL)), inputs
    )


def test_beads_of_no_amplitude_leave_nothing_and_know_what_amplitude_would():
    position, amplitude, sigma = beads(5, width=2.0)
    leaves = [position, torch.zeros_like(amplitude), sigma]
    weight = torch.ones(2, 32, 32, dtype=torch.float64)
    images, of_position, of_amplitude, of_sigma = values_and_gradients(
        project_beads, leaves, 32, weight
    )
    assert not images.any() and not of_position.any() and not of_sigma.any()
    assert_close(of_amplitude, values_and_gradients(project_beads_dense, leaves, 32, weight)[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_not_finite_spoils_its_image_and_no_other(which, wrong, width, dtype):
    position, amplitude, sigma = (tensor.to(dtype) for tensor in beads(6, width=width))
    inputs = [position, amplitude.repeat(2, 1), sigma.repeat(2, 1)]
    whole = project_beads(*inputs, ImageGrid(32, PIXEL))
    inputs[which].view(2, -1)[1, 0] = wrong
    images, *gradients = values_and_gradients(project_beads, inputs, 32, torch.ones(2, 32, 32))
    assert images[1].isnan().all()
    assert_close(images[0], whole[0])
    assert all(gradient[0].isfinite().all() for gradient in gradients)
    assert gradients[1][1].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("far", [1e6, 1e30, -1e30])
def test_beads_far_away_leave_nothing(far, width, dtype):
    position, amplitude, sigma = (tensor.to(dtype) for tensor in beads(6, width=width))
    whole = project_beads(position[:, 1:], amplitude[1:], sigma[1:], ImageGrid(32, PIXEL))
    position[:, 0] = far
    images, of_position, of_amplitude, of_sigma = values_and_gradients(
        project_beads, (position, amplitude, sigma), 32, torch.ones(2, 32, 32)
    )
    assert_close(images, whole)
    assert not of_position[:, 0].any() and not of_amplitude[0].any() and not of_sigma[0].any()


def test_a_bead_as_wide_as_many_boxes_is_flat():
    position = torch.zeros(1, 3, dtype=torch.float64)
    image = project_beads(
        position, torch.ones(1).double(), torch.full((1,), 1e6).double(), ImageGrid(16, 1.0)
    )
    assert_close(
        image,
        torch.full((16, 16), 1 / (2 * math.pi * 1e12), dtype=torch.float64),
        rtol=1e-8,
        atol=0,
    )


@pytest.mark.parametrize("width", [(0.5, 1.4), (1.5, 4.0)])
def test_the_same_bits_whatever_the_number_of_threads(width):
    inputs = [tensor.float() for tensor in beads(500, images=(7,), width=width)]
    weight = torch.randn(7, 32, 32, generator=torch.Generator().manual_seed(1))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            results.append(values_and_gradients(project_beads, inputs, 32, weight))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        for value, other in zip(result, results[0], strict=True):
            assert torch.equal(value, other)


def test_an_error_in_a_helper_is_raised():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            projection_splat._on_threads(lambda images: 1 / 0, 8)
    finally:
        torch.set_num_threads(before)


def test_second_derivatives_are_refused_and_the_definition_has_them():
    inputs = [tensor.requires_grad_() for tensor in beads(3, width=2.0)]
    grid = ImageGrid(9, PIXEL)
    (gradient,) = torch.autograd.grad(
        project_beads(*inputs, grid).square().sum(), inputs[0], create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
    (gradient,) = torch.autograd.grad(
        project_beads_dense(*inputs, grid).square().sum(), inputs[0], create_graph=True
    )
    gradient.sum().backward()

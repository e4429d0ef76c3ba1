import math

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.physics.fourier import crop_image, half_plane_weight, inverse_transform, transform
from atomdrgn.physics.grid import ImageGrid


@pytest.fixture(params=[16, 17])
def image(request):
    return torch.randn(
        3,
        request.param,
        request.param,
        generator=torch.Generator().manual_seed(2),
        dtype=torch.float64,
    )


def test_the_transform_is_undone(image):
    assert_close(inverse_transform(transform(image), image.shape[-1]), image)


def test_phases_are_about_the_origin_pixel(image):
    point = torch.zeros_like(image[0])
    point[image.shape[-1] // 2, image.shape[-1] // 2] = 1
    assert_close(transform(point), torch.ones_like(transform(point)))


def test_a_shift_is_a_phase(image):
    box_size = image.shape[-1]
    kx, ky = ImageGrid(box_size, 1.0).frequencies()
    phase = torch.exp(-2j * math.pi * (3 * kx + 2 * ky).double())
    # single-precision frequencies limit the agreement
    assert_close(
        inverse_transform(transform(image) * phase, box_size),
        image.roll((2, 3), (-2, -1)),
        atol=1e-5,
        rtol=0,
    )


def test_coefficients_of_a_real_image_are_conjugate_at_opposite_frequencies(image):
    column = transform(image)[..., 0]
    assert_close(column[..., 1:], column[..., 1:].flip(-1).conj())


def test_the_half_plane_holds_the_whole_images_power(image):
    box_size = image.shape[-1]
    power = (half_plane_weight(ImageGrid(box_size, 1.0)) * transform(image).abs() ** 2).sum(
        (-2, -1)
    ) / box_size**2
    assert_close(power, (image**2).sum((-2, -1)))


@pytest.mark.parametrize("new_box_size", [9, 10, 12, 15])
def test_cropping_keeps_the_mean(image, new_box_size):
    assert_close(crop_image(image, new_box_size).mean((-2, -1)), image.mean((-2, -1)))


@pytest.mark.parametrize("box_size", [30, 31])
@pytest.mark.parametrize("new_box_size", [10, 15])
def test_cropping_a_smooth_image_samples_it_at_fewer_points(box_size, new_box_size):
    def waves(size):
        x = (torch.arange(size, dtype=torch.float64) - size // 2) / size
        along_x, along_y = torch.cos(2 * math.pi * 3 * x + 0.4), 1 + torch.sin(2 * math.pi * 4 * x)
        return along_y[:, None] * along_x

    assert_close(crop_image(waves(box_size), new_box_size), waves(new_box_size))


def test_cropping_to_the_same_box_changes_nothing(image):
    assert crop_image(image, image.shape[-1]) is image


def test_no_images_have_no_coefficients():
    empty = torch.zeros(0, 8, 8)
    assert transform(empty).shape == (0, 8, 5)
    assert inverse_transform(transform(empty), 8).shape == (0, 8, 8)
    assert crop_image(empty, 6).shape == (0, 6, 6)

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.errors import InputError
from atomdrgn.physics.grid import ImageGrid


@pytest.mark.parametrize("box_size", [8, 9])
def test_the_origin_is_at_half_the_box(box_size):
    coordinates = ImageGrid(box_size, 1.5).coordinates()
    assert coordinates[box_size // 2] == 0
    assert_close(coordinates.diff(), torch.full((box_size - 1,), 1.5))


@pytest.mark.parametrize("box_size", [8, 9])
def test_frequencies_are_those_of_rfft2(box_size):
    kx, ky = ImageGrid(box_size, 2.0).frequencies()
    assert kx.shape == ky.shape == (box_size, box_size // 2 + 1)
    assert_close(kx[0, 1], torch.tensor(1 / (2.0 * box_size)))
    assert_close(ky[1, 0], torch.tensor(1 / (2.0 * box_size)))
    assert_close(ky[-1, 0], -ky[1, 0])


def test_cropping_keeps_the_extent():
    grid = ImageGrid(100, 1.2).cropped(64)
    assert grid.extent == pytest.approx(120)
    assert grid.nyquist == pytest.approx(3.75)


def test_a_box_cannot_be_cropped_to_a_larger_one():
    with pytest.raises(InputError, match="at most 32"):
        ImageGrid(32, 1.0).cropped(33)


@pytest.mark.parametrize(("box_size", "pixel_size"), [(1, 1.0), (8, 0.0)])
def test_a_grid_without_pixels_is_refused(box_size, pixel_size):
    with pytest.raises(InputError):
        ImageGrid(box_size, pixel_size)

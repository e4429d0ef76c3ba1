import pytest
import torch

from atomdrgn.particles.stack.resampling import resample
from atomdrgn.physics.fourier import crop_image
from atomdrgn.physics.grid import ImageGrid
from tiny_particles import bead_image


@pytest.mark.parametrize(
    "grid", [ImageGrid(48, 1.9), ImageGrid(45, 2.1), ImageGrid(80, 1.0), ImageGrid(40, 2.5)]
)
@pytest.mark.parametrize("target", [ImageGrid(32, 2.5), ImageGrid(33, 2.5), ImageGrid(64, 1.5)])
def test_a_line_integral_keeps_its_value_on_other_pixels(grid, target):
    image = torch.from_numpy(bead_image((6, -9), grid.box_size, grid.pixel_size))
    expected = torch.from_numpy(bead_image((6, -9), target.box_size, target.pixel_size))
    torch.testing.assert_close(resample(image[None], grid, target)[0], expected, atol=3e-3, rtol=0)


def test_at_one_extent_it_is_a_crop_and_at_one_grid_nothing():
    image = torch.randn(2, 24, 24, generator=torch.Generator().manual_seed(1))
    grid = ImageGrid(24, 1.0)
    assert resample(image, grid, ImageGrid(24, 1.0)) is image
    torch.testing.assert_close(resample(image, grid, grid.cropped(16)), crop_image(image, 16))


def test_beyond_its_edge_an_image_holds_nothing():
    image = torch.ones(1, 20, 20)
    wide = resample(image, ImageGrid(20, 2.0), ImageGrid(40, 2.0))
    assert wide[0, 0].abs().max() < 0.01 and abs(wide[0, 20, 20] - 1) < 0.01


def test_what_lies_beyond_the_target_does_not_come_in_from_the_other_side():
    image = torch.from_numpy(bead_image((46, 0), 52, 2.0))
    assert resample(image[None], ImageGrid(52, 2.0), ImageGrid(32, 2.0)).abs().max() < 0.02

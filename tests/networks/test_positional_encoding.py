"""Positional encodings: waves of points, and where the points are."""

import math

import pytest
import torch

from atomdrgn.networks.positional_encoding import encode, gaussian_points, geometric_points
from atomdrgn.physics.grid import ImageGrid

GRID = ImageGrid(32, 4.0)


def test_a_wave_has_its_phase_and_the_opposite_frequency_the_opposite_sine():
    point, frequency = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[1 / 12, 0.5, -0.5]])
    assert encode(frequency, point)[0].tolist() == pytest.approx(
        [math.cos(math.pi / 2), math.sin(math.pi / 2)], abs=1e-6
    )
    torch.testing.assert_close(
        encode(-frequency, point), encode(frequency, point) * torch.tensor([1.0, -1.0])
    )


def test_geometric_points_go_from_half_of_the_box_to_a_pixel_by_equal_factors():
    point = geometric_points(GRID)
    assert point.shape == (48, 3) and ((point != 0).sum(1) == 1).all()
    along = point[:16, 0]
    assert (along[0].item(), along[-1].item()) == pytest.approx((64.0, 4.0))
    torch.testing.assert_close(along[1:] / along[:-1], torch.full((15,), (1 / 16) ** (1 / 15)))


def test_gaussian_points_have_the_spread_that_was_asked_and_come_again_with_the_seed():
    grid = ImageGrid(2048, 1.0)
    point = gaussian_points(grid, torch.Generator().manual_seed(1), sd=0.2)
    assert point.std(0).tolist() == pytest.approx([204.8] * 3, rel=0.05)
    torch.testing.assert_close(
        point, gaussian_points(grid, torch.Generator().manual_seed(1), sd=0.2)
    )


def test_the_published_spread_is_a_phase_of_half_the_box_times_the_normal_number():
    point = gaussian_points(GRID, torch.Generator().manual_seed(1))
    drawn = torch.randn(48, 3, generator=torch.Generator().manual_seed(1))
    frequency = torch.tensor([0.3, -0.1, 0.2])  # cycles a pixel
    phase = 2 * math.pi * point @ (frequency / GRID.pixel_size)
    torch.testing.assert_close(phase, 0.5 * drawn @ frequency * (GRID.box_size // 2))

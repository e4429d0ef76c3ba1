"""Volumes of a field: real, on top of the mean, and with the slices that the field itself gives."""

import pytest
import torch

from atomdrgn.networks.positional_encoding import gaussian_points
from atomdrgn.networks.volume_field import VolumeField
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.volume.field_maps import field_map


def field_of(grid, *, trained=True):
    generator = torch.Generator().manual_seed(0)
    field = VolumeField(
        gaussian_points(grid, generator),
        torch.ones(grid.box_size // 2 + 1),
        extent=grid.extent,
        n_latent=2,
        width=16,
        depth=1,
        generator=generator,
    )
    if trained:
        field.last.data = torch.randn(field.last.shape, generator=generator)
    return field


def test_an_untrained_field_adds_nothing():
    mean = torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        field_map(
            field_of(ImageGrid(12, 3.0), trained=False), mean, torch.zeros(2), ImageGrid(12, 3.0)
        ),
        mean,
    )


@pytest.mark.parametrize("box", [12, 13])
def test_the_projection_of_a_volume_has_the_coefficients_that_the_field_gives(box):
    grid, latent = ImageGrid(box, 3.0), torch.tensor([0.5, -1.0])
    field, mean = (
        field_of(grid),
        torch.randn(box, box, box, generator=torch.Generator().manual_seed(1)),
    )
    volume = field_map(field, mean, latent, grid)
    disc = make_disc(grid, grid.nyquist)
    for axis, frequency in (
        (0, [disc.kx, disc.ky, torch.zeros(len(disc))]),
        (1, [disc.kx, torch.zeros(len(disc)), disc.ky]),
    ):
        image = (volume - mean).sum(axis) * grid.pixel_size
        expected = field.coefficients(torch.stack(frequency, -1), latent)
        torch.testing.assert_close(disc.coefficients(image), expected, atol=1e-4, rtol=1e-4)

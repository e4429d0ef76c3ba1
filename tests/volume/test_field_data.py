"""What a field is trained on: nothing is left of images of the mean volume, and what the encoder
sees is a slope.
"""

import math
from dataclasses import replace

import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.slices import SliceSource
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.volume.field_data import encoded_points, images_of_particles, read_field_data, smeared


def rotations(count):
    return matrix_from_vector(torch.randn(count, 3, generator=torch.Generator().manual_seed(3)))


def spectrum(stack, power=1.0):
    return torch.full((1, stack.grid.box_size // 2 + 1), power)


def test_without_a_mean_the_residual_is_the_image_whitened_and_centred(hinged):
    _, stack, _ = hinged
    some = stack[torch.arange(3)]
    data = read_field_data(some, torch.zeros(48, 48, 48), spectrum(some, 4.0))
    disc = data.disc
    turn = 2 * math.pi * (some.pose.shift @ torch.stack([disc.kx, disc.ky]))
    expected = (
        disc.coefficients(some.read())
        * torch.polar(torch.ones_like(turn), turn)
        * disc.multiplicity.sqrt()
        / 2
    )
    torch.testing.assert_close(
        torch.view_as_complex(data.residual.float()), expected, atol=5e-3, rtol=5e-3
    )
    ctf = some.ctf.at(disc.kx, disc.ky)
    torch.testing.assert_close(
        data.transfer.float(), ctf * disc.multiplicity.sqrt() / 2, atol=1e-3, rtol=1e-3
    )


def test_of_images_of_the_mean_nothing_is_left(hinged):
    _, stack, _ = hinged
    some = stack[torch.arange(4)]
    mean = torch.randn(48, 48, 48, generator=torch.Generator().manual_seed(0)) * _ball(48)
    disc = make_disc(some.grid, 1e-6)
    slices = SliceSource(mean, disc).slices(some.pose.rotation)
    whole = read_field_data(some, torch.zeros_like(mean), spectrum(some))
    less = read_field_data(some, mean, spectrum(some))
    taken = torch.view_as_complex((whole.residual.float() - less.residual.float()).contiguous())
    assert ((taken - whole.transfer.float() * slices).norm() / taken.norm()).item() < 5e-3


def _ball(box):
    along = (torch.arange(box) - box // 2).float()
    return ((along[:, None, None] ** 2 + along[:, None] ** 2 + along**2).sqrt() < box / 4).float()


def test_slices_of_a_map_are_the_coefficients_of_its_projections():
    grid = ImageGrid(24, 2.0)
    volume = torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(0)) * _ball(24)
    disc = make_disc(grid, grid.nyquist)
    source = SliceSource(volume, disc)
    straight = source.slices(torch.eye(3)[None])[0]
    expected = disc.coefficients(volume.sum(0) * grid.pixel_size)
    # straight lines between the frequencies of a box padded twice
    assert ((straight - expected).norm() / expected.norm()).item() < 0.05
    with pytest.raises(InputError, match="cube"):
        SliceSource(volume[:20, :20, :20], disc)


def test_what_the_encoder_sees_is_the_slope_of_the_likelihood_by_density():
    """Two routes: the smeared residual, and the change of the squared error when a Gaussian blob is
    added at a point.
    """
    grid = ImageGrid(32, 4.0)
    disc = make_disc(grid, grid.nyquist)
    generator = torch.Generator().manual_seed(0)
    turn, point = rotations(3), encoded_points(grid)[::97]
    residual = torch.randn(3, len(disc), dtype=torch.complex64, generator=generator)
    transfer = torch.randn(3, len(disc), generator=generator) * disc.multiplicity.sqrt()
    transfer = transfer * (torch.hypot(disc.x_index.float(), disc.y_index.float()) <= 10)
    seen = smeared(residual * transfer, turn, disc, point)
    place = (point @ turn.transpose(-1, -2))[..., :2]
    wave = torch.polar(torch.ones(()), -2 * math.pi * (place @ torch.stack([disc.kx, disc.ky])))
    slope = (residual[:, None] * transfer[:, None] * wave.conj()).real.sum(-1)
    assert torch.corrcoef(torch.stack([seen.flatten(), slope.flatten()]))[0, 1].item() > 0.97


def test_images_of_particles_are_told_apart_whatever_their_numbers(hinged):
    _, stack, _ = hinged
    some = replace(
        stack[torch.arange(6)],
        particle=torch.tensor([7, 2, 7, 2, 7, 9]),
        tilt=torch.tensor([2, 0, 0, 1, 1, 0]),
    )
    assert images_of_particles(some).tolist() == [[1, 3, -1], [2, 4, 0], [5, -1, -1]]


def test_frequencies_beyond_their_optimal_dose_are_left_out(hinged):
    _, stack, _ = hinged
    some = stack[torch.arange(2)]
    some = replace(some, ctf=replace(some.ctf, dose=torch.tensor([0.0, 60.0])))
    masked = read_field_data(some, torch.zeros(48, 48, 48), spectrum(some))
    whole = read_field_data(some, torch.zeros(48, 48, 48), spectrum(some), dose_mask=False)
    held = (masked.transfer != 0).float().mean(1)
    assert held[0] > 0.99 and 0.05 < held[1] < 0.9
    radius = torch.hypot(masked.disc.kx, masked.disc.ky)
    assert radius[masked.transfer[1] != 0].max() < radius[masked.transfer[1] == 0].max()
    assert ((whole.transfer != 0).float().mean(1) > 0.99).all()
    assert (masked.residual[1][masked.transfer[1] == 0] == 0).all()


def test_where_the_dose_has_taken_everything_it_is_said(hinged):
    _, stack, _ = hinged
    some = stack[torch.arange(2)]
    some = replace(some, ctf=replace(some.ctf, dose=torch.full((2,), 1e9)))
    with pytest.raises(InputError, match="--no-dose-mask"):
        read_field_data(some, torch.zeros(48, 48, 48), spectrum(some))

"""The field of volumes: Friedel's symmetry, its start, its scale, lower precision, and that it can
be built again.
"""

import pytest
import torch

from atomdrgn.networks.positional_encoding import gaussian_points
from atomdrgn.networks.volume_field import VolumeField, field_from_tensors
from atomdrgn.physics.grid import ImageGrid

GRID = ImageGrid(16, 4.0)


def made(n_latent=3, *, trained=True, seed=0):
    generator = torch.Generator().manual_seed(seed)
    field = VolumeField(
        gaussian_points(GRID, generator),
        torch.linspace(4, 1, 9),
        extent=GRID.extent,
        n_latent=n_latent,
        generator=generator,
        width=32,
        depth=2,
    )
    if trained:
        for parameter in (field.last, field.last_bias):
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return field


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_field_starts_at_zero():
    assert (made(trained=False)(0.05 * drawn(2, 5, 3), drawn(2, 3)) == 0).all()


def test_the_opposite_coefficient_is_the_conjugate():
    field, frequency, latent = made(), 0.05 * drawn(2, 7, 3), drawn(2, 3)
    frequency[0, :3, 2] = 0
    frequency[0, 0, 1] = 0
    there, opposite = field(frequency, latent), field(-frequency, latent)
    torch.testing.assert_close(opposite, there * torch.tensor([1.0, -1.0]))
    assert there.abs().min() > 0


def test_a_latent_changes_its_own_volume_only():
    field, frequency = made(), 0.05 * drawn(1, 7, 3).expand(2, -1, -1)
    value = field(frequency, torch.stack([torch.zeros(3), torch.ones(3)]))
    torch.testing.assert_close(value[:1], field(frequency[:1], torch.zeros(1, 3)))
    assert (value[0] - value[1]).abs().max() > 1e-3


def test_without_a_latent_all_volumes_are_one():
    field, frequency = made(0), 0.05 * drawn(1, 7, 3).expand(2, -1, -1)
    value = field(frequency, torch.zeros(2, 0))
    torch.testing.assert_close(value[0], value[1])


def test_amplitudes_are_those_of_the_shells_with_lines_between_them_and_the_last_one_beyond():
    field = made()
    frequency = torch.tensor([[0.0, 0, 0], [0, 2, 0], [0, 0, 2.5], [30.0, 0, 0]]) / GRID.extent
    torch.testing.assert_close(
        field.amplitude_at(frequency), torch.tensor([4.0, 3.25, 3.0625, 1.0])
    )


def test_half_precision_gives_the_same_coefficients_to_a_percent():
    field, frequency, latent = made(), 0.05 * drawn(2, 100, 3), drawn(2, 3)
    exact, half = field(frequency, latent), field(frequency, latent, precision=torch.bfloat16)
    assert half.dtype == torch.float32
    assert ((exact - half).norm() / exact.norm()).item() < 0.02


def test_gradients_reach_everything_that_is_learned():
    field = made()
    latent = drawn(2, 3).requires_grad_()
    field(0.05 * drawn(2, 7, 3), latent, precision=torch.bfloat16).square().sum().backward()
    assert latent.grad.abs().min() > 0
    assert all(parameter.grad.abs().max() > 0 for parameter in field.parameters())


def test_a_field_is_built_again_from_its_tensors():
    field, frequency, latent = made(), 0.05 * drawn(9, 3), drawn(3)
    again = field_from_tensors(field.state_dict(), extent=GRID.extent)
    torch.testing.assert_close(
        again.coefficients(frequency, latent), field.coefficients(frequency, latent)
    )
    with pytest.raises(KeyError):
        field_from_tensors({"first": torch.zeros(2, 2)}, extent=1.0)

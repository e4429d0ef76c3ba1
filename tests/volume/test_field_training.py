"""Training a field: sampled sums are fair, tilts are a draw, the loss is what it says, an epoch
repeats.
"""

from dataclasses import replace

import pytest
import torch

from atomdrgn.networks.particle_encoder import INTERMEDIATE, ParticleEncoder
from atomdrgn.networks.pooling import make_pooling
from atomdrgn.networks.positional_encoding import gaussian_points
from atomdrgn.networks.volume_field import VolumeField
from atomdrgn.networks.volume_model import VolumeModel
from atomdrgn.volume.field_data import FieldData, read_field_data
from atomdrgn.volume.field_training import (
    Draw,
    Schedule,
    particle_losses,
    read_latents,
    run_epoch,
    sampled_coefficients,
    sampled_tilts,
    start_training,
)


@pytest.fixture(scope="module")
def data(hinged) -> FieldData:
    """Forty images of thirteen particles, three or four each."""
    _, stack, _ = hinged
    some = stack[torch.arange(40)]
    number = (torch.arange(40) // 3).clamp_max(12)
    some = replace(some, particle=number, tilt=torch.arange(40) - 3 * number)
    return read_field_data(some, torch.zeros(48, 48, 48), torch.ones(4, 25), resolution=20.0)


def model_of(data, *, latent=2, given=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    grid = data.disc.grid
    field = VolumeField(
        gaussian_points(grid, generator),
        torch.ones(25),
        extent=grid.extent,
        n_latent=latent,
        width=16,
        depth=1,
        generator=generator,
    )
    if given is not None or latent == 0:
        return VolumeModel(field, latent=given)
    return VolumeModel(
        field,
        ParticleEncoder(
            data.view.shape[1], latent, make_pooling("mean", INTERMEDIATE, 4, generator), generator
        ),
    )


def schedule(**more):
    return Schedule(
        **{
            "epochs": 2,
            "batch": 5,
            "rate": 1e-2,
            "coefficients": 16,
            "tilts": 2,
            "beta": 0.5,
            "precision": torch.float32,
            "seed": 0,
        }
        | more
    )


def test_sums_over_sampled_coefficients_are_fair():
    generator = torch.Generator().manual_seed(0)
    transfer, value = (
        torch.randn(2, 50, generator=generator),
        torch.rand(2, 50, generator=generator),
    )
    found = torch.zeros(2)
    for offset in torch.linspace(0.0005, 0.9995, 1000):
        chosen, weight = sampled_coefficients(transfer, offset.expand(2), 8)
        found += (value.gather(1, chosen) * weight).sum(1) / 1000
    torch.testing.assert_close(found, value.sum(1), rtol=0.02, atol=0)


def test_coefficients_without_transfer_are_not_drawn_and_few_are_all_taken():
    transfer = torch.tensor([[0.0, 1.0, 0.0, 2.0, 3.0, 0.0]])
    for offset in (0.0, 0.3, 0.999):
        chosen, _ = sampled_coefficients(transfer, torch.tensor([offset]), 4)
        assert not {0, 2, 5} & set(chosen[0].tolist())
    chosen, weight = sampled_coefficients(transfer, torch.tensor([0.5]), 6)
    assert chosen.tolist() == [list(range(6))] and (weight == 1).all()


def test_sampled_tilts_are_some_of_those_that_are_there():
    there = torch.tensor(
        [[True, True, True, True], [True, False, True, False], [False, True, False, False]]
    )
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([sampled_tilts(there, 2, generator) for _ in range(200)])
    assert not (draws & ~there).any()
    assert (draws.sum(-1) == torch.tensor([2, 2, 1])).all()
    assert (draws[:, 0].float().mean(0) - 0.5).abs().max() < 0.12
    assert torch.equal(sampled_tilts(there, 4, generator), there)


def test_the_error_of_all_coefficients_is_the_sum_over_a_particle_s_images(data):
    latent = torch.randn(len(data), 2, generator=torch.Generator().manual_seed(1))
    model = model_of(data, given=latent)
    model.field.last.data = torch.randn(2, 16, generator=torch.Generator().manual_seed(2))
    particle = torch.tensor([12, 3])
    draw = Draw(torch.zeros(2, 2), data.there[particle], torch.zeros(2, 4))
    error, gain, divergence = particle_losses(
        model, data, particle, draw, coefficients=len(data.disc), precision=torch.float32
    )
    assert (divergence == 0).all()
    for row, number in enumerate(particle.tolist()):
        expected = before = 0.0
        for image in data.image[number][data.there[number]].tolist():
            rotation = data.stack.pose.rotation[image]
            frequency = data.disc.kx[:, None] * rotation[0] + data.disc.ky[:, None] * rotation[1]
            value = torch.view_as_real(model.field.coefficients(frequency, latent[number]))
            residual = data.residual[image].float()
            expected += (residual - data.transfer[image].float()[:, None] * value).square().sum()
            before += residual.square().sum()
        torch.testing.assert_close(error[row], expected, rtol=1e-4, atol=0)
        torch.testing.assert_close(gain[row], before - expected, rtol=1e-3, atol=0.1)


def test_training_lowers_the_error_and_repeats_exactly(data):
    found = []
    for _ in range(2):
        training = start_training(model_of(data), 1e-2)
        for _ in range(4):
            training.history.append(run_epoch(training, data, schedule(epochs=4)))
        found.append((training.history, read_latents(training.model, data)[0]))
    assert found[0][0] == found[1][0] and torch.equal(found[0][1], found[1][1])
    assert found[0][0][-1]["error_gain"] > max(0, found[0][0][0]["error_gain"])


def test_latents_are_read_from_all_images_without_chance(data):
    model = model_of(data)
    one, other = read_latents(model, data), read_latents(model, data)
    assert torch.equal(one[0], other[0]) and (one[1] > 0).all()
    tilted = replace(data, view=data.view.clone())
    tilted.view[data.image[4, 2]] += 1.0
    moved = (read_latents(model, tilted)[0] != one[0]).any(1)
    assert moved.nonzero().flatten().tolist() == [4]


def test_given_latents_stay_and_one_volume_has_none(data):
    given = torch.randn(len(data), 2, generator=torch.Generator().manual_seed(1))
    training = start_training(model_of(data, given=given), 1e-2)
    row = run_epoch(training, data, schedule())
    mean, sd = read_latents(training.model, data)
    assert torch.equal(mean, given) and (sd == 0).all() and row["kl"] == 0
    assert read_latents(model_of(data, latent=0), data)[0].shape == (len(data), 0)


def test_the_rate_falls_to_nothing(data):
    training = start_training(model_of(data), 1e-2)
    rates = []
    for _ in range(2):
        training.history.append(run_epoch(training, data, schedule()))
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert 1e-2 > rates[0] > rates[1] > 0

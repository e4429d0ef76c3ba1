"""Training a volume field.

It has latents from an encoder or given, sampled coefficients, the loss of a batch, and an epoch.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..inference.amortised.gradient import add_gradients
from ..inference.amortised.training import Training
from ..inference.images.fourier_images import READ_AT_ONCE
from ..networks.volume_model import VolumeModel
from .field_data import FieldData

ROWS = 4096  # coefficients that go through the network together on one thread


@dataclass(frozen=True)
class Schedule:
    """How a field is trained.

    Parameters
    ----------
    epochs : int
        How often each particle is seen.
    batch : int
        Particles of a step.
    rate : float
        Of Adam at the start; it falls to nothing as a cosine.
    coefficients : int
        Of each image in a step, drawn anew each time; 0: all.
    tilts : int
        Images of a particle in a step, drawn anew each time.
    beta : float
        Weight of the latents' divergence against the sum of squared errors.
    precision : torch.dtype
        Of the field's products of matrices.
    seed : int
        For order and draws.
    """

    epochs: int
    batch: int
    rate: float
    coefficients: int
    tilts: int
    beta: float
    precision: torch.dtype
    seed: int


def start_training(model: VolumeModel, rate: float) -> Training[VolumeModel]:
    """A model before its first epoch."""
    return Training(model, torch.optim.Adam(model.learned, lr=rate, fused=True), [])


def run_epoch(
    training: Training[VolumeModel], data: FieldData, schedule: Schedule
) -> dict[str, float | int]:
    """See every particle once, in a new order; what the epoch found, for the history.

    Random numbers follow from the seed and the number of the epoch: training that is resumed ends
    as if it had not been stopped.
    """
    generator = torch.Generator().manual_seed(schedule.seed * 1_000_003 + training.epoch)
    batches = torch.randperm(len(data), generator=generator).split(schedule.batch)
    found = torch.zeros(2, len(data))
    coefficients = min(schedule.coefficients or len(data.disc), len(data.disc))
    at_once = max(1, ROWS // (coefficients * min(schedule.tilts, data.image.shape[1])))
    for step, batch in enumerate(batches):
        _set_rate(
            training.optimizer, schedule, (training.epoch + step / len(batches)) / schedule.epochs
        )
        draw = Draw(
            noise=torch.randn(len(batch), training.model.field.n_latent, generator=generator),
            there=sampled_tilts(data.there[batch], schedule.tilts, generator),
            offset=torch.rand(len(batch), data.image.shape[1], generator=generator),
        )

        def losses(rows: Tensor, batch: Tensor = batch, draw: Draw = draw) -> Tensor:
            error, gain, divergence = particle_losses(
                training.model,
                data,
                batch[rows],
                draw.rows(rows),
                coefficients=coefficients,
                precision=schedule.precision,
            )
            found[:, batch[rows]] = torch.stack([gain, divergence]).detach()
            return (error + schedule.beta * divergence) / len(batch)

        training.optimizer.zero_grad()
        add_gradients(losses, torch.arange(len(batch)).split(at_once), training.model.learned)
        training.optimizer.step()
    gain, divergence = found.mean(1).tolist()
    return {"epoch": training.epoch + 1, "error_gain": round(gain, 4), "kl": round(divergence, 4)}


@dataclass(frozen=True)
class Draw:
    """What is random in a step.

    (particle, latent) noise of the latents, (particle, tilt) images that take part, (particle,
    tilt) where the sampling of each one's coefficients begins, 0 to 1.
    """

    noise: Float[Tensor, "particle latent"]
    there: Bool[Tensor, "particle tilt"]
    offset: Float[Tensor, "particle tilt"]

    def rows(self, index: Tensor) -> "Draw":
        """Of some of the particles."""
        return Draw(self.noise[index], self.there[index], self.offset[index])


def particle_losses(
    model: VolumeModel,
    data: FieldData,
    particle: Int[Tensor, "batch"],
    draw: Draw,
    *,
    coefficients: int,
    precision: torch.dtype,
) -> tuple[Float[Tensor, "batch"], ...]:
    """Squared error, gain and divergence of each particle.

    They are the error of its images, how much that is below the mean volume's, and the latent's
    divergence.

    Errors are in units of the noise's variance, summed over images and all their coefficients, as
    the sampled ones tell.
    """
    image = data.image[particle].clamp_min(0)
    mean, log_sd = model.posterior(particle, data.view[image].float(), draw.there)
    latent = mean + log_sd.exp() * draw.noise
    owner, tilt = torch.nonzero(draw.there, as_tuple=True)
    image = image[owner, tilt]
    transfer, residual = data.transfer[image].float(), data.residual[image].float()
    chosen, weight = sampled_coefficients(transfer, draw.offset[owner, tilt], coefficients)
    rotation = data.stack.pose.rotation[image]
    frequency = (
        data.disc.kx[chosen][..., None] * rotation[:, None, 0]
        + data.disc.ky[chosen][..., None] * rotation[:, None, 1]
    )
    value = model.field(frequency, latent[owner], precision=precision)
    seen = residual.gather(1, chosen[..., None].expand(-1, -1, 2))
    predicted = transfer.gather(1, chosen)[..., None] * value
    error = ((seen - predicted).square().sum(-1) * weight).sum(1)
    gain = ((predicted * (2 * seen - predicted)).sum(-1) * weight).sum(1)
    zero = torch.zeros(len(particle))
    return (
        zero.index_add(0, owner, error),
        zero.index_add(0, owner, gain),
        model.divergence(mean, log_sd),
    )


@torch.no_grad()
def sampled_coefficients(
    transfer: Float[Tensor, "image frequency"], offset: Float[Tensor, "image"], count: int
) -> tuple[Int[Tensor, "image chosen"], Float[Tensor, "image chosen"]]:
    """Coefficients of each image, drawn in proportion to their transfer.

    They come with weights that make sums over them fair.

    A coefficient's slope in the loss is its transfer times an error of the order of one: this is
    the draw of least variance. Draws are systematic: one in each of `count` equal parts of the
    cumulated transfer, so that none comes twice by chance.

    Parameters
    ----------
    transfer : (image, frequency)
    offset : (image,)
        Where in its part each draw stands, 0 to 1.
    count : int
        How many; all coefficients, with weight 1, where there are no more.

    References
    ----------
    Owen, Monte Carlo theory, methods and examples (2013), chapter 9.
    """
    n = transfer.shape[1]
    if count >= n:
        return torch.arange(n).expand(len(transfer), n), torch.ones_like(transfer)
    share = transfer.abs()
    share = share / share.sum(1, keepdim=True).clamp_min(1e-12)
    place = (torch.arange(count) + offset[:, None]) / count
    chosen = torch.searchsorted(share.cumsum(1), place, right=True).clamp_max(n - 1)
    return chosen, 1 / (count * share.gather(1, chosen)).clamp_min(1e-6)


def sampled_tilts(
    there: Bool[Tensor, "particle tilt"], count: int, generator: torch.Generator
) -> Bool[Tensor, "particle tilt"]:
    """At most `count` of the images that each particle has, at random."""
    if count >= there.shape[1]:
        return there
    key = torch.rand(there.shape, generator=generator).masked_fill(~there, 2.0)
    return there & (key.argsort(1).argsort(1) < count)


def _set_rate(optimizer: torch.optim.Adam, schedule: Schedule, done: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def read_latents(
    model: VolumeModel, data: FieldData
) -> tuple[Float[Tensor, "particle latent"], Float[Tensor, "particle latent"]]:
    """Mean and standard deviation of every particle's latent, from all of its images."""
    parts = [
        model.posterior(some, data.view[data.image[some].clamp_min(0)].float(), data.there[some])
        for some in torch.arange(len(data)).split(READ_AT_ONCE)
    ]
    mean, log_sd = (torch.cat(each) for each in zip(*parts, strict=True))
    return mean, log_sd.exp()

"""Training an autoencoder: the loss of a batch, and an epoch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...networks.autoencoder import N_LATENT, Autoencoder
from ...networks.segment_posterior import gaussian_kl
from .gradient import add_gradients
from .training import Training
from .vae_data import VaeData

# images of a step that go forward and back on one thread; this decides the
# last bits, not the threads
AT_ONCE = 64


def start_training(model: Autoencoder, rate: float) -> Training[Autoencoder]:
    """An autoencoder before its first epoch."""
    return Training(model, torch.optim.Adam(model.parameter_groups(rate), fused=True), [])


def run_epoch(
    training: Training[Autoencoder], data: VaeData, *, batch: int, beta: float, seed: int
) -> dict[str, float | int]:
    """See every image that counts once, in a new order; what the epoch found, for the history.

    Parameters
    ----------
    training : Training
        Is changed.
    data : VaeData
        The images.
    batch : int
        Images of a step.
    beta : float
        Weight of the divergences, rising from 0 to 1 over a fit, as in the published program's
        example.
    seed : int
        With the number of the epoch, for order and draws: a resumed fit ends as an uninterrupted
        one.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + training.epoch)
    parameters = list(training.model.parameters())
    found, counted = torch.zeros(3, len(data)), torch.nonzero(~data.left_out)[:, 0]
    for step in counted[torch.randperm(len(counted), generator=generator)].split(batch):
        noise = torch.randn(len(step), N_LATENT, generator=generator)
        shared = training.model.draw(generator)

        def losses(
            rows: Tensor, step: Tensor = step, noise: Tensor = noise, shared: Tensor = shared
        ) -> Tensor:
            of_images, divergence, strain = image_losses(
                training.model, data, step[rows], noise[rows], shared
            )
            found[:, step[rows]] = torch.stack([of_images, divergence, strain]).detach()
            # of the whole set's evidence an image bears its own part of the
            # divergence of what all images share
            divergence = divergence + training.model.kl() / len(counted)
            return (of_images + data.nat * (beta * divergence + strain)) / len(step)

        training.optimizer.zero_grad()
        add_gradients(losses, torch.arange(len(step)).split(AT_ONCE), parameters)
        training.optimizer.step()
    loss, divergence, strain = found[:, counted].mean(1).tolist()
    kl = {"kl": round(divergence, 4)}
    if data.restraints is None:
        kl["kl_segments"] = round(training.model.kl().item(), 3)
    else:
        kl["strain"] = round(strain, 3)
    return {"epoch": training.epoch + 1, data.loss: round(-loss, 6), **kl, "beta": round(beta, 4)}


def image_losses(
    model: Autoencoder,
    data: VaeData,
    index: Int[Tensor, "batch"],
    noise: Float[Tensor, "batch latent"],
    shared: Tensor,
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """What each image's prediction at a draw of its latent leaves.

    The divergence of its latent's posterior and its strain (nats) come with it.

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), equations 2 to 4, 7 and 8; Zhong et al., Exploring generative
    atomic models (2021), equation 3, for the strain.
    """
    mean, log_sd = model.encoder(data.pixels[index])
    position = model.positions(mean + log_sd.exp() * noise, shared)
    return data.loss_of(index, position), gaussian_kl(mean, log_sd).sum(1), data.strain_of(position)

"""Training an autoencoder: the loss of a batch, and an epoch."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.autoencoder import N_LATENT, MotionAutoencoder
from ..model.segments import gaussian_kl
from .gradient import add_gradients
from .training import Training
from .vae_data import VaeData

BATCH = 128              # images of a step: Ducrocq et al., CryoSPHERE (2025), appendix B.2
AT_ONCE = 64             # of them, those that go forward and back on one thread; this decides the last bits, not the threads
SEGMENT_RATE = 10        # times the networks' rate, as there


def start_training(model: MotionAutoencoder, rate: float) -> Training:
    """An autoencoder before its first epoch."""
    networks = [*model.encoder.parameters(), *model.decoder.parameters()]
    groups = [{"params": networks, "lr": rate}, {"params": list(model.segments.parameters()), "lr": SEGMENT_RATE * rate}]
    return Training(model, torch.optim.Adam(groups, fused=True), [])


def run_epoch(training: Training, data: VaeData, *, beta: float, seed: int) -> dict[str, float | int]:
    """See every image once, in a new order; what the epoch found, for the history.

    Parameters
    ----------
    training : Training
        Is changed.
    data : VaeData
        The images.
    beta : float
        Weight of the divergences, rising from 0 to 1 over a fit, as in the published program's example.
    seed : int
        With the number of the epoch, for order and draws: a resumed fit ends as an uninterrupted one.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + training.epoch)
    parameters = list(training.model.parameters())
    found = torch.zeros(2, len(data))
    for batch in torch.randperm(len(data), generator=generator).split(BATCH):
        noise = torch.randn(len(batch), N_LATENT, generator=generator)
        segment_noise = training.model.segments.draw(generator)

        def losses(rows, batch=batch, noise=noise, segment_noise=segment_noise):
            of_images, divergence = image_losses(training.model, data, batch[rows], noise[rows], segment_noise)
            found[:, batch[rows]] = torch.stack([of_images, divergence]).detach()
            # of the whole set's evidence an image bears its own part of the segments' divergence
            divergence = divergence + training.model.segments.kl() / len(data)
            return (of_images + beta * data.kl_weight * divergence) / len(batch)

        training.optimizer.zero_grad()
        add_gradients(losses, torch.arange(len(batch)).split(AT_ONCE), parameters)
        training.optimizer.step()
    loss, divergence = found.mean(1).tolist()
    return {"epoch": training.epoch + 1, data.loss: round(-loss, 6), "kl": round(divergence, 4),
            "kl_segments": round(training.model.segments.kl().item(), 3), "beta": round(beta, 4)}


def image_losses(model: MotionAutoencoder, data: VaeData, index: Int[Tensor, "batch"], noise: Float[Tensor, "batch latent"],
                 segment_noise: Float[Tensor, "3 learned"]) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """What each image's prediction at a draw of its latent leaves, and the divergence of its latent's posterior (nats).

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), equations 2 to 4, 7 and 8.
    """
    mean, log_sd = model.encoder(data.pixels[index])
    motion = model.decoder(mean + log_sd.exp() * noise)
    position = model.positions(motion, model.segments.membership(segment_noise))
    return data.loss_of(index, position), gaussian_kl(mean, log_sd).sum(1)

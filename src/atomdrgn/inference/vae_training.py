"""Training an autoencoder: the loss of a batch, an epoch, and the checkpoint between epochs."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor

from ..errors import FileFormatError
from ..model.autoencoder import N_LATENT, Autoencoder
from ..model.segments import gaussian_kl
from ..run import CHECKPOINT, HISTORY, write_table
from .folder import read_history
from .gradient import add_gradients
from .state import read_tensors, write_tensors
from .vae_data import VaeData

BATCH = 128              # images of a step: Ducrocq et al., CryoSPHERE (2025), appendix B.2
AT_ONCE = 64             # of them, those that go forward and back on one thread; this decides the last bits, not the threads


@dataclass(eq=False)
class Training:
    """Networks, optimiser and how far they are.

    Parameters
    ----------
    model : Autoencoder
    optimizer : torch.optim.Adam
    history : list of dict
        One row an epoch.
    batch : int
        Images of a step.
    """

    model: Autoencoder
    optimizer: torch.optim.Adam
    history: list[dict[str, float | int]]
    batch: int = BATCH

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)


def start_training(model: Autoencoder, rate: float, *, batch: int = BATCH) -> Training:
    """An autoencoder before its first epoch."""
    return Training(model, torch.optim.Adam(model.parameter_groups(rate), fused=True), [], batch)


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
    found = torch.zeros(3, len(data))
    for batch in torch.randperm(len(data), generator=generator).split(training.batch):
        noise = torch.randn(len(batch), N_LATENT, generator=generator)
        shared = training.model.draw(generator)

        def losses(rows, batch=batch, noise=noise, shared=shared):
            of_images, divergence, strain = image_losses(training.model, data, batch[rows], noise[rows], shared)
            found[:, batch[rows]] = torch.stack([of_images, divergence, strain]).detach()
            # of the whole set's evidence an image bears its own part of the divergence of what all images share
            divergence = divergence + training.model.kl() / len(data)
            return (of_images + data.nat * (beta * divergence + strain)) / len(batch)

        training.optimizer.zero_grad()
        add_gradients(losses, torch.arange(len(batch)).split(AT_ONCE), parameters)
        training.optimizer.step()
    loss, divergence, strain = found.mean(1).tolist()
    kl = {"kl": round(divergence, 4)}
    if data.restraints is None:
        kl["kl_segments"] = round(training.model.kl().item(), 3)
    else:
        kl["strain"] = round(strain, 3)
    return {"epoch": training.epoch + 1, data.loss: round(-loss, 6), **kl, "beta": round(beta, 4)}


def image_losses(model: Autoencoder, data: VaeData, index: Int[Tensor, "batch"], noise: Float[Tensor, "batch latent"],
                 shared: Tensor) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """What each image's prediction at a draw of its latent leaves, the divergence of its latent's posterior, its strain (nats).

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), equations 2 to 4, 7 and 8; Zhong et al., Exploring generative atomic models (2021),
    equation 3, for the strain.
    """
    mean, log_sd = model.encoder(data.pixels[index])
    position = model.positions(mean + log_sd.exp() * noise, shared)
    return data.loss_of(index, position), gaussian_kl(mean, log_sd).sum(1), data.strain_of(position)


def save_training(training: Training, folder: Path) -> None:
    """Checkpoint and history of a run."""
    tensors = {f"model.{name}": value for name, value in training.model.state_dict().items()}
    for number, state in training.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": value for name, value in state.items()}
    tensors["epoch"] = torch.tensor(training.epoch)
    write_tensors(folder / CHECKPOINT, tensors)
    write_table(folder / HISTORY, {name: [row[name] for row in training.history] for name in training.history[0]})


def load_training(training: Training, folder: Path) -> None:
    """Go back to what :func:`save_training` wrote.

    Raises
    ------
    FileFormatError
        The file is none, or is damaged.
    """
    path = folder / CHECKPOINT
    try:
        held = read_tensors(path)
        training.model.load_state_dict({name: held[f"model.{name}"] for name in training.model.state_dict()})
        state = {}
        for name, value in held.items():
            if name.startswith("adam."):
                _, number, part = name.split(".")
                state.setdefault(int(number), {})[part] = value
        training.optimizer.load_state_dict(training.optimizer.state_dict() | {"state": state})
        training.history = read_history(folder / HISTORY, int(held["epoch"]))
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise FileFormatError(f"{path}: not a checkpoint of this fit ({error}); start again with --overwrite") from error

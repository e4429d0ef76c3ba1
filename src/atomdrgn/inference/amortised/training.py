"""Networks that are trained by gradient: how far they are, and the checkpoint between epochs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from ...errors import FileFormatError
from ...io.run_formats.tensors import read_tensors, write_tensors
from ...runs.run import CHECKPOINT, HISTORY, write_table
from ...runs.run_folder import read_history

Model = TypeVar("Model", bound=nn.Module)


@dataclass(eq=False)
class Training(Generic[Model]):
    """Networks, optimiser and how far they are.

    Parameters
    ----------
    model : nn.Module
    optimizer : torch.optim.Adam
    history : list of dict
        One row an epoch.
    """

    model: Model
    optimizer: torch.optim.Adam
    history: list[dict[str, float | int]]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)


def save_training(training: Training, folder: Path) -> None:
    """Checkpoint and history of a run.

    The history comes first: the checkpoint says how much of it counts, so that a run may be stopped
    between the two.
    """
    write_table(
        folder / HISTORY,
        {name: [row[name] for row in training.history] for name in training.history[0]},
    )
    tensors = {f"model.{name}": value for name, value in training.model.state_dict().items()}
    for number, state in training.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": value for name, value in state.items()}
    tensors["epoch"] = torch.tensor(training.epoch)
    write_tensors(folder / CHECKPOINT, tensors)


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
        training.model.load_state_dict(
            {name: held[f"model.{name}"] for name in training.model.state_dict()}
        )
        state: dict[int, dict[str, Any]] = {}
        for name, value in held.items():
            if name.startswith("adam."):
                _, number, part = name.split(".")
                state.setdefault(int(number), {})[part] = value
        training.optimizer.load_state_dict(training.optimizer.state_dict() | {"state": state})
        training.history = read_history(folder / HISTORY, int(held["epoch"]))
        if len(training.history) != int(held["epoch"]):
            raise FileFormatError(
                f"it is of {int(held['epoch'])} epochs, and {HISTORY} has {len(training.history)}"
            )
    except (FileFormatError, KeyError, RuntimeError, ValueError) as error:
        raise FileFormatError(
            f"{path}: not a checkpoint of this fit, or damaged ({error}); start again with "
            "--overwrite"
        ) from error

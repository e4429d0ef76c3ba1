"""The kinds of deformations that runs can be of, and what a run's file holds of one."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...errors import FileFormatError
from ..beads import BeadModel
from .bead_deformation import BeadDeformation
from .deformation import Deformation
from .segment_deformation import SegmentDeformation

# A further kind is one more line.
KINDS: dict[str, type[Deformation]] = {
    SegmentDeformation.kind: SegmentDeformation,
    BeadDeformation.kind: BeadDeformation,
}
KIND = "kind"  # the array of a file that names it
# What a file without that array is of, by one that it holds: files of these two are older than it.
TOLD_BY = {"weight": SegmentDeformation.kind, "mode": BeadDeformation.kind}


def kind_of(arrays: dict[str, np.ndarray]) -> str:
    """The kind of deformation whose arrays a file holds.

    Raises
    ------
    FileFormatError
        They tell of none, or of several.
    """
    if KIND in arrays:
        return str(arrays[KIND])
    told = [kind for name, kind in TOLD_BY.items() if name in arrays]
    if len(told) != 1:
        raise FileFormatError(
            "it holds both segments (weight) and beads that move (mode)"
            if told
            else "it holds neither segments (weight) nor beads that move (mode)"
        )
    return told[0]


def to_arrays(deformation: Deformation) -> dict[str, np.ndarray]:
    """What a file holds of a deformation; its kind is named where the arrays do not tell it."""
    arrays = deformation.arrays()
    if deformation.kind in TOLD_BY.values():
        return arrays
    return {**arrays, KIND: np.array(deformation.kind)}


def from_arrays(arrays: dict[str, np.ndarray], beads: Callable[[], BeadModel]) -> Deformation:
    """The deformation that a file holds, of a kind that is in :data:`KINDS`.

    See :meth:`Deformation.from_arrays`.
    """
    held: dict[str, Tensor] = {
        name: torch.from_numpy(array) for name, array in arrays.items() if name != KIND
    }
    return KINDS[kind_of(arrays)].from_arrays(held, beads)

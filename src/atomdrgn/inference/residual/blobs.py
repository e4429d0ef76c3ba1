"""What a residual density consists of: blobs, how large each is, and which residues are near."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.ndimage import distance_transform_edt, label
from scipy.spatial import cKDTree
from torch import Tensor

from ...structure.beads import BeadModel
from ...structure.selection import describe_residues

NEAR = 10.0  # A: residues so near to a blob are named
FEWEST_NAMED, MOST_NAMED = 3, 3  # residues that are named where none is so near; runs in print
LEAST_SHARE = 0.005  # of the molecule's density: less than a blob of a structure worth showing


@dataclass(frozen=True)
class Blob:
    """A coherent part of the residual density.

    Parameters
    ----------
    centre : (3,)
        Its centre of mass in the frame of the poses, A.
    across : float
        Diameter of the ball with its radius of gyration, A.
    share : float
        Its density, summed over space, against the beads'.
    significance : float
        Its highest value at the mask's resolution, in standard deviations of the noise.
    near : str
        Residues of the base model near it, as a selection.
    group : int, optional
        Number of the group of residues that most of these are of, from 1.
    """

    centre: tuple[float, float, float]
    across: float
    share: float
    significance: float
    near: str
    group: int | None = None

    @property
    def words(self) -> str:
        """Where it is and how large."""
        return f"near {_shortened(self.near)}, {self.across:.0f} A across"


def _shortened(selection: str) -> str:
    """The longest runs of a selection, in their order, where it has many."""
    runs = selection.split(",")
    if len(runs) <= MOST_NAMED:
        return selection
    ends = [re.findall(r"-?\d+", run.split(":")[-1]) for run in runs]
    length = [abs(int(each[-1])) - abs(int(each[0])) if each else 0 for each in ends]
    longest = sorted(sorted(range(len(runs)), key=lambda number: -length[number])[:MOST_NAMED])
    return ", ".join(runs[number] for number in longest) + " and others"


def find_blobs(
    density: Float[Tensor, "box box box"],
    signal: Float[Tensor, "box box box"],
    *,
    voxel_size: float,
    level: float,
    whole: float,
) -> list[tuple[np.ndarray, Blob]]:
    """Parts of a residual density that stand out, the largest first; nothing is said of residues.

    Parameters
    ----------
    density : (box, box, box)
        What is summed over space.
    signal : (box, box, box)
        In standard deviations of the noise.
    voxel_size : float
        A.
    level : float
        Above which the signal of a blob is.
    whole : float
        The beads' density, summed over space the same way.

    Returns
    -------
    list of ((point, 3), Blob)
        Each with the voxels above the level, in the frame of the poses, A.
    """
    value, height = density.numpy(), signal.numpy()
    cores, count = label(height > level)
    # what the mask holds besides belongs to the nearest
    nearest = distance_transform_edt(cores == 0, return_distances=False, return_indices=True)
    labels = np.where(value > 0, cores[tuple(nearest)], 0)
    found = []
    for number in range(1, count + 1):
        inside = labels == number
        weight = value[inside]
        total = float(weight.sum()) * voxel_size**3
        share = total / whole
        if share < LEAST_SHARE:
            continue
        core = cores == number
        point = (np.argwhere(inside)[:, ::-1] - len(value) // 2) * voxel_size
        centre = weight @ point / weight.sum()
        gyration = math.sqrt(weight @ ((point - centre) ** 2).sum(1) / weight.sum())
        x, y, z = centre.tolist()
        across = 2 * math.sqrt(5 / 3) * gyration
        near = (np.argwhere(core)[:, ::-1] - len(value) // 2) * voxel_size
        found.append((near, Blob((x, y, z), across, share, float(height[core].max()), "")))
    return sorted(found, key=lambda each: -each[1].share)


def near_residues(
    points: Float[np.ndarray, "point 3"],
    beads: BeadModel,
    trace: Float[np.ndarray, "trace 3"],
    group: Int[Tensor, "trace"],
) -> tuple[str, int]:
    """The residues near some points as a selection, and the group that most of them are of.

    Parameters
    ----------
    points : (point, 3)
        A.
    beads : BeadModel
        Whose residues are meant.
    trace : (trace, 3)
        Where they are on average, A.
    group : (trace,)
        That each moves with, from 0.
    """
    distance = cKDTree(points).query(trace)[0]
    near = distance < NEAR
    if not near.any():
        near[np.argsort(distance)[:FEWEST_NAMED]] = True
    chosen = np.zeros(len(beads), bool)
    chosen[beads.trace_index.numpy()[near]] = True
    most = int(torch.bincount(group[torch.from_numpy(near)]).argmax())
    return describe_residues(beads, chosen), most + 1


def in_words(blobs: Sequence[Blob], *, name: str) -> str:
    """How much of the density is not in the base model, and where, in a sentence."""
    if not blobs:
        return f"no density beyond {name} is clear"
    share = sum(blob.share for blob in blobs)
    said = f"{share / (1 + share):.0%} of the density is not in {name}: {blobs[0].words}"
    others = len(blobs) - 1
    return said + (f", and {others} smaller {'blob' if others == 1 else 'blobs'}" if others else "")

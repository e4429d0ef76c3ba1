"""The part of the molecule that a fit is about, as a mask or residues name it.

What lies outside does not move and is no part of the model: the residual density alone explains it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from scipy.spatial import cKDTree
from torch import Tensor

from ...errors import InputError
from ...structure.beads import BeadModel
from ...structure.density_map import DensityMap
from ...structure.selection import describe_residues, select

WIDE = 8.0  # A around residues, where that is not said
INSIDE = 0.5  # what a mask has where residues are inside
BEYOND = 1e-3  # by which a mask's values may miss 0 and 1, as resampling leaves them


def near_residues_named(text: str, beads: BeadModel) -> Bool[np.ndarray, "bead"]:
    """Beads of residues that are named, and of those around them.

    Parameters
    ----------
    text : str
        A selection, and how far around it, A: "A:1-200+8"; 8 A where that is not said.
    beads : BeadModel
        The base model.

    Raises
    ------
    InputError
        A width that is none, or a selection that names nothing.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> int(near_residues_named("A:1-6+0", beads).sum())
    6
    """
    selection, plus, width = text.partition("+")
    try:
        wide = float(width) if plus else WIDE
    except ValueError:
        wide = -1.0
    if not 0 <= wide < float("inf"):
        raise InputError(
            f"a mask of {text!r}: expected residues and how many A around them, as in A:1-200+8"
        )
    position = beads.position.numpy()
    distance = cKDTree(position[select(beads, selection)]).query(position)[0]
    return (distance <= wide)[beads.anchor]


def inside_mask(mask: DensityMap, beads: BeadModel) -> Bool[np.ndarray, "bead"]:
    """Beads of residues where a mask is a half or more, its middle voxel where poses turn about.

    Raises
    ------
    InputError
        Its values are not from 0 to 1, or it holds no residue.
    """
    low, high = float(mask.density.min()), float(mask.density.max())
    if low < -BEYOND or not INSIDE < high <= 1 + BEYOND:
        raise InputError(
            f"{mask.name}: values from {low:.3g} to {high:.3g}; a mask has 1 where the fit shall "
            "look and 0 where it shall not"
        )
    inside = (mask.in_pose_frame().at(beads.position) >= INSIDE).numpy()[beads.anchor]
    if not inside.any():
        raise InputError(
            f"{mask.name}: no residue of the base model is inside: is the mask in the frame of the "
            "poses, its middle voxel at the box centre of the images?"
        )
    return inside


@dataclass(frozen=True, eq=False)
class Focus:
    """What of the molecule moves and what is no part of the model.

    Parameters
    ----------
    outside : (bead,)
        Beads that the residual density shows in their place.
    fixed : str, optional
        Residues that do not move: those, and what a user has fixed.
    free : int
        Residues that may move and are in no part of one's own.
    """

    outside: Bool[Tensor, "bead"]
    fixed: str | None
    free: int


def focus_on(
    inside: Bool[np.ndarray, "bead"],
    beads: BeadModel,
    *,
    parts: Sequence[str],
    fixed: str | None,
) -> Focus:
    """A fit about what is inside: parts of one's own move also where they are not.

    Raises
    ------
    InputError
        Nothing may move.
    """
    own, still = np.zeros((2, len(beads)), bool)
    for part in parts:
        own |= select(beads, part)
    if fixed is not None:
        still |= select(beads, fixed)
    outside = ~(inside | own | still)
    free = inside & ~still & beads.trace
    if not (free | own & beads.trace).any():
        raise InputError("nothing that is inside of the mask is free to move")
    at_rest = (outside | still) & beads.trace
    return Focus(
        torch.from_numpy(outside),
        describe_residues(beads, at_rest) if at_rest.any() else None,
        int((free & ~own).sum()),
    )

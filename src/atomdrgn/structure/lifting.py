"""From the motion of segments, or of single beads, to the positions of all atoms."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .beads import BeadModel
from .motion import RigidMotion, blended_rotation

STRETCH = 2      # residues on either side that tell how one has turned: less than a turn of a helix


def lift(motion: RigidMotion, atom: Float[Tensor, "atom 3"], *, bead: Float[Tensor, "bead 3"], bead_of_atom: Int[Tensor, "atom"],
         centroid: Float[Tensor, "segment 3"], weight: Float[Tensor, "bead segment"]) -> Float[Tensor, "*batch atom 3"]:
    """Positions of all atoms: each goes with its bead and turns about it, so that every residue keeps its shape.

    Parameters
    ----------
    motion : RigidMotion
        Of the segments, (*batch, segment).
    atom, bead : (atom, 3), (bead, 3)
        The base model, A.
    bead_of_atom : (atom,)
        The bead that each atom follows.
    centroid, weight
        Of the segments, and the beads' membership in them.
    """
    moved = motion.apply(bead, centroid, weight=weight)[..., bead_of_atom, :]
    turn = blended_rotation(motion, weight)[..., bead_of_atom, :, :]
    return moved + (turn * (atom - bead[bead_of_atom])[:, None]).sum(-1)


def lift_residues(atom: Float[Tensor, "atom 3"], beads: BeadModel, moved: Float[Tensor, "*batch bead 3"], *,
                  doubt: float = 0.0) -> Float[Tensor, "*batch atom 3"]:
    """Positions of all atoms where every bead has moved by itself: each goes with its bead, and turns as its part of the chain.

    Parameters
    ----------
    atom : (atom, 3)
        The base model, A.
    beads : BeadModel
        Of the base model.
    moved : (*batch, bead, 3)
        Where the beads are now, A.
    doubt : float
        By how much the base model's beads are known to be scattered, A: how a stretch turned is believed the less.
    """
    turn = chain_turns(beads, moved, doubt=doubt)
    bead = torch.from_numpy(beads.bead_of_atom)
    return moved[..., bead, :] + (turn[..., bead, :, :] @ (atom - beads.position[bead])[..., None])[..., 0]


def chain_turns(beads: BeadModel, moved: Float[Tensor, "*batch bead 3"], *,
                doubt: float = 0.0) -> Float[Tensor, "*batch bead 3 3"]:
    """Rotation of each bead's surroundings: the best superposition of its residue and STRETCH residues on either side.

    What is no polymer turns with the residue that it follows. A single residue keeps its orientation.
    """
    trace, anchor = np.flatnonzero(beads.trace), beads.anchor
    chain = np.unique(beads.chain, return_inverse=True)[1]
    far = 2 * STRETCH + 2                                   # so that chains stand apart in one count
    place = chain * (beads.order.max() + far) + beads.order
    residue, other = _windows(place[trace], place, beads.polymer)
    before, after = (_about_their_mean(x[..., other, :].double(), residue, len(trace)) for x in (beads.position, moved))
    product = torch.zeros(*moved.shape[:-2], len(trace), 3, 3, dtype=torch.float64)
    product.index_add_(-3, residue, after[..., :, None] * before[..., None, :])
    count = torch.bincount(residue, minlength=len(trace))
    product += (1 + doubt**2 * count)[:, None, None] * torch.eye(3, dtype=torch.float64)
    left, _, right = torch.linalg.svd(product)
    left[..., 2] *= torch.linalg.det(left @ right)[..., None]
    turn = torch.zeros(len(beads), dtype=torch.long)
    turn[trace] = torch.arange(len(trace))
    return (left @ right).to(moved.dtype)[..., turn[anchor], :, :]


def _windows(centre, place, polymer):
    """Pairs of a centre and a polymer bead at most STRETCH places away: (pair,) numbers of either."""
    bead = np.flatnonzero(polymer)
    bead = bead[np.argsort(place[bead], kind="stable")]
    first, end = (np.searchsorted(place[bead], centre + shift, side) for shift, side in ((-STRETCH, "left"), (STRETCH, "right")))
    owner = np.repeat(np.arange(len(centre)), end - first)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
    return torch.from_numpy(owner), torch.from_numpy(bead[first[owner] + within])


def _about_their_mean(point, group, count):
    total = point.new_zeros(*point.shape[:-2], count, 3).index_add_(-2, group, point)
    return point - (total / torch.bincount(group, minlength=count)[:, None])[..., group, :]

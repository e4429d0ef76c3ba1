"""From the motion of segments, or of single beads, to the positions of all atoms."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...physics.rotations import matrix_from_vector
from ..beads import BeadModel
from .motion import RigidMotion, blended_rotation

STRETCH = 2  # residues on either side that tell how one has turned: less than a turn of a helix


def lift(
    motion: RigidMotion,
    atom: Float[Tensor, "atom 3"],
    *,
    bead: Float[Tensor, "bead 3"],
    bead_of_atom: Int[Tensor, "atom"],
    centroid: Float[Tensor, "segment 3"],
    weight: Float[Tensor, "bead segment"],
    flexed: tuple[Tensor, Tensor] | None = None,
) -> Float[Tensor, "*batch atom 3"]:
    """Positions of all atoms: each goes with its bead and turns about it.

    So every residue keeps its shape.

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
    flexed : ((*batch, bead, 3), (*batch, bead, 3)), optional
        What beads do within their segments before these move: an offset, A, and a rotation vector
        (:class:`~.flexing.Flexing`).

    Returns
    -------
    (*batch, atom, 3)
        A.

    Examples
    --------
    >>> still = RigidMotion(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    >>> base = {"bead": torch.zeros(1, 3), "centroid": torch.zeros(1, 3)}
    >>> alone = {"bead_of_atom": torch.zeros(2, dtype=torch.long), "weight": torch.ones(1, 1)}
    >>> lift(still, torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), **base, **alone)
    tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    moved, turn = motion.apply(bead, centroid, weight=weight), blended_rotation(motion, weight)
    if flexed is not None:
        moved = moved + turned(turn, flexed[0])
        turn = turn @ matrix_from_vector(flexed[1])
    return moved[..., bead_of_atom, :] + (
        turn[..., bead_of_atom, :, :] * (atom - bead[bead_of_atom])[:, None]
    ).sum(-1)


def turned(
    rotation: Float[Tensor, "*#batch bead 3 3"], vector: Float[Tensor, "*#batch bead 3"]
) -> Float[Tensor, "*#batch bead 3"]:
    """A vector of each bead, such as in the frame that its segments have turned to.

    Parameters
    ----------
    rotation : (*batch, bead, 3, 3)
        Of each bead.
    vector : (*batch, bead, 3)
        Of each bead.

    Returns
    -------
    (*batch, bead, 3)

    Examples
    --------
    >>> turned(-torch.eye(3)[None], torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[-1., -2., -3.]])
    """
    # many small products: faster than as matrices
    return (rotation * vector[..., None, :]).sum(-1)


def lift_residues(
    atom: Float[Tensor, "atom 3"],
    beads: BeadModel,
    moved: Float[Tensor, "*batch bead 3"],
    *,
    doubt: float = 0.0,
) -> Float[Tensor, "*batch atom 3"]:
    """Positions of all atoms where every bead has moved by itself.

    Each atom goes with its bead, and turns as its part of the chain.

    Parameters
    ----------
    atom : (atom, 3)
        The base model, A.
    beads : BeadModel
        Of the base model.
    moved : (*batch, bead, 3)
        Where the beads are now, A.
    doubt : float
        By how much the base model's beads are known to be scattered, A: how a stretch turned is
        believed the less.

    Returns
    -------
    (*batch, atom, 3)
        A.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> structure = read_structure("model.pdb")
    >>> beads = coarse_grain(structure)
    >>> moved = lift_residues(structure.position, beads, beads.position + 1.0)
    >>> torch.allclose(moved, structure.position + 1.0, atol=1e-4)
    True
    """
    turn = chain_turns(beads, moved, doubt=doubt)
    bead = torch.from_numpy(beads.bead_of_atom)
    return (
        moved[..., bead, :]
        + (turn[..., bead, :, :] @ (atom - beads.position[bead])[..., None])[..., 0]
    )


def chain_turns(
    beads: BeadModel, moved: Float[Tensor, "*batch bead 3"], *, doubt: float = 0.0
) -> Float[Tensor, "*batch bead 3 3"]:
    """Rotation of each bead's surroundings: its residue and STRETCH residues on either side.

    It is their best superposition.

    What is no polymer turns with the residue that it follows. A single residue keeps its
    orientation.

    Parameters
    ----------
    beads : BeadModel
        Of the base model.
    moved : (*batch, bead, 3)
        Where the beads are now, A.
    doubt : float
        As for :func:`lift_residues`.

    Returns
    -------
    (*batch, bead, 3, 3)

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> torch.allclose(chain_turns(beads, beads.position), torch.eye(3), atol=1e-5)
    True
    """
    residue, other, count = _windows(beads)
    before, after = (
        _about_their_mean(x[..., other, :].double(), residue, len(count))
        for x in (beads.position, moved)
    )
    product = torch.zeros(*moved.shape[:-2], len(count), 3, 3, dtype=torch.float64)
    product.index_add_(-3, residue, after[..., :, None] * before[..., None, :])
    product += (1 + doubt**2 * count)[:, None, None] * torch.eye(3, dtype=torch.float64)
    left, _, right = torch.linalg.svd(product)
    left[..., 2] *= torch.linalg.det(left @ right)[..., None]
    return (left @ right).to(moved.dtype)[..., _residue_of_bead(beads), :, :]


@dataclass(frozen=True, eq=False)
class SmallTurns:
    """Rotation vectors that are linear in how far beads are moved.

    They are what :func:`chain_turns` finds for small turns.

    Parameters
    ----------
    residue, other : (pair,)
        A trace bead, by its number among these, and a bead near it along the chain.
    arm : (pair, 3)
        From the middle of all that are near the first to the second, A.
    inverse : (trace, 3, 3)
        Inverse of the tensor of inertia of what is near, 1/A^2.
    residue_of_bead : (bead,)
        Number of the trace bead of each bead's residue.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> small_turns(beads)(torch.zeros_like(beads.position)).shape
    torch.Size([24, 3])
    """

    residue: Int[Tensor, "pair"]
    other: Int[Tensor, "pair"]
    arm: Float[Tensor, "pair 3"]
    inverse: Float[Tensor, "trace 3 3"]
    residue_of_bead: Int[Tensor, "bead"]

    def __call__(self, offset: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch bead 3"]:
        """Rotation vector of each bead, where beads are moved by an offset, A."""
        near = offset[..., self.other, :]
        moment = torch.linalg.cross(self.arm.expand_as(near), near)
        total = offset.new_zeros(*offset.shape[:-2], len(self.inverse), 3).index_add(
            -2, self.residue, moment
        )
        return turned(self.inverse, total)[..., self.residue_of_bead, :]


def small_turns(beads: BeadModel) -> SmallTurns:
    """The small turns of a base model.

    Parameters
    ----------
    beads : BeadModel
        The base model.

    Returns
    -------
    SmallTurns

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> small_turns(beads)(torch.ones_like(beads.position)).abs().max().item() < 1e-4
    True
    """
    residue, other, count = _windows(beads)
    arm = _about_their_mean(beads.position[other], residue, len(count))
    inertia = arm.square().sum(-1)[:, None, None] * torch.eye(3) - arm[:, :, None] * arm[:, None, :]
    inertia = torch.eye(3).repeat(len(count), 1, 1).index_add(0, residue, inertia)
    return SmallTurns(residue, other, arm, torch.linalg.inv(inertia), _residue_of_bead(beads))


def _residue_of_bead(beads: BeadModel) -> Int[Tensor, "bead"]:
    """Number of the trace bead of each bead's residue among all trace beads."""
    number = torch.zeros(len(beads), dtype=torch.long)
    number[beads.trace_index] = torch.arange(len(beads.trace_index))
    return number[torch.from_numpy(beads.anchor)]


def _windows(
    beads: BeadModel,
) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"], Int[Tensor, "trace"]]:
    """Pairs of a trace and a polymer bead at most STRETCH apart, and how many each first has.

    Pairs are numbers of either; STRETCH counts places along the chain.
    """
    chain = np.unique(beads.chain, return_inverse=True)[1]
    # so that chains stand apart in one count
    far = 2 * STRETCH + 2
    place = chain * (beads.order.max() + far) + beads.order
    residue, other = _near(place[beads.trace], place, beads.polymer)
    return residue, other, torch.bincount(residue, minlength=len(beads.trace_index))


def _near(
    centre: np.ndarray, place: np.ndarray, polymer: np.ndarray
) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair"]]:
    """Pairs of a centre and a polymer bead at most STRETCH places away.

    They are numbers of either, (pair,).
    """
    bead = np.flatnonzero(polymer)
    bead = bead[np.argsort(place[bead], kind="stable")]
    first = np.searchsorted(place[bead], centre - STRETCH, "left")
    end = np.searchsorted(place[bead], centre + STRETCH, "right")
    owner = np.repeat(np.arange(len(centre)), end - first)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(end - first) - (end - first), end - first)
    return torch.from_numpy(owner), torch.from_numpy(bead[first[owner] + within])


def _about_their_mean(
    point: Float[Tensor, "*batch pair 3"], group: Int[Tensor, "pair"], count: int
) -> Float[Tensor, "*batch pair 3"]:
    total = point.new_zeros(*point.shape[:-2], count, 3).index_add_(-2, group, point)
    return point - (total / torch.bincount(group, minlength=count)[:, None])[..., group, :]

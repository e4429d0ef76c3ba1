"""From the motion of segments to the positions of all atoms."""

from jaxtyping import Float, Int
from torch import Tensor

from .motion import RigidMotion, blended_rotation


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

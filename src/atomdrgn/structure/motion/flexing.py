"""What beads do within their segments as these move."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..beads import BeadModel
from .lifting import small_turns
from .motion import FlexedMotion, RigidMotion


@dataclass(frozen=True, eq=False)
class Flexing:
    """Offsets of beads that all particles share which are at the same place along the motions.

    They are in the frame of the base model: segments then take the beads along.

    Parameters
    ----------
    offset : (feature, bead, 3)
        For one of each of the surface's features (:meth:`~.surface.Surface.features`), A.
    turn : (feature, bead, 3)
        How the bead's surroundings turn, a rotation vector.

    Examples
    --------
    >>> bend = Flexing(offset=torch.ones(1, 4, 3), turn=torch.zeros(1, 4, 3))
    >>> offset, turn = bend.at(torch.tensor([0.5]))
    >>> offset[0]
    tensor([0.5000, 0.5000, 0.5000])
    """

    offset: Float[Tensor, "feature bead 3"]
    turn: Float[Tensor, "feature bead 3"]

    def at(
        self, feature: Float[Tensor, "*batch feature"]
    ) -> tuple[Float[Tensor, "*batch bead 3"], Float[Tensor, "*batch bead 3"]]:
        """Offset and rotation vector of each bead."""
        return tuple(
            (feature @ each.flatten(1)).unflatten(-1, each.shape[1:])
            for each in (self.offset, self.turn)
        )

    def of(self, motion: RigidMotion) -> tuple[Tensor, Tensor] | None:
        """The same under a motion; none where that says nothing of it."""
        return self.at(motion.feature) if isinstance(motion, FlexedMotion) else None


def make_flexing(beads: BeadModel, offset: Float[Tensor, "feature bead 3"]) -> Flexing:
    """Offsets of beads, with the turns of residues that follow from those of their neighbours.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    offset : (feature, bead, 3)
        As in :class:`Flexing`, A.

    Returns
    -------
    Flexing

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> make_flexing(beads, torch.zeros(1, len(beads), 3)).turn.abs().max().item()
    0.0
    """
    return Flexing(offset, small_turns(beads)(offset))


def with_feature(motion: RigidMotion, feature: Float[Tensor, "*batch feature"]) -> FlexedMotion:
    """A rigid motion of segments, and how far beads are moved within them.

    Parameters
    ----------
    motion : RigidMotion
        (*batch, segment)
    feature : (*batch, feature)
        Of the surface.

    Returns
    -------
    FlexedMotion

    Examples
    --------
    >>> still = RigidMotion(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 3))
    >>> with_feature(still, torch.tensor([0.5])).feature
    tensor([0.5000])
    """
    return FlexedMotion(motion.rotation, motion.translation, torch.as_tensor(feature))

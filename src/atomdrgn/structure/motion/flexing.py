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
    """Offsets of beads, with the turns of residues that follow from those of their neighbours."""
    return Flexing(offset, small_turns(beads)(offset))


def with_feature(motion: RigidMotion, feature: Float[Tensor, "*batch feature"]) -> FlexedMotion:
    """A rigid motion of segments, and how far beads are moved within them."""
    return FlexedMotion(motion.rotation, motion.translation, torch.as_tensor(feature))

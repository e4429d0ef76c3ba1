"""A base model with all its atoms, and how it moves: by segments, or each bead by itself."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from ..beads import BeadModel
from .flexing import Flexing
from .lifting import lift, lift_residues, turned
from .motion import BeadMotion, RigidMotion, blended_rotation, screw_motion, twists


@runtime_checkable
class Deformation(Protocol):
    """What a run needs to show its particles."""

    def motion(self, latent: Float[Tensor, "*batch latent"]) -> RigidMotion | BeadMotion:
        """What a latent decodes to."""

    def beads(self, motion: RigidMotion | BeadMotion) -> Float[Tensor, "*batch bead 3"]:
        """Positions of the beads under a motion, A."""

    def atoms(self, motion: RigidMotion | BeadMotion) -> Float[Tensor, "*batch atom 3"]:
        """Positions of all atoms under a motion, A."""


@dataclass(frozen=True, eq=False)
class MobileSegments:
    """Segments that move as rigid bodies; a latent holds their twists (see
    :class:`~.deformation.SegmentDeformation`).

    Parameters
    ----------
    atom, bead : (atom, 3), (bead, 3)
        The base model, A.
    bead_of_atom : (atom,)
        The bead that each atom follows.
    centroid, weight : (segment, 3), (bead, segment)
        Of the segments, A, and the beads' membership in them.
    free, radius : (free,), (segment,)
        The segments that move, and what their turns are measured by, A.
    flexing : Flexing, optional
        What beads do within their segments, where a motion says how far
        (:class:`~.motion.FlexedMotion`).
    """

    atom: Float[Tensor, "atom 3"]
    bead: Float[Tensor, "bead 3"]
    bead_of_atom: Int[Tensor, "atom"]
    centroid: Float[Tensor, "segment 3"]
    weight: Float[Tensor, "bead segment"]
    free: Int[Tensor, "free"]
    radius: Float[Tensor, "segment"]
    flexing: Flexing | None = None

    def motion(self, latent: Float[Tensor, "*batch latent"]) -> RigidMotion:
        """The rigid motion of each segment."""
        return screw_motion(*twists(latent, free=self.free, radius=self.radius))

    def beads(self, motion: RigidMotion) -> Float[Tensor, "*batch bead 3"]:
        """Positions of the beads, A."""
        moved, flexed = (
            motion.apply(self.bead, self.centroid, weight=self.weight),
            self._flexed(motion),
        )
        return (
            moved
            if flexed is None
            else moved + turned(blended_rotation(motion, self.weight), flexed[0])
        )

    def atoms(self, motion: RigidMotion) -> Float[Tensor, "*batch atom 3"]:
        """Positions of all atoms, A."""
        return lift(
            motion,
            self.atom,
            bead=self.bead,
            bead_of_atom=self.bead_of_atom,
            centroid=self.centroid,
            weight=self.weight,
            flexed=self._flexed(motion),
        )

    def _flexed(self, motion):
        return None if self.flexing is None else self.flexing.of(motion)


@dataclass(frozen=True, eq=False)
class MobileBeads:
    """Beads that move one by one, by offsets that are linear in a latent; atoms go with their bead
    and turn with their chain.

    Parameters
    ----------
    atom : (atom, 3)
        The base model, A.
    model : BeadModel
        Its beads.
    mode : (latent, bead, 3)
        Offsets by one of each number of the latent, A.
    shift : (bead, 3)
        Offsets at a latent of zeros, A.
    """

    atom: Float[Tensor, "atom 3"]
    model: BeadModel
    mode: Float[Tensor, "latent bead 3"]
    shift: Float[Tensor, "bead 3"]

    def motion(self, latent: Float[Tensor, "*batch latent"]) -> BeadMotion:
        """The offset of each bead."""
        return BeadMotion(self.shift + (latent @ self.mode.flatten(1)).unflatten(-1, (-1, 3)))

    def beads(self, motion: BeadMotion) -> Float[Tensor, "*batch bead 3"]:
        """Positions of the beads, A."""
        return self.model.position + motion.offset

    def atoms(self, motion: BeadMotion) -> Float[Tensor, "*batch atom 3"]:
        """Positions of all atoms, A."""
        return lift_residues(self.atom, self.model, self.beads(motion))

"""Beads that move one by one, by offsets that are linear in a latent."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...io.run_formats.arrays import FINITE
from ..beads import BeadModel
from .deformation import Deformation, Held
from .lifting import lift_residues
from .motion import BeadMotion


@final
@dataclass(frozen=True, eq=False)
class BeadDeformation(Deformation):
    """Beads that move one by one; atoms go with their bead and turn with their chain.

    Parameters
    ----------
    model : BeadModel
        The base model's beads.
    mode : (latent, bead, 3)
        Offsets by one of each number of the latent, A.
    shift : (bead, 3)
        Offsets at a latent of zeros, A.
    """

    kind: ClassVar[str] = "beads"
    ARRAYS: ClassVar[Held] = {"mode": ("latent bead 3", FINITE), "shift": ("bead 3", FINITE)}

    model: BeadModel
    mode: Float[Tensor, "latent bead 3"]
    shift: Float[Tensor, "bead 3"]

    @property
    def n_latent(self) -> int:
        """Numbers that describe one particle."""
        return len(self.mode)

    def motion(self, latent: Float[Tensor, "*batch latent"]) -> BeadMotion:
        """The offset of each bead."""
        return BeadMotion(self.shift + (latent @ self.mode.flatten(1)).unflatten(-1, (-1, 3)))

    def beads(self, motion: BeadMotion) -> Float[Tensor, "*batch bead 3"]:
        """Positions of the beads, A."""
        return self.model.position + motion.offset

    def atoms(
        self, motion: BeadMotion, atom: Float[Tensor, "atom 3"]
    ) -> Float[Tensor, "*batch atom 3"]:
        """Positions of all atoms, A."""
        return lift_residues(atom, self.model, self.beads(motion))

    def bead_jacobians(
        self, latent: Float[Tensor, "batch latent"], bead: Int[Tensor, "bead"]
    ) -> Float[Tensor, "batch bead 3 latent"]:
        """How the positions of some beads change with the latent: everywhere alike."""
        return self.mode[:, bead].permute(1, 2, 0).expand(len(latent), -1, -1, -1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The modes and the shift."""
        return {"mode": self.mode.numpy(), "shift": self.shift.numpy()}

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, Tensor], beads: Callable[[], BeadModel]
    ) -> "BeadDeformation":
        """Modes of a base model."""
        return cls(replace(beads(), position=arrays["bead"]), arrays["mode"], arrays["shift"])

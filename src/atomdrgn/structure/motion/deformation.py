"""What a deformation is: from numbers to conformations of a base model, and how these change."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...io.run_formats.arrays import FINITE
from ...physics.record import Record
from ..beads import BeadModel

Held = dict[str, tuple[str, str]]  # of each array its dimensions, by name or number, and its kind


@dataclass(frozen=True)
class Conformation(Record):
    """Beads of some particles: where they stand and whether they are there.

    Parameters
    ----------
    position : (*batch, bead, 3)
        A, in the molecule's frame.
    occupancy : (*batch, bead)
        1 where the bead is present, 0 where it is absent.
    """

    position: Float[Tensor, "*batch bead 3"]
    occupancy: Float[Tensor, "*batch bead"]


class Deformation(ABC):
    """What a latent decodes to: a motion, and where beads and atoms are under it.

    A latent of zeros may be any conformation. A subclass is final and holds

    - :attr:`kind`, its name in :data:`~atomdrgn.structure.motion.kinds.KINDS`, the table of what
      runs can be of, and :attr:`n_latent`;
    - :meth:`motion`, a record of what is kept of a conformation: a
      :class:`~atomdrgn.structure.motion.motion.RigidMotion` of segments, a
      :class:`~atomdrgn.structure.motion.motion.BeadMotion`, or one of its own;
    - :meth:`beads` and :meth:`atoms` under a motion;
    - :meth:`arrays` and :meth:`from_arrays`, what a run's model.npz holds of it, as :attr:`ARRAYS`
      says. Where segments move as rigid bodies, `centroid` (segment, 3) and `weight` (bead,
      segment) are among them: what is made of segments reads them there.

    The Jacobian and the metric follow, and so do the derivative images and normal equations that
    :mod:`atomdrgn.likelihood` makes of them. The motion of each particle of a run is read from the
    arrays :attr:`MOTIONS` of motions.npz by :meth:`motion_of`: by default from its latent.
    """

    kind: ClassVar[str]
    ARRAYS: ClassVar[Held] = {}
    # of these the ones that a file may do without
    OPTIONAL: ClassVar[frozenset[str]] = frozenset()
    MOTIONS: ClassVar[Held] = {"feature": ("particle latent", FINITE)}

    @property
    @abstractmethod
    def n_latent(self) -> int:
        """Numbers that describe one particle."""

    @abstractmethod
    def motion(self, latent: Float[Tensor, "*batch latent"]) -> Record:
        """What a latent decodes to; differentiable."""

    @abstractmethod
    def beads(self, motion: Any) -> Float[Tensor, "*batch bead 3"]:
        """Positions of the beads under a motion, A; differentiable."""

    @abstractmethod
    def atoms(self, motion: Any, atom: Float[Tensor, "atom 3"]) -> Float[Tensor, "*batch atom 3"]:
        """Positions of all atoms under a motion, A, from those in the base model."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What a file has to hold for :meth:`from_arrays`."""

    @classmethod
    @abstractmethod
    def from_arrays(
        cls, arrays: dict[str, Tensor], beads: Callable[[], BeadModel]
    ) -> "Deformation":
        """The deformation that a file holds.

        Parameters
        ----------
        arrays : dict
            Of model.npz: among them `bead` (bead, 3), the base model, A, and `bead_of_atom`
            (atom,).
        beads : callable
            Makes the base model's beads, where more of them is wanted.
        """

    def motion_of(self, arrays: dict[str, Tensor]) -> Record:
        """The motions of particles, from their entries in the arrays :attr:`MOTIONS`."""
        return self.motion(arrays["feature"])

    def conformation(self, latent: Float[Tensor, "*batch latent"]) -> Conformation:
        """What a latent decodes to: all beads are present."""
        position = self.beads(self.motion(latent))
        return Conformation(position, torch.ones_like(position[..., 0]))

    def bead_jacobian(
        self, latent: Float[Tensor, "latent"], bead: Int[Tensor, "bead"]
    ) -> Float[Tensor, "bead 3 latent"]:
        """How the positions of some beads change with the latent."""

        def place(latent: Tensor) -> Tensor:
            return self.conformation(latent).position[bead]

        # forwards: numbers of a latent are fewer than coordinates
        unit = torch.eye(len(latent), dtype=latent.dtype, device=latent.device)
        return torch.stack([torch.func.jvp(place, (latent,), (each,))[1] for each in unit], -1)

    def trace_metric(
        self, trace: Int[Tensor, "trace"], latent: Float[Tensor, "latent"]
    ) -> Float[Tensor, "latent latent"]:
        """Matrix G such that a step d from a latent moves the trace by ``sqrt(d G d)`` A r.m.s.

        The step is small.
        """
        moved = self.bead_jacobian(latent, trace).flatten(0, 1)
        return moved.T @ moved / len(trace)

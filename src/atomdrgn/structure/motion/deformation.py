"""What a deformation is: from numbers to conformations of a base model, and how these change."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import with_attributes_on
from ...errors import InputError
from ...io.run_formats.arrays import FINITE
from ...physics.record import Record
from ..beads import BeadModel
from ..segmentation import Segmentation

Held = dict[str, tuple[str, str]]  # of each array its dimensions, by name or number, and its kind
SHORTEST = 1e-3  # A r.m.s. of all beads: no number is taken to move less


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


class Transforms(NamedTuple):
    """Of how many beads the derivative images of one image are transforms, and of which fields.

    Parameters
    ----------
    beads : int
        A bead counts once for each part of the molecule that it is transformed with.
    fields : int
        Numbers of each bead, summed over the parts.
    """

    beads: int
    fields: int


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
    arrays :attr:`MOTIONS` of motions.npz by :meth:`motion_of`: by default from its latent. Where
    they are others, :meth:`motion_arrays` writes them.

    A fit makes it by :meth:`of_beads`. What is likely before any image is seen follows from an
    elastic network of the beads, whatever the unit of each number. What else a fit may ask for has
    an answer here that a subclass overrides where it knows better:

    - :attr:`membership`, segments that move as rigid bodies, of which groups are made;
    - :meth:`whole_motion`, of what its numbers do that errors of the poses would look like;
    - :meth:`with_composition`, :attr:`motions_alone` and :attr:`motion_numbers`, for parts that may
      be absent.

    Far starts, learned borders and corrections of the base model are of
    :class:`~atomdrgn.structure.motion.segment_deformation.SegmentDeformation` alone.
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
    def of_beads(cls, beads: BeadModel, segmentation: Segmentation) -> "Deformation":
        """What a fit of a base model begins with: a latent of zeros is that model.

        Parameters
        ----------
        beads : BeadModel
            The base model.
        segmentation : Segmentation
            How the options of the fit cut it.

        Raises
        ------
        InputError
            There is no way to make one.
        """
        raise InputError(
            f"no fit is of the kind {cls.kind!r}: nothing says how it is made of a base model "
            "(Deformation.of_beads)"
        )

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

    def motion_arrays(self, latent: Float[Tensor, "particle latent"]) -> dict[str, np.ndarray]:
        """What motions.npz holds of particles: the arrays :attr:`MOTIONS`."""
        return {"feature": latent.numpy()}

    @property
    def membership(self) -> Float[Tensor, "bead segment"] | None:
        """Share of each bead in each segment that moves as a rigid body; None without such."""
        return None

    @property
    def transforms(self) -> "Transforms":
        """What the derivative images of one image take: those of all beads."""
        latent = torch.zeros(self.n_latent)
        return Transforms(self.conformation(latent).position.shape[-2], 1 + 2 * self.n_latent)

    def on_device(self, device: torch.device) -> "Deformation":
        """The same for latents on a device."""
        return with_attributes_on(self, device)

    @property
    def motions_alone(self) -> "Deformation":
        """The same of motions alone, with everything present."""
        return self

    @property
    def motion_numbers(self) -> Int[Tensor, "motion"]:
        """Where in a latent the motions are; the rest are occupancies."""
        return torch.arange(self.n_latent)

    def with_composition(self) -> "Deformation":
        """The same with parts that may be absent.

        Raises
        ------
        InputError
            It has none.
        """
        raise InputError(f"composition: no part may be absent in fits of the kind {self.kind!r}")

    def conformation(self, latent: Float[Tensor, "*batch latent"]) -> Conformation:
        """What a latent decodes to: all beads are present."""
        position = self.beads(self.motion(latent))
        return Conformation(position, torch.ones_like(position[..., 0]))

    def bead_jacobian(
        self, latent: Float[Tensor, "latent"], bead: Int[Tensor, "bead"]
    ) -> Float[Tensor, "bead 3 latent"]:
        """How the positions of some beads change with the latent."""
        return self.bead_jacobians(latent[None], bead)[0]

    def bead_jacobians(
        self, latent: Float[Tensor, "batch latent"], bead: Int[Tensor, "bead"]
    ) -> Float[Tensor, "batch bead 3 latent"]:
        """The same of several latents at once."""

        def place(latent: Tensor) -> Tensor:
            return self.conformation(latent).position[:, bead]

        # forwards: numbers of a latent are fewer than coordinates
        unit = torch.eye(self.n_latent, dtype=latent.dtype, device=latent.device)
        steps = [each.expand_as(latent) for each in unit]
        return torch.stack([torch.func.jvp(place, (latent,), (step,))[1] for step in steps], -1)

    def trace_metric(
        self, trace: Int[Tensor, "trace"], latent: Float[Tensor, "latent"]
    ) -> Float[Tensor, "latent latent"]:
        """Matrix G such that a step d from a latent moves the trace by ``sqrt(d G d)`` A r.m.s.

        The step is small.
        """
        moved = self.bead_jacobian(latent, trace).flatten(0, 1)
        return moved.T @ moved / len(trace)

    def unit_lengths(self, latent: Float[Tensor, "latent"]) -> Float[Tensor, "latent"]:
        """How far one of each number moves the beads from a latent, A r.m.s.

        What is likely before any image is seen is measured by it.
        """
        n_beads = self.conformation(latent).position.shape[-2]
        moved = self.bead_jacobian(latent, torch.arange(n_beads))
        return moved.square().sum((0, 1)).div(n_beads).sqrt().clamp_min(SHORTEST)

    def pair_rows(
        self,
        latent: Float[Tensor, "batch latent"],
        i: Int[Tensor, "pair"],
        j: Int[Tensor, "pair"],
        *,
        direction: Float[Tensor, "batch pair 3"],
    ) -> Float[Tensor, "batch pair latent"]:
        """Gradients of ``direction . (x_i - x_j)``: how the latent changes distances of beads."""
        apart = self.bead_jacobians(latent, i) - self.bead_jacobians(latent, j)
        return (direction[..., None] * apart).sum(-2)

    def whole_motion(self, latent: Float[Tensor, "latent"]) -> Float[Tensor, "latent whole"]:
        """Steps from a latent that move the molecule as a whole: none, unless a subclass has them.

        Where there are any they are six, three shifts (A) and three turns (rad): errors of the
        poses look like them.
        """
        return latent.new_zeros(len(latent), 0)

    def shape_metric(
        self, trace: Int[Tensor, "trace"], latent: Float[Tensor, "latent"]
    ) -> Float[Tensor, "latent latent"]:
        """As :meth:`trace_metric`, after superposition.

        A step that moves the molecule as a whole has no length.

        Errors of the poses are such steps, and no motions of the molecule.
        """
        metric, whole, read = self.whole_and_shape(trace, latent)
        return (metric - metric @ whole @ read).to(latent.dtype)

    def whole_and_shape(
        self, trace: Int[Tensor, "trace"], latent: Float[Tensor, "latent"]
    ) -> tuple[
        Float[Tensor, "latent latent"], Float[Tensor, "latent whole"], Float[Tensor, "whole latent"]
    ]:
        """What takes steps apart into motions of the molecule as a whole and changes of its shape.

        It is in double precision.

        Returns
        -------
        metric : (latent, latent)
            Of :meth:`trace_metric`.
        whole : (latent, whole)
            Of :meth:`whole_motion`.
        read : (whole, latent)
            ``d - whole @ read @ d`` is the step d after superposition.
        """
        metric, whole = (
            self.trace_metric(trace, latent).double(),
            self.whole_motion(latent).double(),
        )
        seen = metric @ whole
        return metric, whole, torch.linalg.solve(whole.T @ seen, seen.T)

"""Segments that move as rigid bodies: from twists to conformations, and how these change."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...io.run_formats.arrays import FINITE, SIZE
from ...physics.projection.rigid_slices import RigidParts
from ...physics.record import Record
from ...physics.rotations import (
    cross_matrix,
    left_jacobian,
    left_jacobian_slope,
    matrix_from_quaternion,
)
from ..beads import BeadModel
from ..segmentation import Segmentation
from .deformation import Conformation, Deformation, Held, Transforms
from .flexing import Flexing, make_flexing
from .lifting import lift, turned
from .motion import RigidMotion, blended_rotation, screw_motion, twists, weighted_arms

TWIST = 6  # numbers that move a segment
# of occupancy: a tenth of a domain changes an image about as much as 1 A of motion does
OCCUPANCY_UNIT = 0.1
WHOLE = 1 - 1e-6  # membership: what follows one segment alone
SMALLEST_PRESENCE = 0.01  # what is nearly never there still has a place


@dataclass(frozen=True)
class Members(Record):
    """The beads of each segment, one entry for each bead and segment with a share in each other.

    They are sorted by segment.

    Parameters
    ----------
    bead, segment : (entry,)
        Which bead and which segment.
    weight : (entry,)
        The bead's membership.
    ends : (segment,)
        Where the entries of each segment end.
    arm : (3, entry)
        From the segment's centroid to the bead in the base model, A.
    """

    bead: Int[Tensor, "entry"]
    segment: Int[Tensor, "entry"]
    weight: Float[Tensor, "entry"]
    ends: Int[Tensor, "segment"]
    arm: Float[Tensor, "3 entry"]

    @property
    def parts(self) -> list[slice]:
        """The run of entries of each segment."""
        ends = self.ends.tolist()
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


class Segments(NamedTuple):
    """What a deformation of segments is made of.

    Parameters
    ----------
    position : (bead, 3)
        The base model, A.
    weight : (bead, segment)
        Membership.
    centroid, radius : (segment, 3), (segment,)
        Of the segments, A.
    free : (free,)
        The segments that move.
    bead_of_atom : (atom,)
        The bead that each atom follows.
    """

    position: Float[Tensor, "bead 3"]
    weight: Float[Tensor, "bead segment"]
    centroid: Float[Tensor, "segment 3"]
    radius: Float[Tensor, "segment"]
    free: Int[Tensor, "free"]
    bead_of_atom: Int[Tensor, "atom"]


class Shares(NamedTuple):
    """The members bead by bead, as arrays for compiled loops.

    Parameters
    ----------
    first : (bead + 1,)
        The entries of bead i are first[i] to first[i + 1].
    segment, share : (entry,)
        Which segment, and the bead's membership.
    slot : (segment,)
        Place of a segment among the free ones, -1 where it is fixed.
    """

    first: Int[np.ndarray, "beads_and_1"]
    segment: Int[np.ndarray, "entry"]
    share: Float[np.ndarray, "entry"]
    slot: Int[np.ndarray, "segment"]


def centres(
    position: Float[Tensor, "bead 3"], weight: Float[Tensor, "bead segment"]
) -> tuple[Float[Tensor, "segment 3"], Float[Tensor, "segment"]]:
    """Centroid of each segment and its radius of gyration, A."""
    mass = weight / weight.sum(0)
    centroid = mass.T @ position
    distance2 = ((position[:, None] - centroid) ** 2).sum(-1)
    # a segment of one bead still needs a length to measure its turns by
    return centroid, (mass * distance2).sum(0).sqrt().clamp_min(1.0)


def twist_maps(
    centroid: Float[Tensor, "segment 3"],
    radius: Float[Tensor, "segment"],
    *,
    before: tuple[Tensor, Tensor],
) -> Float[Tensor, "segment 6 6"]:
    """Matrices that take twists about other centroids, with other radii, to those about these."""
    apart, old = centroid - before[0], before[1]
    block = torch.eye(TWIST).repeat(len(centroid), 1, 1)
    block[:, :3, 3:] = -cross_matrix(apart) / old[:, None, None]
    block[:, 3:, 3:] = torch.eye(3) * (radius / old)[:, None, None]
    return block


@final
class SegmentDeformation(Deformation):
    """Segments that move as rigid bodies, blended at their borders.

    The latent of a particle holds six numbers for each segment, a twist: the speed of its centroid
    and of its rotation (times the segment's radius of gyration, so that all are in A and one unit
    moves the segment by about 1 A) on a screw that it follows for one unit of time. What turns
    about a hinge, by whatever angle, is a straight line of latents, however far the segment is from
    the hinge; with shift and rotation vector it would be a bent one. A latent of zeros is the base
    model. Fixed segments have none.

    With `composition` each free segment has a seventh number, of which its occupancy is a linear
    function: an image is a linear one of occupancies, so that a step of a fit is exact in them.
    They are bounded nowhere but where they are written out.

    References
    ----------
    Sola et al., A micro Lie theory for state estimation in robotics (2018), equation 172: the
    exponential map of SE(3).

    Parameters
    ----------
    beads : BeadModel
        The base model.
    segmentation : Segmentation
        Which bead follows which segment.
    composition : bool
        Segments may be absent.
    """

    kind: ClassVar[str] = "segments"
    ARRAYS: ClassVar[Held] = {
        "centroid": ("segment 3", FINITE),
        "weight": ("bead segment", SIZE),
        "radius": ("segment", SIZE),
        "free": ("free", "segment"),
        "flexing": ("feature bead 3", FINITE),
    }
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"radius", "free", "flexing"})
    MOTIONS: ClassVar[Held] = {
        "rotation": ("particle segment 4", FINITE),
        "translation": ("particle segment 3", FINITE),
    }

    def __init__(
        self, beads: BeadModel, segmentation: Segmentation, *, composition: bool = False
    ) -> None:
        centroid, radius = centres(beads.position, segmentation.weight)
        self._hold(
            Segments(
                beads.position,
                segmentation.weight,
                centroid,
                radius,
                torch.nonzero(~segmentation.fixed)[:, 0],
                torch.from_numpy(beads.bead_of_atom),
            ),
            composition=composition,
        )

    @classmethod
    def of_beads(cls, beads: BeadModel, segmentation: Segmentation) -> "SegmentDeformation":
        """The segments, all of them present."""
        return cls(beads, segmentation)

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, Tensor], beads: Callable[[], BeadModel]
    ) -> "SegmentDeformation":
        """Segments as a file has them, with what beads do within them where it says so.

        All are present.

        Files of learned segments hold motions alone, and none is free.
        """
        made = cls.__new__(cls)
        centroid = arrays["centroid"]
        segments = Segments(
            arrays["bead"],
            arrays["weight"],
            centroid,
            arrays.get("radius", torch.ones(len(centroid))),
            arrays.get("free", torch.zeros(0, dtype=torch.long)),
            arrays["bead_of_atom"],
        )
        flexing = (
            make_flexing(replace(beads(), position=arrays["bead"]), arrays["flexing"])
            if "flexing" in arrays
            else None
        )
        made._hold(segments, composition=False, flexing=flexing)
        return made

    def _hold(
        self, segments: "Segments", *, composition: bool, flexing: Flexing | None = None
    ) -> None:
        self.composition, self.flexing = composition, flexing
        self.position, self.weight, self.centroid, self.radius, self.free, self.bead_of_atom = (
            segments
        )
        segment, bead = torch.nonzero(self.weight.T).T.contiguous()
        ends = torch.bincount(segment, minlength=self.weight.shape[1]).cumsum(0)
        arm = (self.position[bead] - self.centroid[segment]).T.contiguous()
        self.members = Members(bead, segment, self.weight[bead, segment], ends, arm)
        self._weighted_arms = weighted_arms(self.position, self.centroid, weight=self.weight)

    @property
    def n_segments(self) -> int:
        """How many segments there are."""
        return len(self.centroid)

    @property
    def n_latent(self) -> int:
        """Numbers that describe one particle."""
        return self.numbers * len(self.free)

    @property
    def numbers(self) -> int:
        """Of each segment that is free to move: six, or seven with its occupancy."""
        return TWIST + self.composition

    @property
    def motions_alone(self) -> "SegmentDeformation":
        """The same with every segment present."""
        return self._with(composition=False)

    def with_composition(self) -> "SegmentDeformation":
        """The same with an occupancy of each free segment behind its motion."""
        return self._with(composition=True)

    def _with(self, *, composition: bool) -> "SegmentDeformation":
        other = copy(self)
        other.composition = composition
        # that of the latents as they were, if it was asked for
        vars(other).pop("motion_numbers", None)
        return other

    @property
    def membership(self) -> Float[Tensor, "bead segment"]:
        """Which bead follows which segment."""
        return self.weight

    @cached_property
    def rigid_parts(self) -> RigidParts:
        """The beads of each segment that no other one moves, by segment."""
        members = self.members
        alone = members.weight >= WHOLE
        ends = torch.cat([alone.new_zeros(1), alone]).cumsum(0)[
            torch.cat([members.ends.new_zeros(1), members.ends])
        ]
        parts = [slice(*pair) for pair in pairwise(ends.tolist())]
        return RigidParts(members.bead[alone], members.arm.T[alone].contiguous(), parts)

    @property
    def transforms(self) -> Transforms:
        """Four fields of each segment, of its own beads."""
        return Transforms(len(self.members.bead), 4 * self.n_segments)

    def unit_lengths(self, latent: Float[Tensor, "latent"]) -> Float[Tensor, "latent"]:
        """One unit moves a segment by about 1 A."""
        return torch.ones_like(latent)

    @cached_property
    def shares(self) -> Shares:
        """The memberships of each bead."""
        weight = self.weight.cpu().numpy()
        bead, segment = np.nonzero(weight)
        first = np.concatenate([[0], np.cumsum(np.bincount(bead, minlength=len(weight)))])
        slot = np.full(self.n_segments, -1)
        slot[self.free.cpu().numpy()] = np.arange(len(self.free))
        return Shares(first, segment, weight[bead, segment], slot)

    def _twist(
        self, latent: Float[Tensor, "*batch latent"]
    ) -> tuple[Float[Tensor, "*batch segment 3"], Float[Tensor, "*batch segment 3"]]:
        """Of every segment: speed of the centroid (A) and rotation vector (rad)."""
        return twists(
            self.by_segment(latent)[..., :TWIST].flatten(-2), free=self.free, radius=self.radius
        )

    @cached_property
    def motion_numbers(self) -> Int[Tensor, "motion"]:
        """Where in a latent the motions of segments are; the rest are occupancies."""
        return torch.arange(self.n_latent).view(-1, self.numbers)[:, :TWIST].flatten()

    def by_segment(
        self, latent: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch free number"]:
        """The numbers of each free segment: its motion.

        Behind it stands its occupancy where that is free.
        """
        return latent.unflatten(-1, (len(self.free), self.numbers))

    def occupancy(self, latent: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch segment"]:
        """Of each segment; 1 where it is not free."""
        full = latent.new_ones(*latent.shape[:-1], self.n_segments)
        if self.composition:
            full[..., self.free] = 1 + OCCUPANCY_UNIT * self.by_segment(latent)[..., TWIST]
        return full

    def bead_occupancy(
        self, latent: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch bead"]:
        """Of each bead: a mean over its segments."""
        return self.occupancy(latent) @ self.weight.T

    def with_occupancy(
        self, latent: Float[Tensor, "*batch latent"], occupancy: Float[Tensor, "*batch segment"]
    ) -> Float[Tensor, "*batch latent"]:
        """The same motions of segments with other occupancies."""
        if not self.composition:
            return latent
        split = self.by_segment(latent).clone()
        split[..., TWIST] = (occupancy[..., self.free] - 1) / OCCUPANCY_UNIT
        return split.flatten(-2)

    def motion(self, latent: Float[Tensor, "*batch latent"]) -> RigidMotion:
        """The rigid motion of each segment."""
        return screw_motion(*self._twist(latent))

    def motion_of(self, arrays: dict[str, Tensor]) -> RigidMotion:
        """The rigid motions of particles' segments, as a file has them."""
        return RigidMotion(arrays["rotation"], arrays["translation"])

    def motion_arrays(self, latent: Float[Tensor, "particle latent"]) -> dict[str, np.ndarray]:
        """The rigid motions, whatever is absent."""
        motion = self.motion(latent)
        return {"rotation": motion.rotation.numpy(), "translation": motion.translation.numpy()}

    def beads(self, motion: RigidMotion) -> Float[Tensor, "*batch bead 3"]:
        """Positions of the beads, A."""
        moved, flexed = motion.blend(self._weighted_arms, self.centroid), self._flexed(motion)
        if flexed is None:
            return moved
        return moved + turned(blended_rotation(motion, self.weight), flexed[0])

    def atoms(
        self, motion: RigidMotion, atom: Float[Tensor, "atom 3"]
    ) -> Float[Tensor, "*batch atom 3"]:
        """Positions of all atoms, A."""
        return lift(
            motion,
            atom,
            bead=self.position,
            bead_of_atom=self.bead_of_atom,
            centroid=self.centroid,
            weight=self.weight,
            flexed=self._flexed(motion),
        )

    def _flexed(self, motion: RigidMotion) -> tuple[Tensor, Tensor] | None:
        return None if self.flexing is None else self.flexing.of(motion)

    def arrays(self) -> dict[str, np.ndarray]:
        """The segments, and what beads do within them."""
        flexing = {} if self.flexing is None else {"flexing": self.flexing.offset.numpy()}
        return {
            "centroid": self.centroid.numpy(),
            "weight": self.weight.numpy(),
            "radius": self.radius.numpy(),
            "free": self.free.numpy(),
            **flexing,
        }

    def conformation(self, latent: Float[Tensor, "*batch latent"]) -> Conformation:
        """What a latent decodes to."""
        position = self.motion(latent).blend(self._weighted_arms, self.centroid)
        occupancy = (
            self.bead_occupancy(latent) if self.composition else torch.ones_like(position[..., 0])
        )
        return Conformation(position, occupancy)

    def latents_of(self, other: "SegmentDeformation") -> Float[Tensor, "latent latent"]:
        """Matrix from latents of another segmentation to those that move alike.

        It is cut into as many segments.

        A twist is that of all of space, so that its speed at another centroid is a linear function
        of it.
        """
        block = torch.eye(self.numbers).repeat(len(self.free), 1, 1)
        block[:, :TWIST, :TWIST] = twist_maps(
            self.centroid[self.free],
            self.radius[self.free],
            before=(other.centroid[other.free], other.radius[other.free]),
        )
        return torch.block_diag(*block)

    def rotation(
        self, latent: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch segment 3 3"]:
        """How far each segment is turned."""
        return matrix_from_quaternion(self.motion(latent).rotation)

    def jacobian(
        self, latent: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch free 6 number"]:
        """How a change of the latent moves each free segment.

        Rows are its shift and its small turn (rad).

        An occupancy moves nothing: its column is zero.
        """
        speed, vector = (each[..., self.free, :] for each in self._twist(latent))
        radius, turn = self.radius[self.free][:, None, None], left_jacobian(vector)
        out = latent.new_zeros(*vector.shape[:-1], 6, self.numbers)
        out[..., :3, :3], out[..., 3:, 3:TWIST] = turn, turn / radius
        out[..., :3, 3:TWIST] = left_jacobian_slope(vector, speed) / radius
        return out

    def pair_rows(
        self,
        latent: Float[Tensor, "batch latent"],
        i: Int[Tensor, "pair"],
        j: Int[Tensor, "pair"],
        *,
        direction: Float[Tensor, "batch pair 3"],
    ) -> Float[Tensor, "batch pair latent"]:
        """Gradients of ``direction . (x_i - x_j)``: how the latent changes distances of beads."""
        rotation = self.rotation(latent)

        def pushed(bead: Int[Tensor, "pair"]) -> Float[Tensor, "batch pair segment 6"]:
            arm = torch.einsum(
                "bsij,nsj->bnsi", rotation, self.position[bead][:, None] - self.centroid
            )
            along = direction[:, :, None].expand_as(arm)
            share = self.weight[bead][..., None]
            return torch.cat([share * along, share * torch.linalg.cross(arm, along)], -1)

        rows = (pushed(i) - pushed(j))[:, :, self.free]
        return torch.einsum("bnfi,bfij->bnfj", rows, self.jacobian(latent)).flatten(2)

    def bead_jacobian(
        self, latent: Float[Tensor, "latent"], bead: Int[Tensor, "bead"]
    ) -> Float[Tensor, "bead 3 latent"]:
        """How the positions of some beads change with the latent."""
        rotation = self.rotation(latent)
        arm = torch.einsum("sij,nsj->nsi", rotation, self.position[bead][:, None] - self.centroid)[
            :, self.free
        ]
        shift = torch.eye(3, dtype=arm.dtype, device=arm.device).expand(*arm.shape[:2], 3, 3)
        rows = (
            torch.cat([shift, -cross_matrix(arm)], -1) * self.weight[bead][:, self.free, None, None]
        )
        return (rows @ self.jacobian(latent)).transpose(1, 2).flatten(2)

    def trace_metric(
        self, trace: Int[Tensor, "trace"], latent: Float[Tensor, "latent"]
    ) -> Float[Tensor, "latent latent"]:
        """Matrix G such that a step d from a latent moves the trace by ``sqrt(d G d)`` A r.m.s.

        The step is small.

        What is absent does not count, and what is partly absent counts in part.
        """
        moved = self.bead_jacobian(latent, trace).flatten(0, 1)
        if not self.composition:
            return moved.T @ moved / len(trace)
        present = self.bead_occupancy(latent)[trace].clamp(SMALLEST_PRESENCE, 1)
        return (moved * present.repeat_interleave(3)[:, None]).T @ moved / present.sum()

    def whole_motion(self, latent: Float[Tensor, "latent"]) -> Float[Tensor, "latent whole"]:
        """Steps from a latent that move the molecule as a whole.

        They are three shifts (A) and three turns (rad).

        There are none where a part is fixed.
        """
        if len(self.free) < self.n_segments:
            return latent.new_zeros(len(latent), 0)
        centre = self.centroid + self.motion(latent).translation
        eye = torch.eye(3, dtype=latent.dtype, device=latent.device).expand(len(centre), 3, 3)
        twist = torch.cat(
            [
                torch.cat([eye, -cross_matrix(centre)], -1),
                torch.cat([torch.zeros_like(eye), eye], -1),
            ],
            -2,
        )
        moved = torch.linalg.solve(self.jacobian(latent)[..., :TWIST], twist)
        if self.composition:
            moved = torch.cat([moved, torch.zeros_like(moved[:, :1])], 1)
        return moved.flatten(0, 1)

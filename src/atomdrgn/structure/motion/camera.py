"""Moved beads as the camera sees them.

It says where they are projected to, and what their segments' motions would do there.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import looped
from ...physics.disc import FourierDisc
from ...physics.pose import Pose
from ...physics.projection.rigid_slices import RigidSlices
from ...physics.rotations import matrix_from_quaternion
from ..beads import BeadModel
from .motion import RigidMotion
from .segment_deformation import WHOLE, SegmentDeformation


def project_centres(
    deformation: SegmentDeformation, latent: Float[Tensor, "batch latent"], pose: Pose
) -> Float[Tensor, "batch 2 bead"]:
    """The x and y of every bead in the camera's frame, at the conformations that latents decode to.

    Parameters
    ----------
    deformation : SegmentDeformation
        Of the base model.
    latent : (batch, latent)
        One an image.
    pose : Pose
        (batch,) one an image.

    Returns
    -------
    (batch, 2, bead)
        A.
    """
    if not looped(latent, pose.rotation, deformation.position):
        return pose.apply(deformation.conformation(latent).position)[..., :2].transpose(1, 2)
    from .camera_loops import place

    motion, members = deformation.motion(latent), deformation.members
    centre = (deformation.centroid + motion.translation) @ pose.rotation.transpose(1, 2)
    offset = centre[..., :2] + pose.shift[:, None]
    plane = torch.empty(len(latent), 2, len(deformation.position))
    place(
        _turn(motion, pose).numpy(),
        offset.contiguous().numpy(),
        members.arm.numpy(),
        members.bead.numpy(),
        members.weight.numpy(),
        members.ends.numpy(),
        plane.numpy(),
    )
    return plane


def motion_fields(
    deformation: SegmentDeformation,
    latent: Float[Tensor, "batch latent"],
    pose: Pose,
    *,
    amplitude: Float[Tensor, "bead"],
) -> Float[Tensor, "batch field entry"]:
    """For each bead of each segment its amplitude, and that times each component of its arm.

    The arm is in the camera's frame, A.

    The arm goes from the moved centroid of the segment to where that segment alone would move the
    bead. Where segments may be absent these four are times the bead's occupancy, and a fifth field
    is the amplitude of what is present.

    Parameters
    ----------
    deformation : SegmentDeformation
        Of the base model.
    latent : (batch, latent)
        One an image.
    pose : Pose
        (batch,) one an image.
    amplitude : (bead,)
        Electrons.

    Returns
    -------
    (batch, field, entry)
        Four fields, or five; an entry is a bead of a segment.
    """
    field = _full_fields(deformation, latent, pose, amplitude=amplitude)
    if not deformation.composition:
        return field
    occupancy = deformation.bead_occupancy(latent)[:, None, deformation.members.bead]
    return torch.cat([field * occupancy, field[:, :1]], 1)


def _full_fields(
    deformation: SegmentDeformation,
    latent: Float[Tensor, "batch latent"],
    pose: Pose,
    *,
    amplitude: Float[Tensor, "bead"],
) -> Float[Tensor, "batch 4 entry"]:
    """The fields of segments that are all there."""
    members, turn = deformation.members, _turn(deformation.motion(latent), pose)
    amplitude = amplitude[members.bead] * members.weight
    if not looped(turn, amplitude):
        arm = (turn[:, members.segment] @ members.arm.T[..., None])[..., 0].transpose(1, 2)
        return amplitude * torch.cat([torch.ones_like(arm[:, :1]), arm], 1)
    from .camera_loops import fill_fields

    field = torch.empty(len(turn), 4, len(amplitude))
    fill_fields(
        turn.numpy(), members.arm.numpy(), amplitude.numpy(), members.ends.numpy(), field.numpy()
    )
    return field


def _turn(motion: RigidMotion, pose: Pose) -> Float[Tensor, "batch segment 3 3"]:
    """Rotation from the base model's frame to the camera's."""
    return pose.rotation[:, None] @ matrix_from_quaternion(motion.rotation)


@dataclass(frozen=True)
class SlicedSegments:
    """Segments of some images that are cut from grids, and what is left to be summed.

    Parameters
    ----------
    slices : dict
        The grid of each such segment.
    turn : (batch, segment, 3, 3)
        From the base model's frame to the camera's.
    centre : (batch, segment, 3)
        Each segment's moved centroid along the camera's axes, from the molecule's origin, A.
    shift : (batch, 2)
        Of the molecule's origin, A.
    occupancy : (batch, segment), optional
        Of each, where segments may be absent.
    left : (some,)
        Entries of the deformation's members that are summed.
    parts : list of slice
        Which of these are each segment's.
    """

    slices: dict[int, RigidSlices]
    turn: Float[Tensor, "batch segment 3 3"]
    centre: Float[Tensor, "batch segment 3"]
    shift: Float[Tensor, "batch 2"]
    occupancy: Float[Tensor, "batch segment"] | None
    left: Int[Tensor, "some"]
    parts: list[slice]

    def fields(self, segment: int, disc: FourierDisc) -> Float[Tensor, "batch field 2 frequency"]:
        """As :func:`motion_fields`, transformed and summed over the beads of one segment."""
        field = self.slices[segment].fields(*self._seen(segment), disc)
        if self.occupancy is None:
            return field
        present = self.occupancy[:, segment, None, None, None]
        return torch.cat([field * present, field[:, :1]], 1)

    def whole_fields(self, disc: FourierDisc) -> Float[Tensor, "batch 4 2 frequency"]:
        """The first four fields, with arms from the molecule's origin, summed over segments."""
        total = self.shift.new_zeros(len(self.shift), 4, 2, len(disc))
        for segment in self.slices:
            field, centre = self.fields(segment, disc)[:, :4], self.centre[:, segment]
            total += field
            total[:, 1:] += centre[..., None, None] * field[:, :1]
        return total

    def summed_beads(self, deformation: SegmentDeformation) -> Int[Tensor, "some"]:
        """Beads of which no grid holds all."""
        return deformation.members.bead[self.left].unique()

    def images(self, disc: FourierDisc) -> Float[Tensor, "batch 2 frequency"]:
        """Coefficients of all segments that are cut from grids."""
        total = self.shift.new_zeros(len(self.shift), 2, len(disc))
        for segment, slices in self.slices.items():
            image = slices.images(*self._seen(segment), disc)
            if self.occupancy is not None:
                image = image * self.occupancy[:, segment, None, None]
            total += image
        return total

    def _seen(self, segment: int) -> tuple[Float[Tensor, "batch 3 3"], Float[Tensor, "batch 2"]]:
        """How a segment is turned, and where the camera sees its centroid."""
        return self.turn[:, segment], self.centre[:, segment, :2] + self.shift


def slice_segments(
    deformation: SegmentDeformation,
    beads: BeadModel,
    latent: Float[Tensor, "batch latent"],
    *,
    pose: Pose,
    disc: FourierDisc,
    fields: int,
) -> SlicedSegments | None:
    """The segments whose images cost less as slices than as sums of beads; None without any.

    Only compiled loops were measured to be quicker: where tensor operations are wanted, beads are
    summed. So is a segment that may stand out of the box: what lies outside is left out of sums.

    Parameters
    ----------
    deformation : SegmentDeformation
        Of the base model.
    beads : BeadModel
        As images show them.
    latent : (batch, latent)
        One an image.
    pose : Pose
        (batch,) one an image.
    disc : FourierDisc
        Where coefficients are wanted.
    fields : int
        Of each bead, that are transformed.
    """
    if not looped(latent, beads.sigma, beads.amplitude):
        return None
    found = deformation.rigid_parts.quicker(beads.amplitude, beads.sigma, disc, fields=fields)
    if not found:
        return None
    motion = deformation.motion(latent)
    turn = _turn(motion, pose)
    centre = (deformation.centroid + motion.translation) @ pose.rotation.mT
    reach = (centre[..., :2] + pose.shift[:, None]).abs().amax((0, 2))
    inside = {
        segment: part
        for segment, part in found.items()
        if float(reach[segment]) + part.longest <= 0.5 * disc.grid.extent
    }
    left, parts = _left(deformation, inside)
    occupancy = deformation.occupancy(latent) if deformation.composition else None
    return SlicedSegments(inside, turn, centre, pose.shift, occupancy, left, parts)


def _left(
    deformation: SegmentDeformation, sliced: dict[int, RigidSlices]
) -> tuple[Int[Tensor, "some"], list[slice]]:
    """Entries that no grid holds, and which of them are each segment's."""
    members = deformation.members
    held = torch.zeros(deformation.n_segments, dtype=torch.bool, device=members.segment.device)
    held[list(sliced)] = True
    summed = ~(held[members.segment] & (members.weight >= WHOLE))
    left = torch.nonzero(summed)[:, 0]
    ends = torch.bincount(members.segment[left], minlength=len(held)).cumsum(0).tolist()
    return left, [slice(*pair) for pair in pairwise([0, *ends])]

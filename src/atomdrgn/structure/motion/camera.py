"""Moved beads as the camera sees them.

It says where they are projected to, and what their segments' motions would do there.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...devices import looped
from ...physics.pose import Pose
from ...physics.rotations import matrix_from_quaternion
from .motion import RigidMotion
from .segment_deformation import SegmentDeformation


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

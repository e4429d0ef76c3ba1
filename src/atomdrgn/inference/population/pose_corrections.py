"""Small corrections of the images' poses.

What is known of them, and how far they are believed to go, is here.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...physics.pose import Pose
from ...physics.record import Record
from ...physics.rotations import matrix_from_vector

# The prior's standard deviations about each axis: what refinements of single particles are off by.
# They are constants because they cannot be measured here: whatever the model lacks, such as a
# motion that is not found yet or the base model's own errors, looks like an error of the poses. EM
# took them from 2 to 4.4 degrees on a set with errors of one degree.
SHIFT_SD, TURN_SD = 1.0, math.radians(1.0)
# A: coarser images tell next to nothing of a pose, and as long as the motions are not found, poses
# would stand in for them.
COARSEST = 20.0
# Of poses that were refined on these images nothing is known but what each image tells, within 20
# A and 20 degrees: standard deviations of what is flat so far.
UNKNOWN_SHIFT_SD, UNKNOWN_TURN_SD = 20 / math.sqrt(3), math.radians(20) / math.sqrt(3)


@dataclass(frozen=True)
class PoseCorrections(Record):
    """A turn and a shift of each image, both after the pose of the file.

    The turn is about the molecule's origin, in the camera's axes.

    Parameters
    ----------
    value : (image, 5)
        Shift along x and y (A), rotation vector (rad).
    sd : (image, 5)
        Posterior standard deviation of each.
    """

    value: Float[Tensor, "image 5"]
    sd: Float[Tensor, "image 5"]

    def freedom(self, prior_sd: Float[Tensor, "5"]) -> Float[Tensor, "image"]:
        """How many of the five numbers each image has determined."""
        return (1 - (self.sd / prior_sd).square()).clamp_min(0).sum(1)

    def correct(self, pose: Pose, index: Int[Tensor, "batch"]) -> Pose:
        """The poses of some images with their corrections."""
        return corrected(pose, self.value[index])


def corrected(pose: Pose, correction: Float[Tensor, "batch 5"]) -> Pose:
    """Poses with a shift (A) and a turn (rad) after them."""
    shift, turn = correction.split([2, 3], 1)
    return Pose(matrix_from_vector(turn) @ pose.rotation, pose.shift + shift)


def prior_sd(*, unknown: bool) -> Float[Tensor, "5"]:
    """Standard deviations of the errors of poses.

    They are of the shift (A) and of the rotation vector (rad).

    Parameters
    ----------
    unknown : bool
        The poses were refined on these images.
    """
    shift, turn = (UNKNOWN_SHIFT_SD, UNKNOWN_TURN_SD) if unknown else (SHIFT_SD, TURN_SD)
    return torch.tensor([shift] * 2 + [turn] * 3)


def no_corrections(n_images: int, prior_sd: Float[Tensor, "5"]) -> PoseCorrections:
    """Corrections of images whose poses nothing more is known of than in the file."""
    sd = prior_sd.expand(n_images, -1).clone()
    return PoseCorrections(torch.zeros_like(sd), sd)

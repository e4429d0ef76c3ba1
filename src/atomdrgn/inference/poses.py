"""Small corrections of the images' poses: what is known of them, and how far they are believed to go."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..likelihood.normal_equations import POSE_NUMBERS
from ..physics.pose import Pose
from ..physics.record import Record
from ..physics.rotations import matrix_from_vector

# Standard deviations about each axis before any image was seen: what refinements of single particles are off by. They are
# measured after each pass, between a tenth of these and five degrees and A: corrections are small or they are another view.
START_SHIFT_SD, START_TURN_SD = 2.0, math.radians(2.0)
SMALLEST, LARGEST = 0.05, 2.5      # times these


@dataclass(frozen=True)
class PoseCorrections(Record):
    """Of each image: a turn about the molecule's origin, in the camera's axes, and a shift, both after the pose of the file.

    Parameters
    ----------
    value : (image, 5)
        Shift along x and y (A), rotation vector (rad).
    sd : (image, 5)
        Posterior standard deviation of each.
    shift_sd, turn_sd : float
        Of the images' errors about each axis, A and rad: the prior.
    """

    value: Float[Tensor, "image 5"]
    sd: Float[Tensor, "image 5"]
    shift_sd: float = START_SHIFT_SD
    turn_sd: float = START_TURN_SD

    @property
    def prior_sd(self) -> Float[Tensor, "5"]:
        return torch.tensor([self.shift_sd] * 2 + [self.turn_sd] * 3)

    @property
    def freedom(self) -> Float[Tensor, "image"]:
        """How many of the five numbers each image has determined."""
        return (1 - (self.sd / self.prior_sd).square()).clamp_min(0).sum(1)

    def correct(self, pose: Pose, index: Int[Tensor, "batch"]) -> Pose:
        """The poses of some images with their corrections."""
        shift, turn = self.value[index].split([2, 3], 1)
        return Pose(matrix_from_vector(turn) @ pose.rotation, pose.shift + shift)

    def measured(self, value: Float[Tensor, "image 5"], sd: Float[Tensor, "image 5"]) -> "PoseCorrections":
        """New corrections, and the standard deviations of the errors that make them likeliest (a step of EM)."""
        shift, turn = (value.square() + sd.square()).mean(0).split([2, 3])
        return PoseCorrections(value, sd, _within(shift, START_SHIFT_SD), _within(turn, START_TURN_SD))


def _within(variance, start):
    return min(max(float(variance.mean().sqrt()), SMALLEST * start), LARGEST * start)


def no_corrections(n_images: int) -> PoseCorrections:
    """Of images whose poses nothing more is known of than in the file."""
    blank = PoseCorrections(torch.zeros(n_images, POSE_NUMBERS), torch.zeros(n_images, POSE_NUMBERS))
    return replace(blank, sd=blank.prior_sd.expand(n_images, -1).clone())

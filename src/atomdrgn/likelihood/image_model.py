"""What an image shows: a sum of parts, each with its image and what the pose changes in it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ..physics.disc import FourierDisc
from ..physics.pose import Pose
from ..structure.beads import BeadModel


@runtime_checkable
class StillPart(Protocol):
    """A part that is the same in all particles, such as a residual density."""

    def images(self, pose: Pose, disc: FourierDisc) -> Float[Tensor, "image 2 frequency"]:
        """Coefficients of its projections before the CTF."""
        ...

    def arms(self, pose: Pose, disc: FourierDisc) -> Float[Tensor, "image 4 2 frequency"]:
        """Those, and projections of its products with the arm along the camera's x, y and z, A."""
        ...


@dataclass(frozen=True, eq=False)
class ImageModel:
    """image = contrast x CTF x (gain by shell x beads + what stands still) + noise.

    Parameters
    ----------
    beads : BeadModel
        With the amplitudes and widths that images show.
    gain : (shell,), optional
        What their coefficients are multiplied by besides, for each ring of frequencies (see
        :attr:`~atomdrgn.physics.disc.FourierDisc.shell`); finer rings have that of the last.
    still : tuple of StillPart
        What is there besides the beads.
    """

    beads: BeadModel
    gain: Float[Tensor, "shell"] | None = None
    still: tuple[StillPart, ...] = ()

    def on_beads(
        self, transfer: Float[Tensor, "*batch frequency"], disc: FourierDisc
    ) -> Float[Tensor, "*batch frequency"]:
        """A transfer function times the gain: what the beads' coefficients are multiplied by."""
        return transfer if self.gain is None else transfer * gain_on(self.gain, disc)

    def still_images(self, pose: Pose, disc: FourierDisc) -> Float[Tensor, "image 2 frequency"]:
        """Coefficients before the CTF of all that stands still."""
        none = pose.shift.new_zeros(len(pose.shift), 2, len(disc))
        return sum((part.images(pose, disc) for part in self.still), none)

    def still_arms(self, pose: Pose, disc: FourierDisc) -> Float[Tensor, "image 4 2 frequency"]:
        """The same with arms, of a model in which something stands still."""
        first, *others = [part.arms(pose, disc) for part in self.still]
        return sum(others, first)


def gain_on(gain: Float[Tensor, "shell"], disc: FourierDisc) -> Float[Tensor, "frequency"]:
    """A gain by shell at each frequency of a disc."""
    return gain[disc.shell.clamp_max(len(gain) - 1)]

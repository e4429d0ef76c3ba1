"""Where a molecule stands in the microscope."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from .record import Record


@dataclass(frozen=True)
class Pose(Record):
    """From the molecule's frame to the camera's: a rotation, then a shift in x and y.

    ``x_camera = rotation @ x``, then the shift is added.

    Parameters
    ----------
    rotation : (*batch, 3, 3)
        Acts on column vectors xyz; the projection is along the camera's z.
    shift : (*batch, 2)
        Where the molecule's origin stands from the origin of the image, x and y, A.

    Examples
    --------
    >>> import torch
    >>> pose = Pose(rotation=torch.eye(3), shift=torch.tensor([1.0, -2.0]))
    >>> pose.apply(torch.zeros(1, 3))
    tensor([[ 1., -2.,  0.]])
    """

    rotation: Float[Tensor, "*batch 3 3"]
    shift: Float[Tensor, "*batch 2"]

    def apply(self, position: Float[Tensor, "*#batch bead 3"]) -> Float[Tensor, "*#batch bead 3"]:
        """Camera coordinates of positions in the molecule's frame, A."""
        return self.turned(position) + pad(self.shift, (0, 1))[..., None, :]

    def turned(self, position: Float[Tensor, "*#batch bead 3"]) -> Float[Tensor, "*#batch bead 3"]:
        """The same without the shift: arms from the molecule's origin, in the camera's axes, A."""
        return position @ self.rotation.transpose(-1, -2)

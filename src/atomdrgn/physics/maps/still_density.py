"""A density that stands still in the frame of the poses: its images, and how poses change them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from ..disc import FourierDisc
from ..pose import Pose
from .slice_loops import shifted_slices
from .slices import padded_transform

PADDING = 2  # edge of the box in which slices are interpolated, in boxes


@dataclass(frozen=True, eq=False)
class StillDensity:
    """A density of which many central slices are asked.

    Its voxels may be coarser than the images' pixels: its extent is that of the images, and it has
    nothing beyond its Nyquist frequency.

    Parameters
    ----------
    density : (box, box, box)
        Per A^3, axes z, y, x; the molecule's origin is voxel ``box // 2``.
    voxel_size : float
        A.

    Examples
    --------
    >>> from atomdrgn.physics.disc import make_disc
    >>> from atomdrgn.physics.grid import ImageGrid
    >>> still = StillDensity(torch.zeros(8, 8, 8), 4.0)
    >>> upright = Pose(torch.eye(3)[None], torch.zeros(1, 2))
    >>> still.images(upright, make_disc(ImageGrid(16, 2.0), 10.0)).shape
    torch.Size([1, 2, 21])
    """

    density: Float[Tensor, "box box box"]
    voxel_size: float

    @property
    def extent(self) -> float:
        """Edge of the box, A."""
        return self.density.shape[0] * self.voxel_size

    def times(self, factor: float) -> "StillDensity":
        """The density, so much brighter."""
        return replace(self, density=self.density * factor)

    def images(self, pose: Pose, disc: FourierDisc) -> Float[Tensor, "image 2 frequency"]:
        """Coefficients of its projections before the CTF."""
        return self._cut(self._density_alone, pose, disc)[:, 0]

    def arms(self, pose: Pose, disc: FourierDisc) -> Float[Tensor, "image 4 2 frequency"]:
        """Coefficients of its projections, and of those times where each point is.

        Behind the density stand its products with the arm from the molecule's origin along the
        camera's x, y and z, A: what a turn of the pose moves.
        """
        cut = self._cut(self._transforms, pose, disc)
        turned = torch.einsum("bij,bjcf->bicf", pose.rotation, cut[:, 1:])
        return torch.cat([cut[:, :1], turned], 1)

    def _cut(
        self, transforms: Float[np.ndarray, "z y half number"], pose: Pose, disc: FourierDisc
    ) -> Float[Tensor, "image field 2 frequency"]:
        grid = disc.grid
        if abs(grid.extent / self.extent - 1) > 1e-4:
            raise InputError(
                f"a density of {self.extent:.2f} A along its edge and images of {grid.extent:.2f} "
                "A: both have to be the same"
            )
        reach = (self.density.shape[0] - 1) // 2
        inside = disc.x_index**2 + disc.y_index**2 <= reach**2
        cycles = torch.stack([disc.x_index, disc.y_index], 1)[inside].float()
        cut = np.empty((len(pose.shift), len(cycles), transforms.shape[-1]), np.float32)
        shifted_slices(
            transforms,
            pose.rotation.contiguous().numpy(),
            (pose.shift / grid.extent).contiguous().numpy(),
            (PADDING * cycles).numpy(),
            cycles.numpy(),
            cut,
        )
        out = torch.zeros(len(cut), cut.shape[2], len(disc))
        scale = disc.voxel_scale(self.voxel_size)
        out[:, :, inside] = torch.from_numpy(cut).mT * scale
        return out.unflatten(1, (-1, 2))

    @cached_property
    def _transforms(self) -> Float[np.ndarray, "z y half number"]:
        """Real and imaginary parts of the padded transforms of the density and its arms."""
        box = self.density.shape[0]
        arm = (torch.arange(box, dtype=torch.float32) - box // 2) * self.voxel_size
        along = (1.0, arm, arm[:, None], arm[:, None, None])
        parts = torch.stack([padded_transform(self.density * each, PADDING) for each in along])
        return parts.permute(2, 3, 4, 0, 1).flatten(3).contiguous().numpy()

    @cached_property
    def _density_alone(self) -> Float[np.ndarray, "z y half number"]:
        return np.ascontiguousarray(self._transforms[..., :2])

"""A density that stands still in the frame of the poses: its images, and how poses change them."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ...devices import looped
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
        self, transforms: Float[Tensor, "z y half number"], pose: Pose, disc: FourierDisc
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
        cut = _slices(transforms, pose.rotation, pose.shift / grid.extent, cycles)
        out = cut.new_zeros(len(cut), cut.shape[2], len(disc))
        scale = disc.voxel_scale(self.voxel_size)
        out[:, :, inside] = cut.mT * scale
        return out.unflatten(1, (-1, 2))

    @cached_property
    def _transforms(self) -> Float[Tensor, "z y half number"]:
        """Real and imaginary parts of the padded transforms of the density and its arms."""
        box = self.density.shape[0]
        arm = torch.arange(box, dtype=torch.float32, device=self.density.device)
        arm = (arm - box // 2) * self.voxel_size
        along = (1.0, arm, arm[:, None], arm[:, None, None])
        parts = torch.stack([padded_transform(self.density * each, PADDING) for each in along])
        return parts.permute(2, 3, 4, 0, 1).flatten(3).contiguous()

    @cached_property
    def _density_alone(self) -> Float[Tensor, "z y half number"]:
        return self._transforms[..., :2].contiguous()


def _slices(
    volumes: Float[Tensor, "z y half number"],
    rotation: Float[Tensor, "image 3 3"],
    shift: Float[Tensor, "image 2"],
    cycles: Float[Tensor, "frequency 2"],
) -> Float[Tensor, "image frequency number"]:
    """Central slices of several transforms, of molecules that are shifted in their images.

    Parameters
    ----------
    volumes : (z, y, half, number)
        Of padded boxes, as :func:`~atomdrgn.physics.maps.slice_loops.slice_volumes` takes them.
    rotation : (image, 3, 3)
        Molecule to microscope.
    shift : (image, 2)
        Of the molecule in the image, x and y, in units of the images' extent.
    cycles : (frequency, 2)
        x and y of each frequency, in one over that extent.
    """
    if not looped(volumes, rotation, shift, cycles):
        return _slices_by_tensors(volumes, rotation, shift, cycles)
    cut = torch.empty(len(rotation), len(cycles), volumes.shape[-1])
    shifted_slices(
        volumes.numpy(),
        rotation.contiguous().numpy(),
        shift.contiguous().numpy(),
        (PADDING * cycles).numpy(),
        cycles.numpy(),
        cut.numpy(),
    )
    return cut


def _slices_by_tensors(
    volumes: Float[Tensor, "z y half number"],
    rotation: Float[Tensor, "image 3 3"],
    shift: Float[Tensor, "image 2"],
    cycles: Float[Tensor, "frequency 2"],
) -> Float[Tensor, "image frequency number"]:
    place = (PADDING * cycles) @ rotation[:, :2]
    opposite = place[..., :1] < 0  # its conjugate
    place = torch.where(opposite, -place, place)
    low = place.floor()
    part, (x, y, z) = place - low, low.long().unbind(-1)
    depth, rows, width, _ = volumes.shape
    first = ((z + depth // 2) * rows + y + rows // 2) * width + x
    flat = volumes.flatten(0, 2)
    cut = volumes.new_zeros(*first.shape, volumes.shape[-1])
    for corner in range(8):
        far = torch.tensor([corner % 2, corner // 2 % 2, corner // 4], device=volumes.device)
        share = torch.where(far == 1, part, 1 - part).prod(-1)
        step = (corner // 4 * rows + corner // 2 % 2) * width + corner % 2
        cut = cut + share[..., None] * flat[first + step]
    number = torch.complex(cut[..., 0::2], torch.where(opposite, -cut[..., 1::2], cut[..., 1::2]))
    phase = -2 * math.pi * (shift @ cycles.T)
    turned = number * torch.polar(torch.ones_like(phase), phase)[..., None]
    return torch.view_as_real(turned).flatten(-2)

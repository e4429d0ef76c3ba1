"""A sum of central slices on a padded Fourier grid, and the map that it makes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ..devices import PROCESSOR, looped
from ..physics.grid import ImageGrid
from ..physics.maps.masks import spherical_mask
from ..physics.pose import Pose
from .slice_sum_loops import add_slices

# images and map fill half of the box in which coefficients are shared between voxels
PADDING = 2
EDGE = 0.05  # of the box, in which the sphere that all images hold fades
BYTES = 12  # of a voxel of the sum


@dataclass(frozen=True, eq=False)
class SliceSum:
    """Weighted Fourier coefficients of images and their weights, added up at their places in space.

    Parameters
    ----------
    grid : ImageGrid
        Of the images, and along each edge of the map.
    sums : (z, y, x, 3) float32
        Real part, imaginary part, weight at the frequencies of the padded box, x >= 0; y and z rise
        from below zero. Images are added on its device.
    """

    grid: ImageGrid
    sums: Float[Tensor, "z y half 3"]

    def add(
        self,
        value: Complex[Tensor, "image y half"],
        weight: Float[Tensor, "image y half"],
        pose: Pose,
        strength: Float[Tensor, "image"],
    ) -> None:
        """Add images, which are on the device of the sum.

        On a processor sums repeat to the bit; elsewhere terms meet in any order.

        Parameters
        ----------
        value, weight : (image, y, half)
            Of padded images: ``weight`` times what each coefficient says of the molecule's
            transform, in rfft2's order.
        pose : Pose (image,)
        strength : (image,)
            Weight of each image; those of 0 are left out.
        """
        fine = padded_grid(self.grid)
        # one step inside Nyquist each coefficient still lies between eight voxels
        reach = fine.box_size // 2 - 1 - 1e-3
        shift = pose.shift / fine.extent
        if looped(weight, pose.rotation, strength, self.sums):
            add_slices(
                value.numpy(),
                weight.numpy(),
                pose.rotation.numpy(),
                shift.numpy(),
                strength.numpy(),
                reach,
                self.sums.numpy(),
            )
            return
        counts = strength != 0
        _add_by_tensors(
            value[counts] * strength[counts, None, None],
            weight[counts] * strength[counts, None, None],
            pose.rotation[counts],
            shift[counts],
            reach,
            self.sums,
        )

    def plus(self, other: "SliceSum") -> "SliceSum":
        """The sum of the images of both."""
        return SliceSum(self.grid, self.sums + other.sums)

    def shell_weight(self) -> Float[Tensor, "shell"]:
        """Mean weight of a voxel in each shell of one over the extent."""
        shell, inside = self._shell()
        count = np.bincount(shell[inside], minlength=self.grid.box_size // 2 + 1)
        total = np.bincount(
            shell[inside], weights=self._whole()[inside][:, 2], minlength=len(count)
        )
        return torch.from_numpy(total / np.maximum(count, 1)).float()

    def density(self, regularisation: Float[Tensor, "shell"]) -> Float[Tensor, "z y x"]:
        """The map: coefficients over weights, regularised by shell.

        What regularises is added to the weights; the map is 0 outside the box's sphere.

        Parameters
        ----------
        regularisation : (shell,)
            Noise over signal in units of the weight; 0 where the images alone are asked.

        Returns
        -------
        (box, box, box)
            Density per A^3.

        References
        ----------
        Scheres, J. Struct. Biol. 180 (2012), 519-530, equation 7.
        """
        box, padded = self.grid.box_size, padded_grid(self.grid).box_size
        whole = self._whole()
        shell, inside = self._shell(rounded=False)
        weight = whole[..., 2] + np.interp(
            shell, np.arange(len(regularisation)), regularisation.numpy()
        ).astype(np.float32)
        held = inside & (weight > 0)
        factor = np.where(held, 1 / np.where(held, weight, 1), 0)[..., None]
        coefficient = torch.view_as_complex(
            torch.from_numpy(np.ascontiguousarray(whole[..., :2] * factor))
        )
        density = torch.fft.fftshift(
            torch.fft.irfftn(torch.fft.ifftshift(coefficient, dim=(0, 1)), s=(padded,) * 3)
        )
        first = padded // 2 - box // 2
        density = density[(slice(first, first + box),) * 3] / self.grid.pixel_size
        # sharing coefficients between neighbours dims the padded box as sinc^2 along each axis
        dimming = torch.sinc((torch.arange(box) - box // 2) / padded) ** 2
        return (
            density / (dimming[:, None, None] * dimming[:, None] * dimming) * box_sphere(self.grid)
        )

    def _whole(self) -> np.ndarray:
        """The sums, with the plane x = 0 completed.

        Half of what lies there was added at the opposite place.
        """
        held = self.sums.cpu().numpy()
        sums = held.copy()
        plane, opposite = held[1:, 1:, 0], held[:0:-1, :0:-1, 0]
        sums[1:, 1:, 0] = plane + opposite * np.array([1, -1, 1], np.float32)
        return sums

    def _shell(self, rounded: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Radius of each voxel, and which voxels the images can reach.

        The radius is in units of one over the extent.
        """
        n = self.sums.shape[0]
        along = (np.arange(n, dtype=np.float32) - n // 2) / PADDING
        half = np.arange(self.sums.shape[2], dtype=np.float32) / PADDING
        radius = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)
        return np.round(radius).astype(np.int64) if rounded else radius, radius < n // 2 / PADDING


def _add_by_tensors(
    value: Complex[Tensor, "image y half"],
    weight: Float[Tensor, "image y half"],
    rotation: Float[Tensor, "image 3 3"],
    shift: Float[Tensor, "image 2"],
    reach: float,
    sums: Float[Tensor, "z y x 3"],
) -> None:
    """As :func:`~atomdrgn.backprojection.slice_sum_loops.add_slices`, on any device."""
    box, half = value.shape[1:]
    ky = torch.arange(box, device=sums.device)
    ky = torch.where(ky < (box + 1) // 2, ky, ky - box)[:, None].float()
    kx = torch.arange(half, device=sums.device).float()
    # of the column that is its own mirror one half is enough
    inside = (kx**2 + ky**2 <= reach**2) & ((kx > 0) | (ky >= 0))
    cycles = torch.stack([kx.expand(box, half)[inside], ky.expand(box, half)[inside]], 1)
    phase = 2 * math.pi * (shift @ cycles.T)
    number = value[:, inside] * torch.polar(torch.ones_like(phase), phase)
    place = cycles @ rotation[:, :2]
    opposite = place[..., :1] < 0  # its conjugate
    place = torch.where(opposite, -place, place)
    terms = torch.stack([number.real, number.imag, weight[:, inside]], -1)
    signs = torch.tensor([1.0, -1.0, 1.0], device=sums.device)
    terms = torch.where(opposite, terms * signs, terms).flatten(0, 1)
    low = place.floor()
    part, (x, y, z) = (place - low).flatten(0, 1), low.long().flatten(0, 1).unbind(-1)
    flat, (depth, rows, width, _) = sums.view(-1, 3), sums.shape
    first = ((z + depth // 2) * rows + y + rows // 2) * width + x
    for corner in range(8):
        far = torch.tensor([corner % 2, corner // 2 % 2, corner // 4], device=sums.device)
        share = torch.where(far == 1, part, 1 - part).prod(-1)
        step = (corner // 4 * rows + corner // 2 % 2) * width + corner % 2
        flat.index_add_(0, first + step, share[:, None] * terms)


def empty_sum(grid: ImageGrid, device: torch.device = PROCESSOR) -> SliceSum:
    """A sum of no images."""
    n = padded_grid(grid).box_size
    return SliceSum(grid, torch.zeros(n, n, n // 2 + 1, 3, device=device))


def padded_grid(grid: ImageGrid) -> ImageGrid:
    """The pixels of padded images."""
    return ImageGrid(PADDING * grid.box_size, grid.pixel_size)


def box_sphere(grid: ImageGrid) -> Float[Tensor, "box box box"]:
    """The part of a map that images hold at every orientation.

    It is the sphere in the box, with a soft edge inside of it.
    """
    edge = EDGE * grid.extent
    return spherical_mask(
        grid.box_size, voxel_size=grid.pixel_size, radius=grid.extent / 2 - edge, edge=edge
    )


def bytes_of_sum(grid: ImageGrid) -> int:
    """Memory of one sum."""
    n = padded_grid(grid).box_size
    return BYTES * n * n * (n // 2 + 1)

"""The Fourier coefficients that a fit uses: a half-disc of frequencies, row by row."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from .fourier import transform
from .grid import ImageGrid


@dataclass(frozen=True)
class FourierDisc:
    """Frequencies of an image's half-plane down to a resolution, zero left out.

    They stand in rows of one y_index, x_index rising, so that loops run along x.

    Coefficients on a disc are scaled so that white noise of unit variance a pixel has unit power a
    coefficient.

    Parameters
    ----------
    grid : ImageGrid
        Of the images.
    resolution : float
        Finest resolution, A. Nyquist itself is left out.
    x_index, y_index : (frequency,)
        Frequency in units of one over the box: x_index >= 0, y_index of both signs.
    rank : (frequency,)
        Place of each when all frequencies of the grid are sorted by radius: a coarser disc has the
        first ones.

    Examples
    --------
    >>> disc = make_disc(ImageGrid(16, 2.0), resolution=8.0)
    >>> len(disc), disc.reach, len(disc.coarser(16.0))
    (28, 4, 8)
    """

    grid: ImageGrid
    resolution: float
    x_index: Int[Tensor, "frequency"]
    y_index: Int[Tensor, "frequency"]
    rank: Int[Tensor, "frequency"]

    def __len__(self) -> int:
        return len(self.x_index)

    @cached_property
    def reach(self) -> int:
        """Largest index along an axis."""
        return int(max(self.x_index.max(), self.y_index.abs().max()))

    @property
    def kx(self) -> Float[Tensor, "frequency"]:
        """Frequency along x, 1/A."""
        return self.x_index / self.grid.extent

    @property
    def ky(self) -> Float[Tensor, "frequency"]:
        """Frequency along y, 1/A."""
        return self.y_index / self.grid.extent

    @property
    def shell(self) -> Int[Tensor, "frequency"]:
        """Ring of each coefficient, counted from 0 at radius 1.

        It is the radius rounded to units of one over the box.
        """
        return torch.hypot(self.x_index.float(), self.y_index.float()).round().long() - 1

    @property
    def multiplicity(self) -> Float[Tensor, "frequency"]:
        """How many coefficients of the whole plane each stands for.

        It is 2, or 1 where x_index is 0 (both signs of y are held).
        """
        return torch.where(self.x_index == 0, 1.0, 2.0)

    def coarser(self, resolution: float) -> "FourierDisc":
        """The part of this disc down to a coarser resolution."""
        kept = (
            torch.hypot(self.x_index.float(), self.y_index.float()) <= self.grid.extent / resolution
        )
        return replace(
            self,
            resolution=max(resolution, self.resolution),
            x_index=self.x_index[kept],
            y_index=self.y_index[kept],
            rank=self.rank[kept],
        )

    @cached_property
    def rows(self) -> np.ndarray:
        """Where each row of frequencies stands, (row, 4) int64.

        Columns are y_index, first x_index, place of the first coefficient, and number of
        coefficients.
        """
        y = self.y_index.cpu().numpy()
        start = np.flatnonzero(np.diff(y, prepend=y[0] - 1))
        length = np.diff(start, append=len(y))
        return np.stack([y[start], self.x_index.cpu().numpy()[start], start, length], 1).astype(
            np.int64
        )

    def coarse_grid(self, spare: int = 2) -> ImageGrid:
        """Pixels or voxels with the images' extent, just fine enough for these frequencies.

        Parameters
        ----------
        spare : int
            Of one over the extent, that they hold beyond the finest.
        """
        box = 2 * (self.reach + spare)
        return ImageGrid(box, self.grid.extent / box)

    def voxel_scale(self, voxel_size: float) -> float:
        """What makes a coefficient of an image of a volume's transform, a sum over voxels (A^-3).

        Parameters
        ----------
        voxel_size : float
            A.
        """
        return voxel_size**3 / (self.grid.pixel_size**2 * self.grid.box_size)

    def coefficients(
        self, image: Float[Tensor, "*batch box box"]
    ) -> Complex[Tensor, "*batch frequency"]:
        """Fourier coefficients of images of this disc's grid, phases about the image's origin."""
        plane = transform(image)
        return plane[..., self.y_index % self.grid.box_size, self.x_index] / self.grid.box_size

    def parts(self, image: Float[Tensor, "*batch box box"]) -> Float[Tensor, "*batch 2 frequency"]:
        """Real and imaginary parts of :meth:`coefficients`."""
        return torch.view_as_real(self.coefficients(image)).movedim(-1, -2)

    def to(self, device: torch.device | str | None) -> "FourierDisc":
        """The same disc with its indices on `device`."""
        return replace(
            self,
            x_index=self.x_index.to(device),
            y_index=self.y_index.to(device),
            rank=self.rank.to(device),
        )


def make_disc(grid: ImageGrid, resolution: float) -> FourierDisc:
    """All coefficients of an image down to a resolution, or to Nyquist where that is coarser.

    Parameters
    ----------
    grid : ImageGrid
        Of the images.
    resolution : float
        Finest resolution, A.

    Returns
    -------
    FourierDisc

    Examples
    --------
    >>> disc = make_disc(ImageGrid(4, 1.0), resolution=1.0)
    >>> list(zip(disc.y_index.tolist(), disc.x_index.tolist()))
    [(-1, 0), (-1, 1), (0, 1), (1, 0), (1, 1)]
    """
    nyquist = grid.box_size / 2
    reach = min(grid.extent / resolution, nyquist)
    most = min(math.floor(reach), (grid.box_size - 1) // 2)
    y, x = torch.meshgrid(torch.arange(-most, most + 1), torch.arange(0, most + 1), indexing="ij")
    x, y = x.flatten(), y.flatten()
    radius = torch.hypot(x.float(), y.float())
    keep = (radius <= reach) & (radius < nyquist) & (radius > 0)
    x, y, radius = x[keep], y[keep], radius[keep]
    rank = torch.empty_like(x)
    rank[torch.argsort(radius, stable=True)] = torch.arange(len(x))
    return FourierDisc(grid, max(resolution, grid.extent / reach), x, y, rank)

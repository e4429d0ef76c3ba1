"""The voxels of volumes at a resolution, and the voxels of their padded transforms."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..physics.disc import FourierDisc
from ..physics.grid import ImageGrid
from ..physics.maps.maps import map_frequencies
from ..physics.maps.slices import padded_transform
from .component_loops import solve_voxels

PADDING = 2  # the box in which slices are interpolated, in boxes
SPARE = 2  # voxels of one over the extent beyond the finest frequency


@dataclass(frozen=True, eq=False)
class ComponentGrid:
    """Voxels that hold volumes to a resolution, no finer than it asks for.

    Parameters
    ----------
    disc : FourierDisc
        The frequencies of the images.

    Examples
    --------
    >>> from atomdrgn.physics.disc import make_disc
    >>> ComponentGrid(make_disc(ImageGrid(64, 2.0), 16.0)).grid
    ImageGrid(box_size=20, pixel_size=6.4)
    """

    disc: FourierDisc

    @cached_property
    def grid(self) -> ImageGrid:
        """Voxels along each edge of the volumes."""
        return self.disc.coarse_grid(SPARE)

    @property
    def shells(self) -> int:
        """Shells of one over the extent, from 0 on."""
        return self.disc.reach + SPARE

    @property
    def scale(self) -> float:
        """What a coefficient of a volume (A^-3) is multiplied by to be one of an image's disc."""
        return self.disc.voxel_scale(self.grid.pixel_size)

    @cached_property
    def place(self) -> Float[np.ndarray, "frequency 2"]:
        """Indices x and y of the disc's frequencies, in voxels of the padded transform."""
        index = torch.stack([self.disc.x_index, self.disc.y_index], 1)
        return (float(PADDING) * index).numpy().astype(np.float32)

    def transform(
        self, volumes: Float[Tensor, "volume z y x"]
    ) -> Float[np.ndarray, "padded padded half numbers"]:
        """Padded transforms for the loops: real and imaginary parts of the volumes by turns."""
        parts = torch.stack([padded_transform(each, PADDING) * self.scale for each in volumes])
        return parts.permute(2, 3, 4, 0, 1).flatten(3).contiguous().numpy()

    def empty_sums(self, volumes: int) -> Float[np.ndarray, "padded padded half numbers"]:
        """Systems of no images (see :func:`.component_loops.add_to_sums`)."""
        n = PADDING * self.grid.box_size
        return np.zeros(
            (n, n, n // 2 + 1, 2 * volumes + volumes * (volumes + 1) // 2), dtype=np.float32
        )

    def collected(
        self, sums: Float[np.ndarray, "padded padded half numbers"]
    ) -> Float[np.ndarray, "voxel numbers"]:
        """The systems of the voxels that images reach.

        In the plane x = 0, half of what belongs to a voxel was added at the opposite place.
        """
        count = _volumes_of(sums.shape[-1])
        sign = np.ones(sums.shape[-1], np.float32)
        sign[1 : 2 * count : 2] = -1
        plane = sums[:, :, 0].copy()
        plane[1:, 1:] += sums[:0:-1, :0:-1, 0] * sign
        sums[:, :, 0] = plane
        return sums[self._inside]

    def solved(
        self,
        systems: Float[np.ndarray, "voxel numbers"],
        power: Float[np.ndarray, "volume shell"],
    ) -> Float[Tensor, "volume z y x"]:
        """The volumes that images and a prior make likeliest.

        Parameters
        ----------
        systems : (voxel, 2 volume + packed)
            As :meth:`collected` gives them.
        power : (volume, shell)
            Mean square of the coefficients of each volume, before any image is seen, as on the
            disc.

        Returns
        -------
        (volume, z, y, x)
            A^-3.

        References
        ----------
        Tagare et al., J. Struct. Biol. 191 (2015), 245-262: components of volumes by
        expectation-maximisation.
        """
        count, n, box = len(power), PADDING * self.grid.box_size, self.grid.box_size
        precision = np.stack(
            [
                np.interp(self._reached, np.arange(self.shells), 1 / each)
                for each in np.maximum(power, 1e-30)
            ],
            1,
        )
        coefficient = solve_voxels(systems, precision.astype(np.float32))
        first = n // 2 - box // 2
        kept = (slice(first, first + box),) * 3
        # sharing coefficients between neighbours dims the padded box as sinc^2 along each axis
        dimming = torch.sinc((torch.arange(box) - box // 2) / n) ** 2
        factor = self.scale * dimming[:, None, None] * dimming[:, None] * dimming
        result = torch.empty(count, box, box, box)
        for number in range(count):
            whole = np.zeros(self._inside.shape, np.complex64)
            whole[self._inside] = coefficient[:, number]
            density = torch.fft.irfftn(
                torch.fft.ifftshift(torch.from_numpy(whole), dim=(0, 1)), s=(n,) * 3
            )
            result[number] = torch.fft.fftshift(density)[kept] / factor
        return result

    def mean_weight(
        self, systems: Float[np.ndarray, "voxel numbers"]
    ) -> Float[np.ndarray, "shell"]:
        """Mean weight of the first volume's coefficients in each shell."""
        weight = systems[:, 2 * _volumes_of(systems.shape[1])]
        shell = np.round(self._reached).astype(np.int64)
        total = np.bincount(shell, weights=weight, minlength=self.shells)[: self.shells]
        return total / np.maximum(np.bincount(shell, minlength=self.shells)[: self.shells], 1)

    def shell_power(
        self, volumes: Float[Tensor, "volume z y x"]
    ) -> Float[np.ndarray, "volume shell"]:
        """Mean square of the coefficients of each volume in each shell, as on the disc."""
        shell, count = self._shell_of_voxel, self._shell_of_voxel.bincount().float()
        power = (torch.fft.rfftn(volumes, dim=(1, 2, 3)).abs() * self.scale).square().flatten(1)
        total = torch.zeros(len(volumes), len(count)).index_add(1, shell, power)
        return (total / count)[:, : self.shells].double().numpy()

    def with_power(
        self, volumes: Float[Tensor, "volume z y x"], power: Float[np.ndarray, "shell"]
    ) -> Float[Tensor, "volume z y x"]:
        """Volumes brought to a power in each shell."""
        own = self.shell_power(volumes)
        factor = torch.from_numpy(np.sqrt(power / np.maximum(own, 1e-30))).float()
        kept = (self._shell_of_voxel < self.shells).float()
        by_voxel = factor[:, self._shell_of_voxel.clamp_max(self.shells - 1)] * kept
        coefficient = torch.fft.rfftn(volumes, dim=(1, 2, 3))
        return torch.fft.irfftn(
            coefficient * by_voxel.view_as(coefficient.real),
            s=volumes.shape[1:],
            dim=(1, 2, 3),
        )

    @cached_property
    def _shell_of_voxel(self) -> Int[Tensor, "voxel"]:
        box = self.grid.box_size
        radius = map_frequencies((box, box, box), self.grid.pixel_size) * self.grid.extent
        return radius.round().long().flatten()

    @cached_property
    def _radius(self) -> Float[np.ndarray, "padded padded half"]:
        """Of the padded transform's voxels, in units of one over the extent."""
        n = PADDING * self.grid.box_size
        along = (np.arange(n, dtype=np.float32) - n // 2) / PADDING
        half = np.arange(n // 2 + 1, dtype=np.float32) / PADDING
        return np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)

    @cached_property
    def _reached(self) -> Float[np.ndarray, "voxel"]:
        """Radius of the voxels that images reach."""
        return self._radius[self._inside]

    @cached_property
    def _inside(self) -> Bool[np.ndarray, "padded padded half"]:
        """Voxels that images reach."""
        return self._radius <= self.disc.reach + 1 / PADDING


def resized(
    volumes: Float[Tensor, "volume z y x"], box: int
) -> Float[Tensor, "volume new new new"]:
    """Volumes of the same extent on other voxels, values kept.

    Parameters
    ----------
    volumes : (volume, z, y, x)
        Cubes.
    box : int
        Voxels along an edge.

    Returns
    -------
    (volume, box, box, box)

    Examples
    --------
    >>> resized(torch.ones(1, 4, 4, 4), 6).mean().item()
    1.0
    """
    old, axes = volumes.shape[-1], (1, 2, 3)
    if not len(volumes):  # the libraries behind torch.fft refuse an empty batch
        return volumes.new_zeros(0, box, box, box)
    if box == old:
        return volumes
    coefficient = torch.fft.fftshift(
        torch.fft.fftn(torch.fft.ifftshift(volumes, dim=axes), dim=axes), dim=axes
    )
    smaller = min(old, box)
    # the frequencies that both hold, without the Nyquist plane that has no opposite
    reach = (smaller - 1) // 2
    result = torch.zeros(len(volumes), box, box, box, dtype=coefficient.dtype)
    result[_middle(box, reach)] = coefficient[_middle(old, reach)] * (box / old) ** 3
    return torch.fft.fftshift(
        torch.fft.ifftn(torch.fft.ifftshift(result, dim=axes), dim=axes).real, dim=axes
    )


def _middle(box: int, reach: int) -> tuple[slice, ...]:
    along = slice(box // 2 - reach, box // 2 + reach + 1)
    return (slice(None), along, along, along)


def _volumes_of(numbers: int) -> int:
    """How many volumes have so many numbers a voxel: 2 v + v (v + 1) / 2."""
    return int(round((np.sqrt(25 + 8 * numbers) - 5) / 2))


def packed(matrix: Float[np.ndarray, "particle v v"]) -> Float[np.ndarray, "particle packed"]:
    """Lower triangles, row by row."""
    row, column = np.tril_indices(matrix.shape[-1])
    return matrix[:, row, column]

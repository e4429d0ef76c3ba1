"""The voxels of volumes at a resolution, and the voxels of their padded transforms."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from ..physics.disc import FourierDisc
from ..physics.grid import ImageGrid
from ..physics.maps.maps import map_frequencies
from ..physics.maps.slices import padded_transform
from .component_loops import solve_voxels, times_voxels

PADDING = 2  # the box in which slices are interpolated, in boxes
STEPS = 3  # of conjugate gradients in a round
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

    def filtered(
        self,
        systems: Float[np.ndarray, "voxel numbers"],
        power: Float[np.ndarray, "volume shell"],
    ) -> Float[Tensor, "volume z y x"]:
        """The volumes that each voxel of the transform gives by itself, anywhere in the box.

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
        """
        coefficient = solve_voxels(systems, self._precision(power))
        return self._density(coefficient) / (self.scale * self._dimming)

    def solved(
        self,
        systems: Float[np.ndarray, "voxel numbers"],
        power: Float[np.ndarray, "volume shell"],
        mask: Float[Tensor, "z y x"],
        start: Float[Tensor, "volume z y x"],
    ) -> Float[Tensor, "volume z y x"]:
        """The volumes that images and a prior make likeliest, of those within a mask.

        A few steps of conjugate gradients from volumes that are near. Density in a mask has
        neighbouring coefficients alike, which all say something of each other: voxels that are
        solved one by one, and masked afterwards, are far too faint where few images reach them.

        Parameters
        ----------
        systems : (voxel, 2 volume + packed)
            As :meth:`collected` gives them.
        power : (volume, shell)
            Mean square of the coefficients of each volume, before any image is seen, as on the
            disc.
        mask : (z, y, x)
            What volumes are multiplied by.
        start : (volume, z, y, x)
            A^-3.

        Returns
        -------
        (volume, z, y, x)
            A^-3.

        References
        ----------
        Tagare et al., J. Struct. Biol. 191 (2015), 245-262: components of volumes by
        expectation-maximisation. Nocedal & Wright, Numerical Optimization (2006), algorithm 5.3:
        preconditioned conjugate gradients.
        """
        precision = self._precision(self.spread_over(mask) * power)
        right = systems[:, : 2 * len(power)].copy().view(np.complex64)
        parts = systems.copy()

        def product(volumes: Tensor) -> Tensor:
            coefficient = self._coefficients(mask * volumes)
            return mask * self._density(times_voxels(systems, precision, coefficient))

        def nearly_solved(rest: Tensor) -> Tensor:
            parts[:, : 2 * len(power)] = self._coefficients(mask * rest).view(np.float32)
            return mask * self._density(solve_voxels(parts, precision))

        volumes = self.scale * start
        rest = mask * self._density(right) / self._dimming - product(volumes)
        step = nearly_solved(rest)
        direction, size = step, (rest * step).sum()
        for number in range(STEPS):
            ahead = product(direction)
            length = size / (direction * ahead).sum().clamp_min(1e-30)
            volumes = volumes + length * direction
            if number + 1 < STEPS:
                rest = rest - length * ahead
                step = nearly_solved(rest)
                before, size = size, (rest * step).sum()
                direction = step + size / before.clamp_min(1e-30) * direction
        return mask * volumes / self.scale

    def spread_over(self, mask: Float[Tensor, "z y x"]) -> float:
        """Voxels of the padded transform to one number of what a mask holds."""
        return (PADDING * self.grid.box_size) ** 3 / float(mask.square().sum())

    def _precision(
        self, power: Float[np.ndarray, "volume shell"]
    ) -> Float[np.ndarray, "voxel volume"]:
        shells = np.arange(self.shells)
        each = [np.interp(self._reached, shells, 1 / p) for p in np.maximum(power, 1e-30)]
        return np.stack(each, 1).astype(np.float32)

    @cached_property
    def _dimming(self) -> Float[Tensor, "z y x"]:
        """What sharing coefficients between neighbours does to the box: sinc^2 along each axis."""
        box = self.grid.box_size
        along = torch.sinc((torch.arange(box) - box // 2) / (PADDING * box)) ** 2
        return along[:, None, None] * along[:, None] * along

    def _density(
        self, coefficient: Complex[np.ndarray, "voxel volume"]
    ) -> Float[Tensor, "volume z y x"]:
        """Volumes of the coefficients that images reach, cut out of their padded box."""
        n, kept = PADDING * self.grid.box_size, (self._middle,) * 3
        result = torch.empty(coefficient.shape[1], *(self.grid.box_size,) * 3)
        for number, each in enumerate(coefficient.T):
            whole = np.zeros(self._inside.shape, np.complex64)
            whole[self._inside] = each
            density = torch.fft.irfftn(
                torch.fft.ifftshift(torch.from_numpy(whole), dim=(0, 1)), s=(n,) * 3
            )
            result[number] = torch.fft.fftshift(density)[kept]
        return result

    def _coefficients(
        self, volumes: Float[Tensor, "volume z y x"]
    ) -> Complex[np.ndarray, "voxel volume"]:
        """Coefficients that images reach of volumes in their padded box."""
        n, kept = PADDING * self.grid.box_size, (self._middle,) * 3
        result = np.empty((len(self._reached), len(volumes)), np.complex64)
        for number, each in enumerate(volumes):
            padded = torch.zeros(n, n, n)
            padded[kept] = each
            whole = torch.fft.rfftn(torch.fft.ifftshift(padded))
            result[:, number] = torch.fft.fftshift(whole, dim=(0, 1)).numpy()[self._inside]
        return result

    @property
    def _middle(self) -> slice:
        """Of the padded box along an edge."""
        box = self.grid.box_size
        first = PADDING * box // 2 - box // 2
        return slice(first, first + box)

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
        return self.shell_product(volumes, volumes)

    def shell_product(
        self, volumes: Float[Tensor, "volume z y x"], others: Float[Tensor, "volume z y x"]
    ) -> Float[np.ndarray, "volume shell"]:
        """Mean product of the coefficients of each volume and another in each shell."""
        shell, count = self._shell_of_voxel, self._shell_of_voxel.bincount().float()
        if not len(volumes):  # the libraries behind torch.fft refuse an empty batch
            return np.zeros((0, self.shells))
        first, second = (
            (torch.fft.rfftn(each, dim=(1, 2, 3)) * self.scale).flatten(1)
            for each in (volumes, others)
        )
        product = (first * second.conj()).real
        total = torch.zeros(len(volumes), len(count)).index_add(1, shell, product)
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

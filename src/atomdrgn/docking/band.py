"""The Fourier coefficients of a map, or of a model, up to a resolution.

Two densities are compared by them.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from ..errors import InputError
from ..physics.maps.atom_density_loops import add_gaussians
from ..structure.density_map import DensityMap

SAMPLING = 3.0  # grid points in the length of a resolution
# s.d., in grid points, of the Gaussians as which points are drawn: what aliases is below 1e-4
DRAWN_WIDTH = 1.2
REACH = 5.0  # standard deviations to which they are drawn


@dataclass(frozen=True, eq=False)
class Band:
    """Coefficients of one density, zero frequency left out.

    Phases are about the origin of the poses' frame.

    Parameters
    ----------
    coefficient : (frequency,) complex
        Of the half-space with kx >= 0.
    cycles : (frequency, 3) int
        Frequencies x, y, z in cycles of the box.
    extent : (3,)
        Of the box, xyz, A.
    resolution : float
        No frequency is finer, A.
    """

    coefficient: np.ndarray
    cycles: np.ndarray
    extent: np.ndarray
    resolution: float

    @property
    def frequency(self) -> np.ndarray:
        """(frequency, 3) xyz, 1/A."""
        return self.cycles / self.extent

    @property
    def multiplicity(self) -> np.ndarray:
        """How often each frequency counts in a sum over all, (frequency,).

        It does so twice, or once where both of a pair are held.
        """
        return np.where(self.cycles[:, 0] == 0, 1.0, 2.0)

    @property
    def shell(self) -> np.ndarray:
        """Number of the shell that each frequency is in, (frequency,).

        Shells are one over the longest edge of the box wide.
        """
        return np.round(np.linalg.norm(self.frequency, axis=1) * self.extent.max()).astype(np.int64)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Edges (z, y, x) of a grid that holds these frequencies.

        Their sums can be interpolated on it.
        """
        return tuple(
            scipy.fft.next_fast_len(math.ceil(SAMPLING * edge / self.resolution), real=True)
            for edge in self.extent[::-1]
        )

    def with_coefficient(self, coefficient: np.ndarray) -> "Band":
        """Other values at the same frequencies."""
        return replace(self, coefficient=coefficient)

    def cut(self, resolution: float) -> "Band":
        """The same without what is finer than `resolution`, A."""
        kept = np.linalg.norm(self.frequency, axis=1) <= 1 / resolution
        return Band(self.coefficient[kept], self.cycles[kept], self.extent, resolution)

    def other_hand(self) -> "Band":
        """Coefficients of the density inverted through the origin: a mirror image, turned."""
        return self.with_coefficient(self.coefficient.conj())

    def shell_means(self, value: np.ndarray) -> np.ndarray:
        """(shell,) mean over all coefficients of each shell; 0 where there are none."""
        weight = np.bincount(self.shell, self.multiplicity)
        return np.bincount(self.shell, self.multiplicity * value) / np.maximum(weight, 1)

    def whitened(self) -> "Band":
        """The same with a mean power of 1 in every shell."""
        power = self.shell_means(np.abs(self.coefficient) ** 2)
        return self.with_coefficient(
            self.coefficient / np.sqrt(np.maximum(power, 1e-30))[self.shell].astype(np.float32)
        )

    def on_grid(self, out: np.ndarray | None = None) -> np.ndarray:
        """The sum over the whole space of coefficient times wave, (z, y, x) float32.

        It is taken at points whose first is the origin.

        `out`, the half-space's array of zeros and of earlier coefficients at the same frequencies,
        may be given to be used again.
        """
        shape = self.shape
        out = np.zeros((*shape[:2], shape[2] // 2 + 1), np.complex64) if out is None else out
        x, y, z = self.cycles.T
        out[z % shape[0], y % shape[1], x] = self.coefficient
        return scipy.fft.irfftn(out, s=shape, norm="forward")


def band_of_map(density_map: DensityMap, resolution: float) -> Band:
    """Coefficients of a map in the frame of the poses, (0, 0, 0) at voxel ``n // 2``.

    Raises
    ------
    InputError
        The voxels do not hold the resolution, or the box is too small to hold a wave of it.
    """
    shape, voxel_size = density_map.density.shape, density_map.voxel_size
    extent = np.array(shape[::-1]) * voxel_size
    if not 2 * voxel_size * (1 - 1e-6) <= resolution <= extent.min() / 2:
        raise InputError(
            f"{density_map.name}: a resolution of {resolution:.4g} A in a map of {voxel_size:.4g} "
            f"A voxels whose shortest edge is {extent.min():.4g} A: choose from "
            f"{2 * voxel_size:.4g} to {extent.min() / 2:.4g} A"
        )
    density = density_map.density.numpy()
    transform = scipy.fft.rfftn((density - density.mean()).astype(np.float32))
    reach = [
        min(int(edge / resolution), (n - 1) // 2)
        for edge, n in zip(extent, shape[::-1], strict=True)
    ]
    y, z = (
        edge.ravel()
        for edge in np.meshgrid(*(np.arange(-n, n + 1) for n in reach[1:]), indexing="ij")
    )
    planes = []
    # of two opposite frequencies with kx = 0 both stay: `multiplicity` counts each once
    for x in range(reach[0] + 1):
        length = np.sqrt((x / extent[0]) ** 2 + (y / extent[1]) ** 2 + (z / extent[2]) ** 2)
        kept = (length <= 1 / resolution) & (length > 0)
        planes.append(np.stack([np.full(kept.sum(), x), y[kept], z[kept]], 1))
    cycles = np.concatenate(planes)
    phase = 2 * np.pi * (cycles * (np.array(shape[::-1]) // 2 / np.array(shape[::-1]))).sum(1)
    coefficient = transform[
        cycles[:, 2] % shape[0], cycles[:, 1] % shape[1], cycles[:, 0]
    ] * np.exp(1j * phase)
    return Band(coefficient.astype(np.complex64), cycles, extent, resolution)


def band_of_points(position: np.ndarray, amplitude: np.ndarray, like: Band) -> Band:
    """Coefficients of weighted points in the box of another band.

    Points are xyz, A, in the frame of the poses.

    What is outside is left out. They are sums of waves to 1e-3, by way of narrow Gaussians on a
    grid.
    """
    shape = np.array(like.shape[::-1])
    transform = scipy.fft.rfftn(drawn(position * shape / like.extent, amplitude, like.shape))
    x, y, z = like.cycles.T
    phase = 2 * np.pi * (like.cycles * (shape // 2 / shape)).sum(1)
    damped = np.exp(-2 * np.pi**2 * DRAWN_WIDTH**2 * ((like.cycles / shape) ** 2).sum(1))
    value = transform[z % like.shape[0], y % like.shape[1], x] * np.exp(1j * phase) / damped
    return like.with_coefficient(value.astype(np.complex64))


def drawn(position: np.ndarray, amplitude: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Points as Gaussians of DRAWN_WIDTH, (z, y, x) float32.

    Their places are in steps of the grid from point ``n // 2``.
    """
    density, width = np.zeros(shape, np.float32), np.full(len(position), DRAWN_WIDTH)
    add_gaussians(
        position + np.array(shape[::-1]) // 2,
        amplitude / (2 * np.pi * width**2) ** 1.5,
        width,
        REACH,
        density,
    )
    return density


def shell_correlation(first: Band, second: Band) -> np.ndarray:
    """(shell,) correlation of two bands in each shell; 0 where one is empty."""
    product = first.shell_means((first.coefficient * second.coefficient.conj()).real)
    power = [band.shell_means(np.abs(band.coefficient) ** 2) for band in (first, second)]
    return product / np.sqrt(np.maximum(power[0] * power[1], 1e-30))


def correlation(first: Band, second: Band) -> float:
    """Pearson's correlation of the two densities over the box.

    Both are taken without what is finer than the band.
    """
    weight = first.multiplicity
    product = (weight * (first.coefficient * second.coefficient.conj()).real).sum()
    power = [(weight * np.abs(band.coefficient) ** 2).sum() for band in (first, second)]
    return float(product / math.sqrt(max(power[0] * power[1], 1e-30)))


def thinned(
    position: np.ndarray, amplitude: np.ndarray, edge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Points and their weights, those in one cube of this edge (A) joined in their centroid."""
    cell = np.floor(position / edge).astype(np.int64)
    _, member = np.unique(cell, axis=0, return_inverse=True)
    member = member.reshape(-1)
    total = np.bincount(member, amplitude)
    centroid = (
        np.stack([np.bincount(member, amplitude * x) for x in position.T], 1) / total[:, None]
    )
    return centroid, total

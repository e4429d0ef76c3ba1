"""Masks found from half-maps, regularisation by their correlation, and sharpening."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..physics.correlation import resolution_at, shell_frequencies, shell_index
from ..physics.grid import ImageGrid
from ..physics.maps.half_maps import HalfMapCorrelation
from ..physics.maps.maps import filtered, low_pass, map_frequencies
from ..physics.maps.masks import density_mask
from .slice_sum import box_sphere

MASK_RESOLUTION = 15.0  # A, at which what is dense is told from noise
NOISE_LEVELS = 5.0  # standard deviations of the noise that dense voxels stand above
PEAK_SHARE = 0.1  # of the densest voxels' value, which they stand above too
PEAK_QUANTILE = 0.999
EXTEND, EDGE = 6.0, 12.0  # A: how far the mask reaches beyond dense voxels, and fades
LEAST, MOST = 1e-3, 0.999  # correlations that are told from 0 and 1
GUINIER = 10.0  # A: finer amplitudes of proteins fall as exp(-B k^2 / 4)
GUINIER_RANGE = 0.01  # 1/A^2 of k^2: the least that a line is fitted to


def automatic_mask(
    first: Float[Tensor, "box box box"],
    second: Float[Tensor, "box box box"],
    grid: ImageGrid,
    *,
    resolution: float = MASK_RESOLUTION,
    extend: float = EXTEND,
    edge: float = EDGE,
) -> Float[Tensor, "box box box"]:
    """What is dense in both half-maps, low-passed, with a margin and a soft edge.

    It is the whole sphere of the box where nothing is dense.

    Parameters
    ----------
    first, second : (box, box, box)
        Of independent halves of the images.
    grid : ImageGrid
        Voxels along each edge.
    resolution, extend, edge : float
        Of the low-pass, of the margin and of the soft edge beyond it, A; more on large voxels.
    """
    resolution = max(resolution, 3 * grid.pixel_size)
    coarse = low_pass(0.5 * (first + second), voxel_size=grid.pixel_size, resolution=resolution)
    noise = low_pass(0.5 * (first - second), voxel_size=grid.pixel_size, resolution=resolution)
    inside = box_sphere(grid) > 0.5
    peak = torch.quantile(coarse[inside][:: max(1, int(inside.sum()) // 2**20)], PEAK_QUANTILE)
    level = max(NOISE_LEVELS * float(noise[inside].std()), PEAK_SHARE * float(peak))
    if not (coarse * inside > level).any():
        return box_sphere(grid)
    extend, edge = max(extend, 1.5 * grid.pixel_size), max(edge, 4 * grid.pixel_size)
    return density_mask(
        coarse * inside, voxel_size=grid.pixel_size, level=level, extend=extend, edge=edge
    ) * box_sphere(grid)


def regularisation(
    correlation: Float[Tensor, "shell"], weight: Float[Tensor, "shell"]
) -> Float[Tensor, "shell"]:
    """Noise over signal of a map of all images, from the correlation of its halves.

    It is in units of their weight.

    A coefficient of the map has the signal-to-noise ratio 2 FSC / (1 - FSC) where its shell's mean
    weight stands on it.

    References
    ----------
    Scheres, J. Struct. Biol. 180 (2012), 519-530, equations 8 to 10.
    """
    kept = correlation.clamp(LEAST, MOST)
    return weight * (1 - kept) / (2 * kept)


def fsc_weight(correlation: Float[Tensor, "shell"]) -> Float[Tensor, "shell"]:
    """How a map of all images correlates with the truth, from its halves.

    It is sqrt(2 FSC / (1 + FSC)); 0 behind the first 0.

    References
    ----------
    Rosenthal & Henderson, J. Mol. Biol. 333 (2003), 721-745.
    """
    kept = correlation.clamp(0, 1) * (torch.cumsum(correlation <= 0, 0) == 0)
    return (2 * kept / (1 + kept)).sqrt()


def guinier_b_factor(
    density: Float[Tensor, "box box box"], found: HalfMapCorrelation, *, voxel_size: float
) -> float | None:
    """Decay of the map's amplitudes beyond 10 A as exp(-B k^2 / 4), A^2.

    It is None where the map's resolution leaves no line to fit.

    Amplitudes are weighted by :func:`fsc_weight`, so that noise is not taken for signal.
    """
    finest = 1 / resolution_at(found.frequency, found.corrected, 0.143)
    k = shell_frequencies(density.shape[-1], voxel_size)
    use = (k >= 1 / GUINIER) & (k <= finest)
    if finest**2 - 1 / GUINIER**2 < GUINIER_RANGE or int(use.sum()) < 3:
        return None
    power = shell_mean(torch.fft.rfftn(density).abs() ** 2, density.shape[-1])
    amplitude = power.sqrt() * fsc_weight(found.corrected)
    x, y = (k[use] ** 2).double(), amplitude[use].clamp_min(1e-30).double().log()
    x = x - x.mean()
    return -4 * float((x * (y - y.mean())).sum() / (x**2).sum())


def sharpened(
    density: Float[Tensor, "box box box"],
    correlation: Float[Tensor, "shell"],
    *,
    voxel_size: float,
    b_factor: float,
) -> Float[Tensor, "box box box"]:
    """The map of all images, unregularised.

    It is weighted by :func:`fsc_weight` and sharpened by ``exp(b_factor k^2 / 4)``.
    """
    k = map_frequencies(density.shape, voxel_size)
    place = k * density.shape[-1] * voxel_size
    weight = fsc_weight(correlation)
    low = place.long().clamp_max(len(weight) - 1)
    high = (low + 1).clamp_max(len(weight) - 1)
    share = (place - low).clamp(0, 1)
    between = weight[low] * (1 - share) + weight[high] * share
    between = torch.where(place > len(weight) - 1, 0, between)
    return filtered(density, between * torch.exp(0.25 * b_factor * k**2))


def shell_mean(value: Float[Tensor, "box box half"], box_size: int) -> Float[Tensor, "shell"]:
    """Mean of the coefficients of each shell."""
    shell = shell_index(box_size, 3).flatten()
    count = torch.zeros(int(shell.max()) + 1, dtype=torch.float64).index_add(
        0, shell, torch.ones(len(shell)).double()
    )
    total = torch.zeros_like(count).index_add(0, shell, value.flatten().double())
    return (total / count)[: box_size // 2 + 1].float()


def finite(value: float) -> float | None:
    """A number as JSON can hold it."""
    return value if math.isfinite(value) else None

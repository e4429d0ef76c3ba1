"""Whether one way to reconstruct finds more than another.

Half-map correlations are compared, with their standard error.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..physics.correlation import shell_index
from ..physics.maps.half_maps import HalfMapCorrelation, correlate_half_maps
from .following import HalfMaps

# pieces of Fourier space whose gains are independent but for what a mask smears
SECTORS = 12
MARGIN = 2  # shells behind the finest frequency of a fit that are not looked at
SIGNIFICANT = 3.0  # standard errors


@dataclass(frozen=True, eq=False)
class Gain:
    """What following the motion brings in one part of the map.

    Parameters
    ----------
    name : str
        Of the part.
    static, following : HalfMapCorrelation
        In the part's mask; `corrected` is for what the mask brings in from frequencies that the fit
        used.
    gain, error : float
        Mean difference of the corrected correlations over all coefficients finer than the fit's,
        and its standard error; NaN where there are none.
    """

    name: str
    static: HalfMapCorrelation
    following: HalfMapCorrelation
    gain: float
    error: float

    @property
    def significant(self) -> bool:
        """Whether it is more than three standard errors above nothing."""
        return self.gain > SIGNIFICANT * self.error

    def row(self) -> dict:
        """For a summary."""
        known = math.isfinite(self.gain)
        return {
            "part": self.name,
            "resolution_static": _finite(self.static.resolution()),
            "resolution_following": _finite(self.following.resolution()),
            "gain": round(self.gain, 5) if known else None,
            "gain_error": round(self.error, 5) if known else None,
            "significant": self.significant,
        }


def compare(
    name: str,
    static: HalfMaps,
    following: HalfMaps,
    mask: Float[Tensor, "box box box"],
    *,
    voxel_size: float,
    resolution: float,
    seed: int = 0,
) -> Gain:
    """How much better half-maps correlate beyond a fit's resolution when they follow the motion.

    Below it the two halves share what a common model fitted to noise brings, so that only finer
    frequencies count. What the mask brings from there is measured with random phases and taken
    away.

    Parameters
    ----------
    name : str
        Of the part.
    static, following : HalfMaps
    mask : (box, box, box)
        Of the part.
    voxel_size : float
        A.
    resolution : float
        Finest that the fit used, A.
    seed : int
        For the random phases.
    """
    of_static, of_following = [
        correlate_half_maps(
            maps.first,
            maps.second,
            voxel_size=voxel_size,
            mask=mask,
            randomised_from=1 / resolution,
            seed=seed,
        )
        for maps in (static, following)
    ]
    box = mask.shape[-1]
    shell = shell_index(box, 3)
    first = int((of_static.frequency < 1 / resolution).sum()) + MARGIN
    band = (shell >= first) & (shell < box // 2)
    if not band.any():
        return Gain(name, of_static, of_following, math.nan, math.nan)
    sector = sectors(box)[band]
    each = [
        _by_sector(maps, mask, band, shell[band], sector, correlation)
        for maps, correlation in zip((static, following), (of_static, of_following), strict=True)
    ]
    difference = each[1] - each[0]
    error = float(difference.std() / SECTORS**0.5)
    return Gain(name, of_static, of_following, float(difference.mean()), error)


def _by_sector(
    maps: HalfMaps,
    mask: Tensor,
    band: Tensor,
    shell: Tensor,
    sector: Tensor,
    found: HalfMapCorrelation,
) -> Tensor:
    """Mean corrected correlation of each sector over its coefficients."""
    a, b = (torch.fft.rfftn(half * mask)[band] for half in (maps.first, maps.second))
    width = int(shell.max()) + 1
    cell = sector * width + shell

    def total(value: Tensor) -> Tensor:
        return (
            torch.zeros(SECTORS * width, dtype=torch.float64)
            .index_add(0, cell, value.double())
            .view(SECTORS, width)
        )

    product, power = total((a * b.conj()).real), (total(a.abs() ** 2) * total(b.abs() ** 2)).sqrt()
    count = total(torch.ones(len(cell)))
    raw = torch.where(power > 0, product / power.clamp_min(1e-300), 0)
    noise = found.randomised.double()[:width].clamp_max(0.99)
    return ((raw - noise) / (1 - noise) * count).sum(1) / count.sum(1)


def sectors(box_size: int) -> Int[Tensor, "box box half"]:
    """Which of SECTORS cones each coefficient of rfftn is in.

    Their directions are spread over the half-sphere.
    """
    i = torch.arange(SECTORS, dtype=torch.float64) + 0.5
    height, turn = 1 - i / SECTORS, math.pi * (1 + 5**0.5) * i
    flat = (1 - height**2).sqrt()
    axis = torch.stack([height, flat * torch.cos(turn), flat * torch.sin(turn)], -1)
    full, half = (
        torch.fft.fftfreq(box_size, 1 / box_size),
        torch.fft.rfftfreq(box_size, 1 / box_size),
    )
    z, y, x = torch.meshgrid(full, full, half, indexing="ij")
    return (torch.stack([x, y, z], -1).double() @ axis.T).abs().argmax(-1)


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None

"""How well maps support each residue of a base model, and which stretches they do not."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from ..backprojection.filtering import fsc_weight, shell_mean
from ..physics.correlation import fourier_shell_correlation, shell_index
from ..physics.grid import ImageGrid
from ..physics.maps.maps import map_frequencies
from ..structure.beads import BeadModel
from ..structure.selection import describe_residues
from .following import HalfMaps

# A: s.d. of the neighbourhood that counts as a residue's own, beyond the resolution of the map
BLUR = 2.0
LOCAL = 10.0  # A: s.d. of the neighbourhood in which map and model are correlated
WINDOW = 3  # residues on either side that are judged together
SHORTEST = 5  # residues of a stretch that is named
# support below which a stretch is named, if by more than SURE standard errors
UNSUPPORTED = 0.5
SURE = 2.0
LEAST_DENSITY = 0.05  # of the median residue's: below it a residue has no density to ask for


@dataclass(frozen=True, eq=False)
class ResidueSupport:
    """What a map says of each residue.

    Parameters
    ----------
    support : (residue,)
        Density around the residue over what the base model has there, both at the resolution and
        contrast of the map: 1 where all is there, 0 where nothing is.
    error : (residue,)
        Its standard error, from the half-maps.
    correlation : (residue,)
        Of map and model in the residue's surroundings.
    """

    support: Float[Tensor, "residue"]
    error: Float[Tensor, "residue"]
    correlation: Float[Tensor, "residue"]


def residue_support(
    maps: HalfMaps,
    model: Float[Tensor, "box box box"],
    position: Float[Tensor, "residue 3"],
    *,
    grid: ImageGrid,
) -> ResidueSupport:
    """Compare a map with the base model's density, residue by residue.

    Model and map are filtered alike: the model is brought to the contrast that the map has in each
    shell, and shells count as far as the map of both halves is signal there.

    Parameters
    ----------
    maps : HalfMaps
    model : (box, box, box)
        The base model's density as the map should have it: a mean over conformations where the map
        is one.
    position : (residue, 3)
        Where each residue is, A.
    grid : ImageGrid
        Of the map.
    """
    box, voxel = grid.box_size, grid.pixel_size
    model = torch.fft.rfftn(model)
    halves = [torch.fft.rfftn(half) for half in (maps.first, maps.second)]
    mean = 0.5 * (halves[0] + halves[1])
    shell = shell_index(box, 3)
    held = (shell > 0) & (shell < box // 2)
    scale = shell_mean((mean * model.conj()).real, box) / shell_mean(
        model.abs() ** 2, box
    ).clamp_min(1e-12)
    scale = torch.where(held, scale.clamp_min(0)[shell.clamp_max(box // 2)], 0)
    signal = (
        fsc_weight(fourier_shell_correlation(maps.first, maps.second))[shell.clamp_max(box // 2)]
        ** 2
    )
    blur = torch.exp(-2 * math.pi**2 * BLUR**2 * map_frequencies((box,) * 3, voxel) ** 2)

    def around(coefficient: Tensor, factor: Tensor) -> Tensor:
        return _values_at(torch.fft.irfftn(coefficient * factor, s=(box,) * 3), position, voxel)

    expected = around(model, scale**2 * signal * blur)
    floor = LEAST_DENSITY * expected.median().clamp_min(0)
    known = expected > floor
    found, *each = (around(coefficient, scale * signal * blur) for coefficient in (mean, *halves))
    spread = (
        (0.5 * (each[0] - each[1])[known]).square().mean().sqrt()
        if known.any()
        else found.new_tensor(0.0)
    )
    expected = torch.where(known, expected, torch.nan)
    return ResidueSupport(
        found / expected,
        spread / expected,
        _local_correlation(mean * signal, model * scale * signal, position, voxel),
    )


def _local_correlation(mean: Tensor, model: Tensor, at: Tensor, voxel: float) -> Tensor:
    """Correlation of map and model.

    Each is taken without its surroundings' mean, in a Gaussian neighbourhood of each place.
    """
    shape = (mean.shape[0],) * 3
    near = torch.exp(-2 * math.pi**2 * LOCAL**2 * map_frequencies(shape, voxel) ** 2)
    a, b = (torch.fft.irfftn(x, s=shape) for x in (mean, model))

    def blurred(density: Tensor) -> Tensor:
        return _values_at(torch.fft.irfftn(torch.fft.rfftn(density) * near, s=shape), at, voxel)

    mean_a, mean_b = blurred(a), blurred(b)
    power = ((blurred(a * a) - mean_a**2) * (blurred(b * b) - mean_b**2)).clamp_min(0).sqrt()
    return torch.where(
        power > 0, (blurred(a * b) - mean_a * mean_b) / power.clamp_min(1e-30), 0
    ).clamp(-1, 1)


def _values_at(density: Tensor, position: Tensor, voxel: float) -> Tensor:
    """Values of a map between its voxels."""
    box = density.shape[0]
    place = 2 * (position.float() / voxel + box // 2) / (box - 1) - 1
    return grid_sample(density[None, None], place[None, :, None, None], align_corners=True)[
        0, 0, :, 0, 0
    ]


def joined(supports: list[tuple[ResidueSupport, float]]) -> ResidueSupport:
    """One support from those of several maps, each with its weight."""
    weight = torch.tensor([w for _, w in supports])
    weight = weight / weight.sum()

    def mean(name: str) -> Tensor:
        return (
            torch.stack([getattr(support, name) for support, _ in supports]) * weight[:, None]
        ).sum(0)

    # maps around neighbouring latents share particles: their errors are taken as one
    return ResidueSupport(mean("support"), mean("error"), mean("correlation"))


def unsupported_stretches(beads: BeadModel, found: ResidueSupport) -> list[dict]:
    """Stretches of chains that a map does not support.

    There neighbours together have less than half of their density.

    Returns
    -------
    list of dict
        `selection` in words, `residues`, and the stretch's mean `support`.
    """
    trace = beads.trace_index.numpy()
    low = np.zeros(len(trace), dtype=bool)
    chain, value, error = beads.chain[trace], found.support.numpy(), found.error.numpy()
    for name in dict.fromkeys(chain.tolist()):
        mine = np.flatnonzero(chain == name)
        for i, residue in enumerate(mine):
            window = mine[max(0, i - WINDOW) : i + WINDOW + 1]
            known = window[np.isfinite(value[window])]
            if len(known):
                # neighbours share half their density
                doubt = SURE * error[known].mean() / math.sqrt(max(1.0, len(known) / 2))
                low[residue] = value[known].mean() + doubt < UNSUPPORTED
    return [
        _described(beads, trace, part, value) for part in _runs(low, chain) if len(part) >= SHORTEST
    ]


def _runs(low: np.ndarray, chain: np.ndarray) -> list[list[int]]:
    """Numbers of residues that follow each other in a chain and are low."""
    runs: list[list[int]] = []
    current: list[int] = []
    for i in range(len(low)):
        if current and (not low[i] or chain[i] != chain[current[-1]]):
            runs.append(current)
            current = []
        if low[i]:
            current.append(i)
    return [*runs, current] if current else runs


def _described(
    beads: BeadModel, trace: np.ndarray, part: list[int], value: np.ndarray
) -> dict[str, int | float | str]:
    chosen = np.zeros(len(beads), dtype=bool)
    chosen[trace[part]] = True
    return {
        "selection": describe_residues(beads, chosen),
        "residues": len(part),
        "support": round(float(np.nanmean(value[part])), 3),
    }

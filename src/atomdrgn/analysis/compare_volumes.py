"""Volumes compared: map to map, all of them by their principal components, and whether training has settled."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError
from ..volume_run import VolumeRun
from .latent_space import PrincipalAxes, principal_axes

STILL = 0.05               # of their spread, by which latents may move in the last epoch
GAINING = 0.02             # of the gain, by which it may have risen over the last fifth of the epochs


def map_correlation(first: Float[Tensor, "*batch z y x"], second: Float[Tensor, "z y x"],
                    mask: Float[Tensor, "z y x"] | None = None) -> Float[Tensor, "*batch"]:
    """Pearson correlation of the voxels of each map with another, inside a mask if one is given; 0 where one is constant.

    Parameters
    ----------
    first : (*batch, z, y, x)
    second : (z, y, x)
    mask : (z, y, x), optional
        Weight of each voxel.
    """
    weight = (torch.ones_like(second) if mask is None else mask) / (second.numel() if mask is None else mask.sum())
    deviation = [density - (weight * density).sum((-3, -2, -1), keepdim=True) for density in (first, second)]
    product, one, other = ((weight * a * b).sum((-3, -2, -1)) for a, b in
                           (deviation, (deviation[0],) * 2, (deviation[1],) * 2))
    power = (one * other).sqrt()
    return torch.where(power > 0, product / torch.where(power > 0, power, 1), 0)


def volume_axes(volume: Float[Tensor, "volume z y x"], mask: Float[Tensor, "z y x"] | None = None) -> PrincipalAxes:
    """Principal axes of maps, voxel by voxel: each is a map of (voxel,) numbers.

    Parameters
    ----------
    volume : (volume, z, y, x)
    mask : (z, y, x), optional
        Only voxels where it is above 0 count.

    References
    ----------
    Powell & Davis, TomoDRGN (2024), methods, "Visualization and validation".
    """
    voxels = volume.flatten(1) if mask is None else volume[:, mask > 0]
    return principal_axes(voxels.numpy())


@dataclass(frozen=True)
class Convergence:
    """Whether training has settled.

    Parameters
    ----------
    latent_change : float
        R.m.s. by which latents moved in the last epoch, in units of their spread.
    gain_rise : float
        Part of the gain over the mean volume that came in the last fifth of the epochs.
    """

    latent_change: float
    gain_rise: float

    @property
    def settled(self) -> bool:
        """Whether neither latents nor the gain still change."""
        return self.latent_change < STILL and self.gain_rise < GAINING


def convergence(run: VolumeRun) -> Convergence:
    """Whether the latents and the gain of a run still changed when it ended.

    Raises
    ------
    InputError
        It has fewer than five epochs.
    """
    gain, change = run.history["error_gain"], run.history["latent_change"]
    if len(gain) < 5:
        raise InputError(f"{run.folder}: {len(gain)} epochs say nothing of convergence; train for five at least")
    part = max(1, len(gain) // 5)
    last, before = np.mean(gain[-part:]), np.mean(gain[-2 * part:-part])
    return Convergence(float(change[-1]), float((last - before) / max(abs(last), 1e-12)))

"""Volumes compared, and whether training has settled.

Maps are compared one to one, and all of them by their principal components.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import InputError
from ...physics.maps.masks import spherical_mask
from ...reporting import Reporter
from ...runs.volume_run import VolumeRun
from ...structure.density_map import DensityMap
from ..examination.latent_space import Clusters, PrincipalAxes, k_means_on_data, principal_axes
from .field_volumes import latents_of, volumes_at

STILL = 0.05  # of their spread, by which latents may move in the last epoch
FEWEST_EPOCHS = 5  # that say something of convergence
# of the gain, by which it may have risen over the last fifth of the epochs
GAINING = 0.02


def volume_axes(
    volume: Float[Tensor, "volume z y x"], mask: Float[Tensor, "z y x"] | None = None
) -> PrincipalAxes:
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


@dataclass(frozen=True, eq=False)
class Sketch:
    """Some volumes that stand for all, and what they differ in.

    They are those of the particles in the middle of many clusters.

    Parameters
    ----------
    clusters : Clusters
        Of the latents; the volumes are those of `clusters.on_data`.
    inside : (z, y, x)
        Voxels that were compared.
    axes : PrincipalAxes
        Of the volumes, each a row of the voxels inside.
    place : (volume, axis)
        Of each volume along them, in standard deviations.
    """

    clusters: Clusters
    inside: Bool[Tensor, "z y x"]
    axes: PrincipalAxes
    place: Float[np.ndarray, "volume axis"]

    @property
    def mean(self) -> Float[Tensor, "z y x"]:
        """Mean of the volumes, 0 outside of what was compared, A^-3."""
        return self._map(self.axes.mean)

    def change(self, most: int) -> list[Float[Tensor, "z y x"]]:
        """How much density differs at one standard deviation along each axis, A^-3.

        There are at most so many axes.
        """
        return [
            self._map(axis * np.sqrt(variance))
            for axis, variance in zip(self.axes.axis[:most], self.axes.variance[:most], strict=True)
        ]

    def _map(self, voxels: np.ndarray) -> Tensor:
        density = torch.zeros(self.inside.shape)
        density[self.inside] = torch.from_numpy(voxels).float()
        return density


def sketch_volumes(
    run: VolumeRun,
    count: int,
    *,
    mask: DensityMap | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Sketch:
    """Principal axes of the volumes of a run, by those of `count` particles.

    These are in memory together.

    Parameters
    ----------
    run : VolumeRun
    count : int
        Clusters of k-means.
    mask : DensityMap, optional
        Volumes are compared where it is above 0; in the sphere in the box by default.
    seed : int
        For where k-means starts.
    reporter : Reporter, optional

    References
    ----------
    Zhong et al., CryoDRGN (2021), and its command analyze_landscape: volumes of k-means centres
    stand for all.
    """
    mean = run.mean
    inside = (
        spherical_mask(
            mean.box_size, voxel_size=mean.voxel_size, radius=0.5 * mean.box_size * mean.voxel_size
        )
        if mask is None
        else mask.density
    )
    found = k_means_on_data(latents_of(run), count, seed=seed)
    volumes = (reporter or Reporter()).watch(
        volumes_at(run, run.latent[found.on_data]), "sketch of the volumes", count
    )
    volume = torch.stack(list(volumes))
    axes = volume_axes(volume, inside)
    place, sd = axes.place(volume[:, inside > 0].numpy()), np.sqrt(axes.variance)
    return Sketch(
        found, inside > 0, axes, np.divide(place, sd, out=np.zeros_like(place), where=sd > 0)
    )


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
    if len(gain) < FEWEST_EPOCHS:
        raise InputError(
            f"{run.folder}: {len(gain)} epochs say nothing of convergence; train for "
            f"{FEWEST_EPOCHS} at least"
        )
    part = max(1, len(gain) // 5)
    last, before = np.mean(gain[-part:]), np.mean(gain[-2 * part : -part])
    return Convergence(float(change[-1]), float((last - before) / max(abs(last), 1e-12)))

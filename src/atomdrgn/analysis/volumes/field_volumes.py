"""Volumes of a run of `atomdrgn volume` as files.

They are at latents: of particles, of clusters, along axes and paths.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ...backprojection.backprojection import write_correlation
from ...errors import InputError
from ...io.whole_file import require_replaceable, whole_folder
from ...latent_maps.local_volumes import LocalVolumes
from ...parallel import in_order
from ...particles.stack.stack import ParticleStack
from ...physics.grid import ImageGrid
from ...reporting import Reporter
from ...runs.run import MAP, MASK, write_table
from ...runs.volume_run import VolumeRun
from ...structure.density_map import DensityMap, write_density_map
from ...volume.field_maps import field_map
from ..examination.latent_space import (
    graph_traversal,
    k_means_on_data,
    nearest_particles,
    principal_axes,
)

TABLE, CLUSTERS = "volumes.csv", "clusters.csv"
WRITTEN = re.compile(r"[0-9]+(_half[12])?\.mrc|[0-9]+_fsc\.csv")  # names of volumes' files
# between which particles lie on an axis that is gone along: Zhong et al., CryoDRGN (2021), figure 3
PERCENTILES = (5, 95)


@dataclass(frozen=True)
class Points:
    """Latents at which volumes are asked.

    Parameters
    ----------
    latent : (point, latent)
    particle : (point,)
        The particle that each is, or is nearest to.
    label : (particle,), optional
        Number of each particle's cluster, where points stand for clusters.
    """

    latent: Float[ndarray, "point latent"]
    particle: ndarray
    label: ndarray | None = None


def write_volumes(
    run: VolumeRun,
    out: Path | str,
    points: Points,
    *,
    images: ParticleStack | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """A map at each point, and a table that says where they are.

    They are 0000.mrc and so on and volumes.csv, in a folder that appears whole. Of local volumes
    there are half-maps (0000_half1.mrc), shell correlations (0000_fsc.csv) and mask.mrc too.

    Parameters
    ----------
    run : VolumeRun
    out : path
        Folder.
    points : Points
    images : ParticleStack, optional
        Those of the run: volumes are local, made of the images near each point.
    overwrite : bool
        Replace volumes that are there.
    reporter : Reporter, optional
        Watches.

    Raises
    ------
    OutputExistsError
        The folder holds something.
    InputError
        Too few particles are near for a local volume.
    """
    out, reporter = Path(out), reporter or Reporter()
    names = [f"{number:04d}.mrc" for number in range(len(points.latent))]
    refuse_used(out, overwrite=overwrite)
    with whole_folder(out) as folder:
        local: dict[str, list] = {}
        if images is None:
            maps = volumes_at(run, points.latent)
            for name, density in zip(
                names, reporter.watch(maps, "volumes", len(names)), strict=True
            ):
                write_density_map(
                    folder / name, DensityMap(density, run.mean.voxel_size, name=name)
                )
        else:
            local = _write_local(folder, LocalVolumes(run, images), points, names, reporter)
        numbers = {
            f"z{k + 1}": [f"{value:.6g}" for value in column]
            for k, column in enumerate(points.latent.T)
        }
        sizes = (
            {}
            if points.label is None
            else {"particles": np.bincount(points.label, minlength=len(names))}
        )
        write_table(
            folder / TABLE,
            {"volume": names, "particle": points.particle, **sizes, **local, **numbers},
        )
        if points.label is not None:
            write_table(
                folder / CLUSTERS, {"particle": range(len(points.label)), "cluster": points.label}
            )
    return out


def _write_local(
    folder: Path, local: LocalVolumes, points: Points, names: list[str], reporter: Reporter
) -> dict[str, list]:
    """Local volumes with their half-maps; columns of the table."""
    columns: dict[str, list] = {"resolution": [], "effective_particles": []}
    for name, latent in zip(names, points.latent, strict=True):
        found = local.at(latent.astype(np.float64), reporter=reporter)
        made, stem = found.reconstruction, name.removesuffix(".mrc")
        write_density_map(folder / name, made.map)
        for number, half in enumerate(made.halves, 1):
            write_density_map(folder / f"{stem}_half{number}.mrc", half)
        write_correlation(folder / f"{stem}_fsc.csv", made.correlation)
        write_density_map(folder / MASK, made.mask)
        resolution = made.summary["resolution"]
        columns["resolution"].append("" if resolution is None else f"{resolution:.4g}")
        columns["effective_particles"].append(f"{found.effective_particles:.1f}")
    return columns


def refuse_used(out: Path | str, *, overwrite: bool) -> None:
    """Refuse a folder that holds something else than volumes, or, without `overwrite`, anything."""
    require_replaceable(Path(out), _Written(), what="volumes", overwrite=overwrite)


def volumes_at(run: VolumeRun, latent: Float[ndarray, "point latent"]) -> Iterator[Tensor]:
    """The volume at each latent, one after the other, (box, box, box) A^-3."""
    mean = run.mean
    if run.closed_form:
        components = run.components
        return in_order(
            lambda off: (
                mean.density + torch.tensordot(torch.from_numpy(off).float(), components, 1)
            ),
            latent - run.centre,
        )
    field = run.field
    grid = ImageGrid(mean.box_size, mean.voxel_size)
    return in_order(
        lambda point: field_map(field, mean.density, torch.from_numpy(point).float(), grid), latent
    )


def latents_of(run: VolumeRun) -> Float[ndarray, "particle latent"]:
    """The latents of a run.

    Raises
    ------
    InputError
        It has one volume for all particles, and so no latents.
    """
    if run.latent.shape[1] == 0:
        raise InputError(
            f"{run.folder}: one volume for all particles, which is {run.folder / MAP}; there are "
            "no latents to choose among"
        )
    return run.latent


def points_at(run: VolumeRun, latent: Float[ndarray, "point latent"]) -> Points:
    """Points at given latents.

    Raises
    ------
    InputError
        They have another number of columns than the run's, or are not finite.
    """
    latent = np.asarray(latent, dtype=np.float32)
    if latent.shape[1] != run.latent.shape[1]:
        raise InputError(
            f"latents of {latent.shape[1]} numbers, but {run.folder} has {run.latent.shape[1]} to "
            "a particle"
        )
    if not np.isfinite(latent).all():
        raise InputError("latents that are not finite numbers: nothing can be shown there")
    return Points(latent, nearest_particles(latents_of(run), latent))


def points_of_particles(run: VolumeRun, particles: Sequence[int]) -> Points:
    """The latents of particles.

    Raises
    ------
    InputError
        There is no such particle.
    """
    number = np.asarray(particles, dtype=np.int64)
    outside = number[(number < 0) | (number >= run.n_particles)]
    if len(outside):
        raise InputError(
            f"there is no particle {outside[0]}: {run.folder} has the particles 0 to "
            f"{run.n_particles - 1}"
        )
    return Points(run.latent[number], number)


def points_of_clusters(run: VolumeRun, clusters: int, *, seed: int = 0) -> Points:
    """The particle next to the centre of each cluster of k-means, the largest cluster first."""
    found = k_means_on_data(latents_of(run), clusters, seed=seed)
    return Points(run.latent[found.on_data], found.on_data, found.label)


def points_along_axis(run: VolumeRun, axis: int, count: int) -> Points:
    """Points along a principal axis, from the 5th to the 95th percentile of the particles.

    Along the other axes they are where the mean particle is.

    Parameters
    ----------
    run : VolumeRun
    axis : int
        From 1, the widest.
    count : int
        Points.

    Raises
    ------
    InputError
        There is no such axis, or fewer than two points.
    """
    axes = principal_axes(latents_of(run))
    if not 1 <= axis <= len(axes.axis):
        raise InputError(f"axis {axis}: the latents have axes 1 to {len(axes.axis)}")
    if count < 2:
        raise InputError(f"{count} points along an axis: at least two are needed")
    place = np.zeros((count, axis))
    low, high = np.percentile(axes.place(run.latent)[:, axis - 1], PERCENTILES)
    place[:, -1] = np.linspace(low, high, count)
    return points_at(run, axes.latent(place))


def points_along_path(run: VolumeRun, anchors: Sequence[int]) -> Points:
    """Particles on the shortest way through others, from anchor to anchor."""
    path = graph_traversal(latents_of(run), anchors)
    return Points(run.latent[path], path)


class _Written:
    """The names that volumes may have."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in (TABLE, CLUSTERS, MASK) or WRITTEN.fullmatch(name) is not None
        )

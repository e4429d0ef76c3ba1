"""Tables and volumes from a run of volumes.

This is ``atomdrgn analyze`` of what ``atomdrgn volume`` wrote.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...io.folder_lock import locked_folder
from ...io.whole_file import whole_folder
from ...reporting import Reporter
from ...runs.run import ANALYSIS, write_table
from ...runs.volume_run import VolumeRun
from ...structure.density_map import DensityMap, require_same_voxels, write_density_map
from ..analyze import CLUSTERS, FRAMES, MARK, require_no_analysis
from ..examination.latent_space import PrincipalAxes, principal_axes, umap_embedding
from ..examination.traversal import through_particles
from .compare_volumes import FEWEST_EPOCHS, Convergence, Sketch, convergence, sketch_volumes
from .field_volumes import Points, latents_of, points_along_axis, points_of_clusters, write_volumes

SKETCH = 100  # volumes whose principal axes are those of all
MOST_FOLLOWED = 2  # principal axes of the latents that volumes are written along
MOST_WRITTEN = 5  # principal axes of the volumes that are written as maps


@dataclass(frozen=True, eq=False)
class VolumeAnalysis:
    """What has been found and written.

    Parameters
    ----------
    folder : Path
        Of tables and volumes.
    axes : PrincipalAxes
        Of the latents.
    centres : Points
        The particles in the middle of the clusters, the largest cluster first, and whose each
        particle is.
    sketch : Sketch or None
        Of the volumes and what they differ in.
    convergence : Convergence or None
        None where the run has too few epochs to tell.
    trained : bool
        Whether there is a network that was trained.
    """

    folder: Path
    axes: PrincipalAxes
    centres: Points
    sketch: Sketch | None
    convergence: Convergence | None
    trained: bool


def analyze_volumes(  # noqa: PLR0913 - a keyword a setting of the command
    run: VolumeRun,
    out: Path | str | None = None,
    *,
    clusters: int = CLUSTERS,
    frames: int = FRAMES,
    sketch: int = SKETCH,
    mask: DensityMap | None = None,
    umap: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> VolumeAnalysis:
    """Analyse a run of volumes: out/analysis with tables and maps.

    Tables are particles.csv (cluster, place along the axes of the latents and of the volumes),
    principal_axes.csv, volume_axes.csv and sketch.csv. Folders of volumes are centres (of
    clusters), axis1 and axis2 (along the widest axes of the latents), path (from centre to centre
    over particles, where these lead from one to the next) and volume_axes: mean.mrc, and by how
    much density differs at one standard deviation along each principal axis of the volumes.

    Parameters
    ----------
    run : VolumeRun
    out : path, optional
        The run's own folder by default.
    clusters : int
        Clusters of k-means; fewer where there are fewer different latents.
    frames : int
        Volumes along an axis, and at most along the path.
    sketch : int
        Volumes, of the particles in the middle of so many clusters, whose principal axes are taken;
        0: none.
    mask : DensityMap, optional
        Volumes are compared where it is above 0; in the sphere in the box by default.
    umap : bool
        Embed the latents by UMAP too.
    seed : int
        Of clusters and UMAP.
    overwrite : bool
        Replace an analysis that is there.
    reporter : Reporter, optional
        Is told how far it is.

    Raises
    ------
    InputError
        One volume for all particles, settings that make no sense, a mask on other voxels, or UMAP
        that is not installed.
    OutputExistsError
        An analysis is there.

    Examples
    --------
    >>> from atomdrgn import open_volume_run
    >>> analysis = analyze_volumes(
    ...     open_volume_run("field"), "analysed", clusters=2, frames=3, sketch=0
    ... )
    >>> analysis.centres.latent.shape, len(analysis.centres.label)
    ((2, 2), 8)
    """
    out, reporter = run.folder if out is None else Path(out), reporter or Reporter()
    latent = latents_of(run)
    if clusters < 1 or frames < 2 or sketch < 0 or sketch == 1:
        raise InputError(
            f"{clusters} clusters, {frames} volumes along an axis and a sketch of {sketch}: at "
            "least 1 cluster, 2 volumes, and 2 of a sketch, or 0 for none, are needed"
        )
    if mask is not None:
        require_same_voxels(run.mean, mask)
    require_no_analysis(out, overwrite=overwrite)
    axes, different = principal_axes(latent), len(np.unique(latent, axis=0))
    centres = points_of_clusters(run, min(clusters, different), seed=seed)
    embedded = umap_embedding(latent, seed=seed) if umap else None
    told = not run.closed_form and len(run.history["epoch"]) >= FEWEST_EPOCHS
    settled = convergence(run) if told else None
    with locked_folder(out, reporter), whole_folder(out / ANALYSIS) as folder:
        for name, points in _ways(run, axes, centres, frames).items():
            write_volumes(run, folder / name, points, reporter=reporter)
        drawn = (
            sketch_volumes(run, min(sketch, different), mask=mask, seed=seed, reporter=reporter)
            if sketch
            else None
        )
        if drawn is not None:
            _write_sketch(drawn, folder, run.mean)
        write_table(
            folder / "particles.csv", _particle_columns(run, axes, centres, drawn, embedded)
        )
        write_table(
            folder / "principal_axes.csv",
            {
                **_shares(axes),
                **{f"z{k + 1}": _rounded(column) for k, column in enumerate(axes.axis.T)},
            },
        )
        settings = {
            "clusters": clusters,
            "frames": frames,
            "sketch": sketch,
            "umap": umap,
            "seed": seed,
            "convergence": None
            if settled is None
            else asdict(settled) | {"settled": settled.settled},
            "version": run.settings.get("version"),
        }
        (folder / MARK).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    return VolumeAnalysis(
        out / ANALYSIS, axes, centres, drawn, settled, trained=not run.closed_form
    )


def _ways(run: VolumeRun, axes: PrincipalAxes, centres: Points, frames: int) -> dict[str, Points]:
    """Points at which volumes are written, by the name of their folder."""
    ways = {"centres": centres}
    for number in range(1, 1 + min(MOST_FOLLOWED, len(axes.axis))):
        ways[f"axis{number}"] = points_along_axis(run, number, frames)
    anchors = centres.particle[axes.place(centres.latent)[:, 0].argsort()]
    way = through_particles(run.latent, anchors, frames) if len(anchors) > 1 else None
    if way is None:
        return ways
    assert way.particle is not None  # it goes through particles
    return ways | {"path": Points(way.place, way.particle)}


def _write_sketch(sketch: Sketch, folder: Path, mean: DensityMap) -> None:
    maps = folder / "volume_axes"
    maps.mkdir()
    write_density_map(maps / "mean.mrc", mean.with_density(sketch.mean))
    for number, density in enumerate(sketch.change(MOST_WRITTEN), 1):
        write_density_map(maps / f"axis{number}.mrc", mean.with_density(density))
    write_table(folder / "volume_axes.csv", _shares(sketch.axes))
    clusters, place = sketch.clusters, sketch.place[:, :MOST_WRITTEN]
    write_table(
        folder / "sketch.csv",
        {"particle": clusters.on_data, "particles": clusters.size, **_columns("volume", place)},
    )


def _particle_columns(
    run: VolumeRun,
    axes: PrincipalAxes,
    centres: Points,
    sketch: Sketch | None,
    embedded: np.ndarray | None,
) -> dict[str, Iterable]:
    assert centres.label is not None  # they are of clusters
    columns: dict[str, Iterable] = {
        "particle": range(run.n_particles),
        "cluster": centres.label,
        **_columns("pc", axes.place(run.latent)),
    }
    if sketch is not None:
        columns |= _columns("volume", sketch.place[sketch.clusters.label, :MOST_WRITTEN])
    return columns if embedded is None else columns | _columns("umap", embedded)


def _shares(axes: PrincipalAxes) -> dict[str, Sequence]:
    return {
        "axis": range(1, 1 + len(axes.axis)),
        "variance": _rounded(axes.variance),
        "share": _rounded(axes.share),
    }


def _columns(name: str, place: np.ndarray) -> dict[str, list[str]]:
    return {f"{name}{k + 1}": _rounded(column) for k, column in enumerate(place.T)}


def _rounded(values: np.ndarray) -> list[str]:
    return [f"{value:.5g}" for value in np.asarray(values, dtype=float)]

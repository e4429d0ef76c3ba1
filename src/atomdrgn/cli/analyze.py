"""``atomdrgn analyze``."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from ..errors import InputError
from .export import Format, Frame
from .failures import command
from .options import AsJson, Debug, Quiet
from .progress import progress
from .terminal import tell

if TYPE_CHECKING:
    import numpy as np

    from ..analysis.volumes.analyze_volumes import VolumeAnalysis
    from ..runs.volume_run import VolumeRun

STRUCTURES, VOLUMES = "Of a run of atomdrgn fit", "Of a run of atomdrgn volume"


@command
def analyze(
    run: Annotated[
        Path,
        Argument(
            metavar="RUN",
            show_default=False,
            help="Folder that atomdrgn fit or volume has written.",
        ),
    ],
    out: Annotated[
        Path | None,
        Option(
            "--out",
            "-o",
            metavar="DIR",
            show_default="the run's own folder",
            help="Folder for report.html and analysis/.",
        ),
    ] = None,
    clusters: Annotated[int, Option(metavar="N", help="Clusters of particles, by k-means.")] = 8,
    frames: Annotated[
        int, Option(metavar="N", help="Structures along each motion, or volumes along an axis.")
    ] = 21,
    distance: Annotated[
        list[str] | None,
        Option(
            metavar="SELECTIONS",
            rich_help_panel=STRUCTURES,
            show_default=False,
            help="Distance between the centres of two parts in every particle, such as 'A:1-226 "
            "and B'; repeat it for more.",
        ),
    ] = None,
    angle: Annotated[
        list[str] | None,
        Option(
            metavar="SELECTIONS",
            rich_help_panel=STRUCTURES,
            show_default=False,
            help="Angle at the second of three parts, 'A and B and C', or by how much the first "
            "of two is turned against the second, compared with the base; repeat it for more.",
        ),
    ] = None,
    format: Annotated[
        list[Format] | None,
        Option(
            "--format",
            "-f",
            metavar="mmcif|bcif|pdb|dcd|xtc",
            rich_help_panel=STRUCTURES,
            show_default="mmcif",
            help="Structures: several models in a file, or a trajectory with a reference; repeat "
            "it for more.",
        ),
    ] = None,
    umap: Annotated[
        bool, Option("--umap", help="Embed the particles by UMAP too (needs the extra umap).")
    ] = False,
    frame: Annotated[
        Frame,
        Option(
            metavar="poses|base",
            rich_help_panel=STRUCTURES,
            help="Of the structures, as in atomdrgn export.",
        ),
    ] = Frame.poses,
    also: Annotated[
        list[Path] | None,
        Option(
            metavar="DIR",
            rich_help_panel=STRUCTURES,
            show_default=False,
            help="Folder of atomdrgn debias or atomdrgn export --relax: the report shows its "
            "support.csv or geometry.json.",
        ),
    ] = None,
    sketch: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=VOLUMES,
            show_default="100",
            help="Volumes, of the particles in the middle of so many clusters, whose principal "
            "components are taken; 0: no.",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        Option(
            metavar="MRC",
            rich_help_panel=VOLUMES,
            show_default="the sphere in the box",
            help="Volumes are compared where this map is above 0.",
        ),
    ] = None,
    seed: Annotated[int, Option(metavar="N", help="The same seed gives the same result.")] = 0,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace an analysis that is there.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """What a fit has found, to be looked at: a report, structures to open, tables.

    DIR/report.html is one page that needs no network: open it in a browser.
    DIR/analysis holds structures along each motion and of clusters, a
    ChimeraX script that shows them (show.cxc), and tables: free-energy
    landscapes with errors, clusters, turns of domains, fluctuations,
    distances and angles of every particle.

    Of a run of [bold]atomdrgn volume[/bold], DIR/analysis holds volumes of clusters,
    along the two widest axes of the latents and, where particles lead from one
    to the next, on a path through the clusters; principal components of the
    volumes as maps (volume_axes); and tables: principal axes, and cluster and
    places of every particle, which [bold]atomdrgn select[/bold] takes with --table. There
    is no page.

    [bold]Examples[/bold]

        atomdrgn analyze particles.fit
        atomdrgn analyze particles.fit --out look --distance "A:1-226 and B"
        atomdrgn analyze particles.fit --out look --format pdb --format bcif
        chimerax particles.fit/analysis/show.cxc
        atomdrgn analyze particles.volume --umap
    """
    from ..analysis.analyze import analyze as analyze_run
    from ..runs.volume_run import VolumeRun, open_either_run

    opened = open_either_run(run)
    if isinstance(opened, VolumeRun):
        _refuse(
            {
                "--distance": distance,
                "--angle": angle,
                "--format": format,
                "--frame": frame is Frame.base,
                "--also": also,
            },
            f"{run} is a run of atomdrgn volume, which has no structures",
        )
        _analyze_volumes(
            opened,
            out,
            clusters=clusters,
            frames=frames,
            sketch=sketch,
            mask=mask,
            umap=umap,
            seed=seed,
            overwrite=overwrite,
            as_json=as_json,
            quiet=quiet,
        )
        return
    _refuse(
        {"--sketch": sketch is not None, "--mask": mask},
        f"{run} is a run of atomdrgn fit, which has no volumes",
    )
    with progress(quiet=quiet) as reporter:
        origin = opened.settings.get("reading", {}).get("origin") if frame is Frame.base else None
        written = analyze_run(
            opened,
            out,
            clusters=clusters,
            frames=frames,
            distances=distance or (),
            angles=angle or (),
            formats=[each.value for each in format or [Format.mmcif]],
            umap=umap,
            origin=origin,
            also=also or (),
            seed=seed,
            overwrite=overwrite,
            reporter=reporter,
        )
    from ..analysis.examination.verdict import verdict

    said = verdict(written.found)
    lines = [
        said,
        f"the report is {written.report}; tables and structures are in {written.folder}",
    ]
    found = {"report": written.report, "folder": written.folder, "verdict": said}
    tell(lines, {**found, **opened.summary}, as_json=as_json, quiet=quiet)


def _refuse(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise InputError(f"{why}: leave out {' and '.join(given)}")


def _analyze_volumes(
    run: "VolumeRun",
    out: Path | None,
    *,
    sketch: int | None,
    mask: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    from ..analysis.volumes.analyze_volumes import SKETCH, analyze_volumes
    from ..structure.density_map import read_density_map

    with progress(quiet=quiet) as reporter:
        found = analyze_volumes(
            run,
            out,
            sketch=SKETCH if sketch is None else sketch,
            mask=None if mask is None else read_density_map(mask).in_pose_frame(),
            reporter=reporter,
            **options,
        )
    told = {
        "folder": found.folder,
        "latent_share": found.axes.share.tolist(),
        "volume_share": None if found.sketch is None else found.sketch.axes.share.tolist(),
        "settled": None if found.convergence is None else found.convergence.settled,
    }
    tell(_closing_lines(found), told, as_json=as_json, quiet=quiet)


def _closing_lines(found: "VolumeAnalysis") -> Iterator[str]:
    """A few lines on a :class:`~atomdrgn.analysis.volumes.analyze_volumes.VolumeAnalysis`."""
    yield f"latents: {_percent(found.axes.share)} of their variance along their principal axes"
    if found.sketch is not None:
        yield f"volumes: {_percent(found.sketch.axes.share)} along theirs"
    if found.trained and found.convergence is None:
        yield "too few epochs to say whether training has settled"
    elif found.convergence is not None:
        said = found.convergence
        yield (
            f"training has {'settled' if said.settled else 'not settled, train for longer'}: "
            f"latents moved by {100 * said.latent_change:.1f} % of their spread in the last epoch, "
            f"{100 * said.gain_rise:.1f} % of the gain came in the last fifth of the epochs"
        )
    yield f"tables and volumes are in {found.folder}"


def _percent(share: "np.ndarray") -> str:
    return ", ".join(f"{100 * part:.0f}" for part in share[:3]) + " %"

"""``atomdrgn volumes``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..errors import InputError
from .failures import command
from .options import AsJson, Debug, Quiet, Threads
from .progress import progress
from .terminal import tell

if TYPE_CHECKING:
    import numpy as np

WHERE = "Which volumes (choose one)"


@command
def volumes(
    run: Annotated[
        Path,
        Argument(
            metavar="RUN", show_default=False, help="Folder that atomdrgn volume has written."
        ),
    ],
    out: Annotated[
        Path,
        Option("--out", "-o", metavar="DIR", show_default=False, help="Folder for the volumes."),
    ],
    at: Annotated[
        list[str] | None,
        Option(
            "--at",
            metavar="Z1,Z2,...",
            rich_help_panel=WHERE,
            show_default=False,
            help="At a latent; repeat it for more, or put semicolons between them.",
        ),
    ] = None,
    particles: Annotated[
        str | None,
        Option(
            metavar="LIST|TXT",
            rich_help_panel=WHERE,
            show_default=False,
            help="Of particles, counted from 0 by their first row: 0:100 (100 is left out), "
            "3,7,10:20; 0: for all; or a text file with one number a line.",
        ),
    ] = None,
    clusters: Annotated[
        int | None,
        Option(
            metavar="K",
            rich_help_panel=WHERE,
            show_default=False,
            help="Of the particle next to the centre of each of K clusters (k-means); "
            "clusters.csv says whose each particle is.",
        ),
    ] = None,
    axis: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=WHERE,
            show_default=False,
            help="Along a principal axis of the latents, from 1, between the 5th and the 95th "
            "percentile of the particles.",
        ),
    ] = None,
    points: Annotated[
        int, Option(metavar="N", rich_help_panel=WHERE, help="Volumes along the axis.")
    ] = 10,
    path: Annotated[
        str | None,
        Option(
            metavar="LIST",
            rich_help_panel=WHERE,
            show_default=False,
            help="Of the particles on the shortest way from one to the next of these that keeps "
            "to where particles are: 3,70,12.",
        ),
    ] = None,
    local: Annotated[
        bool,
        Option(
            "--local",
            help="Of the images near each latent, with half-maps and their correlation, in place "
            "of the run's own volumes.",
        ),
    ] = False,
    particles_file: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            show_default="where it was",
            help="Where the run's particle file is now, for --local.",
        ),
    ] = None,
    seed: Annotated[int, Option(metavar="N", help="For where k-means starts.")] = 0,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace volumes that are there.")
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Volumes of a run of [bold]atomdrgn volume[/bold], as MRC files.

    The result is a folder: 0000.mrc and so on, and volumes.csv with the latent
    of each and the particle next to it. Volumes stand as the poses have them:
    the origin is voxel box // 2.

    With --local a volume is made of the images whose particles are near its
    latent, by a kernel whose width the half-sets choose in each shell of
    resolution: it holds what no component does.

    [bold]Examples[/bold]

        atomdrgn volumes field --clusters 5 --out centres
        atomdrgn volumes field --axis 1 --points 10 --out motion
        atomdrgn volumes field --at 0.5,-1,0,0,0,0,0,0 --out one
        atomdrgn volumes field --particles 0: --out all
        atomdrgn volumes varied --clusters 3 --local --out near
    """
    from ..analysis.volumes import field_volumes as found
    from ..debiasing.run_particles import particles_of_run
    from ..runs.volume_run import open_volume_run
    from .export import parse_particles
    from .setup import use_threads

    asked = {
        "--at": at,
        "--particles": particles,
        "--clusters": clusters,
        "--axis": axis,
        "--path": path,
    }
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            f"{' and '.join(given) or 'nothing'} {'say' if len(given) > 1 else 'says'} which "
            f"volumes: give one of {', '.join(asked)}"
        )
    if particles_file is not None and not local:
        raise InputError("--particles-file names the images, which are read for --local alone")
    use_threads(threads)
    opened = open_volume_run(run)
    found.refuse_used(out, overwrite=overwrite)
    images = particles_of_run(opened, particles_file) if local else None
    if at is not None:
        where = found.points_at(opened, _numbers(at))
    elif particles is not None:
        where = found.points_of_particles(opened, parse_particles(particles, opened.n_particles))
    elif clusters is not None:
        where = found.points_of_clusters(opened, clusters, seed=seed)
    elif axis is not None:
        where = found.points_along_axis(opened, axis, points)
    else:
        assert path is not None  # one of them is given
        where = found.points_along_path(opened, parse_particles(path, opened.n_particles))
    with progress(quiet=quiet) as reporter:
        found.write_volumes(
            opened, out, where, images=images, overwrite=overwrite, reporter=reporter
        )
    count = len(where.latent)
    tell(
        [f"wrote {count:,} volumes to {out}"],
        {"folder": out, "volumes": count},
        as_json=as_json,
        quiet=quiet,
    )


def _numbers(texts: Sequence[str]) -> "np.ndarray":
    """Latents, one a row."""
    import numpy as np

    rows = [part for text in texts for part in text.split(";") if part.strip()]
    try:
        latents = [[float(number) for number in row.split(",")] for row in rows]
    except ValueError:
        raise InputError(
            f"--at {' '.join(texts)}: expected numbers with commas between them, such as 0.5,-1,0"
        ) from None
    if not latents or len({len(latent) for latent in latents}) > 1:
        raise InputError(f"--at {' '.join(texts)}: expected latents of as many numbers each")
    return np.array(latents, dtype=np.float32)

"""``atomdrgn inspect``."""

from pathlib import Path
from typing import Annotated

from typer import Option

from ..errors import InputError
from .failures import command
from .options import (
    MODEL,
    AllowMissingCtf,
    Box,
    DataFolder,
    Debug,
    InvertContrast,
    MapFile,
    Origin,
    Particles,
    Passthrough,
    Quiet,
    Threads,
    TiltSeries,
    Tomograms,
)
from .progress import progress


@command
def inspect(
    particles: Particles,
    against: Annotated[
        Path | None,
        Option(
            metavar="BASE",
            rich_help_panel=MODEL,
            show_default=False,
            help="A structure, to see how well it explains the images at their poses.",
        ),
    ] = None,
    map_file: MapFile = None,
    origin: Origin = None,
    box: Box = None,
    data_folder: DataFolder = None,
    invert_contrast: InvertContrast = None,
    tilt_series: TiltSeries = False,
    tomograms: Tomograms = None,
    passthrough: Passthrough = None,
    allow_missing_ctf: AllowMissingCtf = False,
    resolution: Annotated[
        float | None,
        Option(
            metavar="A",
            rich_help_panel=MODEL,
            show_default="8, or 2.2 pixels where that is coarser",
            help="Finest resolution at which images and structure are compared.",
        ),
    ] = None,
    limit: Annotated[
        int,
        Option(
            metavar="N",
            rich_help_panel=MODEL,
            help="Images that are compared with the structure, of particles chosen at random.",
        ),
    ] = 2000,
    threads: Threads = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say what a particle file holds, and whether poses, contrast and hand fit a structure.

    [bold]Examples[/bold]

        atomdrgn inspect particles.star
        atomdrgn inspect particles.star --against base.pdb --map consensus.mrc
        atomdrgn inspect tilts.star --tomograms tomograms.star --against base.cif
    """
    if against is None and (map_file is not None or origin is not None):
        raise InputError(
            "--map and --origin say where a structure stands: give the structure with --against"
        )
    from ..inspection import inspect as inspect_particles
    from ..particles.reading import read_particles
    from .setup import read_model, use_threads

    use_threads(threads)
    structure = (
        None if against is None else read_model(against, map_file=map_file, origin=origin)[0]
    )
    stack = read_particles(
        particles,
        box=box,
        data_folder=data_folder,
        invert_contrast=invert_contrast,
        tilt_series=tilt_series,
        tomograms=tomograms,
        passthrough=passthrough,
        allow_missing_ctf=allow_missing_ctf,
    )
    with progress(quiet=quiet, compiles=True) as reporter:
        inspection = inspect_particles(
            stack, structure, resolution=resolution, limit=limit, reporter=reporter
        )
    print("\n".join(inspection.lines()))

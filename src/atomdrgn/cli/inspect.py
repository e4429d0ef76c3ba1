"""``atomdrgn inspect``."""

import json
from pathlib import Path
from typing import Annotated

from typer import Option

from ..errors import InputError
from .failures import command
from .options import MODEL, AsJson, General, MapFile, Origin, Particles, Reading
from .progress import progress
from .setup import read_model, require_files, use_threads


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
    *,
    reading: Reading,
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
    as_json: AsJson = False,
    general: General,
) -> None:
    """Say what a particle file holds, and whether poses, contrast and hand fit a structure.

    [bold]Examples[/bold]

        atomdrgn inspect particles.star
        atomdrgn inspect particles.star --against base.pdb --map consensus.mrc
        atomdrgn inspect tilts.star --tomograms tomograms.star --against base.cif
        atomdrgn inspect particles.star --json
    """
    if against is None and (map_file is not None or origin is not None):
        raise InputError(
            "--map and --origin say where a structure stands: give the structure with --against"
        )
    require_files("inspect", particles=particles)
    from ..inspection import inspect as inspect_particles
    from ..particles.reading import read_particles

    use_threads(general.threads)
    structure = (
        None if against is None else read_model(against, map_file=map_file, origin=origin)[0]
    )
    stack = read_particles(particles, **reading.named())
    with progress(quiet=general.quiet, compiles=True) as reporter:
        inspection = inspect_particles(
            stack, structure, resolution=resolution, limit=limit, reporter=reporter
        )
    print(json.dumps(inspection.as_json()) if as_json else "\n".join(inspection.lines()))

"""``atomdrgn place``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .failures import command
from .options import AsJson, Debug, FitRun, NamedFolder, Quiet
from .progress import progress
from .terminal import shell_word, tell

if TYPE_CHECKING:
    from ..analysis.particle_files.placing import Placed

FILES = "Files"


@command
def place(
    run: FitRun,
    out: Annotated[
        Path,
        Option(
            "--out",
            "-o",
            metavar="DIR",
            show_default=False,
            help="Folder for structures and script.",
        ),
    ],
    tomogram: Annotated[
        str | None,
        Option(
            metavar="NAME",
            show_default="the only one",
            help="Which tomogram, by its name in the particle file (rlnTomoName).",
        ),
    ] = None,
    particles: Annotated[
        str | None,
        Option(
            metavar="LIST|TXT",
            show_default="all",
            help="Of these, those that are in the tomogram: 0:100 (100 is left out), 3,7,10:20; "
            "or a text file with one number a line.",
        ),
    ] = None,
    map_file: Annotated[
        Path | None,
        Option(
            "--map",
            metavar="MRC",
            show_default=False,
            help="The reconstructed tomogram, which the script opens too; structures are written "
            "in its frame.",
        ),
    ] = None,
    separate: Annotated[
        bool, Option("--separate", help="Write a file a particle in place of one with all.")
    ] = False,
    particles_file: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            rich_help_panel=FILES,
            show_default=False,
            help="Where the run's particle file is now, if it has moved.",
        ),
    ] = None,
    tomograms: Annotated[
        Path | None,
        Option(
            metavar="STAR",
            rich_help_panel=FILES,
            show_default=False,
            help="Where the run's tomograms.star is now, if it has moved.",
        ),
    ] = None,
    data_folder: NamedFolder = None,
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=FILES, help="Replace files that are there.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put the particles of a tomogram back into it, each with its own structure.

    For 2D stacks of WarpTools and RELION 4 and 5, which say where each
    particle stands. DIR/particles.cif holds a model a particle, in A from the
    tomogram's corner; DIR/places.csv says which particle that is and where;
    DIR/show.cxc opens them in ChimeraX, coloured by motion 1, with the
    tomogram where --map names it.

    [bold]Examples[/bold]

        atomdrgn place particles.fit --tomogram TS_01 --out TS_01
        atomdrgn place particles.fit --tomogram TS_01 --map TS_01.mrc --out TS_01
        atomdrgn place particles.fit --tomogram TS_01 --particles lasso.txt --separate --out chosen

    Structures have the hand of the model. z is counted from the face that the
    file has last, and the script turns the map over to match: the hand of a
    tomogram is a convention that differs between programs
    (docs/conventions.md).
    """
    from ..analysis.particle_files.placing import place_in_tomogram
    from ..runs.run import open_run
    from .export import parse_particles

    opened = open_run(run)
    chosen = None if particles is None else parse_particles(particles, opened.n_particles)
    with progress(quiet=quiet) as reporter:
        placed = place_in_tomogram(
            opened,
            out,
            tomogram=tomogram,
            particles=chosen,
            tomogram_map=map_file,
            separate=separate,
            particle_file=particles_file,
            tomograms=tomograms,
            data_folder=data_folder,
            overwrite=overwrite,
            reporter=reporter,
        )
    told = {
        "folder": placed.folder,
        "script": placed.script,
        "tomogram": placed.tomogram,
        "particles": placed.particles.tolist(),
        "of": placed.of,
        "ends": placed.ends,
    }
    tell(_closing_lines(placed), told, as_json=as_json, quiet=quiet)


def _closing_lines(placed: "Placed") -> Iterator[str]:
    """A few lines on a :class:`~atomdrgn.analysis.particle_files.placing.Placed`."""
    yield (
        f"wrote {len(placed.particles):,} of the {placed.of:,} particles of tomogram "
        f"{placed.tomogram} to {placed.folder}"
    )
    colours = (
        "grey, for no motion is supported"
        if placed.ends is None
        else f"coloured by motion 1, from {placed.ends[0]:.3g} (dark blue) to "
        f"{placed.ends[1]:.3g} (yellow)"
    )
    yield f"to see them, {colours}: chimerax {shell_word(placed.script)}"

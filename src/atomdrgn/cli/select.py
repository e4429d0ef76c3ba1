"""``atomdrgn select``."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from .failures import command
from .options import AsJson, Debug, NamedFolder, Quiet, TiltSeries
from .terminal import tell

if TYPE_CHECKING:
    from ..analysis.particle_files.selecting import Selected

CHOICE, WRITTEN, FILES = "Which particles", "What is written anew", "Files"


@command
def select(
    source: Annotated[
        Path,
        Argument(
            metavar="RUN|PARTICLES",
            show_default=False,
            help="Folder that atomdrgn fit or volume has written, or a particle file by itself "
            "(.star, .cs; with --particles).",
        ),
    ],
    out: Annotated[
        Path,
        Option(
            "--out",
            "-o",
            metavar="FILE",
            show_default=False,
            help="The particle file to write: .star, or .cs for cryoSPARC.",
        ),
    ],
    where: Annotated[
        str | None,
        Option(
            metavar="CONDITION",
            rich_help_panel=CHOICE,
            show_default=False,
            help="On the columns of the run's particles.csv: numbers, < <= > >= == !=, in (1, 2), "
            "and, or, not, parentheses.",
        ),
    ] = None,
    particles: Annotated[
        Path | None,
        Option(
            metavar="TXT",
            rich_help_panel=CHOICE,
            show_default=False,
            help="A text file with the number of a particle on each line, such as the report "
            "saves. They count from 0 by first row. With --where: those that meet both.",
        ),
    ] = None,
    table: Annotated[
        list[Path] | None,
        Option(
            metavar="CSV",
            rich_help_panel=CHOICE,
            show_default=False,
            help="More columns for --where and --classes: a CSV file with a column particle. "
            "Repeat it for more.",
        ),
    ] = None,
    class_column: Annotated[
        str | None,
        Option(
            metavar="COLUMN",
            rich_help_panel=WRITTEN,
            show_default=False,
            help="Write classes to this column, such as rlnClassNumber or alignments3D/class.",
        ),
    ] = None,
    classes: Annotated[
        str,
        Option(
            metavar="COLUMN",
            rich_help_panel=WRITTEN,
            help="Where --class-column takes them from: a column of particles.csv or --table.",
        ),
    ] = "state",
    half_sets: Annotated[
        bool,
        Option(
            "--half-sets",
            rich_help_panel=WRITTEN,
            help="Write the half-sets where the file has none. Copies of one image (same image "
            "name) are in one half-set.",
        ),
    ] = False,
    follow: Annotated[
        str | None,
        Option(
            metavar="PART",
            rich_help_panel=WRITTEN,
            show_default=False,
            help="Write poses that follow a part of each particle, for refinement of that part: "
            "residues such as A:1-226,B; segment:3 of the fit; or group:1 of its summary.",
        ),
    ] = None,
    particles_file: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            rich_help_panel=FILES,
            show_default=False,
            help="Where the run's particle file is now, if it has moved.",
        ),
    ] = None,
    passthrough: Annotated[
        Path | None,
        Option(
            metavar="CS",
            rich_help_panel=FILES,
            show_default=False,
            help="The passthrough file of a .cs file: its rows of the same particles are written "
            "beside --out.",
        ),
    ] = None,
    tilt_series: TiltSeries = False,
    tomograms: Annotated[
        Path | None,
        Option(
            metavar="STAR",
            rich_help_panel=FILES,
            show_default=False,
            help="Without a run: the tomograms.star of particles that are 2D tilt stacks. "
            "Particles with excluded tilts only are not counted, as in a fit.",
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
    """Write chosen particles as a particle file of RELION, Warp, M or cryoSPARC.

    Rows keep every column, token and uid; images are not touched. Tilt series
    go by particle, with all their rows.

    [bold]Examples[/bold]

        atomdrgn select particles.fit --where "motion1 > 10 and sd1 < 4" --out subset.star
        atomdrgn select particles.fit --particles lasso.txt --out subset.star
        atomdrgn select particles.fit --class-column rlnClassNumber --out states.star
        atomdrgn select particles.fit --follow A:1-226,B --out followed.star
        atomdrgn select J24.fit --where "state == 2" --passthrough J24_passthrough.cs --out J24b.cs
        atomdrgn select particles.star --particles lasso.txt --out subset.star
    """
    from ..analysis.particle_files.selecting import read_particle_list, select_particles
    from ..particles.formats.format_table import is_named_as_particles
    from ..runs.volume_run import open_either_run

    chosen = None if particles is None else read_particle_list(particles)
    opened = (
        open_either_run(source) if source.is_dir() or not is_named_as_particles(source) else source
    )
    written = select_particles(
        opened,
        out,
        where=where,
        particles=chosen,
        tables=table or (),
        class_column=class_column,
        classes=classes,
        half_sets=half_sets,
        follow=follow,
        particle_file=particles_file,
        passthrough=passthrough,
        tilt_series=tilt_series,
        tomograms=tomograms,
        data_folder=data_folder,
        overwrite=overwrite,
    )
    tell(
        _closing_lines(written, half_sets=half_sets),
        asdict(written),
        as_json=as_json,
        quiet=quiet,
    )


def _closing_lines(written: "Selected", *, half_sets: bool) -> Iterator[str]:
    rows = f" ({written.rows:,} rows)" if written.rows != written.particles else ""
    yield f"wrote {written.particles:,} of {written.of:,} particles{rows} to {written.path}"
    if written.beside:
        yield f"and what belongs to them to {written.beside}" + (
            f" and {written.motion}" if written.motion else ""
        )
    if written.images < written.particles:
        yield (
            f"they show {written.images:,} images: copies are known by the same image name"
            + (
                f"; {written.parted_images:,} images have copies in both half-sets, which are not "
                "independent then"
                if written.parted_images
                else ", and each image's are in one half-set"
                if half_sets
                else "; --half-sets keeps them in one half-set"
            )
        )

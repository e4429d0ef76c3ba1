"""``atomdrgn export``."""

import json
from enum import StrEnum
from os.path import isfile
from pathlib import Path
from typing import Annotated

from typer import Option

from ..errors import InputError
from .failures import command
from .options import AsJson, Debug, FitRun, Quiet, Threads
from .progress import progress
from .setup import use_threads
from .terminal import tell

LIST = set("0123456789:, ")


class Format(StrEnum):
    """What structures are written as."""

    pdb = "pdb"
    mmcif = "mmcif"
    bcif = "bcif"
    dcd = "dcd"
    xtc = "xtc"


class Frame(StrEnum):
    """Where coordinates are measured from."""

    poses = "poses"
    base = "base"


@command
def export(
    run: FitRun,
    out: Annotated[
        Path,
        Option("--out", "-o", metavar="DIR", show_default=False, help="Folder for the structures."),
    ],
    format: Annotated[
        Format,
        Option(
            "--format",
            "-f",
            metavar="pdb|mmcif|bcif|dcd|xtc",
            help="One file a particle (pdb, mmcif, bcif), or one trajectory (dcd, xtc) with a "
            "reference structure.",
        ),
    ] = Format.dcd,
    particles: Annotated[
        str | None,
        Option(
            metavar="LIST|TXT",
            show_default="all",
            help="Which particles, counted from 0 by their first row: 0:100 (100 is left out), "
            "3,7,10:20; or a text file with one number a line.",
        ),
    ] = None,
    frame: Annotated[
        Frame,
        Option(
            metavar="poses|base",
            help="poses: the box centre is (0, 0, 0). base: where the base structure stood before "
            "--map or --origin placed it, so that the structures overlay that map; residual.mrc "
            "is written in that frame too.",
        ),
    ] = Frame.poses,
    samples: Annotated[
        int | None,
        Option(
            metavar="S",
            show_default="the mean conformation",
            help="Write so many draws (at most 20) from each particle's posterior, particle after "
            "particle; all are alike where nothing moves.",
        ),
    ] = None,
    relax: Annotated[
        bool,
        Option(
            "--relax",
            help="Put right the bonds, angles and contacts that motions have strained (needs "
            "OpenMM); measure geometry.",
        ),
    ] = False,
    geometry: Annotated[
        bool,
        Option(
            "--geometry",
            help="Measure bonds, angles, gaps, clashes, peptides and hands of every structure "
            "against the base model.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace structures that are there.")
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write the structure of every particle, all atoms.

    Single files are named by particle, DIR/000000.pdb and so on. A trajectory
    is DIR/ensemble.dcd (or .xtc), one frame a particle in their order, and
    DIR/reference.pdb names its atoms.

    [bold]Examples[/bold]

        atomdrgn export particles.fit --out ensemble --format dcd
        atomdrgn export particles.fit --out first --format pdb --particles 0:100
        atomdrgn export particles.fit --out overlay --frame base
        atomdrgn export particles.fit --out draws --samples 20
        atomdrgn export particles.fit --out relaxed --particles 0:100 --relax

    Draws say where a particle may be along the supported motions. Single files
    of mean conformations carry each atom's error as B-factor, 8 pi^2/3 times
    its mean square: that of the place, and what half-sets differ by. What both
    half-sets have wrong alike is in neither (docs/export.md).

    --relax and --geometry write DIR/geometry.csv, a row for the base model and
    one for each structure, and DIR/geometry.json, their medians and extremes.
    """
    from ..analysis.structure_files.export import export as export_run
    from ..analysis.structure_files.geometry import geometry_lines
    from ..runs.run import open_run

    use_threads(threads)
    opened = open_run(run)
    chosen = None if particles is None else parse_particles(particles, opened.n_particles)
    with progress(quiet=quiet) as reporter:
        origin = opened.settings.get("reading", {}).get("origin") if frame is Frame.base else None
        written = export_run(
            opened,
            out,
            format=format.value,
            particles=chosen,
            samples=samples,
            relax=relax,
            geometry=geometry,
            overwrite=overwrite,
            reporter=reporter,
            origin=origin,
        )
    named = f", their atoms to {written.reference}" if written.reference else ""
    lines = [f"wrote {written.count:,} structures to {written.path}{named}"]
    told = {"path": written.path, "reference": written.reference, "structures": written.count}
    if written.geometry is not None:
        lines += [
            *geometry_lines(written.geometry),
            f"  every structure: {out / 'geometry.csv'}",
        ]
        told["geometry"] = json.loads((out / "geometry.json").read_text(encoding="utf-8"))
    tell(lines, told, as_json=as_json, quiet=quiet)


def parse_particles(text: str, n_particles: int) -> list[int]:
    """The particles that a list such as ``3,7,10:20`` names, in its order.

    The end of a range is left out.

    Or those of a text file of that name, one a line
    (:func:`~atomdrgn.analysis.particle_files.selecting.read_particle_list`).

    Raises
    ------
    InputError
        It cannot be read, or goes beyond the particles that there are.
    FileFormatError
        A line of the file is no number, or there is none.
    """
    if set(text) - LIST and isfile(text):
        return _listed(text, n_particles)
    chosen: list[int] = []
    for item in text.split(","):
        start, colon, stop = item.strip().partition(":")
        try:
            first = int(start) if start or not colon else 0
            last = first + 1 if not colon else int(stop) if stop else n_particles
        except ValueError:
            raise InputError(
                f"--particles {text}: {item!r} is no particle, and there is no file of that name; "
                "write a list such as 3,7,10:20, or name a text file with one number a line"
            ) from None
        if not 0 <= first < last <= n_particles:
            raise InputError(
                f"--particles {text}: {item!r} is outside of the particles 0 to {n_particles - 1}, "
                "or empty"
            )
        chosen += range(first, last)
    return chosen


def _listed(path: str, n_particles: int) -> list[int]:
    from ..analysis.particle_files.selecting import read_particle_list

    chosen = read_particle_list(path)
    outside = [number for number in chosen if number >= n_particles]
    if outside:
        raise InputError(
            f"--particles {path}: {outside[0]} is outside of the particles 0 to {n_particles - 1}"
        )
    return chosen

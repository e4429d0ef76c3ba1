"""``atomdrgn fit-more``."""

from pathlib import Path
from typing import Annotated

from typer import Option

from ..errors import InputError
from .failures import command, command_line
from .options import AsJson, FitRun, General, Particles, Reading
from .progress import progress, told_if_slow
from .setup import is_first_process, require_files, settings_of, use_threads

RUN = "The run"


@command
def fit_more(
    run: FitRun,
    particles: Particles,
    out: Annotated[
        Path | None,
        Option(
            "--out",
            "-o",
            metavar="RUN2",
            rich_help_panel=RUN,
            show_default="the particle file's stem and .fit, here",
            help="Folder for the result.",
        ),
    ] = None,
    resume: Annotated[
        bool, Option("--resume", rich_help_panel=RUN, help="Go on with a run that was stopped.")
    ] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=RUN, help="Replace a run that is there.")
    ] = False,
    *,
    reading: Reading,
    as_json: AsJson = False,
    general: General,
) -> None:
    """Structures for further particles, by the motions that a fit has learned.

    Such as those of another day: their pixels and box have to be the same. It
    takes some thousandths of a second an image.

    The result is a folder as atomdrgn fit writes it. Where particles are,
    states and junk are those of these particles; motions, base model and noise
    are those of RUN. What these particles do beyond its motions is not seen:
    for that, fit all together.

    [bold]Examples[/bold]

        atomdrgn fit-more particles.fit more.star --out more.fit
        atomdrgn fit-more particles.fit more.star --out more.fit --resume
    """
    if resume and overwrite:
        raise InputError(
            "--resume goes on with a run and --overwrite replaces it: give one of them"
        )
    require_files("fit-more", particles=particles)
    speaks = not general.quiet and is_first_process()
    with told_if_slow(f"reading {run} and {particles}", quiet=not speaks):
        from ..inference.more_particles import fit_more as place_more
        from ..parallel import joined_processes
        from ..particles.reading import read_particles
        from ..runs.run import open_run
        from .summary import summary_json, summary_lines

        use_threads(general.threads)
        learned = open_run(run)
        stack = read_particles(particles, **reading.named())
    try:
        with (
            joined_processes() as processes,
            progress(quiet=general.quiet or not processes.first, compiles=True) as reporter,
        ):
            found = place_more(
                learned,
                stack,
                out or Path(particles.with_suffix(".fit").name),
                resume=resume,
                overwrite=overwrite,
                settings=settings_of(particles=particles, **reading.named()),
                reporter=reporter,
                processes=processes,
            )
    except KeyboardInterrupt:
        again = command_line(without=("--overwrite", "--resume"))
        raise KeyboardInterrupt(f"stopped; to go on: {again} --resume") from None
    if processes.first and as_json:
        print(summary_json(found))
    elif processes.first and not general.quiet:
        print("\n".join(summary_lines(found)))

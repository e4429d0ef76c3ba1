"""``atomdrgn debias``."""

from pathlib import Path
from typing import Annotated

from typer import Option

from .failures import command, command_line
from .options import AsJson, Debug, Device, FitRun, Quiet, Threads
from .progress import progress
from .terminal import tell

MAPS, RESULT = "Maps", "The result"


@command
def debias(
    run: FitRun,
    out: Annotated[
        Path,
        Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=RESULT,
            show_default=False,
            help="Folder for maps, support and verdict.",
        ),
    ],
    methods: Annotated[
        str | None,
        Option(
            metavar="LIST",
            rich_help_panel=MAPS,
            show_default="following,around",
            help="Ways to make maps, separated by commas: following, around, and field, which "
            "trains a network.",
        ),
    ] = None,
    centres: Annotated[
        int,
        Option(
            metavar="N",
            rich_help_panel=MAPS,
            help="Maps around so many latents, in the middle of k-means clusters.",
        ),
    ] = 4,
    at: Annotated[
        str | None,
        Option(
            metavar="PLACES",
            rich_help_panel=MAPS,
            show_default=False,
            help="Maps around these latents: A along each motion, a semicolon between places, "
            "such as -5,0;5,0.",
        ),
    ] = None,
    particles_file: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            rich_help_panel=MAPS,
            show_default=False,
            help="Where the run's particle file is now, if it has moved.",
        ),
    ] = None,
    seed: Annotated[
        int,
        Option(metavar="N", rich_help_panel=RESULT, help="The same seed gives the same result."),
    ] = 0,
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=RESULT, help="Replace a result that is there.")
    ] = False,
    device: Device = "cpu",
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Reconstruct maps on the latents of a fit: what the images say without its base model.

    static.mrc takes the particles as if nothing moved; in following.mrc each
    segment stands still while its particles' motions are followed; around1.mrc
    and so on are of particles near chosen latents. All come with half-maps:
    each half-set is moved as its own fit found it.

    support.csv says of each residue how much of its density is in the map;
    support.cif has it as B-factor, 100 where all is there. The verdict, printed
    and in summary.json, names what the data do not support, and whether
    following the motion gains beyond the frequencies that the fit used.

    [bold]Examples[/bold]

        atomdrgn fit base.pdb particles.star --resolution 20
        atomdrgn debias particles.fit --out debiased
        atomdrgn debias particles.fit --out debiased --methods around --at "-5;0;5"
    """
    from ..debiasing.around import parse_places
    from ..debiasing.debias import DEFAULT_METHODS, require_result_folder
    from ..debiasing.debias import debias as debias_run
    from ..debiasing.run_particles import particles_of_run
    from ..runs.run import open_run
    from .setup import device_lines, find_device, use_threads

    use_threads(threads)
    found_device = find_device(device)
    require_result_folder(out, overwrite=overwrite)
    opened = open_run(run)
    places = None if at is None else parse_places(at, opened.latent.shape[1])
    chosen = (
        list(DEFAULT_METHODS) if methods is None else [name.strip() for name in methods.split(",")]
    )
    stack = particles_of_run(opened, particles_file)
    with progress(quiet=quiet, compiles=True) as reporter:
        found = debias_run(
            opened,
            stack,
            out,
            methods=chosen,
            centres=centres,
            at=places,
            seed=seed,
            overwrite=overwrite,
            settings={"command": command_line()},
            reporter=reporter,
            device=found_device,
        )
    lines = [
        *found.summary["verdict"],
        *device_lines(found_device),
        f"maps, support and verdict are in {out}",
    ]
    tell(lines, {"folder": found.folder, **found.summary}, as_json=as_json, quiet=quiet)

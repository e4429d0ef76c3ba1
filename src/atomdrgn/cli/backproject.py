"""``atomdrgn backproject``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ..errors import InputError
from .failures import command, command_line
from .options import AsJson, Device, General, Particles, Reading
from .progress import progress
from .setup import device_lines
from .terminal import shell_word, tell

if TYPE_CHECKING:
    from ..backprojection.backprojection import Reconstruction

CHOICE, RESULT = "Which particles (all of these together)", "The result"


@command
def backproject(
    particles: Particles,
    out: Annotated[
        Path,
        Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=RESULT,
            show_default=False,
            help="Folder for the maps.",
        ),
    ],
    chosen: Annotated[
        Path | None,
        Option(
            "--particles",
            metavar="TXT",
            rich_help_panel=CHOICE,
            show_default="all",
            help="A text file with the number of a particle on each line; they count from 0 by "
            "first row.",
        ),
    ] = None,
    condition: Annotated[
        str | None,
        Option(
            "--select",
            metavar="CONDITION",
            rich_help_panel=CHOICE,
            show_default="all",
            help="On the columns of the particles.csv of --run, as atomdrgn select --where takes "
            "it: motion1 > 10 and sd1 < 4.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        Option(
            metavar="RUN",
            rich_help_panel=CHOICE,
            show_default=False,
            help="Folder that atomdrgn fit or volume has written from this particle file, for "
            "--select.",
        ),
    ] = None,
    table: Annotated[
        list[Path] | None,
        Option(
            metavar="CSV",
            rich_help_panel=CHOICE,
            show_default=False,
            help="More columns for --select: a CSV file with a column particle, such as the "
            "table of clusters that analyze writes. Repeat it for more.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        Option(
            metavar="TXT",
            rich_help_panel=CHOICE,
            show_default="1 each",
            help="A text file with the weight of each particle, one on a line, in their order.",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        Option(
            metavar="MRC",
            rich_help_panel=RESULT,
            show_default="found from the half-maps",
            help="Soft mask, 0 to 1, in which the half-maps are compared.",
        ),
    ] = None,
    b_factor: Annotated[
        float | None,
        Option(
            metavar="A2",
            rich_help_panel=RESULT,
            show_default="as amplitudes fall beyond 10 A",
            help="By how much sharpened.mrc is sharpened: amplitudes are multiplied by exp(B "
            "k^2 / 4).",
        ),
    ] = None,
    *,
    reading: Reading,
    seed: Annotated[
        int,
        Option(metavar="N", rich_help_panel=RESULT, help="The same seed gives the same result."),
    ] = 0,
    overwrite: Annotated[
        bool,
        Option(
            "--overwrite", rich_help_panel=RESULT, help="Replace a reconstruction that is there."
        ),
    ] = False,
    device: Device = "cpu",
    as_json: AsJson = False,
    general: General,
) -> None:
    """Reconstruct a map from particle images with known poses.

    The result is a folder: map.mrc, regularised by the correlation of the
    half-maps half1.mrc and half2.mrc, which are not; sharpened.mrc; mask.mrc, in
    which the half-maps were compared; fsc.csv; and summary.json. The origin of
    the poses is voxel box // 2, (0, 0, 0) in the header's frame.

    Images count with CTF^2 over their noise; what dose and tilt take from them
    is part of their CTF. Half-sets are those of rlnRandomSubset, else particles
    by turns.

    [bold]Examples[/bold]

        atomdrgn backproject particles.star --out map
        atomdrgn backproject tilts.star --tomograms tomograms.star --out map
        atomdrgn backproject particles.star --particles state2.txt --out state2
        atomdrgn backproject particles.star --run particles.fit --select "motion1 > 10" --out open
    """
    if (condition is None) != (run is None) or (table and condition is None):
        raise InputError(
            "--select, --run and --table belong together: the condition of --select is on columns "
            "of the run that --run names, of this particle file, and of --table"
        )
    from ..analysis.particle_files.selecting import particles_where
    from ..backprojection.backprojection import FILES, write_reconstruction
    from ..backprojection.backprojection import backproject as backproject_particles
    from ..io.numbers import read_numbers
    from ..io.whole_file import require_replaceable
    from ..particles.reading import read_particles
    from ..runs.volume_run import open_either_run
    from ..structure.density_map import read_density_map
    from .setup import find_device, use_threads

    use_threads(general.threads)
    found_device = find_device(device)
    require_replaceable(out, FILES, what="a reconstruction", overwrite=overwrite)
    weight = None if weights is None else read_numbers(weights)
    stack = read_particles(particles, **reading.named())
    numbers = None if chosen is None else read_numbers(chosen, whole=True)
    if condition is not None and run is not None:
        numbers = particles_where(
            open_either_run(run), condition, stack, listed=numbers, tables=table or ()
        )
    with progress(quiet=general.quiet, compiles=True) as reporter:
        found = backproject_particles(
            stack,
            chosen=numbers,
            weights=weight,
            mask=None if mask is None else read_density_map(mask).in_pose_frame(),
            b_factor=b_factor,
            seed=seed,
            reporter=reporter,
            device=found_device,
        )
        write_reconstruction(
            found,
            out,
            overwrite=overwrite,
            settings={"source": str(particles), "command": command_line()},
        )
    told = {"map": out / "map.mrc", **found.summary}
    tell(_closing_lines(found, out), told, as_json=as_json, quiet=general.quiet)


def _closing_lines(found: "Reconstruction", out: Path) -> Iterator[str]:
    """A few lines on a :class:`~atomdrgn.backprojection.backprojection.Reconstruction`."""
    said = found.summary
    first, second = said["half_set_particles"]
    yield (
        f"{said['images']:,} images of {said['particles']:,} particles, half-sets of {first:,} and "
        f"{second:,}; box {said['box_size']}, {said['voxel_size']:.4g} A a voxel"
    )
    yield (
        f"resolution at FSC 0.143: {_length(said['resolution'])} with the mask and corrected for "
        f"it, {_length(said['resolution_unmasked'])} without one"
    )
    yield f"sharpened by B = {said['b_factor']:g} A^2 ({said['b_factor_is']})"
    yield from device_lines(said["device"])
    path = out / "map.mrc"
    yield (
        f"the map is {path}; a model placed in it: atomdrgn dock MODEL {shell_word(path)} --out "
        "base.pdb"
    )


def _length(resolution: float | None) -> str:
    return "none" if resolution is None else f"{resolution:.1f} A"

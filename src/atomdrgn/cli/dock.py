"""``atomdrgn dock``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ..errors import InputError
from ..reporting import Reporter
from .failures import command
from .options import AsJson, Base, Debug, Quiet, Threads
from .progress import progress
from .terminal import shell_word, tell

if TYPE_CHECKING:
    from ..docking.docking import Docking
    from ..structure.atoms import Structure

SEARCH, RESULT = "Search", "The result"


class DockingFrame(StrEnum):
    """Where coordinates of the placed model are measured from."""

    poses = "poses"
    map = "map"


@command
def dock(
    base: Base,
    map_file: Annotated[
        Path, Argument(metavar="MAP", show_default=False, help="Consensus map: an MRC file.")
    ],
    out: Annotated[
        Path | None,
        Option(
            "--out",
            "-o",
            metavar="FILE",
            rich_help_panel=RESULT,
            show_default="the name of BASE with .docked, here",
            help="The placed model; its ending says the format (.pdb, .cif, .bcif, also .gz). "
            "Figures go into a .json beside it.",
        ),
    ] = None,
    frame: Annotated[
        DockingFrame,
        Option(
            metavar="poses|map",
            rich_help_panel=RESULT,
            help="poses: the box centre of MAP is (0, 0, 0), as atomdrgn fit wants it. map: as "
            "the header of MAP has it, so that model and map overlay.",
        ),
    ] = DockingFrame.poses,
    resolution: Annotated[
        float | None,
        Option(
            metavar="A",
            rich_help_panel=SEARCH,
            show_default="as far as model and map agree, not beyond 4",
            help="Finest frequencies that are compared.",
        ),
    ] = None,
    local: Annotated[
        bool,
        Option(
            "--local",
            rich_help_panel=SEARCH,
            help="BASE stands about where it should, in the frame of MAP or of the poses: refine "
            "it there.",
        ),
    ] = False,
    voxel_size: Annotated[
        float | None,
        Option(
            metavar="A",
            rich_help_panel=SEARCH,
            show_default="as the header of MAP says",
            help="Edge of a voxel, where the header lacks it or is wrong.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=RESULT, help="Replace files that are there.")
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Place a base structure in a consensus map: the step before every fit.

    The model moves as a rigid body. All rotations and translations are tried,
    in MAP and in its mirror image, and the best are refined as finely as
    model and map agree. What is printed: how well the best placement fits, how
    far it is ahead of the second best, and whether the hand of MAP is right.

    [bold]Examples[/bold]

        atomdrgn dock base.pdb consensus.mrc
        atomdrgn fit base.docked.pdb particles.star --segments 20

        atomdrgn dock base.cif consensus.mrc --frame map --out in_map.cif
        atomdrgn dock base.pdb consensus.mrc --local --resolution 6
    """
    from ..docking.docking import dock as dock_structure
    from ..structure.atoms import read_structure
    from ..structure.density_map import read_density_map
    from .setup import use_threads

    use_threads(threads)
    if voxel_size is not None and voxel_size <= 0:
        raise InputError(
            f"--voxel-size {voxel_size:g}: expected the edge of a voxel in A, a positive number"
        )
    structure, density_map = read_structure(base), read_density_map(map_file, voxel_size=voxel_size)
    with progress(quiet=quiet, compiles=True) as reporter:
        docked = dock_structure(
            structure,
            density_map,
            out or Path(_docked(structure, reporter)),
            frame=frame.value,
            resolution=resolution,
            local=local,
            overwrite=overwrite,
            reporter=reporter,
        )
    lines = [
        *docked.lines(),
        f"wrote {docked.path} and {docked.summary_path}",
        _next_step(docked, map_file),
    ]
    tell(lines, {"placed": docked.path, **docked.summary()}, as_json=as_json, quiet=quiet)


def _docked(structure: "Structure", reporter: Reporter) -> str:
    """The name of a structure's file with .docked before its ending.

    The ending is .cif where a PDB file will not do.
    """
    from ..io.structure_files.structures import structure_format
    from ..structure.atoms import why_no_pdb

    name = structure.name
    stem, _, ending = name.removesuffix(".gz").rpartition(".")
    reason = why_no_pdb(structure) if structure_format(name) == "pdb" else None
    if reason:
        ending = "cif"
        reporter.say(f"{reason}: mmCIF is written")
    return f"{stem}.docked.{ending}{'.gz' if name.endswith('.gz') else ''}"


def _next_step(docked: "Docking", map_file: Path) -> str:
    assert docked.path is not None  # it was written
    centre = "" if docked.frame == "poses" else f" --map {shell_word(map_file)}"
    return f"next: atomdrgn fit {shell_word(docked.path)} PARTICLES{centre}"

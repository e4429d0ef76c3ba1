"""Options that several commands share, and records of options.

The names of panels group them in the help.
"""

from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from typer import Argument, Option

MODEL, READING, GENERAL = "Model", "Reading the particles", "General"

Base = Annotated[
    Path,
    Argument(
        metavar="BASE",
        show_default=False,
        help="Base structure: PDB, mmCIF or BinaryCIF (also .gz).",
    ),
]
FitRun = Annotated[
    Path,
    Argument(metavar="RUN", show_default=False, help="Folder that atomdrgn fit has written."),
]
Particles = Annotated[
    Path,
    Argument(
        metavar="PARTICLES",
        show_default=False,
        help="Particle file: a .star of RELION, Warp or M, or a .cs of cryoSPARC.",
    ),
]

MapFile = Annotated[
    Path | None,
    Option(
        "--map",
        metavar="MRC",
        rich_help_panel=MODEL,
        show_default=False,
        help="Consensus map that the model fits: its header says where the box centre is.",
    ),
]
Origin = Annotated[
    str | None,
    Option(
        metavar="X,Y,Z",
        rich_help_panel=MODEL,
        show_default=False,
        help="Box centre in the model's frame, in A, where there is no --map.",
    ),
]

Box = Annotated[
    int | None,
    Option(
        metavar="PIXELS",
        rich_help_panel=READING,
        show_default=False,
        help="Crop images to this box in Fourier space: same extent, larger pixels, less work.",
    ),
]
DataFolder = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        rich_help_panel=READING,
        show_default=False,
        help="Where the image stacks lie, if not where the particle file says.",
    ),
]
InvertContrast = Annotated[
    bool | None,
    Option(
        "--invert-contrast/--keep-contrast",
        rich_help_panel=READING,
        show_default=False,
        help="The images are dark on light and are inverted, or are not. Left out: as the "
        "file says.",
    ),
]
TiltSeries = Annotated[
    bool,
    Option(
        "--tilt-series",
        rich_help_panel=READING,
        help="Rows that share rlnGroupName are tilts of one particle, even where the file does "
        "not show it.",
    ),
]
Tomograms = Annotated[
    Path | None,
    Option(
        metavar="STAR",
        rich_help_panel=READING,
        show_default=False,
        help="The tomograms.star of particles that are 2D tilt stacks.",
    ),
]
Passthrough = Annotated[
    Path | None,
    Option(
        metavar="CS",
        rich_help_panel=READING,
        show_default=False,
        help="The passthrough file of a .cs file, with the fields that the job did not change.",
    ),
]
NamedFolder = Annotated[
    Path | None,
    Option(
        "--data-folder",
        metavar="DIR",
        rich_help_panel="Files",
        show_default=False,
        help="Where files lie that an optimisation set or tomograms.star names, if not where they "
        "say, such as the folder of a RELION project.",
    ),
]
AllowMissingCtf = Annotated[
    bool,
    Option(
        "--allow-missing-ctf",
        rich_help_panel=READING,
        help="Accept a file without CTF columns, for images that were made without a CTF.",
    ),
]

Threads = Annotated[
    int | None,
    Option(metavar="N", rich_help_panel=GENERAL, show_default="all cores", help="CPU threads."),
]
Device = Annotated[
    str,
    Option(
        metavar="auto|cpu|cuda|cuda:N",
        rich_help_panel=GENERAL,
        help="Where images are worked on: the processor, a GPU of this machine (the first, or "
        "number N from 0), or a GPU where there is one (auto). It changes the result by rounding "
        "alone.",
    ),
]
AsJson = Annotated[
    bool,
    Option(
        "--json",
        rich_help_panel=GENERAL,
        help="Print what was found as one JSON object, for scripts, in place of lines of text.",
    ),
]
Quiet = Annotated[
    bool,
    Option("--quiet", "-q", rich_help_panel=GENERAL, help="No progress and no closing summary."),
]
Debug = Annotated[
    bool, Option("--debug", rich_help_panel=GENERAL, help="Show where an error comes from.")
]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How particles are read: what :func:`atomdrgn.read_particles` takes."""

    box: Box = None
    data_folder: DataFolder = None
    invert_contrast: InvertContrast = None
    tilt_series: TiltSeries = False
    tomograms: Tomograms = None
    passthrough: Passthrough = None
    allow_missing_ctf: AllowMissingCtf = False

    def named(self) -> dict[str, Any]:
        """Each of them by its name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class General:
    """What is the same for all commands."""

    threads: Threads = None
    quiet: Quiet = False
    debug: Debug = False


def taken_apart(function: Callable) -> Callable:
    """A command whose parameters that are records of options are these options, one by one."""
    given = signature(function, eval_str=True)
    records = {
        name: each.annotation
        for name, each in given.parameters.items()
        if isinstance(each.annotation, type) and is_dataclass(each.annotation)
    }
    if not records:
        return function
    single = []
    for name, each in given.parameters.items():
        single += _options(records[name]) if name in records else [each]

    @wraps(function)
    def put_together(**arguments: Any) -> Any:
        made = {
            name: record(**{field.name: arguments.pop(field.name) for field in fields(record)})
            for name, record in records.items()
        }
        return function(**made, **arguments)

    taken = given.replace(parameters=[each.replace(kind=Parameter.KEYWORD_ONLY) for each in single])
    vars(put_together)["__signature__"] = taken
    return put_together


def _options(record: type) -> list[Parameter]:
    """The options of a record, as parameters of a command."""
    kinds = get_type_hints(record, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=kinds[field.name],
        )
        for field in fields(record)
    ]

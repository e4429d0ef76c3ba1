"""Options that several commands share. The names of panels group them in the help."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

MODEL, READING, GENERAL = "Model", "Reading the particles", "General"

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
        "say, such as the folder of a "
        "RELION project.",
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
Quiet = Annotated[
    bool,
    Option("--quiet", "-q", rich_help_panel=GENERAL, help="No progress and no closing summary."),
]
Debug = Annotated[
    bool, Option("--debug", rich_help_panel=GENERAL, help="Show where an error comes from.")
]

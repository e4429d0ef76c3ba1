"""``atomdrgn example``."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from .failures import command
from .options import AsJson, Debug, Quiet
from .terminal import shell_word, tell


@command
def example(
    out: Annotated[
        Path, Argument(metavar="DIR", show_default=False, help="Folder for the structures.")
    ],
    overwrite: Annotated[
        bool, Option("--overwrite", help="Replace structures that are there.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Copy the structures that the tutorial begins with: adenylate kinase, closed and open.

    Particle images of them are made by [bold]atomdrgn simulate[/bold]; the tutorial
    (docs/tutorial.md) then goes all the way to a figure.

    [bold]Examples[/bold]

        atomdrgn example example
        atomdrgn simulate example/1ake.pdb example/4ake.pdb --populations 0.7,0.3 --out set
    """
    from ..simulate.example_data import copy_example

    closed, opened = copy_example(out, overwrite=overwrite)
    lines = [
        f"wrote {closed} (closed) and {opened} (open)",
        f"next: atomdrgn simulate {shell_word(closed)} {shell_word(opened)} "
        "--populations 0.7,0.3 --particles 400 --box 48 --pixel-size 2.5 --snr 0.1 --out set",
    ]
    tell(lines, {"closed": closed, "open": opened}, as_json=as_json, quiet=quiet)

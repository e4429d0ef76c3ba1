"""The command line: one file a command.

Each calls one function of the package with the same arguments.
"""

import sys
from typing import Annotated

import typer

from .analyze import analyze
from .backproject import backproject
from .debias import debias
from .dock import dock
from .example import example
from .export import export
from .failures import nobody_reads
from .fit import fit
from .fit_more import fit_more
from .inspect import inspect
from .place import place
from .refine import refine
from .select import select
from .simulate import simulate
from .terminal import printable
from .volume import volume
from .volumes import volumes

app = typer.Typer(
    name="atomdrgn",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command(no_args_is_help=True)(inspect)
app.command(no_args_is_help=True)(dock)
app.command(no_args_is_help=True)(refine)
app.command(no_args_is_help=True)(fit)
app.command("fit-more", no_args_is_help=True)(fit_more)
app.command(no_args_is_help=True)(analyze)
app.command(no_args_is_help=True)(export)
app.command(no_args_is_help=True)(place)
app.command(no_args_is_help=True)(select)
app.command(no_args_is_help=True)(debias)
app.command(no_args_is_help=True)(backproject)
app.command(no_args_is_help=True)(volume)
app.command(no_args_is_help=True)(volumes)
app.command(no_args_is_help=True)(simulate)
app.command(no_args_is_help=True)(example)


def _print_version(wanted: bool | None) -> None:
    if wanted:
        from .. import __version__

        print(f"atomdrgn {__version__}")
        raise typer.Exit()


@app.callback()
def atomdrgn(
    version: Annotated[
        bool | None,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = None,
) -> None:
    """An atomic structure for every particle of a cryo-EM data set.

    From a base structure and particle images with poses.

    [bold]Examples[/bold]

        atomdrgn inspect particles.star --against base.pdb
        atomdrgn dock base.pdb consensus.mrc
        atomdrgn fit base.pdb particles.star --segments 20
        atomdrgn analyze particles.fit
        atomdrgn export particles.fit --out ensemble --format dcd
        atomdrgn select particles.fit --where "motion1 > 10" --out subset.star
        atomdrgn debias particles.fit --out debiased
        atomdrgn volume particles.star --out particles.volume
        atomdrgn simulate open.pdb closed.pdb --out set
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    It is 0, 2 for bad input, 1 for other failures, 130 for Ctrl-C, and 141 where nobody reads what
    is printed.
    """
    try:
        code = app(arguments, standalone_mode=False, prog_name="atomdrgn")
        sys.stdout.flush()
    except BrokenPipeError:
        code = nobody_reads()
    except Exception as error:
        # the base class of usage errors moves from release to release of typer
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "atomdrgn"
        if error.format_message():  # empty where nothing was typed: the help has been printed
            print(
                printable(f"error: {error.format_message()} (see {command} --help)"),
                file=sys.stderr,
            )
        code = 2
    sys.exit(code if isinstance(code, int) else 0)

"""Records of options are single options on the command line, in their order."""

from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer import Option

from atomdrgn.cli.options import General, Reading, taken_apart


@dataclass(frozen=True, kw_only=True)
class Two:
    count: Annotated[int, Option(help="How many.")]
    name: Annotated[str | None, Option("--called")] = None


def command(first: Annotated[Path, typer.Argument()], two: Two, *, last: bool = False):
    """What it does."""
    seen.append((first, two, last))


seen = []


def test_options_of_a_record_stand_in_its_place():
    assert list(signature(taken_apart(command)).parameters) == ["first", "count", "name", "last"]
    assert taken_apart(command).__doc__ == "What it does."


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (["a", "--count", "3"], (Path("a"), Two(count=3), False)),
        (
            ["a", "--called", "x", "--count", "3", "--last"],
            (Path("a"), Two(count=3, name="x"), True),
        ),
    ],
)
def test_a_command_is_given_the_record(words, made):
    app = typer.Typer()
    app.command()(taken_apart(command))
    app(words, standalone_mode=False)
    assert seen.pop() == made and not seen


def test_an_option_without_a_default_is_required():
    app = typer.Typer()
    app.command()(taken_apart(command))
    with pytest.raises(Exception, match="count"):
        app(["a"], standalone_mode=False)


def test_a_command_without_records_is_left_as_it_is():
    def plain(threads: int = 1):
        return threads

    assert taken_apart(plain) is plain


def test_reading_is_what_read_particles_takes():
    from atomdrgn.particles.reading import read_particles

    takes = set(signature(read_particles).parameters) - {"path"}
    assert Reading(box=64).named().keys() == takes and Reading(box=64).named()["box"] == 64
    assert General().quiet is False

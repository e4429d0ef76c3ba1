"""How a command ends badly.

It prints one line on standard error and ends with an exit code; a traceback needs --debug.
"""

import logging
import os
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from types import FrameType
from typing import Any, NoReturn, TextIO

import typer

from ..errors import AtomdrgnError, InputError
from .options import taken_apart
from .terminal import PlainOutput, printable

# of whole numbers: seeds and counts beyond it do not fit into what they become
LARGEST = 10**12
BAD_INPUT, FAILURE, INTERRUPTED = 2, 1, 130
NOBODY_READS = 141  # as the shell says of a command whose output nobody takes any more
COUNTS = ("--segments", "--box", "--epochs")  # that are looked at before anything is loaded


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose warnings and errors are single lines, and whose exit code tells their kind.

    It takes a bool `debug`.

    Parameters that are records of options are taken apart (:func:`.taken_apart`).
    """
    function = taken_apart(function)

    @wraps(function)
    def wrapped(*, debug: bool, **arguments: Any) -> None:
        logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(message)s")
        with (
            _warnings_in_one_line(everything=debug),
            _stopped_as_by_hand(),
            redirect_stdout(PlainOutput(sys.stdout)),
        ):
            try:
                _require_numbers(arguments)
                function(debug=debug, **arguments)
            except BrokenPipeError:
                raise typer.Exit(nobody_reads()) from None
            except (Exception, KeyboardInterrupt) as error:
                # typer's own
                if isinstance(error, typer.Exit) or hasattr(error, "format_message"):
                    raise
                if debug:
                    logging.getLogger(__name__).error("", exc_info=error)
                code, line = explain(error)
                print(printable(line), file=sys.stderr)
                raise typer.Exit(code) from None

    return wrapped


def _require_numbers(arguments: Mapping[str, object]) -> None:
    """Refuse options that look like numbers and are none, or that no work can be done with."""
    for name, value in arguments.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, float) and value != value:
            raise InputError(f"{option} {value}: expected a number")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise InputError(f"{option} {value}: expected a whole number of at most {LARGEST:,}")
        if option in COUNTS and isinstance(value, int) and value < 1:
            raise InputError(f"{option} {value}: expected 1 or more")
        if option == "--resolution" and isinstance(value, float) and value <= 0:
            raise InputError(f"{option} {value:g}: expected a positive number, in A")
        if option == "--seed" and isinstance(value, int) and value < 0:
            raise InputError(f"{option} {value}: expected 0 or a positive whole number")


def explain(error: BaseException) -> tuple[int, str]:
    """Exit code and line for an error."""
    if isinstance(error, AtomdrgnError):
        return BAD_INPUT, f"error: {_one_line(error)}"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, str(error) or "stopped"
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return FAILURE, f"error: {name}{error.strerror or _one_line(error)}"
    if isinstance(error, MemoryError):
        return FAILURE, "error: not enough memory; smaller images (--box) need less"
    return (
        FAILURE,
        f"error: {type(error).__name__}: {_one_line(error)} (not foreseen: --debug shows where; "
        "please report it)",
    )


def nobody_reads() -> int:
    """Exit code where output is taken no more, as by `head`; what is left of it goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
    return NOBODY_READS


def command_line(*, without: tuple[str, ...] = ()) -> str:
    """What the user typed, ready to be typed again."""
    return shlex.join(["atomdrgn", *(word for word in sys.argv[1:] if word not in without)])


def _one_line(error: BaseException | str) -> str:
    # KeyError and its kind put quotes around their message; AtomdrgnErrors that are OSErrors do not
    return " ".join(str(error).split())


@contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
    """Whoever ends the process politely, such as a queue, stops it as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warnings_in_one_line(*, everything: bool) -> Iterator[None]:
    """Warnings meant for users, which are UserWarnings, as lines.

    Those meant for developers are shown too where `everything` is wanted.
    """

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        print(printable(f"warning: {_one_line(message)}"), file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default" if everything else "ignore")
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield

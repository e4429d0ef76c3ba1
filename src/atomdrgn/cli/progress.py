"""Reporters for people: a moving bar on a terminal, a plain line now and then elsewhere.

Both speak on standard error.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from ..reporting import Reporter
from .terminal import printable

if TYPE_CHECKING:
    from numba.core.event import Event
    from rich.progress import Progress, ProgressColumn, Task

QUIET_SECONDS = 60  # between the lines of a long task, where there is no terminal


@contextmanager
def progress(*, quiet: bool = False, compiles: bool = False) -> Iterator[Reporter]:
    """The reporter that suits standard error.

    It is a bar on a terminal, plain lines elsewhere, and nothing where `quiet`.

    With `compiles` it also says so when loops are compiled, which holds up the first run without a
    sign.
    """
    if quiet:
        yield Reporter()
        return
    reporter = BarReporter() if sys.stderr.isatty() else PlainReporter()
    try:
        with _told_of_compiling(reporter) if compiles else nullcontext():
            yield reporter
    finally:
        reporter.finish()


@contextmanager
def _told_of_compiling(reporter: Reporter) -> Iterator[None]:
    """Say one line when the first loop is compiled.

    It says nothing where an earlier run has left all of them compiled.
    """
    from numba.core.event import Listener, install_listener

    class Teller(Listener):
        told = False

        def on_start(self, event: "Event") -> None:
            if not self.told:
                self.told = True
                reporter.say(
                    "compiling loops for this processor (some 20 s of work, in the first run only) "
                    "..."
                )

        def on_end(self, event: "Event") -> None:
            pass

    with install_listener("numba:compile", Teller()):
        yield


class PlainReporter(Reporter):
    """Prints results on the way, and once a minute how far a task is."""

    def start(self, title: str, total: int) -> None:
        """A step of so many parts begins."""
        self.title, self.total, self.done = title, total, 0
        self.started = self.said = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        """Some parts are done; a line is due where the last one is long ago."""
        self.done += steps
        now = time.monotonic()
        if now - self.said > QUIET_SECONDS and self.done < self.total:
            self.said = now
            left = (now - self.started) * (self.total - self.done) / max(self.done, 1)
            self.say(f"{self.title}: {self.done:,} of {self.total:,}, {duration(left)} left")

    def say(self, text: str) -> None:
        """A line of text."""
        print(printable(text), file=sys.stderr, flush=True)


class BarReporter(Reporter):
    """Shows a bar with rate and time left, which leaves the screen when the task ends."""

    def __init__(self) -> None:
        self.bar: Progress | None = None

    def start(self, title: str, total: int) -> None:
        """A step of so many parts begins: a bar of its own."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self.finish()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _rate_column(),
            TimeRemainingColumn(),
        )
        self.bar = bar = Progress(
            *columns, TextColumn("left"), console=Console(stderr=True), transient=True
        )
        self.task = bar.add_task(title, total=total)
        bar.start()

    def advance(self, steps: int = 1) -> None:
        """Some parts are done."""
        if self.bar is not None:
            self.bar.advance(self.task, steps)

    def say(self, text: str) -> None:
        """A line of text above the bar."""
        # a bar that is on the screen moves down by itself
        print(printable(text), file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Take the bar from the screen, also when a task ends early."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _rate_column() -> "ProgressColumn":
    from rich.progress import ProgressColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """Steps a second, or seconds a step where they are slow."""

        def render(self, task: "Task") -> Text:
            speed = task.finished_speed or task.speed
            if not speed:
                return Text("")
            return Text(f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")

    return RateColumn()


def duration(seconds: float) -> str:
    """A time in words, such as "42 s" or "12 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""Reporters for people: a moving bar on a terminal, a plain line now and then elsewhere.

Both speak on standard error. One line is about the whole: which stage of how many, which pass, how
far that is, and the time left for everything.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from ..reporting import Reporter
from .terminal import printable

if TYPE_CHECKING:
    from numba.core.event import Event
    from rich.progress import Progress

QUIET_SECONDS = 30.0  # between lines, where there is no terminal
PATIENCE = 1.0  # seconds that a person waits without a sign
TASK_OF_PART = 0.6  # of what is left of a stage or pass, that its next task is taken to be
LEAST_FRACTION = 0.02  # of the whole, that has to be done before the time left is told


@contextmanager
def told_if_slow(text: str, *, quiet: bool) -> Iterator[None]:
    """Say what a command is doing, where what is done here takes longer than a second."""
    line = printable(f"{text} ...")
    clock = threading.Timer(PATIENCE, lambda: print(line, file=sys.stderr, flush=True))
    clock.daemon = True
    if not quiet:
        clock.start()
    try:
        yield
    finally:
        clock.cancel()


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
        reporter.close()


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


class Whole(Reporter):
    """Keeps what the work has said of itself: where it is, and how much of it is done."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.first: float | None = None  # fraction of the whole at which this process began
        self.titles: list[str] = []  # of the stage, of its part
        self.of_stage = self.of_part = self.of_task = (0.0, 1.0)
        self.task, self.done, self.total, self.started = "", 0, 0, self.began

    def stage(self, title: str, begin: float, end: float) -> None:
        """A stage of the whole begins."""
        self.titles = [title]
        self.of_stage = self.of_part = self.of_task = (begin, end)
        self.task, self.done, self.total = "", 0, 0

    def part(self, title: str, number: int, total: int) -> None:
        """A part of a stage begins: all parts are taken to be as long as each other."""
        begin, end = self.of_stage
        each = (end - begin) / total
        self.of_part = self.of_task = (begin + (number - 1) * each, begin + number * each)
        self.titles = [*self.titles[:1], f"{title} {number} of {total}"]
        self.task, self.done, self.total = "", 0, 0

    def start(self, title: str, total: int) -> None:
        """A task of so many steps begins."""
        if self.titles:  # how many tasks follow is not known
            reached, end = self.fraction(), self.of_part[1]
            self.of_task = (reached, reached + TASK_OF_PART * (end - reached))
        self.task, self.done, self.total, self.started = title, 0, total, time.monotonic()
        if self.first is None and self.titles:
            self.first = self.fraction()

    def advance(self, steps: int = 1) -> None:
        """Some steps are done."""
        self.done += steps

    def close(self) -> None:
        """The work has ended."""
        self.finish()

    def fraction(self) -> float:
        """Of the whole that is done, by the shares of its stages."""
        begin, end = self.of_task
        return begin + (end - begin) * min(1.0, self.done / self.total if self.total else 0.0)

    def left(self) -> float | None:
        """Seconds left for everything, or for the task where the work has no stages."""
        now = time.monotonic()
        if not self.titles:
            if not self.done:
                return None
            return (now - self.started) * (self.total - self.done) / self.done
        done = self.fraction()
        if self.first is None or done - self.first < LEAST_FRACTION:
            return None
        return (now - self.began) * (1 - done) / (done - self.first)

    def status(self) -> str:
        """Where the work is, in one line."""
        counted = f"{self.task}: {self.done:,} of {self.total:,}" if self.total else self.task
        left = self.left()
        for_all = " for everything" if self.titles else ""
        said = [*self.titles, counted, "" if left is None else f"{duration(left)} left{for_all}"]
        return ", ".join(each for each in said if each)


class PlainReporter(Whole):
    """Prints results on the way, and every half minute where the work is.

    Parameters
    ----------
    seconds : float
        Between two such lines.
    """

    def __init__(self, seconds: float = QUIET_SECONDS) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.clock = threading.Thread(target=self._tell, args=(seconds,), daemon=True)
        self.clock.start()

    def _tell(self, seconds: float) -> None:
        while not self.ended.wait(seconds):
            if self.status():
                self.say(self.status())

    def say(self, text: str) -> None:
        """A line of text."""
        print(printable(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        """The work has ended: no more lines."""
        self.ended.set()
        self.clock.join()


class BarReporter(Whole):
    """Shows one bar with where the work is and the time left; it leaves the screen at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: Progress | None = None

    def start(self, title: str, total: int) -> None:
        """A step of so many parts begins: the bar is about it, or about all of its work."""
        super().start(title, total)
        if self.bar is None:
            self.bar = _bar()
            self.shown = self.bar.add_task("", total=1.0)
            self.bar.start()
        self._show()

    def advance(self, steps: int = 1) -> None:
        """Some parts are done."""
        super().advance(steps)
        self._show()

    def _show(self) -> None:
        if self.bar is not None:
            done = self.fraction() if self.titles else self.done / max(self.total, 1)
            self.bar.update(self.shown, completed=done, description=self.status())

    def say(self, text: str) -> None:
        """A line of text above the bar."""
        # a bar that is on the screen moves down by itself
        print(printable(text), file=sys.stderr, flush=True)

    def finish(self) -> None:
        """A task ends: the bar stays where more of the whole is to come."""
        if not self.titles:
            self.close()

    def close(self) -> None:
        """Take the bar from the screen, also when work ends early."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)
    return Progress(*columns, console=Console(stderr=True), transient=True)


def duration(seconds: float) -> str:
    """A time in words, such as "42 s" or "12 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

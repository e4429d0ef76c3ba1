"""How long work is watched.

A command line or a notebook hands a Reporter down, and the work tells it how far it is.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Reporter:
    """Watches a piece of work. This one keeps silent; others override what they tell.

    Examples
    --------
    >>> class Printing(Reporter):
    ...     def start(self, title, total):
    ...         print(f"{title}: {total} steps")
    >>> sum(Printing().watch([1, 2, 3], "adding", 3))
    adding: 3 steps
    6
    """

    def stage(self, title: str, begin: float, end: float) -> None:
        """A stage of the whole begins, which takes it from one fraction of all work to another."""

    def part(self, title: str, number: int, total: int) -> None:
        """The part of a stage begins that has this number, from 1, of so many that are alike."""

    def start(self, title: str, total: int) -> None:
        """A task of `total` steps begins."""

    def advance(self, steps: int = 1) -> None:
        """Some steps of the task are done."""

    def finish(self) -> None:
        """The task is done."""

    def say(self, text: str) -> None:
        """Something worth a line: a result on the way."""

    def watch(self, items: Iterable[T], title: str, total: int) -> Iterator[T]:
        """Go through `items` as a task of `total` steps, one an item.

        Parameters
        ----------
        items : iterable
            One a step.
        title : str
            Of the task.
        total : int
            How many items there are.

        Yields
        ------
        item
        """
        self.start(title, total)
        for item in items:
            yield item
            self.advance()
        self.finish()

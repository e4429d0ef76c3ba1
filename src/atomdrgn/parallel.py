"""Batches on several threads, and shares of several processes.

A thread does whole batches with one thread of arithmetic.

Sums are the same to the last bit for any number of threads and processes: batches never depend on
these, and are added within fixed portions of the work, then portion by portion.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from os import environ
from threading import Thread
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from .errors import ProcessLostError

T = TypeVar("T")
R = TypeVar("R")
_workers: ContextVar[int | None] = ContextVar("workers", default=None)
# Portions of a piece of work: many processes share so many evenly. Half of a portion, a
# half-set's, fills a batch of the population fit: with portions of 128 a fit of 800 images took a
# tenth more processor time.
PORTIONS, LEAST_PORTION = 24, 512
MOST_TOGETHER = 2**23  # numbers that cross between processes at once


@contextmanager
def whole_batches_on_threads() -> Iterator[None]:
    """Inside, every operation runs on one thread.

    :func:`in_order` has as many workers as torch had threads.

    The matrices of a fit are small: shared among threads an operation waits longer for its helpers
    than it works, by a factor of a hundred where other programs hold the cores.

    Yields
    ------
    None

    Examples
    --------
    >>> with whole_batches_on_threads():
    ...     torch.get_num_threads()
    1
    """
    threads = torch.get_num_threads()
    token = _workers.set(_workers.get() or threads)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _workers.reset(token)


def in_order(function: Callable[[T], R], batches: Iterable[T]) -> Iterator[R]:
    """Results of a function for each batch, in the order of the batches: sums repeat exactly.

    They do so whatever the number of workers.

    At most two batches a worker are under way.

    Parameters
    ----------
    function : callable
        Of a batch.
    batches : iterable
        Taken as they are needed.

    Yields
    ------
    result

    Examples
    --------
    >>> list(in_order(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    with whole_batches_on_threads():
        workers = _workers.get() or 1
        if workers == 1:  # handing each batch over would cost 3 % of a fit's time
            yield from map(function, batches)
            return
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque = deque()
            try:
                for batch in batches:
                    waiting.append(pool.submit(function, batch))
                    if len(waiting) > 2 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


@dataclass(frozen=True)
class Processes:
    """The processes that share one piece of work.

    Each knows everything and does its share of the particles.

    Parameters
    ----------
    rank : int
        This one, from 0.
    count : int
        All of them.
    here : int
        Of them, those on this machine.

    Examples
    --------
    >>> Processes(rank=1, count=2).share(torch.tensor([4, 1, 1, 2]))
    (1, 4)
    """

    rank: int = 0
    count: int = 1
    here: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, the same bits in each of them."""
        if self.count == 1:
            return value
        value = value.clone().contiguous()
        with _loss_is_told():
            torch.distributed.all_reduce(value)
        return value

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            with _loss_is_told():
                torch.distributed.barrier()

    def share(self, size: Int[Tensor, "item"]) -> tuple[int, int]:
        """First and last + 1 of the items that are this process's.

        They are a run of about as much work as the others'.
        """
        done = size.cumsum(0)
        owner = (2 * done - size) * self.count // (2 * done[-1])  # by the middle of each item
        return int((owner < self.rank).sum()), int((owner <= self.rank).sum())


def portions_of(size: Int[Tensor, "item"]) -> Int[Tensor, "item"]:
    """Number of the portion that each item belongs to.

    Portions are runs of as much work as one another, fewer where there is little.

    Parameters
    ----------
    size : (item,)
        Work in each item, such as the images of a particle.

    Returns
    -------
    (item,) int

    Examples
    --------
    >>> portions_of(torch.full((6,), 240))
    tensor([0, 0, 0, 1, 1, 2])
    """
    done = size.cumsum(0)
    of_portion = LEAST_PORTION * max(1, -(-int(done[-1]) // (LEAST_PORTION * PORTIONS)))
    return (done - size) // of_portion


def even_batches(size: int, about: int) -> int:
    """How many batches of about so many items a portion is cut into.

    They are even, and by up to a quarter larger where that saves one: what is left over of each
    portion would be a batch by itself, which takes nearly as long as a full one.

    Parameters
    ----------
    size : int
        Items of the portion.
    about : int
        Items of a batch.

    Returns
    -------
    int

    Examples
    --------
    >>> even_batches(size=232, about=64), even_batches(size=81, about=64)
    (3, 2)
    """
    return max(1, -(-size // (about + about // 4)))


@dataclass(frozen=True, eq=False)
class Portions:
    """Fixed portions of some items, each of which is one process's.

    Batches and sums over items are made of them.

    Parameters
    ----------
    number : (item,)
        The portion of each item, from 0.
    count : int
        How many portions there are.
    processes : Processes
        That share the portions.

    Examples
    --------
    >>> portions = Portions(torch.tensor([0, 0, 1]), count=2)
    >>> portions.batches(torch.tensor([2, 0, 1]), most=8)
    (tensor([0, 1]), tensor([2]))
    """

    number: Int[Tensor, "item"]
    count: int = 1
    processes: Processes = field(default_factory=Processes)

    @classmethod
    def one(cls, items: int) -> "Portions":
        """Portions of a single process, all items together."""
        return cls(torch.zeros(items, dtype=torch.long))

    def of(self, batch: Int[Tensor, "batch"]) -> int:
        """The portion that a batch is of."""
        return int(self.number[batch[0]])

    def batches(self, item: Int[Tensor, "some"], most: int) -> tuple[Int[Tensor, "batch"], ...]:
        """Some items in batches of about so many, of one portion after the other.

        None of them has items of two portions (see :func:`even_batches`).
        """
        number, order = self.number[item].sort(stable=True)
        sizes = torch.unique_consecutive(number, return_counts=True)[1].tolist()
        return tuple(
            batch
            for portion in item[order].split(sizes)
            for batch in portion.tensor_split(even_batches(len(portion), most))
        )

    def sum(
        self, terms: Iterable[tuple[int, Sequence[Tensor]]], like: Sequence[Tensor]
    ) -> list[Tensor]:
        """Sums over the items of all processes.

        They are of terms in each portion, then over portions in double precision, in their order.

        Parameters
        ----------
        terms : iterable of (int, sequence of Tensor)
            Of batches: the portion that each is of, and what is added. Portions rise.
        like : sequence of Tensor
            Of the shapes and precisions of the sums.

        Returns
        -------
        list of Tensor
            As `like`.
        """
        sizes = [each.numel() for each in like]
        of_portions = (
            (portion, _flat_sum(some, like)) for portion, some in groupby(terms, key=itemgetter(0))
        )
        total = torch.zeros(sum(sizes), dtype=torch.float64)
        for of_portion in (
            self._all(of_portions, total)
            if self.processes.count > 1
            else (each for _, each in of_portions)
        ):
            total += of_portion
        return [
            part.view_as(each).to(each.dtype)
            for part, each in zip(total.split(sizes), like, strict=True)
        ]

    def _all(self, of_portions: Iterator[tuple[int, Tensor]], like: Tensor) -> Iterator[Tensor]:
        """What each process has of its portions, from the first to the last of them.

        It is zero of those that none has.
        """
        own = dict(of_portions)
        for some in torch.arange(self.count).split(max(1, MOST_TOGETHER // max(1, len(like)))):
            yield from self.processes.total(
                torch.stack([own.pop(portion, torch.zeros_like(like)) for portion in some.tolist()])
            )


def _flat_sum(terms: Iterable[tuple[int, Sequence[Tensor]]], like: Sequence[Tensor]) -> Tensor:
    """The sum of some terms, one tensor behind the other, in double precision."""
    sums = [torch.zeros_like(each) for each in like]
    for _, values in terms:
        for so_far, value in zip(sums, values, strict=True):
            so_far += value
    return torch.cat([each.flatten().double() for each in sums])


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that torchrun started together with this one; without it, this one alone.

    Yields
    ------
    Processes

    Raises
    ------
    ProcessLostError
        Inside, from a sum or a wait, where another of them has ended.

    Examples
    --------
    >>> with joined_processes() as processes:
    ...     processes.first
    True
    """
    count = int(environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Processes()
        return
    _find_the_others()
    try:
        yield Processes(
            torch.distributed.get_rank(), count, int(environ.get("LOCAL_WORLD_SIZE", count))
        )
    finally:
        torch.distributed.destroy_process_group()


def _find_the_others() -> None:
    """Wait until all processes have found each other, so that a signal ends the wait.

    Where one is lost, torchrun sends it.
    """
    errors: list[BaseException] = []

    def find() -> None:
        try:
            torch.distributed.init_process_group("gloo")
        except BaseException as error:
            errors.append(error)

    # the library waits without looking at signals: not in the thread that takes them
    thread = Thread(target=find, daemon=True)
    thread.start()
    thread.join()
    if errors:
        with _loss_is_told():
            raise errors[0]


@contextmanager
def _loss_is_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError(
            "another process of this run has ended, and what it said last says why; nothing that "
            "was finished is lost: the same command with --resume goes on "
            f"({str(error).splitlines()[0]})"
        ) from error

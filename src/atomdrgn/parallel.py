"""Batches on several threads, each of which does whole batches with one thread of arithmetic; and shares of several processes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from os import environ
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from .errors import ProcessLostError

T, R = TypeVar("T"), TypeVar("R")
_workers: ContextVar[int | None] = ContextVar("workers", default=None)


@contextmanager
def whole_batches_on_threads() -> Iterator[None]:
    """Inside, every operation runs on one thread, and :func:`in_order` has as many workers as torch had threads.

    The matrices of a fit are small: shared among threads an operation waits longer for its helpers than it works, by a factor
    of a hundred where other programs hold the cores.
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
    """Results of `function` for each batch, in the order of the batches whatever the number of workers: sums repeat exactly.

    At most two batches a worker are under way.
    """
    with whole_batches_on_threads():
        workers = _workers.get()
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
    """The processes that share one piece of work: each knows everything and does its share of the particles.

    Parameters
    ----------
    rank : int
        This one, from 0.
    count : int
        All of them.
    here : int
        Of them, those on this machine.
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
        """First and last + 1 of the items that are this process's: a run of about as much work as the others'."""
        done = size.cumsum(0)
        ends = torch.searchsorted(done, torch.arange(1, self.count) * (int(done[-1]) / self.count)).tolist()
        bounds = [0, *ends, len(size)]
        return bounds[self.rank], bounds[self.rank + 1]


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that torchrun started together with this one; without it, this one alone.

    Raises
    ------
    ProcessLostError
        Inside, from a sum or a wait, where another of them has ended.
    """
    count = int(environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield Processes()
        return
    torch.distributed.init_process_group("gloo")
    try:
        yield Processes(torch.distributed.get_rank(), count, int(environ.get("LOCAL_WORLD_SIZE", count)))
    finally:
        torch.distributed.destroy_process_group()


@contextmanager
def _loss_is_told():
    try:
        yield
    except RuntimeError as error:
        raise ProcessLostError("another process of this run has ended, and what it said last says why; nothing that was finished "
                               f"is lost: the same command with --resume goes on ({str(error).splitlines()[0]})") from error

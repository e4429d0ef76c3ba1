"""Batches on several threads: each does whole batches with one thread of arithmetic, which beats splitting every product."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

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

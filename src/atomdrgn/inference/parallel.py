"""Batches on several threads: each does whole batches with one thread of arithmetic, which beats splitting every small product."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T, R = TypeVar("T"), TypeVar("R")


def in_order(function: Callable[[T], R], batches: Iterable[T]) -> Iterator[R]:
    """Results of `function` for each batch, in the order of the batches whatever the number of threads, so that sums repeat exactly.

    As many threads as torch is allowed; at most two batches a thread are under way.
    """
    threads = torch.get_num_threads()
    with _single_threaded(), ThreadPoolExecutor(threads) as pool:
        waiting: deque = deque()
        try:
            for batch in batches:
                waiting.append(pool.submit(function, batch))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _single_threaded():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

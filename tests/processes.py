"""Several processes that share one piece of work, as threads of the test."""

import threading
from concurrent.futures import ThreadPoolExecutor

from atomdrgn.parallel import Processes


def together(count, work):
    """What `work` makes of each of so many :class:`Processes`, all at once; their sums add up."""
    shared, barrier = {}, threading.Barrier(count, timeout=60)

    class Threads(Processes):
        def total(self, value):
            shared[self.rank] = value
            barrier.wait()
            found = sum(shared[rank] for rank in range(count))
            barrier.wait()
            return found

        def wait(self):
            barrier.wait()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, [Threads(rank, count) for rank in range(count)]))

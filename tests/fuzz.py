"""Mutants of all files that commands read, used as commands use them: ``python tests/fuzz.py 2000
[KIND ...]``.

Each is used, or refused by an error of ours; whatever else happens is printed and counted: another
exception, the end of the process ("crash"), more than 10 s ("slow"), more than 2 GB ("memory").
Each mutant has a seed of its own, so that the same numbers make the same mutants, one by one:
``python tests/fuzz.py 1 star 0 417`` is number 417 of the STAR files of seed 0.
"""

import json
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

from atomdrgn.errors import AtomdrgnError
from fuzz_kinds import KINDS

LONGEST = 10  # s that a mutant may take
STUCK = 60  # s after which a process that answers nothing is ended
LARGEST = 2 * 2**30  # bytes that it may take besides what the process has
MEGABYTE = 2**20


class _TooSlow(BaseException):
    """Not to be taken for an error by anything that catches errors."""


def main(kinds, mutants: int, *, seed: int = 0, first: int = 0) -> dict[str, Counter]:
    """Of each kind how many mutants were used, refused, slow, or ended in another way; as "MB" the
    most that a process took.

    A process that ends is followed by another, which goes on behind the mutant that ended it.
    """
    counts = {kind: Counter() for kind in kinds}
    for kind in kinds:
        number = first
        while number < first + mutants:
            number = _in_process(kind, number, first + mutants, seed, counts[kind])
    return counts


def read_here(kind: str, mutants: int, scratch: Path, *, seed: int = 0) -> Counter:
    """The same of a few mutants in this process: a crash ends it, memory is not looked at, and the
    machine may be busy.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = signal.signal(signal.SIGALRM, _say_slow)
        try:
            read = KINDS[kind](scratch)
            read(None)
            return Counter(
                _outcome(read, kind, number, seed, longest=STUCK) for number in range(mutants)
            )
        finally:
            signal.signal(signal.SIGALRM, before)


def _in_process(kind, first, end, seed, counts):
    """Count from the first mutant on, and return the one to go on with."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_read_mutants, args=(kind, first, end, seed, there))
    process.start()
    there.close()
    number, started = first, False
    try:
        while here.poll(STUCK * (1 if started else 5)):
            outcome, memory = here.recv()
            started = True
            if outcome is not None:
                counts[outcome] += 1
                number += 1
            counts["MB"] = max(counts["MB"], memory)
        counts["slow"] += 1
        print(f"{kind} {number} of seed {seed}: stuck", file=sys.stderr)
        process.kill()
        number += 1
    except EOFError:
        process.join()
        if not started:
            raise RuntimeError(f"{kind}: the whole cannot be used") from None
        if number < end:
            counts["crash"] += 1
            print(
                f"{kind} {number} of seed {seed}: the process ended with {process.exitcode}",
                file=sys.stderr,
            )
            number += 1
    process.join()
    return number


def _read_mutants(kind, first, end, seed, pipe):
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _say_slow)
    with tempfile.TemporaryDirectory() as scratch:
        read = KINDS[kind](Path(scratch))
        read(None)  # the whole: what is loaded and compiled is not the mutants'
        virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (virtual + LARGEST, -1))
        pipe.send((None, _memory()))
        for number in range(first, end):
            pipe.send((_outcome(read, kind, number, seed), _memory()))


def _outcome(read, kind, number, seed, *, longest=LONGEST):
    try:
        signal.alarm(longest)
        read(random.Random(f"{kind} {seed} {number}"))
        return "used"
    except AtomdrgnError:
        return "refused"
    except (Exception, _TooSlow) as error:
        print(
            f"{kind} {number} of seed {seed}:\n{traceback.format_exc()}",
            file=sys.stderr,
            flush=True,
        )
        return (
            "slow"
            if isinstance(error, _TooSlow)
            else "memory"
            if isinstance(error, MemoryError)
            else type(error).__name__
        )
    finally:
        signal.alarm(0)


def _memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MEGABYTE


def _say_slow(*_):
    raise _TooSlow


if __name__ == "__main__":
    words = sys.argv[1:]
    chosen = [word for word in words[1:] if word in KINDS] or list(KINDS)
    seed, first = [*map(int, (word for word in words[1:] if word not in KINDS)), 0, 0][:2]
    print(json.dumps(main(chosen, int(words[0]), seed=seed, first=first), indent=1))

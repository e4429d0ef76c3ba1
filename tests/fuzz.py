"""Mutants of trajectories and of runs, read as commands read them: ``python tests/fuzz.py runs 2000``, or trajectories.

Each is used, or refused by an error of ours; whatever else happens is printed. The same seed makes the same mutants.
"""

import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from atomdrgn.errors import AtomdrgnError
from atomdrgn.io.trajectories import read_trajectory, write_trajectory

LONGEST = 10.0      # s that a mutant may take


def mutant(content: bytes, chance: random.Random) -> bytes:
    """The content with some bytes changed, lost, put in, or cut off."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        if not changed:
            break
        place, how = chance.randrange(chance.choice([len(changed), min(200, len(changed))])), chance.random()
        if how < 0.5:
            changed[place] = chance.choice([0, 255, 127, 128, chance.randrange(256)])
        elif how < 0.65:
            changed[place:place + 4] = chance.choice([b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", bytes(4), b"\0\x10\0\0"])
        elif how < 0.8:
            del changed[place:]
        elif how < 0.9:
            del changed[place:place + chance.randrange(50)]
        else:
            changed[place:place] = chance.randbytes(chance.randrange(20))
    return bytes(changed)


def trajectories(scratch: Path, chance: random.Random):
    """A function that reads a mutant of a trajectory."""
    whole = []
    for ending in (".xtc", ".dcd"):
        for atoms in (5, 40, 300):
            path = scratch / f"whole{ending}"
            write_trajectory(path, np.random.default_rng(0).normal(0, 20, (4, atoms, 3)))
            whole.append((ending, path.read_bytes()))

    def read(number):
        ending, content = chance.choice(whole)
        path = scratch / f"mutant{ending}"
        path.write_bytes(mutant(content, chance))
        read_trajectory(path)

    return read


def runs(scratch: Path, chance: random.Random):
    """A function that uses a run with one file changed; structures are the matter of their readers."""
    from hinged import hinged_run, two_helices
    from test_damaged_runs import use

    whole = hinged_run(scratch, two_helices(scratch), np.linspace(-4, 4, 12)).folder
    names = sorted(path.name for path in whole.iterdir() if path.suffix != ".cif")

    def read(number):
        folder = scratch / f"run{number}"
        shutil.copytree(whole, folder)
        path = folder / chance.choice(names)
        path.write_bytes(mutant(path.read_bytes(), chance))
        try:
            use(folder, scratch / f"out{number}", thoroughly=chance.random() < 0.05)
        finally:
            for each in (folder, scratch / f"out{number}"):
                shutil.rmtree(each, ignore_errors=True)

    return read


def main(kind: str, mutants: int, seed: int = 0) -> Counter:
    """How many mutants were used, refused, slow, or ended in another way."""
    counts: Counter = Counter()
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = {"trajectories": trajectories, "runs": runs}[kind](Path(scratch), random.Random(seed))
        for number in range(mutants):
            started = time.monotonic()
            try:
                read(number)
                counts["used"] += 1
            except AtomdrgnError:
                counts["refused"] += 1
            except Exception as error:
                counts[type(error).__name__] += 1
                print(traceback.format_exc(), file=sys.stderr)
            counts["slow"] += time.monotonic() - started > LONGEST
    return +counts


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))

"""How many images would I need to tell two states of adenylate kinase apart? Simulate, fit,
compare, with more and more images.

    how_many_images.py [OUT [COUNT...]]      OUT: folder for everything, made anew; how_many by
    default

Seven particles of ten are closed (1AKE) and three are open (4AKE); the fit starts from the closed
structure and is told nothing else. A motion is supported when half of the images finds one that
makes the other half likelier. Truth is used at the end only.
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from atomdrgn import open_run
from atomdrgn.simulate.example_data import NAMES, example_file

COUNTS = (25, 100, 400)
SIMULATE = (
    "--populations 0.7,0.3 --box 32 --pixel-size 3.5 --snr 0.1 --contrast-error 0.1 "
    "--rotation-error 1 --shift-error 1"
)
FIT = "--segments 3 --resolution 10"


def main(out="how_many", *counts):
    """Print a row for each number of images."""
    out = Path(out)
    if out.exists() and not (out / "how_many.json").exists():
        sys.exit(f"{out} holds something else: name another folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "how_many.json").write_text("[]")
    rows = [row_of(out, int(count)) for count in counts or COUNTS]
    (out / "how_many.json").write_text(json.dumps(rows, indent=2))
    print("\nimages   supported motions   correlation with the truth   in the right state")
    for row in rows:
        print(
            f"{row['images']:6d} {row['supported']!s:>19} {row['correlation']:28.2f} "
            f"{row['right']:20.0%}"
        )
    return rows


def row_of(out, count):
    """Simulate, fit and compare so many images."""
    made, run = out / f"{count}", out / f"{count}.fit"
    states = [example_file(name) for name in NAMES]
    call(
        "simulate", *states, "--out", made, "--particles", count, "--seed", count, *SIMULATE.split()
    )
    call("fit", made / "base.pdb", made / "particles.star", "--out", run, *FIT.split())
    found, opened = open_run(run), np.load(made / "truth.npz")["which"] == 1
    # where nothing is supported all particles are given one structure, and more of them are closed
    along = found.latent[:, 0] if found.latent.shape[1] else np.zeros(count)
    return {
        "images": count,
        "supported": found.summary["motions_supported"],
        **agreement(along, opened),
    }


def agreement(along, opened):
    """How well places along a motion tell who is open: correlation, and the share on the right side
    of both states' middle.
    """
    if along.std() == 0:
        return {"correlation": 0.0, "right": float((~opened).mean())}
    state = along[opened].mean(), along[~opened].mean()
    right = (abs(along - state[0]) < abs(along - state[1])) == opened
    return {
        "correlation": float(abs(np.corrcoef(along, opened)[0, 1])),
        "right": float(right.mean()),
    }


def call(command, *words):
    """Run a command of this environment, after saying which."""
    print(f"$ atomdrgn {command} {shlex.join(map(str, words))}", flush=True)
    subprocess.run(
        [sys.executable, "-m", "atomdrgn", command, *map(str, words), "--quiet"], check=True
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the reproductions share: a folder, commands and their processor time, a lid that turns, and
volumes against the truth.
"""

import argparse
import resource
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from atomdrgn import VolumeRun
from atomdrgn.analysis.volumes.field_volumes import volumes_at
from atomdrgn.physics.correlation import fourier_shell_correlation, resolution_at, shell_frequencies
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.structure.beads import ATOMIC_BLUR

sys.path.insert(0, str(Path(__file__).parents[1]))
from demo import LID, NMP, adenylate_kinase, superposition, within  # noqa: E402

MARK = "made_by.txt"  # in a folder that such a script made, and may make anew


def arguments(description, name, **sizes):
    """Folder and sizes from the command line: each of `sizes` is an option with its default, and
    --quick takes the smallest.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "out", nargs="?", default=name, help=f"folder for everything, made anew; {name} by default"
    )
    for option, default in sizes.items():
        parser.add_argument(f"--{option}", type=int, default=default, help=f"{default} by default")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="seconds in place of minutes: shows that it runs, and little else",
    )
    return vars(parser.parse_args())


def begin(out, name):
    """The folder `out`, empty; what another script or a user put there is not touched."""
    out = Path(out)
    if (
        out.exists()
        and not (out.is_dir() and (out / MARK).exists())
        and not (out.is_dir() and not any(out.iterdir()))
    ):
        sys.exit(f"{out} is not of this script: name another folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).write_text(f"{name}\n")
    return out


def call(command, *words):
    """Run a command of this package on one thread, after saying which; its processor time, s."""
    print(f"$ atomdrgn {command} {shlex.join(map(str, words))}", flush=True)
    before = _children_seconds()
    subprocess.run(
        [sys.executable, "-m", "atomdrgn", command, *map(str, words), "--quiet", "--threads", "1"],
        check=True,
    )
    return _children_seconds() - before


def measured(function, *words, **more):
    """What a function gives, and its processor time, s."""
    before = time.process_time()
    return function(*words, **more), time.process_time() - before


def _children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def print_table(header, rows):
    """Rows of words as Markdown, so that a table can be kept as it is."""
    print("\n| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


# ---- the molecule -------------------------------------------------------------------------------


def turning_lid():
    """Adenylate kinase, closed; the direction of its lid's hinge; and a function from the angle by
    which the lid is open, rad, to coordinates (atom, 3), A. The lid is rigid, everything else
    stands still, and the two bonds between them stretch.
    """
    closed, path = adenylate_kinase()
    position, lid = closed.position.double().numpy(), within(closed, LID)
    rest = ~lid & ~within(closed, NMP)
    back, _, _ = superposition(path(0)[rest], position[rest])
    turn, _, _ = superposition(position[lid], back.apply(path(0)[lid]))
    axis = turn.as_rotvec() / turn.magnitude()
    ends = (closed.atom_name == "CA") & np.isin(closed.residue, (LID[0] - 1, LID[1] + 1))
    hinge = position[ends].mean(0)

    def turned(angle):
        result = position.copy()
        result[lid] = Rotation.from_rotvec(angle * axis).apply(position[lid] - hinge) + hinge
        return result

    return closed, axis, turned


# ---- volumes against the truth ------------------------------------------------------------------


def electron_density(structure, position, grid):
    """(box, box, box): density of the atoms at a conformation, electrons/A^3."""
    electrons = torch.tensor(structure.element * structure.occupancy, dtype=torch.float32)
    return density_of_atoms(
        torch.as_tensor(position, dtype=torch.float32),
        electrons,
        ATOMIC_BLUR,
        box_size=grid.box_size,
        voxel_size=grid.pixel_size,
    )


def mean_shell_correlation(volumes, truths):
    """(shell,): mean of the Fourier shell correlations of volumes with their truths."""
    return torch.stack(
        [fourier_shell_correlation(one, other) for one, other in zip(volumes, truths, strict=True)]
    ).mean(0)


def resolution(correlation, grid, threshold=0.5):
    """Where a mean shell correlation falls below a threshold, A."""
    return resolution_at(shell_frequencies(grid.box_size, grid.pixel_size), correlation, threshold)


VOLUME_HEADER = [
    "own volumes: FSC = 0.5 (A)",
    "mean FSC",
    "mean volume for all: FSC = 0.5 (A)",
    "mean FSC",
]


def compare_volumes(run: VolumeRun, structure, conformations, grid):
    """How near the volumes of some particles come to their conformations (atom, 3), beside the mean
    volume for all of them.
    """
    truths = [electron_density(structure, position, grid) for position in conformations.values()]
    own = mean_shell_correlation(volumes_at(run, run.latent[list(conformations)]), truths)
    mean = mean_shell_correlation([run.mean.density] * len(truths), truths)
    words = [
        word
        for curve in (own, mean)
        for word in (f"{resolution(curve, grid):.1f}", f"{curve[1:].mean():.3f}")
    ]
    return {"own": float(own[1:].mean()), "mean": float(mean[1:].mean()), "volumes": words}

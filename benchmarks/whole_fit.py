"""Processor time of whole fits by set, images and segments, beside that of an older version.

    python -m benchmarks.whole_fit
    python -m benchmarks.whole_fit --set FOLDER --images 1000,5000 --segments 12,60

FOLDER holds base.pdb and particles.star, of which the first images are taken; without it particles
of adenylate kinase are simulated. Every fit is the command, on one thread, in a program of its own;
versions take turns, so that what else runs disturbs them alike, and ratios are of their medians. An
older version is taken from the repository's history; where that is not there, it is left out.
What is compiled or cached at first use is made before, by a fit of a few images.
"""

import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from .scaling import simulated

ROOT = Path(__file__).parents[1]
RELEASE = "d6088f2"  # 0.1.0
FEW = 24  # images of the fit that comes before


class Cost(NamedTuple):
    """What a program took."""

    processor: float  # s
    wall: float  # s
    peak: float  # GB


def main(
    folder: Annotated[
        Path | None, typer.Option("--set", help="Folder with base.pdb and particles.star.")
    ] = None,
    images: Annotated[
        str, typer.Option(help="Numbers of images, with commas between them.")
    ] = "150",
    segments: Annotated[
        str, typer.Option(help="Numbers of segments, with commas between them.")
    ] = "8",
    against: Annotated[str, typer.Option(help="Commit of the older version.")] = RELEASE,
    resolution: Annotated[
        float | None, typer.Option(help="A, up to which images are used; by default all.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Fits of each version.")] = 1,
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        place, counts = Path(temporary), [int(count) for count in images.split(",")]
        folder = folder or simulated(place / "set", max(counts))
        versions = {"this": ROOT / "src"}
        older = source_of(against, place / "older")
        if older is None:
            print(f"{against} is not in this repository's history: this version alone")
        else:
            versions[against] = older
        choices = ["--resolution", str(resolution)] if resolution else []
        few = first_images(folder, FEW, place)
        for source in versions.values():
            fit(source, folder, few, ["--segments", "2", *choices], place / "run")
        titles = ("images", "segments", *(f"{name}, CPU s" for name in versions), "ratio", "GB")
        print(f"{folder.name}; medians of {repeats}, one thread; GB are this version's")
        print("".join(f"{title:>16}" for title in titles), flush=True)
        for count in counts:
            particles = first_images(folder, count, place)
            for number in segments.split(","):
                costs = {name: [] for name in versions}
                for _ in range(repeats):
                    for name, source in versions.items():
                        given = ["--segments", number, *choices]
                        costs[name].append(fit(source, folder, particles, given, place / "run"))
                row = compared(costs)
                print("".join(f"{value:>16}" for value in (count, number, *row)), flush=True)


def compared(costs):
    """Medians of versions' processor time, the first one's ratio to the last, and its memory."""
    medians = [statistics.median(cost.processor for cost in each) for each in costs.values()]
    peak = max(cost.peak for cost in costs["this"])
    ratio = f"{medians[0] / medians[-1]:.2f}" if len(medians) > 1 else "-"
    return *(f"{median:.1f}" for median in medians), ratio, f"{peak:.2f}"


def source_of(commit, folder):
    """The package as it was at a commit of this repository; none where that is not at hand."""
    packed = subprocess.run(
        ["git", "-C", ROOT, "archive", commit, "src"], capture_output=True, check=False
    )
    if packed.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def first_images(folder, count, place):
    """A particle file of a set's first images, beside which the set's stack is found."""
    import starfile

    table = starfile.read(folder / "particles.star", always_dict=True)
    (name,) = (name for name, each in table.items() if "rlnImageName" in each)
    table[name] = table[name].iloc[:count].copy()
    number = table[name]["rlnImageName"].str.split("@", expand=True)
    table[name]["rlnImageName"] = number[0] + "@" + str(folder.resolve()) + "/" + number[1]
    path = place / f"first{count}.star"
    starfile.write(table, path, overwrite=True)
    return path


def fit(source, folder, particles, choices, out):
    """What the command takes with the package that stands in a folder."""
    command = [sys.executable, "-m", "atomdrgn", "fit", folder / "base.pdb", particles]
    command += [*choices, "--threads", "1", "--quiet", "--overwrite", "--out", out]
    surroundings = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        program = subprocess.Popen(command, env=surroundings, stdout=said, stderr=said)
        _, status, used = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        if program.returncode:
            said.seek(0)
            sys.exit(said.read().decode())
    return Cost(
        used.ru_utime + used.ru_stime, time.monotonic() - started, used.ru_maxrss * 1024 / 1e9
    )


if __name__ == "__main__":
    typer.run(main)

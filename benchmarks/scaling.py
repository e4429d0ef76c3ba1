"""Time and memory of a whole fit by the number of images and of processes.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --set FOLDER --images 5000,20000,100000 --memory 2.5 --processes 1

Every fit is a program of its own, so that its memory is its own. FOLDER holds base.pdb and
particles.star, of which the first images are taken; without it particles of adenylate kinase are
simulated.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = Path(__file__).parents[1] / "examples"


def main(
    folder: Annotated[
        Path | None, typer.Option("--set", help="Folder with base.pdb and particles.star.")
    ] = None,
    images: Annotated[
        str, typer.Option(help="Numbers of images, with commas between them.")
    ] = "500,1000,2000,4000",
    processes: Annotated[
        str, typer.Option(help="Numbers of processes, with commas between them.")
    ] = "1,2",
    segments: Annotated[int, typer.Option()] = 12,
    memory: Annotated[float | None, typer.Option(help="GB for each process.")] = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda or cuda:N; with cuda a GPU a process.")
    ] = "cpu",
    one: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print the table."""
    if one is not None:
        fit_one(folder, int(images), segments=segments, memory=memory, out=one, device=device)
        return
    with tempfile.TemporaryDirectory() as temporary:
        counts = [int(count) for count in images.split(",")]
        folder = folder or simulated(Path(temporary) / "set", max(counts))
        print(
            f"{folder.name}, {segments} segments, {os.cpu_count()} cores, device {device}; memory "
            "is the largest process's"
        )
        titles = ("images", "processes", "seconds", "ms an image", "images a second", "peak GB")
        print("".join(f"{title:>17}" for title in titles), flush=True)
        for count in counts:
            for together in map(int, processes.split(",")):
                seconds, peak = measure(
                    folder,
                    count,
                    together,
                    segments=segments,
                    memory=memory,
                    out=Path(temporary) / "run",
                    device=device,
                )
                row = (
                    count,
                    together,
                    f"{seconds:.1f}",
                    f"{1e3 * seconds / count:.2f}",
                    f"{count / seconds:.1f}",
                    f"{peak:.2f}",
                )
                print("".join(f"{value:>17}" for value in row), flush=True)


def simulated(folder, count):
    """Particles of adenylate kinase between its open and its closed form."""
    sys.path.insert(0, str(EXAMPLE))
    import demo
    import numpy as np
    import torch

    from atomdrgn import simulate_particles

    closed, path = demo.adenylate_kinase()
    conformations = np.stack([path(s) for s in np.random.default_rng(0).uniform(0, 1, count)])
    simulate_particles(
        closed,
        torch.tensor(conformations, dtype=torch.float32),
        folder,
        grid=demo.GRID,
        snr=demo.SNR,
    )
    return folder


def measure(folder, count, processes, *, segments, memory, out, device):
    """Seconds and peak memory (GB) of a fit in a program of its own, start and end included."""
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        if processes > 1
        else []
    )
    more = ["--memory", str(memory)] if memory else []
    command = [
        sys.executable,
        *launcher,
        "-m",
        "benchmarks.scaling",
        "--set",
        str(folder),
        "--images",
        str(count),
        "--segments",
        str(segments),
        "--one",
        str(out),
        "--device",
        device,
        *more,
    ]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, max(
        float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("peak ")
    )


def fit_one(folder, count, *, segments, memory, out, device):
    """Fit the first images of a set, and print this process's peak memory."""
    import atomdrgn
    from atomdrgn.devices import choose_device
    from atomdrgn.parallel import joined_processes

    structure, particles = (
        atomdrgn.read_structure(folder / "base.pdb"),
        atomdrgn.read_particles(folder / "particles.star"),
    )
    with joined_processes() as processes:
        atomdrgn.fit(
            structure,
            particles[slice(count)],
            out,
            segments=segments,
            memory=memory,
            overwrite=True,
            processes=processes,
            device=choose_device(device, int(os.environ.get("LOCAL_RANK", "0"))),
        )
    # each process writes its line at once, so that lines of several do not mix
    os.write(
        1, f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.3f}\n".encode()
    )


if __name__ == "__main__":
    typer.run(main)

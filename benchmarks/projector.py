"""Speed of ``atomdrgn.project_beads``, forward and backward, against every bead on every row and
column, in the same run.

python -m benchmarks.projector
"""

import gc
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.project import project_beads, project_beads_dense
from atomdrgn.structure.beads import AMINO_ACID_SPREAD, ATOMIC_BLUR, MEAN_AMINO_ACID_ELECTRONS

from .reference import REFERENCE, dense_projection

# Beads, box and pixel size (A): a small protein, an antibody, a ribosome.
CASES = [(500, 128, 1.5), (1_510, 190, 1.0), (14_000, 256, 1.5)]
FILLED = 0.6  # diameter of the molecule, in boxes

# What coarse_grain gives a residue, A: an atom's width and the spread of its atoms, which varies
# from residue to residue.
RESIDUE_SPREAD = (AMINO_ACID_SPREAD, 0.2)


def main(
    batch: Annotated[int | None, typer.Option(help="Images a call; 8, on a GPU 64.")] = None,
    threads: Annotated[int, typer.Option(help="Of torch.")] = torch.get_num_threads(),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    repeats: Annotated[
        int, typer.Option(help="Calls of each method, one after the other; their median counts.")
    ] = 7,
    sigma: Annotated[
        str, typer.Option(help="Widths of beads, pixels, with commas between them.")
    ] = "1,1.5,2,3,5",
    cases: Annotated[str, typer.Option(help="Beads/box/pixel size (A) of each case.")] = ",".join(
        f"{beads}/{box}/{pixel}" for beads, box, pixel in CASES
    ),
    reference: Annotated[
        Path, typer.Option(help="File of project_dense, what speed is measured against.")
    ] = REFERENCE,
) -> None:
    """Print the table: the error is that of the images, relative to their definition,
    project_beads_dense.

    The first row of each case has the widths that coarse_grain gives to residues.
    """
    torch.set_num_threads(threads)
    batch = batch or (64 if device == "cuda" else 8)
    dense, name = dense_projection(reference)
    where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {threads} threads"
    table = Table(title=f"Forward and backward, batch {batch}, {where}\nreference: {name}")
    for title in (
        "beads",
        "box",
        "sigma, pixels",
        "ms an image",
        "images a second",
        "peak MiB",
        "reference: ms",
        "peak MiB",
        "ratio",
        "error",
    ):
        table.add_column(title, justify="right")
    for beads, box, pixel in (case.split("/") for case in cases.split(",")):
        grid = ImageGrid(int(box), float(pixel))
        for width in (None, *map(float, sigma.split(","))):
            inputs = _molecule(int(beads), batch, grid, width, device)
            table.add_row(beads, box, *_measure(inputs, grid, dense, repeats))
    Console(width=130).print(table)


def _molecule(beads, batch, grid, width, device):
    """A ball of beads at random, seen from random directions: position, amplitude, sigma."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(beads, 3, generator=generator)
    radius = 0.5 * FILLED * grid.extent * torch.rand(beads, 1, generator=generator) ** (1 / 3)
    position = radius * direction / direction.norm(dim=-1, keepdim=True)
    turn = torch.linalg.qr(torch.randn(batch, 3, 3, generator=generator)).Q
    if width is None:
        mean, deviation = RESIDUE_SPREAD
        sigma = torch.hypot(
            torch.tensor(ATOMIC_BLUR),
            mean + deviation * torch.randn(beads, generator=generator).clamp(-2, 2),
        )
    else:
        sigma = torch.full((beads,), width * grid.pixel_size)
    amplitude = MEAN_AMINO_ACID_ELECTRONS * (0.5 + torch.rand(beads, generator=generator))
    return [tensor.to(device).requires_grad_() for tensor in (position @ turn.mT, amplitude, sigma)]


def _measure(inputs, grid, dense, repeats):
    """The other cells of a row: the two methods by turns, so that what else the machine does meets
    both.
    """
    device = inputs[0].device
    weight = torch.randn(
        len(inputs[0]), grid.box_size, grid.box_size, generator=torch.Generator().manual_seed(1)
    ).to(device)
    runs = [
        lambda method=method: _forward_and_backward(method, inputs, grid, weight)
        for method in (project_beads, dense)
    ]
    # a reference of plain Gaussians is another thing where beads are narrow
    with torch.no_grad():
        images, defined = project_beads(*inputs, grid), project_beads_dense(*inputs, grid)
        error = ((images - defined).norm() / defined.norm()).item()
        del images, defined
    for run in runs:
        run()
    memory = [_peak_memory(run, device) for run in runs]
    taken = [[], []]
    for _ in range(repeats):
        for run, seconds in zip(runs, taken, strict=True):
            start = perf_counter()
            run()
            seconds.append(perf_counter() - start)
    ours, theirs = (median(seconds) / len(inputs[0]) for seconds in taken)
    width = inputs[2].detach() / grid.pixel_size
    said = (
        f"{width[0]:.1f}" if width.min() == width.max() else f"{width.min():.1f}-{width.max():.1f}"
    )
    return (
        said,
        f"{1e3 * ours:.2f}",
        f"{1 / ours:,.0f}",
        memory[0],
        f"{1e3 * theirs:.1f}",
        memory[1],
        f"{theirs / ours:.0f}",
        f"{error:.0e}",
    )


def _forward_and_backward(method, inputs, grid, weight):
    torch.autograd.grad(method(*inputs, grid), inputs, weight)
    if weight.is_cuda:
        torch.cuda.synchronize()


def _peak_memory(run, device):
    """MiB that a call takes at its height, on top of what there was; "-" where the system does not
    say.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.0f}"
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = _resident("VmRSS")
        run()
        # what earlier calls left is used again
        return f"{max(0, _resident('VmHWM') - before) / 2**10:.0f}"
    except OSError:
        return "-"


def _resident(field):
    """KiB."""
    return next(
        int(line.split()[1])
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(field)
    )


if __name__ == "__main__":
    typer.run(main)

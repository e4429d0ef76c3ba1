"""Rigid sets of beads: their images and fields as exact sums and as slices of a grid.

It prints the processor time of an image by both, and what the estimate chooses, so that the costs
in `atomdrgn.physics.projection.rigid_slices` can be measured on another machine.

    OMP_NUM_THREADS=1 python -m benchmarks.rigid_slices
"""

import time
from collections.abc import Callable
from functools import partial

import torch

from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.bead_transform import bead_transform
from atomdrgn.physics.projection.rigid_slices import make_rigid_slices, slices_are_quicker
from atomdrgn.physics.rotations import matrix_from_quaternion

from .molecules import globular_protein

REPEATS = 7


def processor_time(work: Callable[[], object]) -> float:
    """Least of some repeats, s."""
    work()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(301)
    quaternion = torch.randn(4, 4, generator=generator)
    turn = matrix_from_quaternion(quaternion / quaternion.norm(dim=1, keepdim=True))
    origin = torch.zeros(4, 2)
    print("box  resolution  beads  fields  sum (ms)  slices (ms)  chosen  grid (s)")
    for box, pixel_size, resolution in ((64, 3.0, 8.0), (128, 2.0, 6.0), (256, 1.6, 5.0)):
        disc = make_disc(ImageGrid(box, pixel_size), resolution)
        reach = float(torch.hypot(disc.kx, disc.ky).max())
        for count in (50, 100, 200, 400, 800):
            beads = globular_protein(count, generator=generator)
            start = time.process_time()
            slices = make_rigid_slices(beads.position, beads.sigma, beads.amplitude, reach=reach)
            made = time.process_time() - start
            seen = turn @ beads.position.T
            field = beads.amplitude * torch.cat([torch.ones_like(seen[:, :1]), seen], 1)
            for fields, cut in ((1, slices.images), (4, slices.fields)):
                some = field[:, :fields].mT
                summed = partial(bead_transform, seen[:, :2].mT, beads.sigma, disc, weight=some)
                sliced = partial(cut, turn, origin, disc)
                by_sum, by_slices = (processor_time(each) / len(turn) for each in (summed, sliced))
                chosen = "slices" if slices_are_quicker(count, fields, disc) else "sum"
                print(
                    f"{box:3d}  {resolution:10.1f}  {count:5d}  {fields:6d}  {1e3 * by_sum:8.3f}"
                    f"  {1e3 * by_slices:11.3f}  {chosen:6s}  {made:8.3f}"
                )


if __name__ == "__main__":
    main()

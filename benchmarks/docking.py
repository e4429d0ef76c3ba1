"""Whether ``atomdrgn.dock`` finds a model's place again: turned and moved at random, against where
the files have it.

python -m benchmarks.docking map.mrc model.pdb
python -m benchmarks.docking map.mrc part1.pdb part2.pdb --starts 4
"""

import math
import warnings
from pathlib import Path
from time import process_time
from typing import Annotated

import numpy as np
import torch
import typer
from scipy.spatial.transform import Rotation

from atomdrgn.docking.docking import dock
from atomdrgn.io.structure_files.structures import read_gemmi
from atomdrgn.physics.maps.maps import mirrored
from atomdrgn.structure.atoms import structure_from_gemmi
from atomdrgn.structure.density_map import read_density_map
from atomdrgn.structure.placement import moved_rigidly

FURTHEST = 200.0  # A, along each axis, that a model is moved


def main(
    map_file: Annotated[Path, typer.Argument(help="MRC file.")],
    models: Annotated[
        list[Path],
        typer.Argument(
            help="The model, in its place in the frame of the map; several files are one."
        ),
    ],
    starts: Annotated[int, typer.Option(help="How often it is turned and moved.")] = 8,
    first: Annotated[
        int, typer.Option(help="Seed of the first start; those of the others follow.")
    ] = 1,
    mirror: Annotated[
        bool, typer.Option("--mirror", help="Give the mirror image of the map.")
    ] = False,
    threads: Annotated[int, typer.Option(help="Of torch.")] = torch.get_num_threads(),
) -> None:
    """Print a line for each start: error of the placement, how well it fits and how far it is
    ahead.
    """
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")
    source = read_gemmi(models[0])
    for more in models[1:]:
        for chain in read_gemmi(more)[0]:
            source[0].add_chain(chain)
    structure, density_map = (
        structure_from_gemmi(source, name=models[0].name),
        read_density_map(map_file),
    )
    given = density_map.with_density(mirrored(density_map.density)) if mirror else density_map
    print(
        "start  error (deg)  centre (A)  to (A)  correlation  shells   second behind (s.e.)   "
        "mirror behind (s.e.)  hand      CPU (s)"
    )
    for seed in range(first, first + starts):
        turn = Rotation.random(random_state=seed).as_matrix()
        move = np.random.default_rng(seed).uniform(-FURTHEST, FURTHEST, 3)
        astray = moved_rigidly(structure, turn, move)
        began = process_time()
        found = dock(astray, given, frame="map")
        spent = process_time() - began
        angle = math.degrees(Rotation.from_matrix(found.rotation @ turn).magnitude())
        apart = float((found.structure.position - structure.position).mean(0).norm())
        second, other_hand = (
            f"{other.behind:.3f} ({other.behind / other.error:.1f})" if other else ""
            for other in (found.second, found.mirror)
        )
        print(
            f"{seed:5d} {angle:12.2f} {apart:11.2f} {found.resolution:7.1f} "
            f"{found.correlation:12.3f} {found.placement.score:7.3f} {second:>22} {other_hand:>22} "
            f" {found.hand:<8} {spent:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)

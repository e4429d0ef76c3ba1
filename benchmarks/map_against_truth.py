"""How far a map of a simulated set agrees with the truth: python -m benchmarks.map_against_truth
MAP.mrc SET

SET holds truth.npz with atoms in the frame of the poses: `reference` (atom, 3), their `weight`,
their width `sigma` (A). Printed are the FSC with the truth at each frequency, nothing masked, and
the resolution at which it falls to 0.5.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from atomdrgn import read_density_map
from atomdrgn.physics.correlation import fourier_shell_correlation, resolution_at, shell_frequencies
from atomdrgn.physics.maps.atom_density import density_of_atoms


def main(map_file, folder):
    density = read_density_map(map_file)
    truth = np.load(Path(folder) / "truth.npz")
    position, weight = (torch.from_numpy(truth[name]).float() for name in ("reference", "weight"))
    true = density_of_atoms(
        position,
        weight,
        float(truth["sigma"]),
        box_size=density.box_size,
        voxel_size=density.voxel_size,
    )
    correlation, frequency = (
        fourier_shell_correlation(density.density, true),
        shell_frequencies(density.box_size, density.voxel_size),
    )
    for k, value in zip(frequency.tolist(), correlation.tolist(), strict=True):
        print(f"{k:.5f} {value:.4f}")
    print(f"FSC 0.5 at {resolution_at(frequency, correlation, 0.5):.2f} A")


if __name__ == "__main__":
    main(*sys.argv[1:])

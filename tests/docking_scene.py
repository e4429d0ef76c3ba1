"""A small molecule without symmetry, and its map."""

import numpy as np
import torch

from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.physics.maps.maps import window
from atomdrgn.structure.atoms import Structure
from atomdrgn.structure.density_map import DensityMap
from molecules import helix, write_pdb


def three_helices(folder):
    """Path of a file with three helices of 24, 16 and 10 residues, side by side and at different
    heights.
    """
    return write_pdb(
        folder / "base.pdb",
        helix("A", 24, start=(0, 0, 0)),
        helix("B", 16, start=(11, 2, 4)),
        helix("C", 10, start=(4, 12, -9)),
    )


def map_of(
    structure: Structure,
    *,
    shape=(36, 40, 36),
    voxel_size=2.0,
    centre=(0.0, 0.0, 0.0),
    noise=0.0,
    seed=0,
) -> DensityMap:
    """Density of a structure's atoms (1.5 A wide) about `centre`, and white noise of so many
    standard deviations of it.
    """
    place = structure.position.double() - torch.tensor(centre, dtype=torch.float64)
    box = density_of_atoms(
        place,
        torch.as_tensor(structure.element).double(),
        1.5,
        box_size=max(shape),
        voxel_size=voxel_size,
    )
    density = window(box, shape)
    generator = np.random.default_rng(seed)
    density = density + noise * float(density.std()) * torch.from_numpy(
        generator.normal(size=shape).astype(np.float32)
    )
    return DensityMap(density, voxel_size, centre, "consensus.mrc")

"""Particles of two helices that stand still, and the same particles with other CTFs and as tilt
series.
"""

import pytest
import torch

from atomdrgn.particles.reading import read_particles
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.simulate import simulate_particles
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import ATOMIC_BLUR
from hinge import make_hinged
from molecules import helix, write_pdb


@pytest.fixture(scope="session")
def hinged(tmp_path_factory):
    """Structure, particles and the angle of each (rad)."""
    return make_hinged(tmp_path_factory.mktemp("hinged"))


@pytest.fixture(scope="session")
def still(tmp_path_factory):
    """Structure, particles (600 images, box 32, 4 A a pixel) and the true density."""
    folder = tmp_path_factory.mktemp("still")
    lines = helix("A", 24, start=(-12, -4, -18)) + helix(
        "A", 24, first=25, start=(10, 6, -14), serial=500
    )
    structure = read_structure(write_pdb(folder / "base.pdb", lines))
    grid = ImageGrid(32, 4.0)
    star = simulate_particles(
        structure, structure.position.expand(600, -1, 3), folder, grid=grid, snr=0.5
    )
    truth = density_of_atoms(
        structure.position,
        torch.as_tensor(structure.element).float(),
        ATOMIC_BLUR,
        box_size=32,
        voxel_size=4.0,
    )
    return structure, read_particles(star), truth

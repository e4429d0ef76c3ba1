"""Particles of two states that tests of volumes on latents share."""

import pytest
import torch

from atomdrgn import ImageGrid, read_particles, read_structure, simulate_particles
from molecules import helix, write_pdb

COUNT = 200
AWAY = torch.tensor([-24.0, 34.0, 0.0])  # A, where the third helix is in the second state


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """Structure, particles, the state of each, and how far a helix moves from one to the other."""
    folder = tmp_path_factory.mktemp("scene")
    lines = sum(
        (
            helix("A", 30, first=1 + 30 * k, start=(12.0 * k - 12, 0, -20), serial=1000 * k)
            for k in range(3)
        ),
        [],
    )
    structure = read_structure(write_pdb(folder / "base.pdb", lines))
    state = torch.rand(COUNT, generator=torch.Generator().manual_seed(301)) < 0.5
    moving = torch.as_tensor(structure.residue > 60)[:, None] * AWAY
    particles = read_particles(
        simulate_particles(
            structure,
            structure.position + state[:, None, None] * moving,
            folder / "set",
            grid=ImageGrid(24, 4.0),
            snr=0.2,
            generator=torch.Generator().manual_seed(302),
        )
    )
    return structure, particles, state.numpy(), AWAY

"""A small set of particles of a molecule with a hinge."""

import math
import shutil

import numpy as np
import torch

from atomdrgn.particles.reading import read_particles
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.simulate import simulate_particles
from atomdrgn.structure.atoms import read_structure
from molecules import helix, write_pdb


def make_hinged(folder, *, count=150, snr=0.3, largest=25.0, middle=0.0, bend=0.0):
    """Structure, particles and the angle of each (rad): two bundles of helices, the second turning
    about its foot.

    Angles are spread evenly up to the `largest` (degrees) to both sides of the `middle`. At the
    largest one the second bundle is bent by `bend` times :func:`bow`.
    """
    bundles = [
        helix(chain, 40, first=first, start=(x, y, z), serial=1000 * k)
        for k, (chain, first, x, y, z) in enumerate(
            [
                ("A", 1, -6.0, -8.0, -45.0),
                ("A", 41, 6.0, -8.0, -45.0),
                ("A", 81, 0.0, 4.0, -45.0),
                ("B", 1, -6.0, -8.0, 16.0),
                ("B", 41, 6.0, -8.0, 16.0),
                ("B", 81, 0.0, 4.0, 16.0),
            ]
        )
    ]
    structure = read_structure(
        write_pdb(folder / "base.pdb", sum(bundles[:3], []), sum(bundles[3:], []))
    )
    generator = torch.Generator().manual_seed(0)
    angle = math.radians(middle) + math.radians(largest) * (
        2 * torch.rand(count, generator=generator) - 1
    )
    turn = matrix_from_vector(angle[:, None] * torch.tensor([1.0, 0.0, 0.0]))
    upper = torch.from_numpy(structure.chain == "B")
    foot = torch.tensor([0.0, -4.0, 15.0])
    bent = structure.position + (bend * angle / max(math.radians(largest), 1e-9))[
        :, None, None
    ] * bow(structure.position)
    moved = torch.einsum("pij,paj->pai", turn, bent - foot) + foot
    atoms = torch.where(upper[:, None], moved, structure.position)
    star = simulate_particles(
        structure, atoms, folder, grid=ImageGrid(48, 3.5), snr=snr, generator=generator
    )
    return structure, read_particles(star), angle


def bow(position):
    """Offsets of up to 1 A that bend each bundle, which no rigid motion of segments does."""
    z = position[:, 2]
    middle = torch.where(z > 0, 46.0, -15.0)
    off = ((z - middle) / 30) ** 2 - 1 / 3
    return torch.stack([off, torch.zeros_like(off), torch.zeros_like(off)], 1)


def with_pixels(particles, folder, change):
    """The particles of a folder of their own, whose pixels (image, y, x) `change` has altered in
    place.
    """
    shutil.copytree(particles.source.parent, folder)
    (stack,) = folder.glob("*.mrcs")
    box = particles.grid.box_size
    change(np.memmap(stack, np.float32, "r+", offset=1024, shape=(len(particles), box, box)))
    return read_particles(folder / particles.source.name)

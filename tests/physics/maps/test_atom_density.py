import math

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.errors import InputError
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.physics.projection.project import project_beads


def random_atoms(count=20, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return 12 * torch.randn(count, 3, generator=generator), 1 + torch.rand(
        count, generator=generator
    )


def test_one_atom_is_a_gaussian():
    density = density_of_atoms(
        torch.tensor([[2.0, 4.0, -6.0]]), torch.tensor([7.0]), 4.0, box_size=33, voxel_size=2.0
    )
    assert density[16 - 3, 16 + 2, 16 + 1].item() == pytest.approx(
        7 / (2 * math.pi * 16) ** 1.5, rel=1e-4
    )
    assert density[16 - 3, 16 + 2, 16 + 3].item() == pytest.approx(
        7 / (2 * math.pi * 16) ** 1.5 * math.exp(-0.5), rel=1e-3
    )
    assert float(density.sum()) * 8 == pytest.approx(7, rel=1e-4)


@pytest.mark.parametrize("sigma", [0.9, 3.5])
def test_its_projection_is_that_of_the_beads(sigma):
    position, amplitude = random_atoms()
    grid, width = ImageGrid(48, 2.0), torch.full((len(position),), sigma)
    density = density_of_atoms(position, amplitude, width, box_size=48, voxel_size=2.0)
    beads = project_beads(position[None], amplitude, width, grid)[0]
    # what is narrow rings, round the box here and away from it there
    assert_close(
        2.0 * density.sum(0), beads, atol=(2e-2 if sigma < 2 else 2e-3) * float(beads.max()), rtol=0
    )


def test_what_lies_outside_is_left_out():
    atoms = torch.tensor([[500.0, 0, 0], [0, 0, -500]])
    assert not density_of_atoms(atoms, torch.ones(2), 3.0, box_size=16, voxel_size=2.0).any()
    assert not density_of_atoms(
        torch.zeros(0, 3), torch.zeros(0), 3.0, box_size=16, voxel_size=2.0
    ).any()


def test_a_width_of_nothing_is_refused():
    with pytest.raises(InputError, match="positive"):
        density_of_atoms(torch.zeros(1, 3), torch.ones(1), 0.0, box_size=16, voxel_size=2.0)

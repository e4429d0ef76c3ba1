"""Beads and atoms of a base model that moves bead by bead."""

import pytest
import torch

from atomdrgn import read_structure
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.bead_deformation import BeadDeformation
from atomdrgn.structure.motion.deformation import Deformation
from molecules import helix, write_pdb


@pytest.fixture(scope="module")
def structure(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pdb"
    return read_structure(write_pdb(path, helix("A", 12), helix("B", 9, start=(12.0, 0.0, 0.0))))


def mobile_beads(structure, *, n_latent=2):
    """Offsets drawn at random, and none at a latent of zeros."""
    beads = coarse_grain(structure, beads=2)
    mode = torch.randn(n_latent, len(beads), 3, generator=torch.Generator().manual_seed(0))
    return BeadDeformation(beads, mode, torch.zeros(len(beads), 3))


def test_nothing_moves_at_a_latent_of_zeros(structure):
    moving = mobile_beads(structure)
    motion = moving.motion(torch.zeros(3, 2))
    torch.testing.assert_close(moving.beads(motion), moving.model.position.expand(3, -1, -1))
    torch.testing.assert_close(
        moving.atoms(motion, structure.position),
        structure.position.expand(3, -1, -1),
        atol=1e-4,
        rtol=0,
    )


def test_offsets_are_linear_in_the_latent(structure):
    moving = mobile_beads(structure)
    offset = moving.motion(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, -3.0]])).offset
    torch.testing.assert_close(offset[2], 2 * offset[0] - 3 * offset[1])
    torch.testing.assert_close(offset[1], moving.mode[1])


def test_atoms_go_and_turn_with_a_chain_that_turns(structure):
    """Many conformations at once and one by one."""
    moving = mobile_beads(structure, n_latent=1)
    turn = matrix_from_vector(torch.tensor([0.3, 0.5, -0.2]))
    position = moving.model.position
    turned = BeadDeformation(moving.model, (position @ turn.T + 4 - position)[None], moving.shift)
    latent = torch.tensor([[0.0], [1.0]])
    atoms = turned.atoms(turned.motion(latent), structure.position)
    torch.testing.assert_close(atoms[1], structure.position @ turn.T + 4, atol=0.15, rtol=0)
    torch.testing.assert_close(
        atoms, torch.stack([turned.atoms(turned.motion(one), structure.position) for one in latent])
    )


def test_its_jacobian_is_that_of_what_it_does(structure):
    """Against the one that every deformation has, by automatic differentiation."""
    moving = mobile_beads(structure)
    latent, some = torch.tensor([0.5, -1.0]), torch.tensor([4, 0, 17])
    jacobian = moving.bead_jacobian(latent, some)
    torch.testing.assert_close(jacobian, Deformation.bead_jacobian(moving, latent, some))
    moved = moving.conformation(latent + 1e-2).position - moving.conformation(latent).position
    torch.testing.assert_close(moved[some], 1e-2 * jacobian.sum(-1), atol=1e-4, rtol=0)
    length2 = (jacobian.sum(-1) ** 2).sum(-1).mean()
    metric = moving.trace_metric(some, latent)
    torch.testing.assert_close(metric.sum(), length2)

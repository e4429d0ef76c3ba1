"""Atoms follow beads that have moved one by one."""

import torch

from atomdrgn import read_structure
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.lifting import chain_turns, lift_residues, small_turns
from molecules import atom_line, helix, write_pdb


def model(tmp_path, *groups):
    structure = read_structure(write_pdb(tmp_path / "model.pdb", *groups))
    return structure, coarse_grain(structure, beads=2)


def test_a_rigid_motion_is_undone_nowhere(tmp_path):
    ion = [atom_line(900, "ZN", "ZN", "A", 200, (8.0, 0.0, 5.0), element="ZN", record="HETATM")]
    structure, beads = model(tmp_path, helix("A", 12), helix("B", 9, start=(12.0, 0.0, 0.0)), ion)
    turn, shift = matrix_from_vector(torch.tensor([0.4, -1.2, 0.7])), torch.tensor([3.0, -2.0, 8.0])
    lifted = lift_residues(structure.position, beads, beads.position @ turn.T + shift)
    torch.testing.assert_close(lifted, structure.position @ turn.T + shift, atol=0.15, rtol=0)


def test_chains_turn_by_themselves(tmp_path):
    _, beads = model(tmp_path, helix("A", 12), helix("B", 12, start=(12.0, 0.0, 0.0)))
    turn = matrix_from_vector(torch.tensor([1.0, 0.0, 0.0]))
    second = torch.from_numpy(beads.chain == "B")
    found = chain_turns(
        beads, torch.where(second[:, None], beads.position @ turn.T, beads.position)
    )
    torch.testing.assert_close(
        found[~second], torch.eye(3).expand_as(found[~second]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(found[second], turn.expand_as(found[second]), atol=0.1, rtol=0)


def test_many_conformations_are_lifted_as_one_by_one(tmp_path):
    structure, beads = model(tmp_path, helix("A", 8), helix("B", 5, start=(12.0, 0.0, 0.0)))
    moved = beads.position + torch.randn(
        3, len(beads), 3, generator=torch.Generator().manual_seed(0)
    )
    together = lift_residues(structure.position, beads, moved)
    torch.testing.assert_close(
        together, torch.stack([lift_residues(structure.position, beads, one) for one in moved])
    )


def test_a_single_residue_and_a_doubted_model_do_not_turn(tmp_path):
    _, beads = model(tmp_path, helix("A", 1), helix("B", 6, start=(12.0, 0.0, 0.0)))
    turned = beads.position @ matrix_from_vector(torch.tensor([0.0, 0.5, 0.0])).T
    doubted = chain_turns(beads, turned, doubt=100.0)
    torch.testing.assert_close(doubted, torch.eye(3).expand_as(doubted), atol=0.01, rtol=0)


def test_small_turns_are_those_of_chains(tmp_path):
    ion = [atom_line(900, "ZN", "ZN", "A", 200, (8.0, 0.0, 5.0), element="ZN", record="HETATM")]
    _, beads = model(tmp_path, helix("A", 12), helix("B", 9, start=(12.0, 0.0, 0.0)), ion)
    offset = 0.05 * torch.randn(3, len(beads), 3, generator=torch.Generator().manual_seed(0))
    vector = small_turns(beads)(offset)
    torch.testing.assert_close(
        matrix_from_vector(vector), chain_turns(beads, beads.position + offset), atol=2e-3, rtol=0
    )
    assert vector.abs().max() > 0.01
    torch.testing.assert_close(small_turns(beads)(2 * offset), 2 * vector)

"""A superposition undoes a rigid motion exactly, never mirrors, and is the best there is."""

import torch
from scipy.spatial.transform import Rotation

from atomdrgn.structure.superposition import superpose


def test_a_rigid_motion_is_found():
    base = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
    turn = torch.from_numpy(Rotation.random(4, random_state=1).as_matrix())
    shift = torch.tensor([[1.0, 2, 3], [0, 0, 0], [-30, 5, 2], [7, 7, 7]], dtype=torch.float64)
    found, moved = superpose(base, base @ turn.mT + shift[:, None])
    torch.testing.assert_close(found, turn)
    torch.testing.assert_close(moved, shift)


def test_a_mirror_image_is_turned_and_not_mirrored():
    base = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    turn, _ = superpose(base, (base * torch.tensor([1.0, 1.0, -1.0]))[None])
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(1))


def test_no_turn_nearby_is_better():
    generator = torch.Generator().manual_seed(3)
    base, there = (torch.randn(12, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    turn, shift = superpose(base, there[None])
    left = (base @ turn[0].T + shift - there).square().sum()
    for vector in 0.05 * torch.randn(20, 3, generator=generator, dtype=torch.float64):
        other = torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix()) @ turn[0]
        best_shift = there.mean(0) - other @ base.mean(0)
        assert (base @ other.T + best_shift - there).square().sum() > left

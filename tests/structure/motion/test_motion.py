import math

import torch

from atomdrgn.physics.rotations import matrix_from_quaternion, quaternion_from_vector
from atomdrgn.structure.motion.motion import RigidMotion, blended_rotation


def random_motion(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    turn, shift = torch.randn(2, *shape, 3, generator=generator)
    return RigidMotion(quaternion_from_vector(turn), shift)


POINTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(3)) * 10
CENTROID = torch.randn(4, 3, generator=torch.Generator().manual_seed(4)) * 5
HARD = torch.eye(4).repeat(5, 1)


def test_a_segment_turns_about_its_own_centroid():
    motion = RigidMotion(
        quaternion_from_vector(torch.tensor([[0.0, 0.0, math.pi / 2]])),
        torch.tensor([[0.0, 0.0, 5.0]]),
    )
    point = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    moved = motion.apply(point, torch.tensor([[2.0, 1.0, 0.0]]), weight=torch.ones(2, 1))
    torch.testing.assert_close(moved, torch.tensor([[2.0, 2.0, 5.0], [2.0, 1.0, 5.0]]))


def test_distances_within_a_segment_are_kept():
    moved = random_motion(2, 4).apply(POINTS, CENTROID, weight=HARD)
    for segment in range(4):
        torch.testing.assert_close(
            torch.cdist(moved[0, segment::4], moved[0, segment::4]),
            torch.cdist(POINTS[segment::4], POINTS[segment::4]),
            rtol=1e-4,
            atol=1e-4,
        )


def test_a_motion_undone():
    motion = random_motion(4)
    back = motion.rotation * torch.tensor([1.0, -1.0, -1.0, -1.0])
    shift = -(matrix_from_quaternion(back) @ motion.translation[..., None])[..., 0]
    moved = motion.apply(POINTS, CENTROID, weight=HARD)
    undone = RigidMotion(back, shift).apply(moved, CENTROID, weight=HARD)
    torch.testing.assert_close(undone, POINTS, rtol=1e-4, atol=1e-4)


def test_borders_are_blended():
    motion = RigidMotion(
        quaternion_from_vector(torch.zeros(2, 3)), torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    )
    moved = motion.apply(POINTS[:1], CENTROID[:2], weight=torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(moved - POINTS[:1], torch.tensor([[3.0, 0.0, 0.0]]))


def test_the_blend_is_a_weighted_sum_of_moved_copies():
    motion = random_motion(2, 3, 4)
    weight = torch.softmax(torch.randn(20, 4, generator=torch.Generator().manual_seed(5)), 1)
    # (2, 3, segment, 1, 3, 3)
    matrix = matrix_from_quaternion(motion.rotation)[..., None, :, :]
    copies = (matrix @ (POINTS - CENTROID[:, None])[..., None])[..., 0] + (
        CENTROID + motion.translation
    )[..., None, :]
    expected = (weight.T[..., None] * copies).sum(-3)
    moved = motion.apply(POINTS, CENTROID, weight=weight)
    assert moved.shape == (2, 3, 20, 3)
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5)


def test_blended_rotation_is_a_rotation_whatever_the_signs_of_the_quaternions():
    motion = random_motion(4)
    flipped = RigidMotion(
        motion.rotation * torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None], motion.translation
    )
    weight = torch.tensor([[0.5, 0.5, 0, 0], [0, 0.2, 0.8, 0], [0, 0, 0, 1.0]])
    rotation = blended_rotation(motion, weight)
    torch.testing.assert_close(rotation, blended_rotation(flipped, weight), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        rotation @ rotation.transpose(-1, -2), torch.eye(3).expand(3, 3, 3), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        rotation[2], matrix_from_quaternion(motion.rotation[3]), rtol=1e-4, atol=1e-5
    )

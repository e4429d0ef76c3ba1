import math

import torch
from torch.testing import assert_close

from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_vector


def test_rotation_comes_first_then_the_shift_in_the_plane():
    quarter_about_z = matrix_from_vector(torch.tensor([0.0, 0.0, math.pi / 2]))
    pose = Pose(quarter_about_z, torch.tensor([10.0, 20.0]))
    assert_close(pose.apply(torch.tensor([[1.0, 0.0, 5.0]])), torch.tensor([[10.0, 21.0, 5.0]]))


def test_one_molecule_takes_many_poses():
    pose = Pose(torch.eye(3).expand(4, 3, 3), torch.arange(8.0).reshape(4, 2))
    assert pose.apply(torch.zeros(7, 3)).shape == (4, 7, 3)


def test_a_pose_is_picked_like_a_row():
    pose = Pose(torch.eye(3).expand(4, 3, 3), torch.arange(8.0).reshape(4, 2))
    assert_close(pose[2].shift, torch.tensor([4.0, 5.0]))
    assert pose[1:3].rotation.shape == (2, 3, 3)
    assert pose[torch.tensor([True, False, False, True])].shift.tolist() == [[0, 1], [6, 7]]
    assert pose.to(torch.float64).shift.dtype == torch.float64

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from atomdrgn.physics.rotations import (
    cross_matrix,
    euler_from_matrix,
    left_jacobian,
    left_jacobian_slope,
    matrix_from_euler,
    matrix_from_quaternion,
    matrix_from_vector,
    quaternion_from_vector,
    uniform_rotations,
    vector_from_matrix,
    vector_from_quaternion,
)


@pytest.fixture
def vector():
    """Rotation vectors of all lengths below pi, zero and a tiny one among them."""
    direction = torch.nn.functional.normalize(
        torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    )
    angle = torch.cat([torch.tensor([0.0, 1e-9, 1e-4, 1e-3, 3.14]), torch.linspace(0.01, 3.1, 15)])
    return direction * angle[:, None].double()


@pytest.fixture
def euler():
    """Angles in degrees, as RELION writes them."""
    rot = torch.tensor([0.0, 10, 190, -75, 30, 30, 123.4])
    tilt = torch.tensor([0.0, 0.5, 90, 120, 0, 180, 45.6])
    psi = torch.tensor([0.0, 20, -10, 179, 50, 50, -98.7])
    return torch.stack([rot, tilt, psi], -1).double()


def test_relion_angles_are_the_transpose_of_scipys_intrinsic_zyz(euler):
    scipy = torch.from_numpy(Rotation.from_euler("ZYZ", euler.numpy(), degrees=True).as_matrix())
    assert_close(matrix_from_euler(euler.deg2rad()), scipy.transpose(-1, -2))


def test_rot_alone_turns_the_molecule_backwards_about_z():
    quarter = matrix_from_euler(torch.tensor([math.pi / 2, 0.0, 0.0]))
    assert_close(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, -1, 0]), atol=1e-7, rtol=0)


def test_angles_of_a_matrix_give_the_matrix_back(euler):
    matrix = matrix_from_euler(euler.deg2rad())
    assert_close(matrix_from_euler(euler_from_matrix(matrix)), matrix)


def test_angles_of_a_matrix_are_the_angles_it_was_made_from():
    angles = torch.tensor([0.3, 1.1, -2.0])
    assert_close(euler_from_matrix(matrix_from_euler(angles)), angles)


def test_a_vector_turns_as_in_scipy(vector):
    assert_close(
        matrix_from_vector(vector),
        torch.from_numpy(Rotation.from_rotvec(vector.numpy()).as_matrix()),
    )


def test_a_rotation_is_undone_by_its_opposite(vector):
    identity = torch.eye(3, dtype=torch.float64).expand(len(vector), 3, 3)
    assert_close(matrix_from_vector(vector) @ matrix_from_vector(-vector), identity)


def test_a_quaternion_gives_its_vector_back(vector):
    assert_close(vector_from_quaternion(quaternion_from_vector(vector)), vector)


@pytest.mark.parametrize(
    "axis", [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [-0.6, 0, 0.8], [0.48, -0.6, -0.64]]
)
def test_a_matrix_gives_its_vector_back_up_to_half_a_turn(vector, axis):
    angle = torch.tensor([0.5, 2.5, math.pi - 1e-3, math.pi - 1e-9], dtype=torch.float64)
    about = angle[:, None] * torch.tensor(axis, dtype=torch.float64)
    for turn in (vector, about):
        assert_close(vector_from_matrix(matrix_from_vector(turn)), turn, atol=1e-9, rtol=0)
        single = turn.float()
        assert_close(
            matrix_from_vector(vector_from_matrix(matrix_from_vector(single))),
            matrix_from_vector(single),
            atol=2e-6,
            rtol=0,
        )


def test_half_a_turn_has_either_sign():
    axis = torch.nn.functional.normalize(
        torch.randn(50, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    )
    found = vector_from_matrix(
        2 * axis[:, :, None] * axis[:, None] - torch.eye(3, dtype=torch.float64)
    )
    assert_close(found * (found * axis).sum(-1, keepdim=True).sign(), math.pi * axis)


def test_a_quaternion_and_its_negative_are_one_rotation(vector):
    quaternion = quaternion_from_vector(vector)
    assert_close(matrix_from_quaternion(-quaternion), matrix_from_quaternion(quaternion))
    assert_close(vector_from_quaternion(-quaternion), vector)


def test_ninety_degrees_stay_ninety_degrees_whatever_the_quaternions_length():
    # w = z: a quarter turn about z, of length sqrt 2
    quaternion = torch.tensor([1.0, 0, 0, 1.0])
    for length in (0.1, 1.0, 7.0):
        turned = matrix_from_quaternion(length * quaternion) @ torch.tensor([1.0, 0, 0])
        assert_close(turned, torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


def test_the_cross_matrix_takes_the_cross_product(vector):
    other = vector.roll(3, 0)
    assert_close(
        (cross_matrix(vector) @ other[..., None])[..., 0], torch.linalg.cross(vector, other)
    )


def test_left_jacobian_is_the_derivative_of_the_rotation(vector):
    step = 1e-5 * torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64)
    forward, backward = matrix_from_vector(vector + step), matrix_from_vector(vector - step)
    turned = left_jacobian(vector) @ step
    expected = cross_matrix(turned) @ matrix_from_vector(vector)
    assert_close((forward - backward) / 2, expected, atol=1e-13, rtol=1e-6)


def test_the_slope_of_the_left_jacobian_is_its_derivative(vector):
    along = torch.tensor([0.7, 0.2, -0.4], dtype=torch.float64).expand_as(vector)
    for axis in torch.eye(3, dtype=torch.float64):
        forward, backward = (left_jacobian(vector + sign * 1e-5 * axis) for sign in (1, -1))
        expected = ((forward - backward) / 2e-5 @ along[..., None])[..., 0]
        assert_close((left_jacobian_slope(vector, along) @ axis), expected, atol=1e-8, rtol=1e-7)


@pytest.mark.parametrize("angle", [1e-4, 0.05, 0.7, 0.72, 2.0])
def test_the_slope_of_the_left_jacobian_keeps_its_digits_in_single_precision(angle):
    vector, along = angle * torch.tensor([0.6, 0.0, 0.8]), torch.tensor([0.5, 0.5, -0.7])
    exact = left_jacobian_slope(vector.double(), along.double())
    assert_close(left_jacobian_slope(vector, along).double(), exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("angle", [1e-4, 0.9e-3, 1.1e-3, 5e-3, 0.1])
def test_left_jacobian_keeps_its_digits_in_single_precision(angle):
    vector = angle * torch.tensor([0.6, 0.0, 0.8])
    assert_close(left_jacobian(vector).double(), left_jacobian(vector.double()), atol=3e-7, rtol=0)


def test_gradients_exist_for_no_rotation_at_all():
    vector = torch.zeros(3, requires_grad=True, dtype=torch.float64)
    assert torch.autograd.gradcheck(matrix_from_vector, vector)


def test_gradients_match_finite_differences(vector):
    assert torch.autograd.gradcheck(matrix_from_vector, vector[8:10].clone().requires_grad_())


def test_no_rotation_is_far_from_a_uniform_one():
    """Every rotation has one of 1,000 within 21 degrees, and half of all within 13."""
    matrices = uniform_rotations(1000)
    torch.testing.assert_close(
        matrices @ matrices.transpose(1, 2), torch.eye(3).double().expand(1000, 3, 3)
    )
    quaternion = torch.randn(
        2000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    cosine = 0.5 * (
        (matrix_from_quaternion(quaternion).flatten(1) @ matrices.flatten(1).T).max(1).values - 1
    )
    angle = cosine.clamp(-1, 1).acos().rad2deg()
    assert angle.max() < 21 and angle.median() < 13

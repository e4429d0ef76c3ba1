"""Rotations: Euler angles, rotation vectors, unit quaternions, matrices.

Euler angles are as RELION writes them, quaternions are (w, x, y, z), matrices act on column
vectors. They are kept by hand: roma is neither quicker nor more exact, and has neither RELION's
angles nor the Jacobians (docs/decisions.md).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def matrix_from_euler(angles: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Matrix from molecule to camera of RELION's angles: Rz(-psi) Ry(-tilt) Rz(-rot).

    It is the transpose of SciPy's intrinsic ``from_euler("ZYZ", [rot, tilt, psi])``.

    Parameters
    ----------
    angles : (*batch, 3)
        rot, tilt, psi, rad.

    Returns
    -------
    (*batch, 3, 3)

    Examples
    --------
    >>> matrix_from_euler(torch.tensor([math.pi / 2, 0.0, 0.0])).round() + 0.0
    tensor([[ 0.,  1.,  0.],
            [-1.,  0.,  0.],
            [ 0.,  0.,  1.]])
    """
    rot, tilt, psi = angles.unbind(-1)
    return _about_z(-psi) @ _about_y(-tilt) @ _about_z(-rot)


def euler_from_matrix(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """RELION's angles (rot, tilt, psi), rad, of a matrix from molecule to camera.

    At tilt 0 or pi the whole turn is in rot.

    Parameters
    ----------
    matrix : (*batch, 3, 3)
        Rotation matrices.

    Returns
    -------
    (*batch, 3)
        rot, tilt, psi, rad.

    Examples
    --------
    >>> angles = torch.tensor([0.1, 0.2, 0.3])
    >>> euler_from_matrix(matrix_from_euler(angles)).round(decimals=3)
    tensor([0.1000, 0.2000, 0.3000])
    """
    tilt = torch.atan2(torch.hypot(matrix[..., 2, 0], matrix[..., 2, 1]), matrix[..., 2, 2])
    upright = torch.hypot(matrix[..., 2, 0], matrix[..., 2, 1]) < 1e-7
    up_or_down = matrix[..., 2, 2].sign()
    rot = torch.where(
        upright,
        torch.atan2(matrix[..., 0, 1] * up_or_down, matrix[..., 0, 0] * up_or_down),
        torch.atan2(matrix[..., 2, 1], matrix[..., 2, 0]),
    )
    psi = torch.where(
        upright, torch.zeros_like(rot), torch.atan2(matrix[..., 1, 2], -matrix[..., 0, 2])
    )
    return torch.stack([rot, tilt, psi], -1)


def _about_z(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).unflatten(-1, (3, 3))


def _about_y(angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).unflatten(-1, (3, 3))


def cross_matrix(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Matrix [v] with ``[v] u = v x u``.

    Parameters
    ----------
    vector : (*batch, 3)
        Any.

    Returns
    -------
    (*batch, 3, 3)

    Examples
    --------
    >>> cross_matrix(torch.tensor([1.0, 2.0, 3.0])) + 0.0
    tensor([[ 0., -3.,  2.],
            [ 3.,  0., -1.],
            [-2.,  1.,  0.]])
    """
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def quaternion_from_vector(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion of a rotation vector (axis times angle, rad).

    Parameters
    ----------
    vector : (*batch, 3)
        Rotation vectors, rad.

    Returns
    -------
    (*batch, 4)
        w, x, y, z.

    Examples
    --------
    >>> quaternion_from_vector(torch.tensor([0.0, 0.0, math.pi])).round(decimals=3) + 0.0
    tensor([0., 0., 0., 1.])
    """
    half = 0.5 * vector
    angle2 = (half**2).sum(-1, keepdim=True)
    # sin(a)/a and cos(a) with gradients that exist at zero
    small = angle2 < 1e-8
    angle = torch.where(small, torch.ones_like(angle2), angle2).sqrt()
    sinc = torch.where(small, 1 - angle2 / 6, angle.sin() / angle)
    return torch.cat([torch.where(small, 1 - angle2 / 2, angle.cos()), sinc * half], -1)


def vector_from_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector (rad, length at most pi) of a unit quaternion.

    Parameters
    ----------
    quaternion : (*batch, 4)
        w, x, y, z, of unit length.

    Returns
    -------
    (*batch, 3)
        rad.

    Examples
    --------
    >>> vector_from_quaternion(torch.tensor([0.0, 0.0, 0.0, 1.0])).round(decimals=3)
    tensor([0.0000, 0.0000, 3.1420])
    """
    q = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, q[..., :1])
    return q[..., 1:] * torch.where(
        sine < 1e-7, 2 / q[..., :1].clamp_min(1e-7), angle / sine.clamp_min(1e-12)
    )


def vector_from_matrix(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Rotation vector (rad, length at most pi) of a rotation matrix.

    Parameters
    ----------
    matrix : (*batch, 3, 3)
        Rotation matrices.

    Returns
    -------
    (*batch, 3)
        rad.

    Examples
    --------
    >>> vector_from_matrix(torch.diag(torch.tensor([1.0, -1.0, -1.0]))).round(decimals=3)
    tensor([3.1420, 0.0000, 0.0000])
    """
    flat = matrix.flatten(-2)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = flat.unbind(-1)
    # four times each pair of components: the row of the largest has no cancellation
    rows = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, 1 + m00 - m11 - m22, m01 + m10, m02 + m20], -1),
            torch.stack([m02 - m20, m01 + m10, 1 - m00 + m11 - m22, m12 + m21], -1),
            torch.stack([m10 - m01, m02 + m20, m12 + m21, 1 - m00 - m11 + m22], -1),
        ],
        -2,
    )
    largest = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(rows, largest[..., None, None].expand(*largest.shape, 1, 4), -2)[
        ..., 0, :
    ]
    return vector_from_quaternion(row / row.norm(dim=-1, keepdim=True))


def matrix_from_quaternion(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion of any length but zero; it is normalised first.

    Parameters
    ----------
    quaternion : (*batch, 4)
        w, x, y, z.

    Returns
    -------
    (*batch, 3, 3)

    Examples
    --------
    >>> matrix_from_quaternion(torch.tensor([2.0, 0.0, 0.0, 0.0]))
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ],
        -1,
    ).unflatten(-1, (3, 3))


def matrix_from_vector(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a rotation vector (axis times angle, rad).

    Parameters
    ----------
    vector : (*batch, 3)
        Rotation vectors, rad.

    Returns
    -------
    (*batch, 3, 3)

    Examples
    --------
    >>> matrix_from_vector(torch.tensor([0.0, 0.0, math.pi / 2])).round() + 0.0
    tensor([[ 0., -1.,  0.],
            [ 1.,  0.,  0.],
            [ 0.,  0.,  1.]])
    """
    return matrix_from_quaternion(quaternion_from_vector(vector))


def uniform_rotations(count: int) -> Float[Tensor, "count 3 3"]:
    """Rotation matrices spread evenly over all rotations.

    They are the same ones whenever the same number is asked for.

    From 1,000 on the nearest to any rotation is 122 degrees over the cube root of the number away
    on average, at most about 205.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    (count, 3, 3)
        In double precision.

    References
    ----------
    Alexa, Super-Fibonacci spirals: fast, low-discrepancy sampling of SO(3), CVPR (2022), algorithm
    1.

    Examples
    --------
    >>> uniform_rotations(100).shape
    torch.Size([100, 3, 3])
    """
    number = torch.arange(count, dtype=torch.float64) + 0.5
    share, turn = number / count, 2 * math.pi * number
    first, second = turn / math.sqrt(2), turn / 1.533751168755204288118041
    return matrix_from_quaternion(
        torch.stack(
            [
                share.sqrt() * first.sin(),
                share.sqrt() * first.cos(),
                (1 - share).sqrt() * second.sin(),
                (1 - share).sqrt() * second.cos(),
            ],
            -1,
        )
    )


def left_jacobian(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """How a change of a rotation vector turns what is rotated.

    For a change d of the vector v it is J in R(v + d) = R(J d) R(v), to first order in d.

    Parameters
    ----------
    vector : (*batch, 3)
        Rotation vectors, rad.

    Returns
    -------
    (*batch, 3, 3)

    References
    ----------
    Sola et al., A micro Lie theory for state estimation in robotics (2018), equation 145.

    Examples
    --------
    >>> left_jacobian(torch.zeros(3))
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    angle2 = (vector**2).sum(-1)[..., None, None]
    small = angle2 < 1e-6
    safe = torch.where(small, torch.ones_like(angle2), angle2)
    angle = safe.sqrt()
    # 1 - cos(angle) by the half angle: the difference itself has lost its
    # digits in single precision
    first = torch.where(small, 0.5 - angle2 / 24, 2 * (0.5 * angle).sin() ** 2 / safe)
    second = torch.where(small, 1 / 6 - angle2 / 120, (angle - angle.sin()) / (safe * angle))
    cross = cross_matrix(vector)
    return (
        torch.eye(3, dtype=vector.dtype, device=vector.device)
        + first * cross
        + second * (cross @ cross)
    )


def left_jacobian_slope(
    vector: Float[Tensor, "*batch 3"], along: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """How ``left_jacobian(vector) @ along`` changes with the rotation vector.

    It is a matrix that a change of the vector is multiplied by.

    Parameters
    ----------
    vector : (*batch, 3)
        Rotation vectors, rad.
    along : (*batch, 3)
        What the Jacobian is applied to.

    Returns
    -------
    (*batch, 3, 3)

    References
    ----------
    The derivative of equation 145 of Sola et al. (2018), in another form in Barfoot & Furgale, IEEE
    Trans. Robot. 30:679 (2014).

    Examples
    --------
    >>> x = torch.tensor([1.0, 0.0, 0.0])
    >>> torch.equal(left_jacobian_slope(torch.zeros(3), x), -0.5 * cross_matrix(x))
    True
    """
    angle2 = (vector**2).sum(-1)[..., None, None]
    small = angle2 < 0.5
    safe = torch.where(small, torch.ones_like(angle2), angle2)
    angle = safe.sqrt()
    sine, versine = angle.sin(), 2 * (0.5 * angle).sin() ** 2
    square, cube = angle2**2, angle2**3  # series: the closed forms lose their digits near zero
    first = torch.where(small, 0.5 - angle2 / 24 + square / 720 - cube / 40320, versine / safe)
    second = torch.where(
        small, 1 / 6 - angle2 / 120 + square / 5040 - cube / 362880, (angle - sine) / (safe * angle)
    )
    # their slopes, divided by the angle
    first_slope = torch.where(
        small,
        -1 / 12 + angle2 / 180 - square / 6720 + cube / 453600,
        (angle * sine - 2 * versine) / safe**2,
    )
    second_slope = torch.where(
        small,
        -1 / 60 + angle2 / 1260 - square / 60480 + cube / 4989600,
        (angle * versine - 3 * (angle - sine)) / (safe**2 * angle),
    )
    once = torch.linalg.cross(vector, along)
    twice = torch.linalg.cross(vector, once)
    turned = first_slope * once[..., None] + second_slope * twice[..., None]
    return (
        turned * vector[..., None, :]
        - first * cross_matrix(along)
        - second * (cross_matrix(once) + cross_matrix(vector) @ cross_matrix(along))
    )

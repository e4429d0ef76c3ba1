"""The rotation nearest to a matrix, and the rigid motion that brings points onto points best.

It is kept by hand: roma takes more than twice as long for the same motions (docs/decisions.md).
"""

import torch
from jaxtyping import Float
from torch import Tensor


def superpose(
    base: Float[Tensor, "point 3"], position: Float[Tensor, "batch point 3"]
) -> tuple[Float[Tensor, "batch 3 3"], Float[Tensor, "batch 3"]]:
    """Rotations and shifts that bring some points onto where they are in each entry.

    They are ``rotation x + shift``, with least squares.

    Parameters
    ----------
    base : (point, 3)
        A.
    position : (batch, point, 3)
        Where the same points are, A.

    Returns
    -------
    rotation : (batch, 3, 3)
        Proper ones.
    shift : (batch, 3)
        A.

    References
    ----------
    Kabsch, Acta Cryst. A32:922 (1976), by singular value decomposition.

    Examples
    --------
    >>> points = torch.eye(3)
    >>> rotation, shift = superpose(points, (points + 2.0)[None])
    >>> rotation[0].round().diagonal(), shift.round(decimals=2)
    (tensor([1., 1., 1.]), tensor([[2., 2., 2.]]))
    """
    centre, there = base.mean(0), position.mean(1)
    turn = nearest_rotation(torch.einsum("pni,nj->pij", position - there[:, None], base - centre))
    return turn, there - (turn @ centre)


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The proper rotation R with the largest trace of ``R.T @ matrix``.

    Parameters
    ----------
    matrix : (*batch, 3, 3)
        Any.

    Returns
    -------
    (*batch, 3, 3)

    Examples
    --------
    >>> nearest_rotation(torch.diag(torch.tensor([2.0, 3.0, 4.0]))).round(decimals=3) + 0.0
    tensor([[1., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.ones_like(left[..., 0])
    sign[..., 2] = torch.linalg.det(left @ right).sign()
    return (left * sign[..., None, :]) @ right

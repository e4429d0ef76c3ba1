"""The rotation that is nearest to a matrix, and the rigid motion that brings points onto points
best.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def superpose(
    base: Float[Tensor, "point 3"], position: Float[Tensor, "batch point 3"]
) -> tuple[Float[Tensor, "batch 3 3"], Float[Tensor, "batch 3"]]:
    """Rotations and shifts that bring some points onto where they are in each entry, with least
    squares: ``rotation x + shift``.

    Parameters
    ----------
    base : (point, 3)
        A.
    position : (batch, point, 3)
        Where the same points are, A.

    References
    ----------
    Kabsch, Acta Cryst. A32:922 (1976), by singular value decomposition.
    """
    centre, there = base.mean(0), position.mean(1)
    turn = nearest_rotation(torch.einsum("pni,nj->pij", position - there[:, None], base - centre))
    return turn, there - (turn @ centre)


def nearest_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The proper rotation R with the largest trace of ``R.T @ matrix``."""
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.ones_like(left[..., 0])
    sign[..., 2] = torch.linalg.det(left @ right).sign()
    return (left * sign[..., None, :]) @ right

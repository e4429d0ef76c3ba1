"""How firmly images hold the positions of beads that all particles share.

It is the information of directions all around.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.grid import ImageGrid

TABLE_STEP = 0.05  # A, between distances: the finest waves are a hundred times as long


def image_curvature(
    position: Float[Tensor, "bead 3"],
    amplitude: Float[Tensor, "bead"],
    sigma: Float[Tensor, "bead"],
    *,
    weight: Float[Tensor, "shell"],
    grid: ImageGrid,
) -> Float[Tensor, "coordinate coordinate"]:
    """Expected second derivative of minus the log likelihood, 1/A^2.

    It is by x, y, z of all beads, in double precision.

    A coefficient at k holds of each bead its amplitude, damped by its width, times exp(-2 pi i
    k.x). The information on two beads is the sum of (2 pi)^2 k k^T cos(2 pi k.(x_i - x_j)), and for
    directions uniform on the sphere the mean of k k^T cos is (j1(z) / z) 1 - j2(z) r r^T, with z =
    2 pi |k| |x_i - x_j| and spherical Bessel functions. Contrast is taken as known, and all beads
    as of their median width. It is no more than the metric of a descent, whose gradient knows
    better.

    Parameters
    ----------
    position, amplitude, sigma : (bead, 3), (bead,), (bead,)
        The beads as the images show them.
    weight : (shell,)
        Sum over all images and coefficients of the squared transfer function of each ring (1, 2,
        ... over the box).
    grid : ImageGrid
        Of the images.
    """
    place = position.double().numpy()
    arm = place[:, None] - place[None]
    distance = np.sqrt((arm**2).sum(-1))
    arm /= np.maximum(distance, 1e-9)[..., None]
    across, along = _kernels(distance.ravel(), weight.double().numpy(), float(sigma.median()), grid)
    bead = (amplitude.double() / (grid.pixel_size**2 * grid.box_size)).numpy()
    common = bead[:, None] * bead
    block = (common * along.reshape(distance.shape))[..., None, None] * (
        arm[..., :, None] * arm[..., None, :]
    )
    for axis in range(3):
        block[..., axis, axis] += common * across.reshape(distance.shape)
    return torch.from_numpy(block.transpose(0, 2, 1, 3).reshape(3 * len(place), -1))


def _kernels(
    distance: Float[np.ndarray, "pair"],
    weight: Float[np.ndarray, "shell"],
    sigma: float,
    grid: ImageGrid,
) -> tuple[Float[np.ndarray, "pair"], Float[np.ndarray, "pair"]]:
    """What two beads of one electron share across and along their arm, from a table.

    The table is of some distances (A).
    """
    r = np.arange(0, distance.max() + 2 * TABLE_STEP, TABLE_STEP)
    k = (np.arange(len(weight)) + 1)[:, None] / grid.extent
    strength = weight[:, None] * (2 * math.pi * k) ** 2 * np.exp(-4 * math.pi**2 * sigma**2 * k**2)
    first, second = _bessel(2 * math.pi * k * r)
    return np.interp(distance, r, (strength * first).sum(0)), -np.interp(
        distance, r, (strength * second).sum(0)
    )


def _bessel(
    z: Float[np.ndarray, "*any"],
) -> tuple[Float[np.ndarray, "*any"], Float[np.ndarray, "*any"]]:
    """j1(z) / z and j2(z)."""
    small = z < 1e-2
    safe = np.where(small, 1.0, z)
    sine, cosine = np.sin(safe), np.cos(safe)
    first = (sine / safe - cosine) / safe**2
    second = 3 * first - sine / safe
    return np.where(small, 1 / 3 - z**2 / 30, first), np.where(small, z**2 / 15, second)

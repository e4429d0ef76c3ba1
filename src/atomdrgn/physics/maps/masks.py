"""Masks of maps with soft edges: spheres, what is dense, what is near atoms."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from torch import Tensor

from ...errors import InputError


def spherical_mask(
    box_size: int, *, voxel_size: float, radius: float, edge: float = 0.0
) -> Float[Tensor, "box box box"]:
    """1 inside a sphere about voxel ``box // 2``, falling to 0 over a soft edge outside of it.

    Parameters
    ----------
    box_size : int
        Voxels along an edge.
    voxel_size, radius, edge : float
        A.

    Returns
    -------
    (box, box, box)

    Examples
    --------
    >>> spherical_mask(8, voxel_size=1.0, radius=1.0).sum().item()
    7.0
    """
    along = (torch.arange(box_size, dtype=torch.float32) - box_size // 2) * voxel_size
    distance = (along[:, None, None] ** 2 + along[:, None] ** 2 + along**2).sqrt()
    return soft_edge(distance - radius, edge)


def density_mask(
    density: Float[Tensor, "z y x"],
    *,
    voxel_size: float,
    level: float,
    extend: float = 0.0,
    edge: float = 0.0,
) -> Float[Tensor, "z y x"]:
    """1 where a map is above a level and near such places, falling to 0 over a soft edge.

    Low-pass the map first: noise above the level makes islands.

    Parameters
    ----------
    density : (z, y, x)
        A map.
    voxel_size : float
        A.
    level : float
        Of the density.
    extend : float
        How far the mask reaches beyond what is above the level, A.
    edge : float
        Over which it falls to 0, A.

    Returns
    -------
    (z, y, x)

    Raises
    ------
    InputError
        Nothing is above the level.

    Examples
    --------
    >>> density = torch.zeros(5, 5, 5)
    >>> density[2, 2, 2] = 1
    >>> density_mask(density, voxel_size=1.0, level=0.5, extend=1.0).sum().item()
    7.0
    """
    dense = (density > level).cpu().numpy()
    if not dense.any():
        raise InputError(
            f"no voxel is above {level:.4g} (the highest has {float(density.max()):.4g}): choose a "
            "lower level"
        )
    distance = torch.from_numpy(
        distance_transform_edt(~dense, sampling=voxel_size).astype(np.float32)
    )
    return soft_edge(distance - extend, edge)


def mask_around(
    position: Float[Tensor, "atom 3"],
    *,
    shape: tuple[int, int, int],
    voxel_size: float,
    radius: float,
    edge: float = 0.0,
    centre: Sequence[float | int] = (0.0, 0.0, 0.0),
) -> Float[Tensor, "z y x"]:
    """1 within a radius of any position, falling to 0 over a soft edge.

    Parameters
    ----------
    position : (atom, 3)
        x, y, z, A.
    shape : (z, y, x)
        Voxels of the mask.
    voxel_size : float
        A.
    radius, edge : float
        A.
    centre : (3,)
        Where voxel ``n // 2`` of each axis lies, xyz, A.

    Returns
    -------
    (z, y, x)

    Raises
    ------
    InputError
        There are no positions.

    Examples
    --------
    >>> mask = mask_around(torch.zeros(1, 3), shape=(5, 5, 5), voxel_size=1.0, radius=1.5)
    >>> mask.sum().item()
    19.0
    """
    if len(position) == 0:
        raise InputError("a mask around no atoms: choose at least one")
    axes = [
        (np.arange(n) - n // 2) * voxel_size + c
        for n, c in zip(shape, tuple(centre)[::-1], strict=True)
    ]
    points = position.detach().cpu().double().numpy()[:, ::-1]
    reach, distance = radius + edge, np.full(shape, np.inf, np.float32)
    window = tuple(
        slice(*np.searchsorted(axis, (low - reach, high + reach)))
        for axis, low, high in zip(axes, points.min(0), points.max(0), strict=True)
    )
    near = np.meshgrid(
        *(axis[part] for axis, part in zip(axes, window, strict=True)), indexing="ij"
    )
    voxels = np.stack(near, -1)
    if voxels.size:
        distance[window] = cKDTree(points).query(voxels, distance_upper_bound=reach + voxel_size)[0]
    return soft_edge(torch.from_numpy(distance) - radius, edge)


def soft_edge(beyond: Tensor, edge: float) -> Tensor:
    """1 where something is reached, falling to 0 as a raised cosine outside of it.

    Parameters
    ----------
    beyond : Tensor
        Distance outside of the thing, A; 0 or less within it.
    edge : float
        Where 0 is reached, A.

    Returns
    -------
    Tensor
        Of the same shape.

    Examples
    --------
    >>> soft_edge(torch.tensor([-1.0, 0.0, 2.0, 4.0]), 4.0)
    tensor([1.0000, 1.0000, 0.5000, 0.0000])
    """
    if edge <= 0:
        return (beyond <= 0).float()
    return 0.5 + 0.5 * torch.cos(math.pi * (beyond / edge).clamp(0, 1))

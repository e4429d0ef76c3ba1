"""Positional encodings: what a coordinate network is given of a frequency, as waves of points in
the box.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..physics.grid import ImageGrid

GAUSSIAN_SD = 0.5 / (2 * math.pi)  # of the points along an axis, in halves of the box


def encode(
    frequency: Float[Tensor, "*batch 3"], point: Float[Tensor, "point 3"]
) -> Float[Tensor, "*batch 2*point"]:
    """Cosine and sine of ``2 pi k x`` for each frequency k (1/A) and point x (A): the transform of
    a unit mass at each point.
    """
    phase = frequency @ (2 * math.pi * point.T)
    return torch.cat([phase.cos(), phase.sin()], -1)


def gaussian_points(
    grid: ImageGrid, generator: torch.Generator, *, sd: float = GAUSSIAN_SD
) -> Float[Tensor, "point 3"]:
    """Points drawn about the box centre, three for every two pixels of its edge, A.

    Parameters
    ----------
    grid : ImageGrid
    generator : torch.Generator
    sd : float
        Along each axis, in halves of the box.

    References
    ----------
    Tancik et al., Fourier features let networks learn high frequency functions in low dimensional
    domains (2020); Powell & Davis, TomoDRGN (2024), methods: a ``feat_sigma`` of 0.5, whose phases
    are its products with the frequency in cycles a pixel and half of the box's pixels, so that 2 pi
    goes into `sd`.
    """
    return 0.5 * sd * grid.extent * torch.randn(3 * (grid.box_size // 2), 3, generator=generator)


def geometric_points(grid: ImageGrid) -> Float[Tensor, "point 3"]:
    """Points on the three axes at distances that fall geometrically from half of the box to a
    pixel, A.

    References
    ----------
    Zhong et al., CryoDRGN (2021), methods, "Deep coordinate networks to represent 3D structure".
    """
    count = max(2, grid.box_size // 2)
    step = torch.arange(count) / (count - 1)
    distance = 0.5 * grid.extent * (2 / grid.box_size) ** step
    return torch.cat([distance[:, None] * axis for axis in torch.eye(3)])


ENCODINGS = ("gaussian", "geometric")


def make_points(
    encoding: str, grid: ImageGrid, generator: torch.Generator
) -> Float[Tensor, "point 3"]:
    """Points of an encoding by its name in :data:`ENCODINGS`."""
    return gaussian_points(grid, generator) if encoding == "gaussian" else geometric_points(grid)

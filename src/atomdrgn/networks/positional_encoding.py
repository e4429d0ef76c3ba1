"""Positional encodings: what a coordinate network is given of a frequency.

It is waves of points in the box.
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
    """Cosine and sine of ``2 pi k x`` for each frequency k and point x.

    They are the transform of a unit mass at each point.

    Parameters
    ----------
    frequency : (*batch, 3)
        1/A.
    point : (point, 3)
        A.

    Returns
    -------
    (*batch, 2 point)
        Cosines, then sines.

    Examples
    --------
    >>> encode(torch.zeros(3), torch.ones(2, 3))
    tensor([1., 1., 0., 0.])
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
        Of the images.
    generator : torch.Generator
        Of the points.
    sd : float
        Along each axis, in halves of the box.

    Returns
    -------
    (point, 3)
        A.

    References
    ----------
    Tancik et al., Fourier features let networks learn high frequency functions in low dimensional
    domains (2020); Powell & Davis, TomoDRGN (2024), methods: a ``feat_sigma`` of 0.5, whose phases
    are its products with the frequency in cycles a pixel and half of the box's pixels, so that 2 pi
    goes into `sd`.

    Examples
    --------
    >>> gaussian_points(ImageGrid(16, 3.0), torch.Generator()).shape
    torch.Size([24, 3])
    """
    return 0.5 * sd * grid.extent * torch.randn(3 * (grid.box_size // 2), 3, generator=generator)


def geometric_points(grid: ImageGrid) -> Float[Tensor, "point 3"]:
    """Points on the three axes at distances that fall geometrically from half a box to a pixel, A.

    Parameters
    ----------
    grid : ImageGrid
        Of the images.

    Returns
    -------
    (point, 3)

    References
    ----------
    Zhong et al., CryoDRGN (2021), methods, "Deep coordinate networks to represent 3D structure".

    Examples
    --------
    >>> geometric_points(ImageGrid(8, 2.0))[:4, 0]
    tensor([8.0000, 5.0397, 3.1748, 2.0000])
    """
    count = max(2, grid.box_size // 2)
    step = torch.arange(count) / (count - 1)
    distance = 0.5 * grid.extent * (2 / grid.box_size) ** step
    return torch.cat([distance[:, None] * axis for axis in torch.eye(3)])


ENCODINGS = ("gaussian", "geometric")


def make_points(
    encoding: str, grid: ImageGrid, generator: torch.Generator
) -> Float[Tensor, "point 3"]:
    """Points of an encoding by its name in :data:`ENCODINGS`.

    Parameters
    ----------
    encoding : str
        One of :data:`ENCODINGS`.
    grid : ImageGrid
        Of the images.
    generator : torch.Generator
        Of points that are drawn.

    Returns
    -------
    (point, 3)
        A.

    Examples
    --------
    >>> make_points("geometric", ImageGrid(8, 2.0), torch.Generator()).shape
    torch.Size([12, 3])
    """
    return gaussian_points(grid, generator) if encoding == "gaussian" else geometric_points(grid)

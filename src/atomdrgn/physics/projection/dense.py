"""Images of Gaussian beads: the definition of image formation.

A bead of integral ``a`` and width ``s`` at (x, y, z) in the camera's frame adds to the image, at
the pixel centre (X, Y),

    a * p(X - x; s) * p(Y - y; s),        p(d; s) = integral of exp(-2 pi^2 s^2 k^2) cos(2 pi k d)
    over |k| < 1 / (2 pixel_size),

which is its line integral along z without the frequencies that the pixels cannot hold. p is a
Gaussian where the bead is wide and a sinc where it is a point. The plane is infinite: what falls
outside the box is lost and nothing comes back at the other side.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import roots_legendre
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..grid import ImageGrid

# Pixels. The profile of a wider bead differs from a Gaussian by less than 2e-5 of its peak:
# exp(-pi^2 s^2 / 2).
BAND_LIMITED_BELOW = 1.5

# Profile values that a chunk of beads may hold at a time, for each axis (64
# MiB in single precision).
CHUNK_VALUES = 2**24


def project_beads_dense(
    position: Float[Tensor, "*batch bead 3"],
    amplitude: Float[Tensor, "*#batch bead"],
    sigma: Float[Tensor, "*#batch bead"],
    grid: ImageGrid,
) -> Float[Tensor, "*batch box box"]:
    """The same images with every bead evaluated on every row and column.

    This is the definition, which each quicker method is held to.

    Beads are taken in chunks, and chunks are made anew for the gradient, so that memory does not
    grow with their number.

    Parameters
    ----------
    position, amplitude, sigma, grid
        As for :func:`~atomdrgn.physics.projection.project.project_beads`.

    Returns
    -------
    (*batch, box, box)
        Line integrals at the pixel centres, amplitude per A^2.

    Examples
    --------
    >>> bead = torch.zeros(1, 3), torch.ones(1), torch.full((1,), 2.0)
    >>> image = project_beads_dense(*bead, ImageGrid(16, 1.0))
    >>> round(image.sum().item(), 3)
    1.0
    """
    images_and_columns = math.prod(position.shape[:-2]) * grid.box_size
    beads = max(1, CHUNK_VALUES // max(1, images_and_columns))
    chunks = list(
        zip(
            position.split(beads, -2),
            amplitude.split(beads, -1),
            sigma.split(beads, -1),
            strict=True,
        )
    )
    if len(chunks) == 1:
        return _project_chunk(*chunks[0], grid)
    return sum(
        checkpoint(_project_chunk, *chunk, grid, use_reentrant=False, preserve_rng_state=False)
        for chunk in chunks
    )


def _project_chunk(
    position: Float[Tensor, "*batch bead 3"],
    amplitude: Float[Tensor, "*#batch bead"],
    sigma: Float[Tensor, "*#batch bead"],
    grid: ImageGrid,
) -> Float[Tensor, "*batch box box"]:
    x, y, _ = (position / grid.pixel_size).unbind(-1)
    width = sigma / grid.pixel_size
    columns = _profile(x, width, grid.box_size)
    rows = _profile(y, width, grid.box_size) * (amplitude / grid.pixel_size**2)[..., None]
    return rows.transpose(-1, -2) @ columns


def _profile(
    center: Float[Tensor, "*batch bead"], width: Float[Tensor, "*#batch bead"], box_size: int
) -> Float[Tensor, "*batch bead box"]:
    """Values of each bead's p along one axis; lengths are in pixels."""
    narrow = width < BAND_LIMITED_BELOW
    if not narrow.any():
        return _gaussian(center, width, box_size)
    band_limited = _band_limited_gaussian(center, width.clamp(max=BAND_LIMITED_BELOW), box_size)
    if narrow.all():
        return band_limited
    # widths are clamped on both sides: a division by zero in the branch not
    # taken would spoil the gradient
    gaussian = _gaussian(center, width.clamp(min=BAND_LIMITED_BELOW), box_size)
    return torch.where(narrow[..., None], band_limited, gaussian)


def _gaussian(
    center: Float[Tensor, "*batch bead"], width: Float[Tensor, "*#batch bead"], box_size: int
) -> Float[Tensor, "*batch bead box"]:
    distance = _pixels(box_size, center) - center[..., None]
    return torch.exp(-0.5 * (distance / width[..., None]) ** 2) / (
        math.sqrt(2 * math.pi) * width[..., None]
    )


def _band_limited_gaussian(
    center: Float[Tensor, "*batch bead"], width: Float[Tensor, "*#batch bead"], box_size: int
) -> Float[Tensor, "*batch bead box"]:
    """The integral over k by quadrature.

    The addition theorem takes cos(2 pi k (X - x)) apart into matrix products.

    A bead whose centre is more than half a box outside the image leaves nothing: its ringing would
    be beyond the quadrature.
    """
    k, weight = (
        torch.as_tensor(value, dtype=center.dtype, device=center.device)
        for value in _half_quadrature(box_size)
    )
    within_reach = (center.abs() <= box_size)[..., None]
    phase = 2 * math.pi * center[..., None] * k
    spectrum = within_reach * weight * torch.exp(-2 * (math.pi * width[..., None] * k) ** 2)
    pixel_phase = 2 * math.pi * k[:, None] * _pixels(box_size, center)
    return (spectrum * phase.cos()) @ pixel_phase.cos() + (
        spectrum * phase.sin()
    ) @ pixel_phase.sin()


@lru_cache(maxsize=32)
def _half_quadrature(box_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes k in (0, 1/2), cycles a pixel, and their weights.

    The weights are those of even functions on (-1/2, 1/2).

    A cosine of d pixels needs somewhat more than pi d / 2 nodes (both signs), and d is at most 1.5
    boxes.
    """
    pairs = math.ceil(1.25 * box_size) + 10
    node, weight = roots_legendre(2 * pairs)
    return 0.5 * node[pairs:], weight[pairs:]


def _pixels(box_size: int, like: Tensor) -> Float[Tensor, "box"]:
    return torch.arange(box_size, dtype=like.dtype, device=like.device) - box_size // 2

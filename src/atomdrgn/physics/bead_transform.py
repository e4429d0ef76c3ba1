"""Fourier coefficients of beads on a disc, exactly and without a grid: sums of separable waves as matrix products.

The image that these coefficients describe is periodic in the box; beads that lie outside it are left out (see `inside`).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .disc import FourierDisc
from .grid import ImageGrid


def inside(position: Float[Tensor, "*batch bead 3"], grid: ImageGrid) -> Float[Tensor, "*batch bead"]:
    """1 where a bead's centre lies in the box in x and y, else 0."""
    half = 0.5 * grid.extent
    return (position[..., :2].abs() <= half).all(-1).to(position.dtype)


def _waves(coordinate, sigma, disc: FourierDisc):
    """Cosine and sine of one coordinate at indices 0..reach, damped by the bead's width: (batch, bead, 2 index)."""
    index = torch.arange(disc.reach + 1, device=coordinate.device, dtype=coordinate.dtype)
    k = index / disc.grid.extent
    phase = (2 * math.pi) * coordinate[..., None] * k
    damping = torch.exp(-2 * math.pi**2 * sigma[..., None] ** 2 * k**2)
    return torch.cat([phase.cos() * damping, phase.sin() * damping], -1)


def bead_transform(position: Float[Tensor, "*batch bead 3"], sigma: Float[Tensor, "bead"], disc: FourierDisc, *,
                   weight: Float[Tensor, "*batch bead field"],
                   parts: list[slice] | None = None) -> Float[Tensor, "*batch part field 2 frequency"]:
    """Fourier coefficients of fields of Gaussian beads, summed over each part, real and imaginary parts apart.

    Parameters
    ----------
    position : (*batch, bead, 3)
        In the camera's frame, A.
    sigma : (bead,)
        Width, A.
    disc : FourierDisc
        Where the coefficients are wanted.
    weight : (*batch, bead, field)
        Integral of each bead in each field: its amplitude, or its amplitude times a component of its arm.
    parts : list of slice, optional
        Runs of beads that are summed apart; by default all beads are one part.

    Returns
    -------
    (*batch, part, field, 2, frequency)
        Scaled like :meth:`FourierDisc.coefficients` of the image of :func:`atomdrgn.project_beads`.
    """
    batch, n_field = position.shape[:-2], weight.shape[-1]
    position, weight = position.flatten(0, -3), weight.flatten(0, -3)
    weight = weight * inside(position, disc.grid)[..., None] / (disc.grid.pixel_size**2 * disc.grid.box_size)
    along_x = _waves(position[..., 0], sigma, disc)
    along_y = _waves(position[..., 1], sigma, disc)
    pick, sign = _picks(disc, n_field), torch.where(disc.y_index < 0, -1.0, 1.0).to(position)
    parts = parts or [slice(None)]
    out = position.new_empty(len(position), len(parts), n_field, 2, len(disc))
    for number, part in enumerate(parts):
        right = (weight[:, part, :, None] * along_y[:, part, None, :]).flatten(-2)
        product = (along_x[:, part].transpose(-1, -2) @ right).flatten(1)
        cos_cos, cos_sin, sin_cos, sin_sin = product[:, pick].unflatten(1, (n_field, 4, len(disc))).unbind(2)
        torch.addcmul(cos_cos, sign, sin_sin, value=-1, out=out[:, number, :, 0])
        torch.addcmul(sin_cos, sign, cos_sin, out=out[:, number, :, 1]).neg_()
    return out.unflatten(0, batch)


def _picks(disc, n_field):
    """Where cos cos, cos sin, sin cos and sin sin (x, y) of each field and frequency stand in the flat matrix product."""
    count = disc.reach + 1
    of_x, of_y = torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")
    of_x, of_y = (axis.reshape(1, 4, 1).to(disc.x_index.device) for axis in (of_x, of_y))
    field = torch.arange(n_field, device=disc.x_index.device)[:, None, None]
    row = of_x * count + disc.x_index
    column = field * 2 * count + of_y * count + disc.y_index.abs()
    return (row * n_field * 2 * count + column).flatten()

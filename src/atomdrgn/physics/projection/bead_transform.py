"""Fourier coefficients of beads on a disc, exactly and without a grid.

They are sums of separable waves as matrix products.

The image that these coefficients describe is periodic in the box; beads that lie outside it are
left out (see `inside`).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ...devices import looped
from ..disc import FourierDisc
from ..grid import ImageGrid

BEADS_AT_ONCE = 1024  # of a part: their waves stay in the processor's cache


def inside(
    position: Float[Tensor, "*batch bead xy"], grid: ImageGrid
) -> Float[Tensor, "*batch bead"]:
    """1 where a bead's centre lies in the box in x and y, else 0.

    Parameters
    ----------
    position : (*batch, bead, 2 or 3)
        In the camera's frame, A; z does not matter.
    grid : ImageGrid
        Of the images.

    Returns
    -------
    (*batch, bead)

    Examples
    --------
    >>> inside(torch.tensor([[0.0, 3.0], [0.0, 5.0]]), ImageGrid(8, 1.0))
    tensor([1., 0.])
    """
    half = 0.5 * grid.extent
    return (position[..., :2].abs() <= half).all(-1).to(position.dtype)


def bead_transform(
    position: Float[Tensor, "*batch bead xy"],
    sigma: Float[Tensor, "bead"],
    disc: FourierDisc,
    *,
    weight: Float[Tensor, "*batch bead field"],
    parts: list[slice] | None = None,
) -> Float[Tensor, "*batch part field 2 frequency"]:
    """Fourier coefficients of fields of Gaussian beads, summed over each part.

    Real and imaginary parts stand apart.

    Parameters
    ----------
    position : (*batch, bead, 2 or 3)
        In the camera's frame, A; z does not matter.
    sigma : (bead,)
        Width, A.
    disc : FourierDisc
        Where the coefficients are wanted.
    weight : (*batch, bead, field)
        Integral of each bead in each field: its amplitude, or its amplitude times a component of
        its arm.
    parts : list of slice, optional
        Runs of beads that are summed apart; by default all beads are one part.

    Returns
    -------
    (*batch, part, field, 2, frequency)
        Scaled like :meth:`FourierDisc.coefficients` of the image of :func:`atomdrgn.project_beads`.

    Examples
    --------
    >>> from atomdrgn.physics.disc import make_disc
    >>> disc = make_disc(ImageGrid(8, 2.0), resolution=6.0)
    >>> bead = torch.zeros(4, 1, 3), torch.ones(1)
    >>> bead_transform(*bead, disc, weight=torch.ones(4, 1, 1)).shape
    torch.Size([4, 1, 1, 2, 12])
    """
    batch, n_field = position.shape[:-2], weight.shape[-1]
    plane, weight = (
        value.flatten(0, -3).transpose(1, 2).contiguous() for value in (position[..., :2], weight)
    )
    parts = parts or [slice(0, plane.shape[2])]
    products = wave_products(plane, sigma, disc, weight=weight, parts=parts)
    if not looped(plane, weight, sigma):
        return torch.stack([_combined(product, disc) for product in products], 1).unflatten(
            0, batch
        )
    from .bead_transform_loops import combine

    out = torch.empty(len(plane), len(parts), n_field, 2, len(disc))
    for number, product in enumerate(products):
        combine(product.numpy(), disc.rows, out.numpy(), number)
    return out.unflatten(0, batch)


def wave_products(
    plane: Float[Tensor, "batch 2 bead"],
    sigma: Float[Tensor, "bead"],
    disc: FourierDisc,
    *,
    weight: Float[Tensor, "batch field bead"],
    parts: list[slice],
) -> Iterator[Float[Tensor, "batch field 2 index 2 index"]]:
    """Sums over the beads of each part of waves along y times waves along x.

    Waves are cosine and sine; parts come one after the other.

    `plane` holds x and y of the beads in the camera's frame, A.

    Parameters
    ----------
    plane : (batch, 2, bead)
        x and y of the beads in the camera's frame, A.
    sigma : (bead,)
        Width, A.
    disc : FourierDisc
        Where coefficients are wanted.
    weight : (batch, field, bead)
        As for :func:`bead_transform`.
    parts : list of slice
        Runs of beads that are summed apart.

    Yields
    ------
    (batch, field, 2, index, 2, index)
        Cosine and sine along y, its index, cosine and sine along x, its index.

    Examples
    --------
    >>> from atomdrgn.physics.disc import make_disc
    >>> disc = make_disc(ImageGrid(8, 2.0), resolution=6.0)
    >>> beads = torch.zeros(4, 2, 3), torch.ones(3)
    >>> products = wave_products(*beads, disc, weight=torch.ones(4, 1, 3), parts=[slice(0, 3)])
    >>> next(products).shape
    torch.Size([4, 1, 2, 3, 2, 3])
    """
    count, n_field = disc.reach + 1, weight.shape[1]
    weight = weight / (disc.grid.pixel_size**2 * disc.grid.box_size)
    damping = _damping(sigma, disc)
    waves = _waves_for(plane, weight, sigma)
    for part in parts:
        product = plane.new_zeros(len(plane), 2 * n_field * count, 2 * count)
        for start in range(part.start, part.stop, BEADS_AT_ONCE):
            some = slice(start, min(start + BEADS_AT_ONCE, part.stop))
            along_x, along_y = waves(plane, weight, damping, some, disc.grid)
            product = torch.baddbmm(
                product, along_y, along_x.transpose(1, 2), beta=int(start > part.start)
            )
        yield product.unflatten(2, (2, count)).unflatten(1, (n_field, 2, count))


def _waves_for(
    plane: Tensor, weight: Tensor, sigma: Tensor
) -> Callable[..., tuple[Tensor, Tensor]]:
    """How waves are made: by compiled loops where they can take the place of tensor operations."""
    if looped(plane, weight, sigma):
        return _waves_by_loops
    return _LoopedWaves.apply if looped(plane.detach(), weight, sigma) else _waves


class _LoopedWaves(Function):
    """Waves by compiled loops, with the gradient in the positions alone."""

    @staticmethod
    def forward(
        context: Any,
        plane: Float[Tensor, "batch 2 bead"],
        weight: Float[Tensor, "batch field bead"],
        damping: Float[Tensor, "index bead"],
        some: slice,
        grid: ImageGrid,
    ) -> tuple[Tensor, Tensor]:
        along = _waves_by_loops(plane.detach(), weight, damping, some, grid)
        context.save_for_backward(*along)
        context.of = plane.shape, len(damping), some, grid
        return along

    @staticmethod
    @once_differentiable
    def backward(context: Any, *gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        from .bead_transform_loops import pull_back

        shape, count, some, grid = context.of
        back = gradient[0].new_zeros(shape)
        for axis, pair in enumerate(zip(context.saved_tensors, gradient, strict=True)):
            wave, wanted = (each.contiguous().unflatten(1, (-1, 2, count)).numpy() for each in pair)
            pull_back(wave, wanted, grid.extent, back[:, axis, some].numpy())
        return back, None, None, None, None


def _damping(sigma: Float[Tensor, "bead"], disc: FourierDisc) -> Float[Tensor, "index bead"]:
    """What the beads' width leaves of each wave along an axis."""
    index = torch.arange(disc.reach + 1, device=sigma.device, dtype=sigma.dtype)
    return torch.exp(-2 * math.pi**2 * (sigma / disc.grid.extent) ** 2 * index[:, None] ** 2)


def _waves(
    plane: Float[Tensor, "batch 2 bead"],
    weight: Float[Tensor, "batch field bead"],
    damping: Float[Tensor, "index bead"],
    some: slice,
    grid: ImageGrid,
) -> tuple[Tensor, Tensor]:
    """Waves along x, (batch, 2 index, bead), and along y, (batch, field 2 index, bead).

    Those along y are weighted. Cosines come first, then sines.
    """
    plane, weight, damping = plane[..., some], weight[..., some], damping[..., some]
    weight = weight * inside(plane.transpose(1, 2), grid)[:, None]
    index = torch.arange(len(damping), device=plane.device, dtype=plane.dtype)[:, None]
    phase = (2 * math.pi / grid.extent) * plane.movedim(1, 0)[:, :, None] * index
    along_x, along_y = torch.cat([phase.cos() * damping, phase.sin() * damping], 2)
    return along_x, (weight[:, :, None] * along_y[:, None]).flatten(1, 2)


def _waves_by_loops(
    plane: Float[Tensor, "batch 2 bead"],
    weight: Float[Tensor, "batch field bead"],
    damping: Float[Tensor, "index bead"],
    some: slice,
    grid: ImageGrid,
) -> tuple[Tensor, Tensor]:
    """The same by compiled loops."""
    from .bead_transform_loops import make_waves

    n_images, n_field = weight.shape[:2]
    along_x, along_y = (
        torch.empty(n_images, rows * len(damping), some.stop - some.start)
        for rows in (2, 2 * n_field)
    )
    make_waves(
        plane.numpy(),
        weight.numpy(),
        damping.numpy(),
        some.start,
        grid.extent,
        along_x.numpy(),
        along_y.numpy(),
    )
    return along_x, along_y


def _combined(
    product: Float[Tensor, "batch field 2 index 2 index"], disc: FourierDisc
) -> Float[Tensor, "batch field 2 frequency"]:
    """Real and imaginary parts (batch, field, 2, frequency) of a product of waves."""
    x, y, sign = (
        disc.x_index,
        disc.y_index.abs(),
        torch.where(disc.y_index < 0, -1.0, 1.0).to(product),
    )
    count, flat = product.shape[-1], product.flatten(2)
    # picked from one axis: the gradient of that is a sum, and no sorting of indices
    cos_cos, sin_x, sin_y, sin_sin = (
        flat.index_select(2, ((along_y * count + y) * 2 + along_x) * count + x)
        for along_y in (0, 1)
        for along_x in (0, 1)
    )
    return torch.stack([cos_cos - sign * sin_sin, -(sin_x + sign * sin_y)], 2)

"""Images of one grid on another."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.fourier import crop_image, inverse_transform
from ...physics.grid import ImageGrid


def resample(
    image: Float[Tensor, "*batch y x"], grid: ImageGrid, target: ImageGrid
) -> Float[Tensor, "*batch box box"]:
    """Images of one grid on the pixels of another, values kept.

    An image samples a line integral, whatever its pixels. Where both grids have one extent this is
    a crop in Fourier space. Otherwise the Fourier transform of the image is evaluated at the
    frequencies of `target` by separable sums, exactly and not by interpolation. What the image does
    not hold is zero: frequencies beyond its Nyquist, and places beyond its edge; what lies beyond
    the edge of `target` is left out.

    Parameters
    ----------
    image : (*batch, y, x)
        On `grid`.
    grid, target : ImageGrid
        From which to which.

    Returns
    -------
    (*batch, box, box)
        On `target`.

    Examples
    --------
    >>> wave = torch.cos(torch.arange(-4, 4) * math.pi / 2).expand(8, 8)  # of 8 A
    >>> resample(wave, ImageGrid(8, 2.0), ImageGrid(6, 8 / 3))[0].round(decimals=3).tolist()
    [1.0, -0.5, -0.5, 1.0, -0.5, -0.5]
    """
    if same_grid(grid, target):
        return image
    if math.isclose(grid.extent, target.extent, rel_tol=1e-4) and target.box_size <= grid.box_size:
        return crop_image(image, target.box_size)
    rows = _wave(
        torch.fft.fftfreq(target.box_size, target.pixel_size, dtype=torch.float64), grid, target
    )
    columns = _wave(
        torch.fft.rfftfreq(target.box_size, target.pixel_size, dtype=torch.float64), grid, target
    )
    area = (grid.pixel_size / target.pixel_size) ** 2
    coefficient = rows @ image.to(torch.complex64) @ columns.T
    return inverse_transform(area * coefficient, target.box_size)


def same_grid(a: ImageGrid, b: ImageGrid) -> bool:
    """Whether two grids have the same pixels, but for the last digits that files write.

    Parameters
    ----------
    a, b : ImageGrid

    Returns
    -------
    bool

    Examples
    --------
    >>> same_grid(ImageGrid(64, 1.35), ImageGrid(64, 1.35001))
    True
    """
    return a.box_size == b.box_size and math.isclose(a.pixel_size, b.pixel_size, rel_tol=1e-4)


def _wave(frequency: Tensor, grid: ImageGrid, target: ImageGrid) -> Tensor:
    """Value exp(-2 pi i k x) of each frequency (row) at each pixel (column) of the image."""
    position = (
        torch.arange(grid.box_size, dtype=torch.float64) - grid.box_size // 2
    ) * grid.pixel_size
    held = (frequency.abs() * 2 * grid.pixel_size <= 1 + 1e-9)[:, None] & (
        position.abs() <= target.extent / 2 + 1e-6
    )
    phase = -2 * math.pi * frequency[:, None] * position
    return torch.where(held, torch.polar(torch.ones_like(phase), phase), 0).to(torch.complex64)

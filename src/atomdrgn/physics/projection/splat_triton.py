"""Images of Gaussian beads on a GPU: a block of samples a program.

The drawing is that of :mod:`atomdrgn.physics.projection.splat`.

Beads are sorted along x, image by image. A program that draws takes a block of a canvas and the run
of beads that reach its rows; a program of the gradient takes a block of beads and the rows that
they reach. Each writes what no other does: sums repeat.

Products are made of three of rounded parts (TF32), nearly in single precision, on the tensor units
of the GPUs that have them.
"""

import math
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..grid import ImageGrid
from .dense import BAND_LIMITED_BELOW
from .splat import ACCURACY, Level, images_and_beads, levels_of

# Samples of a block: rows (x), columns (y); beads taken at a time. Products on a GPU's tensor units
# need 16 of each.
ROWS, COLUMNS, BEADS = 16, 64, 32
MOMENT_COLUMNS = 32  # three products at once: more would not fit into the registers


@triton.jit
@no_type_check  # a wrapped function is not compiled
def _draw(
    x_pointer: tl.tensor,
    y_pointer: tl.tensor,
    width_pointer: tl.tensor,
    peak_pointer: tl.tensor,
    start_pointer: tl.tensor,
    end_pointer: tl.tensor,
    canvas_pointer: tl.tensor,
    beads: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    radius: tl.tensor,
    blocks: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BEADS: tl.constexpr,
) -> None:
    """One block of one canvas.

    It is the sum over the run of beads of the products of their profiles along x and y.
    """
    image = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    start = tl.load(start_pointer + image * blocks + tl.program_id(1))
    end = tl.load(end_pointer + image * blocks + tl.program_id(1))
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(start, end, BEADS):
        bead = first + tl.arange(0, BEADS)
        held = bead < end
        at = image * beads + bead
        x = tl.load(x_pointer + at, mask=held, other=0.0)
        y = tl.load(y_pointer + at, mask=held, other=0.0)
        width = tl.load(width_pointer + at, mask=held, other=1.0)
        peak = tl.load(peak_pointer + at, mask=held, other=0.0)
        from_x = (row[:, None] - x[None, :]) / width[None, :]
        from_y = (column[None, :] - y[:, None]) / width[:, None]
        along_x = tl.where(
            tl.abs(from_x) <= radius, peak[None, :] * tl.exp(-0.5 * from_x * from_x), 0.0
        )
        along_y = tl.where(tl.abs(from_y) <= radius, tl.exp(-0.5 * from_y * from_y), 0.0)
        total += tl.dot(along_x, along_y, input_precision="tf32x3")
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    tl.store(
        canvas_pointer + (image * rows + row[:, None]) * columns + column[None, :],
        total,
        mask=inside,
    )


@triton.jit
@no_type_check  # a wrapped function is not compiled
def _blocks(
    center: tl.tensor, reach: tl.tensor, drawn: tl.tensor, samples: tl.tensor, SIZE: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """The samples (first, ..., last - 1), from a whole block on, that any of the beads reaches."""
    # beads that are not drawn reach nothing; a sample more on either side, so that what is rounded
    # is not lost
    lowest = tl.min(tl.where(drawn, center - reach, samples * 1.0), 0) - 1.0
    highest = tl.max(tl.where(drawn, center + reach, -1.0), 0) + 1.0
    first = tl.minimum(tl.maximum(lowest, 0.0), samples * 1.0).to(tl.int32) // SIZE * SIZE
    last = tl.minimum(tl.maximum(highest, -1.0) + 1.0, samples * 1.0).to(tl.int32)
    return first, last


@triton.jit
@no_type_check  # a wrapped function is not compiled
def _moments(
    x_pointer: tl.tensor,
    y_pointer: tl.tensor,
    width_pointer: tl.tensor,
    canvas_pointer: tl.tensor,
    moment_pointer: tl.tensor,
    beads: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    radius: tl.tensor,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BEADS: tl.constexpr,
) -> None:
    """Sums over a canvas of its samples times each bead's Gaussian (peak 1) and 1, x, y, x^2 + y^2.

    x and y are from the bead's centre, in widths.
    """
    image = tl.program_id(0).to(tl.int64)
    bead = tl.program_id(1) * BEADS + tl.arange(0, BEADS)
    held = bead < beads
    at = image * beads + bead
    x = tl.load(x_pointer + at, mask=held, other=0.0)
    y = tl.load(y_pointer + at, mask=held, other=0.0)
    width = tl.load(width_pointer + at, mask=held, other=0.0)
    drawn = width > 0
    width = tl.where(drawn, width, 1.0)
    reach = radius * width
    top, bottom = _blocks(x, reach, drawn, rows, ROWS)
    start, end = _blocks(y, reach, drawn, columns, COLUMNS)
    zeroth = tl.zeros((BEADS,), tl.float32)
    of_x = tl.zeros((BEADS,), tl.float32)
    of_y = tl.zeros((BEADS,), tl.float32)
    second = tl.zeros((BEADS,), tl.float32)
    for first_row in range(top, bottom, ROWS):
        row = first_row + tl.arange(0, ROWS)
        from_x = (row[None, :] - x[:, None]) / width[:, None]
        along_x = tl.where(
            drawn[:, None] & (tl.abs(from_x) <= radius), tl.exp(-0.5 * from_x * from_x), 0.0
        )
        for first_column in range(start, end, COLUMNS):
            column = first_column + tl.arange(0, COLUMNS)
            inside = (row < rows)[:, None] & (column < columns)[None, :]
            block = tl.load(
                canvas_pointer + (image * rows + row[:, None]) * columns + column[None, :],
                mask=inside,
                other=0.0,
            )
            from_y = (column[None, :] - y[:, None]) / width[:, None]
            along_y = tl.where(tl.abs(from_y) <= radius, tl.exp(-0.5 * from_y * from_y), 0.0)
            by_column = tl.dot(along_x, block, input_precision="tf32x3") * along_y
            zeroth += tl.sum(by_column, 1)
            of_y += tl.sum(by_column * from_y, 1)
            second += tl.sum(by_column * from_y * from_y, 1)
            of_x += tl.sum(tl.dot(along_x * from_x, block, input_precision="tf32x3") * along_y, 1)
            second += tl.sum(
                tl.dot(along_x * from_x * from_x, block, input_precision="tf32x3") * along_y, 1
            )
    count = tl.num_programs(0).to(tl.int64) * beads
    tl.store(moment_pointer + at, zeroth, mask=held)
    tl.store(moment_pointer + count + at, of_x, mask=held)
    tl.store(moment_pointer + 2 * count + at, of_y, mask=held)
    tl.store(moment_pointer + 3 * count + at, second, mask=held)


class _Beads:
    """The beads of one level, sorted along x image by image.

    Fields are (image, bead), in samples of the canvas.

    A bead that is not drawn has the width 0 and stands behind all others.
    """

    def __init__(
        self,
        position: Float[Tensor, "image bead 3"],
        amplitude: Float[Tensor, "shared bead"],
        sigma: Float[Tensor, "own bead"],
        *,
        above: float,
        below: float,
        level: Level,
        pixel_size: float,
    ) -> None:
        radius = ACCURACY[torch.float32].radius
        x, y = position[..., 0] / pixel_size, position[..., 1] / pixel_size
        width2 = (sigma / pixel_size).square()
        width = ((width2 - level.blur2).clamp(min=0).sqrt() / level.spacing).expand_as(x)
        within = level.edge + radius * width
        drawn = (
            (above <= width2)
            & (width2 < below)
            & (torch.maximum(x.abs(), y.abs()) <= level.reach)
            & (torch.maximum(x.abs(), y.abs()) / level.spacing < within)
        )
        x, self.order = torch.where(drawn, x / level.spacing + level.edge, math.inf).sort(
            dim=-1, stable=True
        )
        self.rows = 2 * level.edge
        self.x = x.nan_to_num(posinf=0.0)
        self.y = self.sorted(torch.where(drawn, y / level.spacing + level.edge, 0.0))
        self.width = self.sorted(torch.where(drawn, width, 0.0))
        self.peak = torch.where(self.width > 0, 1 / (2 * math.pi * self.width.square()), 0.0)
        self.amplitude = self.sorted(amplitude.expand_as(x))
        # to sigma: t^2 = (sigma^2 / pixel_size^2 - b^2) / spacing^2
        self.stretch = self.sorted(sigma.expand_as(x)) / (level.spacing * pixel_size) ** 2
        self.sample = level.spacing * pixel_size
        self.radius = radius
        top = torch.arange(0, self.rows, ROWS, device=x.device, dtype=x.dtype).expand(len(x), -1)
        # a sample more than needed on either side: what is rounded is not lost
        reach = 1 + radius * self.width.amax(-1, keepdim=True) if x.shape[-1] else 0
        self.start = torch.searchsorted(x, top - reach).int()
        self.end = torch.searchsorted(x, top + ROWS - 1 + reach, right=True).int()

    def sorted(self, values: Tensor) -> Tensor:
        return values.gather(-1, self.order)

    def unsorted(self, values: Tensor) -> Tensor:
        return torch.empty_like(values).scatter_(-1, self.order, values)

    def draw(self) -> Float[Tensor, "image x y"]:
        """The canvas (image, x, y)."""
        images, beads = self.x.shape
        canvas = self.x.new_empty(images, self.rows, self.rows)
        blocks = self.start.shape[-1]
        _draw[images, blocks, triton.cdiv(self.rows, COLUMNS)](
            self.x,
            self.y,
            self.width,
            self.amplitude * self.peak,
            self.start,
            self.end,
            canvas,
            beads,
            self.rows,
            self.rows,
            self.radius,
            blocks,
            ROWS=ROWS,
            COLUMNS=COLUMNS,
            BEADS=BEADS,
        )
        return canvas

    def gradients(self, canvas: Float[Tensor, "image x y"]) -> list[Tensor]:
        """Gradients to x, y, amplitude and sigma, in the order in which the beads came."""
        images, beads = self.x.shape
        moments = self.x.new_empty(4, images, beads)
        _moments[images, triton.cdiv(beads, BEADS)](
            self.x,
            self.y,
            self.width,
            canvas,
            moments,
            beads,
            self.rows,
            self.rows,
            self.radius,
            ROWS=ROWS,
            COLUMNS=MOMENT_COLUMNS,
            BEADS=BEADS,
        )
        zeroth, of_x, of_y, second = moments * self.peak
        # a bead that is not drawn has no width to divide by, and no peak
        width = torch.where(self.width > 0, self.width, 1.0)
        shift = self.amplitude / (width * self.sample)
        found = (
            shift * of_x,
            shift * of_y,
            zeroth,
            self.amplitude * self.stretch / width.square() * (second - 2 * zeroth),
        )
        return [self.unsorted(values) for values in found]


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        position: Float[Tensor, "image bead 3"],
        amplitude: Float[Tensor, "shared bead"],
        sigma: Float[Tensor, "own bead"],
        grid: ImageGrid,
    ) -> Float[Tensor, "image box box"]:
        ctx.drawn, ctx.shapes = [], (position.shape, amplitude.shape, sigma.shape)
        images = position.new_zeros(len(position), grid.box_size, grid.box_size)
        finite = (
            position[..., :2].isfinite().all((-2, -1))
            & amplitude.isfinite().all(-1)
            & sigma.isfinite().all(-1)
        )
        ctx.spoilt = ~finite[:, None]
        for above, below, level in (
            _levels(sigma / grid.pixel_size, grid.box_size) if position.numel() else ()
        ):
            beads = _Beads(
                position,
                amplitude,
                sigma,
                above=above,
                below=below,
                level=level,
                pixel_size=grid.pixel_size,
            )
            to_pixels = (
                torch.from_numpy(level.to_pixels[: grid.box_size]).to(position.device)
                / grid.pixel_size
            )
            images += (beads.draw() @ to_pixels.T).transpose(-2, -1) @ to_pixels.T
            ctx.drawn.append((beads, to_pixels))
        return images.masked_fill(ctx.spoilt[..., None], math.nan)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "image box box"]
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        of_x, of_y, of_amplitude, of_sigma = gradient.new_zeros(4, *ctx.shapes[0][:-1])
        for beads, to_pixels in ctx.drawn:
            of_canvas = (to_pixels.T @ gradient.transpose(-2, -1)) @ to_pixels
            for sum_of_levels, found in zip(
                (of_x, of_y, of_amplitude, of_sigma), beads.gradients(of_canvas), strict=True
            ):
                sum_of_levels += found.masked_fill(ctx.spoilt, math.nan)
        of_position = torch.stack([of_x, of_y, torch.zeros_like(of_x)], -1)
        return (
            of_position,
            of_amplitude.sum_to_size(ctx.shapes[1]),
            of_sigma.sum_to_size(ctx.shapes[2]),
            None,
        )


def _levels(sigma: Tensor, box_size: int) -> list[tuple[float, float, Level]]:
    """The canvases for these widths (pixels): one for narrow beads, one for wide ones."""
    sigma = torch.where(sigma.isfinite(), sigma.abs(), BAND_LIMITED_BELOW)
    wide = torch.where(sigma >= BAND_LIMITED_BELOW, sigma, math.inf)
    return levels_of(
        torch.stack([sigma.amin(), wide.amin(), sigma.amax()]).cpu().numpy()[None],
        box_size,
        torch.float32,
    )


def project_beads_triton(
    position: Float[Tensor, "*batch bead 3"],
    amplitude: Float[Tensor, "*#batch bead"],
    sigma: Float[Tensor, "*#batch bead"],
    grid: ImageGrid,
) -> Float[Tensor, "*batch box box"]:
    """The same images on a GPU, in single precision.

    The products are torch's; TF32, where it was allowed for them, costs their accuracy.

    Parameters
    ----------
    position, amplitude, sigma, grid
        As for :func:`atomdrgn.physics.projection.project.project_beads`.

    Returns
    -------
    (*batch, box, box)
        Line integrals at the pixel centres, amplitude per A^2.
    """
    batch, *beads = images_and_beads(position, amplitude, sigma)
    return _Splat.apply(*beads, grid).reshape(*batch, grid.box_size, grid.box_size)

"""Loops of :mod:`atomdrgn.physics.projection.splat`.

Beads are drawn on a canvas, sums are taken over it, and it is multiplied by banded matrices.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

# A vector of the loops: rows of a window on the canvas are padded to a multiple of it.
LANES = 16

# No NaN is assumed away: positions may hold some.
LOOP: dict[str, Any] = dict(
    nogil=True, fastmath={"contract", "reassoc", "nsz", "arcp"}, error_model="numpy", cache=True
)


# The two innermost loops are written for vectors: the compiler cannot know that a row and a profile
# do not overlap, and neither checking that nor adding up lanes pays for windows of a vector's
# width. Written as plain loops they take twice the time.


class _Vectors:
    """Instructions on vectors of LANES numbers."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self.builder, self.number, self.bytes = (
            builder,
            context.get_data_type(number),
            number.bitwidth // 8,
        )
        self.type, self.index = ir.VectorType(self.number, LANES), ir.IntType(64)
        self.zero = ir.Constant(self.type, [0.0] * LANES)

    def pointer(self, start: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(start, [offset]), self.type.as_pointer())

    def load(self, start: Any, offset: Any) -> Any:
        return self.builder.load(self.pointer(start, offset), align=self.bytes)

    def store(self, value: Any, start: Any, offset: Any) -> None:
        self.builder.store(value, self.pointer(start, offset), align=self.bytes)

    def all(self, value: Any) -> Any:
        lane = self.builder.insert_element(
            ir.Constant(self.type, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
        )
        return self.builder.shuffle_vector(
            lane, lane, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        )

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=("contract",))

    def plus(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(a, b, flags=("contract",))

    def variable(self) -> Any:
        """Memory that the compiler turns into a register."""
        variable = cgutils.alloca_once(self.builder, self.type)
        self.builder.store(self.zero, variable)
        return variable

    def increase(self, variable: Any, value: Any) -> None:
        self.builder.store(self.plus(self.builder.load(variable), value), variable)

    def sum(self, value: Any) -> Any:
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            half = ir.VectorType(ir.IntType(32), lanes)
            low, high = (
                ir.Constant(half, list(range(first, first + lanes))) for first in (0, lanes)
            )
            value = self.plus(
                self.builder.shuffle_vector(value, value, low),
                self.builder.shuffle_vector(value, value, high),
            )
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


@intrinsic
def _add_product(
    typing: Any,
    drawing: Any,
    start: Any,
    rows: Any,
    count: Any,
    weight: Any,
    profile: Any,
    columns: Any,
) -> tuple[Any, Callable]:
    """drawing[start + i stride + j] += weight rows[i] profile[j], in place.

    i < count, j < columns (a multiple of LANES).
    """
    array, vector = drawing, profile

    def compiled(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        drawing, start, rows, count, weight, profile, columns = arguments
        v = _Vectors(context, builder, array.dtype)
        stride = builder.extract_value(
            context.make_array(array)(context, builder, drawing).shape, 1
        )
        drawing = context.make_array(array)(context, builder, drawing).data
        rows, profile = (
            context.make_array(vector)(context, builder, value).data for value in (rows, profile)
        )
        with cgutils.for_range_slice(builder, v.index(0), columns, v.index(LANES)) as (j, _):
            weighted = v.times(v.all(weight), v.load(profile, j))
            with cgutils.for_range(builder, count) as loop:
                at = builder.add(builder.add(start, j), builder.mul(loop.index, stride))
                row = v.all(builder.load(builder.gep(rows, [loop.index])))
                v.store(v.plus(v.load(drawing, at), v.times(row, weighted)), drawing, at)
        return context.get_dummy_value()

    return types.void(drawing, start, rows, count, weight, profile, columns), compiled


@intrinsic
def _sum_products(
    typing: Any,
    drawing: Any,
    start: Any,
    rows: Any,
    count: Any,
    from_x: Any,
    profile: Any,
    columns: Any,
    from_y: Any,
) -> tuple[Any, Callable]:
    """Sums of d = drawing[start + i stride + j] rows[i] profile[j] and of d x, d y, d (x^2 + y^2).

    x = from_x + i, y = from_y + j; i < count, j < columns (a multiple of LANES).
    """
    array, vector = drawing, profile

    def compiled(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        drawing, start, rows, count, from_x, profile, columns, from_y = arguments
        v = _Vectors(context, builder, array.dtype)
        stride = builder.extract_value(
            context.make_array(array)(context, builder, drawing).shape, 1
        )
        drawing = context.make_array(array)(context, builder, drawing).data
        rows, profile = (
            context.make_array(vector)(context, builder, value).data for value in (rows, profile)
        )
        lane = ir.Constant(v.type, [float(k) for k in range(LANES)])
        sums = [v.variable() for _ in range(4)]
        with cgutils.for_range_slice(builder, v.index(0), columns, v.index(LANES)) as (j, _):
            column = [v.variable() for _ in range(3)]
            for variable in column:
                builder.store(v.zero, variable)
            with cgutils.for_range(builder, count) as loop:
                row = builder.load(builder.gep(rows, [loop.index]))
                x = v.plus(from_x, builder.sitofp(loop.index, v.number))
                values = v.load(
                    drawing, builder.add(builder.add(start, j), builder.mul(loop.index, stride))
                )
                for variable in column:
                    v.increase(variable, v.times(v.all(row), values))
                    row = v.times(row, x)
            zeroth, along_x, second = (
                v.times(v.load(profile, j), builder.load(variable)) for variable in column
            )
            y = v.plus(lane, v.all(v.plus(from_y, builder.sitofp(j, v.number))))
            along_y = v.times(zeroth, y)
            for variable, value in zip(
                sums, (zeroth, along_x, along_y, v.plus(second, v.times(along_y, y))), strict=True
            ):
                v.increase(variable, value)
        return context.make_tuple(
            builder, signature.return_type, [v.sum(builder.load(variable)) for variable in sums]
        )

    return types.UniTuple(drawing.dtype, 4)(
        drawing, start, rows, count, from_x, profile, columns, from_y
    ), compiled


@njit(**LOOP)
def _gaussian(first: float, scale: float, values: np.ndarray) -> None:
    """Gaussians exp(-d^2) at d = (first + k) scale, for d^2 < 30.

    They are a polynomial of d^2 / 64 to the power of 64, which fills vectors.
    """
    real = values.dtype.type
    first, scale, end, part, middle = real(first), real(scale), real(30), real(1 / 64), real(0.25)
    factor = real(math.exp(-0.25))
    for k in range(values.size):
        d = (first + real(np.int32(k))) * scale
        w = middle - min(d * d, end) * part
        power = real(1 / 5040) + w * (real(1 / 40320) + w * real(1 / 362880))
        power = real(1 / 6) + w * (
            real(1 / 24) + w * (real(1 / 120) + w * (real(1 / 720) + w * power))
        )
        power = factor * (real(1) + w * (real(1) + w * (real(1 / 2) + w * power)))
        for _ in range(6):
            power *= power
        values[k] = power


@njit(**LOOP)
def _window(center: float, half: float, first: int, last: int) -> tuple[int, int]:
    """The samples of (first, ..., last - 1) that are within `half` of `center`.

    They are told as the first, and the one behind the last.
    """
    if not (center - half < last and center + half >= first):
        return first, first
    return int(math.ceil(max(center - half, first))), int(
        math.floor(min(center + half, last - 1))
    ) + 1


@njit(**LOOP)
def _placed(
    position: np.ndarray, sigma: np.ndarray, canvas: tuple
) -> tuple[np.ndarray, int, int, int, int]:
    """Where and how wide the beads of one image are on a canvas, and the part of it that they need.

    Returns x, y and t (bead, 3) in samples, t = 0 for a bead that is not drawn here, and the first
    row, the one behind the last row, the first column and the one behind the last column, multiples
    of four.
    """
    pixel_size, spacing, blur2, above, below, reach, edge, radius = canvas
    place = np.zeros((position.shape[0], 3))
    top, bottom, left, right = edge, -edge, edge, -edge
    for n in range(position.shape[0]):
        width2 = (sigma[n] / pixel_size) ** 2
        x, y = position[n, 0] / pixel_size, position[n, 1] / pixel_size
        if not (above <= width2 < below and max(abs(x), abs(y)) <= reach):
            continue
        x, y, width = x / spacing, y / spacing, math.sqrt(width2 - blur2) / spacing
        first_row, last_row = _window(x, radius * width, -edge, edge)
        first_column, last_column = _window(y, radius * width, -edge, edge)
        if first_row < last_row and first_column < last_column:
            place[n] = x, y, width
            top, bottom = min(top, first_row), max(bottom, last_row)
            left, right = min(left, first_column), max(right, last_column)
    return place, top // 4 * 4, (bottom + 3) // 4 * 4, left // 4 * 4, (right + 3) // 4 * 4


@njit(**LOOP)
def _profile(
    centre: float, width: float, radius: float, start: int, end: int, room: np.ndarray
) -> tuple[int, np.ndarray, int]:
    """What a bead is along an axis: first sample, Gaussian from there on, number of samples.

    The Gaussian (peak 1) stands in `room` and is as long as whole vectors are.

    The Gaussian (peak 1) is as long as whole vectors are.
    """
    first, last = _window(centre, radius * width, start, end)
    profile = room[: (last - first + LANES - 1) // LANES * LANES]
    _gaussian(first - centre, 1 / (math.sqrt(2) * width), profile)
    return first, profile, last - first


@njit(**LOOP)
def _draw(
    place: np.ndarray,
    amplitude: np.ndarray,
    radius: float,
    top: int,
    left: int,
    drawing: np.ndarray,
) -> None:
    """Add beads to a drawing (rows x, columns y) whose first sample is (top, left)."""
    real = drawing.dtype.type
    bottom, right = top + drawing.shape[0], left + drawing.shape[1] - LANES
    across, along = (
        np.empty(drawing.shape[0] + LANES, drawing.dtype),
        np.empty(drawing.shape[1] + LANES, drawing.dtype),
    )
    for n in range(place.shape[0]):
        x, y, width = place[n]
        if width == 0:
            continue
        first_row, rows, count = _profile(x, width, radius, top, bottom, across)
        first, profile, _ = _profile(y, width, radius, left, right, along)
        peak = real(amplitude[n] / (2 * math.pi * width**2))
        start = (first_row - top) * drawing.shape[1] + first - left
        # numba's stubs count the typing context among the arguments of an intrinsic
        _add_product(drawing, start, rows, count, peak, profile, len(profile))  # type: ignore[call-arg]


@njit(**LOOP)
def _moments(
    place: np.ndarray, radius: float, top: int, left: int, drawing: np.ndarray, moments: np.ndarray
) -> None:
    """Sums of a drawing's samples times each bead's Gaussian (peak 1) and 1, x, y, x^2 + y^2.

    x and y are from the bead's centre.
    """
    real = drawing.dtype.type
    bottom, right = top + drawing.shape[0], left + drawing.shape[1] - LANES
    across, along = (
        np.empty(drawing.shape[0] + LANES, drawing.dtype),
        np.empty(drawing.shape[1] + LANES, drawing.dtype),
    )
    for n in range(place.shape[0]):
        x, y, width = place[n]
        if width == 0:
            continue
        first_row, rows, count = _profile(x, width, radius, top, bottom, across)
        first, profile, _ = _profile(y, width, radius, left, right, along)
        start = (first_row - top) * drawing.shape[1] + first - left
        moments[n] = _sum_products(  # type: ignore[call-arg]
            drawing, start, rows, count, real(first_row - x), profile, len(profile), real(first - y)
        )


@njit(**LOOP)
def _multiply(
    matrix: np.ndarray,
    bands: tuple[np.ndarray, np.ndarray],
    top: int,
    bottom: int,
    left: int,
    right: int,
    columns: np.ndarray,
    product: np.ndarray,
) -> None:
    """Write matrix[top:bottom, left:right] @ columns of a banded matrix into `product`.

    Blocks are of four rows and four columns.
    """
    first, last = bands
    width = columns.shape[1]
    for i in range(0, bottom - top, 4):
        out0, out1, out2, out3 = product[i], product[i + 1], product[i + 2], product[i + 3]
        out0[:], out1[:], out2[:], out3[:] = 0, 0, 0, 0
        at = top + i
        for k in range(max(first[at // 4], left), min(last[at // 4], right), 4):
            row0, row1 = matrix[at, k : k + 4], matrix[at + 1, k : k + 4]
            row2, row3 = matrix[at + 2, k : k + 4], matrix[at + 3, k : k + 4]
            m00, m01, m02, m03 = row0[0], row0[1], row0[2], row0[3]
            m10, m11, m12, m13 = row1[0], row1[1], row1[2], row1[3]
            m20, m21, m22, m23 = row2[0], row2[1], row2[2], row2[3]
            m30, m31, m32, m33 = row3[0], row3[1], row3[2], row3[3]
            in0, in1, in2, in3 = (
                columns[k - left],
                columns[k - left + 1],
                columns[k - left + 2],
                columns[k - left + 3],
            )
            for j in range(width):
                c0, c1, c2, c3 = in0[j], in1[j], in2[j], in3[j]
                out0[j] += m00 * c0 + m01 * c1 + m02 * c2 + m03 * c3
                out1[j] += m10 * c0 + m11 * c1 + m12 * c2 + m13 * c3
                out2[j] += m20 * c0 + m21 * c1 + m22 * c2 + m23 * c3
                out3[j] += m30 * c0 + m31 * c1 + m32 * c2 + m33 * c3


@njit(**LOOP)
def _transpose(matrix: np.ndarray, result: np.ndarray) -> None:
    """Write the transpose of `matrix` into the corner of `result`, block by block.

    The blocks stay in the cache.
    """
    rows, columns = matrix.shape
    for top in range(0, rows, 16):
        for left in range(0, columns, 16):
            for j in range(left, min(left + 16, columns)):
                for i in range(top, min(top + 16, rows)):
                    result[j, i] = matrix[i, j]


@njit(**LOOP)
def _finite(position: np.ndarray, amplitude: np.ndarray, sigma: np.ndarray) -> bool:
    zero = 0.0
    for n in range(position.shape[0]):
        zero += 0 * position[n, 0] + 0 * position[n, 1] + 0 * amplitude[n] + 0 * sigma[n]
    return zero == 0


@njit(**LOOP)
def draw_images(
    images: tuple[int, int],
    position: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    canvas: tuple,
    to_pixels: np.ndarray,
    bands: tuple[np.ndarray, np.ndarray],
    result: np.ndarray,
) -> None:
    """Add the beads of one level to some of the images.

    Parameters
    ----------
    images : (int, int)
        The first image, and the one behind the last.
    position : (image, bead, 3)
        A.
    amplitude, sigma : (image, bead) or (1, bead)
        Integral, and standard deviation in A.
    canvas : tuple
        Pixel size, then what :class:`~atomdrgn.physics.projection.splat.Level` says of the canvas.
    to_pixels : (box, sample)
        The matrix of the blur.
    bands : ((box / 4,), (box / 4,))
        Columns of `to_pixels` that four rows use: the first, and the one behind the last.
    result : (image, box, box)
        Is added to.
    """
    real = result.dtype
    box_size, padded = result.shape[1], to_pixels.shape[0]
    for image in range(images[0], images[1]):
        own_amplitude, own_sigma = amplitude[image % len(amplitude)], sigma[image % len(sigma)]
        if not _finite(position[image], own_amplitude, own_sigma):
            result[image] = np.nan
            continue
        place, top, bottom, left, right = _placed(position[image], own_sigma, canvas)
        if top >= bottom:
            continue
        edge, radius = canvas[-2], canvas[-1]
        drawing = np.zeros((bottom - top, right - left + LANES), real)
        _draw(place, own_amplitude, radius, top, left, drawing)
        half_way, turned = (
            np.empty((padded, drawing.shape[1]), real),
            np.empty((right - left, padded), real),
        )
        _multiply(to_pixels, bands, 0, padded, top + edge, bottom + edge, drawing, half_way)
        _transpose(half_way[:, : right - left], turned)
        blurred = np.empty((padded, padded), real)
        _multiply(to_pixels, bands, 0, padded, left + edge, right + edge, turned, blurred)
        scale = real.type(1 / canvas[0] ** 2)
        for y in range(box_size):
            for x in range(box_size):
                result[image, y, x] += scale * blurred[y, x]


@njit(**LOOP)
def gradients_of_beads(
    images: tuple[int, int],
    position: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    canvas: tuple,
    to_samples: np.ndarray,
    bands: tuple[np.ndarray, np.ndarray],
    gradient: np.ndarray,
    of_position: np.ndarray,
    of_amplitude: np.ndarray,
    of_sigma: np.ndarray,
) -> None:
    """Gradients of the beads of one level in some of the images.

    Parameters
    ----------
    images, position, amplitude, sigma, canvas
        As for :func:`draw_images`.
    to_samples : (sample, box)
        The transpose of the matrix of the blur.
    bands : ((sample / 4,), (sample / 4,))
        Columns of `to_samples` that four rows use.
    gradient : (image, box, box)
        What is wanted of the images.
    of_position, of_amplitude, of_sigma : (image, bead, 3), (image, bead), (image, bead)
        Are filled.
    """
    real = gradient.dtype
    box_size, padded = gradient.shape[1], to_samples.shape[1]
    pixel_size, spacing, edge, radius = canvas[0], canvas[1], canvas[-2], canvas[-1]
    moments = np.empty((position.shape[1], 4), real)
    padded_gradient = np.zeros((padded, padded), real)
    for image in range(images[0], images[1]):
        own_amplitude, own_sigma = amplitude[image % len(amplitude)], sigma[image % len(sigma)]
        place, top, bottom, left, right = _placed(position[image], own_sigma, canvas)
        if not _finite(position[image], own_amplitude, own_sigma):
            of_position[image], of_amplitude[image], of_sigma[image] = np.nan, np.nan, np.nan
            continue
        if top >= bottom:
            continue
        padded_gradient[:box_size, :box_size] = gradient[image]
        half_way = np.empty((right - left, padded), real)
        _multiply(
            to_samples, bands, left + edge, right + edge, 0, padded, padded_gradient, half_way
        )
        turned = np.zeros((padded, right - left + LANES), real)
        _transpose(half_way, turned)
        drawing = np.zeros((bottom - top, right - left + LANES), real)
        _multiply(to_samples, bands, top + edge, bottom + edge, 0, padded, turned, drawing)
        _moments(place, radius, top, left, drawing, moments)
        for n in range(position.shape[1]):
            width2 = place[n, 2] ** 2
            if width2 == 0:
                continue
            peak = 1 / (2 * math.pi * width2 * pixel_size**2)
            by_width2 = own_amplitude[n] * peak / width2
            of_amplitude[image, n] = peak * moments[n, 0]
            of_position[image, n, 0] = by_width2 * moments[n, 1] / (spacing * pixel_size)
            of_position[image, n, 1] = by_width2 * moments[n, 2] / (spacing * pixel_size)
            # t^2 = (sigma^2 / pixel_size^2 - b^2) / spacing^2
            by_width2 *= own_sigma[n] / (spacing * pixel_size) ** 2
            of_sigma[image, n] = by_width2 * (moments[n, 3] / width2 - 2 * moments[n, 0])

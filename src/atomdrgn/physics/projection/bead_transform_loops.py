"""The loops behind bead transforms and derivative images on a processor.

They make waves of beads, and put products of waves together.

A Fourier coefficient of a bead is a product of a wave along x and one along y, so that a field of
beads is a matrix product of waves. What stands before and after that product is done here, in loops
over beads and over rows of frequencies that a compiler turns into vector instructions. Layouts:
waves are (index of cosine or sine, bead); their product is (field, cosine or sine along y, y index,
cosine or sine along x, x index).
"""

import math

import numpy as np
from numba import njit

# sin(pi t) / t and cos(pi t) for |t| <= 1/2, in powers of t^2: Taylor's series, the first term left
# out below 1e-8
SINE = tuple((-1) ** n * math.pi ** (2 * n + 1) / math.factorial(2 * n + 1) for n in range(7))
COSINE = tuple((-1) ** n * math.pi ** (2 * n) / math.factorial(2 * n) for n in range(8))


@njit(nogil=True, fastmath=True, cache=True, inline="always")
def turned(turns: float) -> tuple[np.floating, np.floating]:
    """Cosine and sine of an angle given in turns."""
    t = turns - math.floor(turns + np.float32(0.5))
    u = t * t
    sine = np.float32(SINE[6])
    cosine = np.float32(COSINE[7])
    for n in range(5, -1, -1):
        sine = sine * u + np.float32(SINE[n])
    for n in range(6, -1, -1):
        cosine = cosine * u + np.float32(COSINE[n])
    sine *= t
    # of the double angle: 2 pi t
    return np.float32(1) - np.float32(2) * sine * sine, np.float32(2) * sine * cosine


@njit(nogil=True, fastmath=True, cache=True)
def pull_back(wave: np.ndarray, gradient: np.ndarray, extent: float, out: np.ndarray) -> None:
    """The gradient in positions along an axis from that in the waves along it.

    Parameters
    ----------
    wave, gradient : (batch, field, 2, index, bead) float32
        Waves that :func:`make_waves` made, and what is wanted of them.
    extent : float
        Period of the first wave, A.
    out : (batch, bead) float32
        Is filled.
    """
    out[:] = np.float32(0)
    for image in range(wave.shape[0]):
        total = out[image]
        for f in range(wave.shape[1]):
            for k in range(wave.shape[3]):
                slope = np.float32(2 * math.pi * k / extent)
                cosine, sine = wave[image, f, 0, k], wave[image, f, 1, k]
                of_cosine, of_sine = gradient[image, f, 0, k], gradient[image, f, 1, k]
                for b in range(wave.shape[4]):
                    total[b] += slope * (cosine[b] * of_sine[b] - sine[b] * of_cosine[b])


@njit(nogil=True, fastmath=True, cache=True)
def make_waves(
    position: np.ndarray,
    weight: np.ndarray,
    damping: np.ndarray,
    start: int,
    extent: float,
    along_x: np.ndarray,
    along_y: np.ndarray,
) -> None:
    """Waves of some of the beads: along x and, times each field's weight, along y.

    Parameters
    ----------
    position : (batch, 2, bead) float32
        x and y in the camera's frame, A.
    weight : (batch, field, bead) float32
        Of each bead in each field.
    damping : (index, bead) float32
        What the bead's width leaves of each wave.
    start : int
        The first of the beads.
    extent : float
        Period of the first wave, A; beads further than half of it from the origin do not count.
    along_x : (batch, 2 index, some) float32
        Is filled; its last axis says how many beads.
    along_y : (batch, field 2 index, some) float32
        Is filled.
    """
    count, n_fields, n_beads = len(damping), weight.shape[1], along_x.shape[2]
    per_extent, half = np.float32(1 / extent), np.float32(0.5 * extent)
    c1, s1 = np.empty(n_beads, np.float32), np.empty(n_beads, np.float32)
    c, s = np.empty(n_beads, np.float32), np.empty(n_beads, np.float32)
    w = np.empty((n_fields, n_beads), np.float32)
    for image in range(position.shape[0]):
        x, y = (
            position[image, 0, start : start + n_beads],
            position[image, 1, start : start + n_beads],
        )
        for f in range(n_fields):
            given = weight[image, f, start : start + n_beads]
            for b in range(n_beads):
                inside = (abs(x[b]) <= half) & (abs(y[b]) <= half)
                w[f, b] = given[b] if inside else np.float32(0)
        for axis in range(2):
            along = x if axis == 0 else y
            for b in range(n_beads):
                c1[b], s1[b] = turned(along[b] * per_extent)
                c[b], s[b] = np.float32(1), np.float32(0)
            for k in range(count):
                damped = damping[k, start : start + n_beads]
                if axis == 0:
                    cosine, sine = along_x[image, k], along_x[image, count + k]
                    for b in range(n_beads):
                        cosine[b], sine[b] = c[b] * damped[b], s[b] * damped[b]
                else:
                    for f in range(n_fields):
                        row = f * 2 * count + k
                        cosine, sine, wf = along_y[image, row], along_y[image, row + count], w[f]
                        for b in range(n_beads):
                            strength = wf[b] * damped[b]
                            cosine[b], sine[b] = c[b] * strength, s[b] * strength
                for b in range(n_beads):
                    next_c = c[b] * c1[b] - s[b] * s1[b]
                    s[b] = s[b] * c1[b] + c[b] * s1[b]
                    c[b] = next_c


@njit(nogil=True, fastmath=True, cache=True, inline="always")
def _row(
    field: np.ndarray, q: int, first: int, last: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of one row of frequencies: both cosines, the sine along x, the sine along y, both sines."""
    return (
        field[0, q, 0, first:last],
        field[0, q, 1, first:last],
        field[1, q, 0, first:last],
        field[1, q, 1, first:last],
    )


@njit(nogil=True, fastmath=True, cache=True, inline="always")
def _combine(product: np.ndarray, row: np.ndarray, out: np.ndarray, at: int) -> None:
    """Coefficients of one row of an image's fields, (field, 2, frequency) from `at` on."""
    y, first, _, length = row
    sign = np.float32(-1 if y < 0 else 1)
    for field in range(product.shape[0]):
        cos_cos, sin_x, sin_y, sin_sin = _row(product[field], abs(y), first, first + length)
        real, imaginary = out[field, 0, at : at + length], out[field, 1, at : at + length]
        for i in range(length):
            real[i] = cos_cos[i] - sign * sin_sin[i]
            imaginary[i] = -(sin_x[i] + sign * sin_y[i])


@njit(nogil=True, fastmath=True, cache=True)
def combine(product: np.ndarray, rows: np.ndarray, out: np.ndarray, part: int) -> None:
    """Real and imaginary parts of each field's coefficients.

    Parameters
    ----------
    product : (batch, field, 2, index, 2, index) float32
        Of the waves along y and x.
    rows : (row, 4) int64
        See :attr:`atomdrgn.physics.disc.FourierDisc.rows`.
    out : (batch, part, field, 2, frequency) float32
        Is filled.
    part : int
        Where in it.
    """
    for image in range(product.shape[0]):
        for r in range(rows.shape[0]):
            _combine(product[image], rows[r], out[image, part], rows[r, 2])


@njit(nogil=True, fastmath=True, cache=True, inline="always")
def _move(
    fields: np.ndarray,
    at: int,
    row: np.ndarray,
    two_pi: np.floating,
    transfer: np.ndarray,
    prediction: np.ndarray,
    derivative: np.ndarray,
) -> None:
    """One row of an image's derivatives by the motions of a segment.

    `at` is where the row stands in the segment's fields, (4 or 5, 2, frequency).
    """
    y, first, start, length = row
    end, there = start + length, at + length
    mass_re, mass_im = fields[0, 0, at:there], fields[0, 1, at:there]
    x_re, x_im = fields[1, 0, at:there], fields[1, 1, at:there]
    y_re, y_im = fields[2, 0, at:there], fields[2, 1, at:there]
    z_re, z_im = fields[3, 0, at:there], fields[3, 1, at:there]
    t = transfer[start:end]
    seen_re, seen_im = prediction[0, start:end], prediction[1, start:end]
    shift_x_re, shift_x_im = derivative[0, 0, start:end], derivative[0, 1, start:end]
    shift_y_re, shift_y_im = derivative[1, 0, start:end], derivative[1, 1, start:end]
    turn_x_re, turn_x_im = derivative[2, 0, start:end], derivative[2, 1, start:end]
    turn_y_re, turn_y_im = derivative[3, 0, start:end], derivative[3, 1, start:end]
    turn_z_re, turn_z_im = derivative[4, 0, start:end], derivative[4, 1, start:end]
    for i in range(length):
        seen_re[i] += mass_re[i] * t[i]
        seen_im[i] += mass_im[i] * t[i]
        # a shift multiplies by -2 pi i k: what was imaginary becomes real, what was real becomes
        # minus imaginary
        along_x, along_y = two_pi * (first + i) * t[i], two_pi * y * t[i]
        shift_x_re[i], shift_x_im[i] = along_x * mass_im[i], -along_x * mass_re[i]
        shift_y_re[i], shift_y_im[i] = along_y * mass_im[i], -along_y * mass_re[i]
        turn_x_re[i], turn_x_im[i] = -along_y * z_im[i], along_y * z_re[i]
        turn_y_re[i], turn_y_im[i] = along_x * z_im[i], -along_x * z_re[i]
        turn_z_re[i], turn_z_im[i] = (
            along_y * x_im[i] - along_x * y_im[i],
            along_x * y_re[i] - along_y * x_re[i],
        )
    if derivative.shape[0] == 6:
        for part in range(2):
            own, out = fields[4, part, at:there], derivative[5, part, start:end]
            for i in range(length):
                out[i] = own[i] * t[i]


@njit(nogil=True, fastmath=True, cache=True)
def move_fields(
    fields: np.ndarray,
    rows: np.ndarray,
    extent: float,
    transfer: np.ndarray,
    prediction: np.ndarray,
    derivative: np.ndarray,
    segment: int,
) -> None:
    """Derivatives of an image by the motions of one segment.

    They are shifts along x and y, turns about x, y and z, and the occupancy where that is free.

    Parameters
    ----------
    fields : (batch, 4 or 5, 2, frequency) float32
        Coefficients of the amplitude, of the amplitude times each component of the arm, and of what
        an occupancy of 1 would show.
    rows : (row, 4) int64
        See :attr:`atomdrgn.physics.disc.FourierDisc.rows`.
    extent : float
        Of the box, A.
    transfer : (batch, frequency) float32
        What a prediction is multiplied by.
    prediction : (batch, 2, frequency) float32
        Is added to.
    derivative : (batch, segment, 5 or 6, 2, frequency) float32
        Is filled.
    segment : int
        Where in it.
    """
    two_pi = np.float32(2 * math.pi / extent)
    for image in range(fields.shape[0]):
        seen, into, t = prediction[image], derivative[image, segment], transfer[image]
        for r in range(rows.shape[0]):
            _move(fields[image], rows[r, 2], rows[r], two_pi, t, seen, into)


@njit(nogil=True, fastmath=True, cache=True)
def move_products(
    product: np.ndarray,
    rows: np.ndarray,
    extent: float,
    transfer: np.ndarray,
    prediction: np.ndarray,
    derivative: np.ndarray,
    segment: int,
) -> None:
    """:func:`combine` and :func:`move_fields` at once, row by row.

    Parameters
    ----------
    product : (batch, 4 or 5, 2, index, 2, index) float32
        Of the waves of each field.
    rows, extent, transfer, prediction, derivative, segment
        As for :func:`move_fields`.
    """
    two_pi = np.float32(2 * math.pi / extent)
    fields = np.empty((product.shape[1], 2, rows[:, 3].max()), np.float32)
    for image in range(product.shape[0]):
        seen, into, t = prediction[image], derivative[image, segment], transfer[image]
        for r in range(rows.shape[0]):
            _combine(product[image], rows[r], fields, 0)
            _move(fields, 0, rows[r], two_pi, t, seen, into)

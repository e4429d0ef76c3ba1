"""The loops behind slices of rigid sets of beads, and the kernel that both ways share."""

import math

import numpy as np
from jaxtyping import Float
from numba import njit, uint64
from numpy.polynomial import Polynomial
from torch import Tensor

from .bead_transform_loops import turned

WIDTH = 4  # of the kernel, in steps of the grid
OVERSAMPLING = 2.25  # edge of the grid's box in space, in widths of the beads' box
# The kernel's shape: that of Beatty et al. (2005), equation 5, and a twentieth more, with which the
# step at the edge of so narrow a kernel and what it folds back are alike.
BETA = 1.05 * math.pi * math.sqrt((WIDTH / OVERSAMPLING * (OVERSAMPLING - 0.5)) ** 2 - 0.8)
DEGREE = 6  # of the polynomials in its place: right to 1e-5


def _taps() -> tuple[tuple[float, ...], ...]:
    """For each grid point under the kernel, powers of how far it lies behind the kernel's edge."""
    at = 0.5 + 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    taps = []
    for tap in range(WIDTH):
        inside = np.clip(1 - (2 * (tap + at) / WIDTH - 1) ** 2, 0, None)
        kernel = np.i0(BETA * np.sqrt(inside)) / np.i0(BETA)
        fitted = Polynomial.fit(at, kernel, DEGREE, domain=[0, 1], window=[0, 1])
        taps.append(tuple(float(each) for each in fitted.coef))
    return tuple(taps)


TAPS = _taps()


def kernel_taps(behind: Float[Tensor, "*batch"]) -> list[Float[Tensor, "*batch"]]:
    """Weights of the grid points under the kernel, from how far the first lies behind its edge."""
    weights = []
    for tap in TAPS:
        value = behind * 0 + tap[DEGREE]
        for power in range(DEGREE - 1, -1, -1):
            value = value * behind + tap[power]
        weights.append(value)
    return weights


@njit(nogil=True, fastmath=True, cache=True, inline="always")
def _tap(tap: tuple, behind: np.floating) -> np.floating:
    value = np.float32(tap[DEGREE])
    for power in range(DEGREE - 1, -1, -1):
        value = value * behind + np.float32(tap[power])
    return value


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy")
def _find_taps(
    start: np.ndarray,
    step: np.ndarray,
    length: int,
    shape: tuple,
    at: np.ndarray,
    side: np.ndarray,
    taps: np.ndarray,
) -> None:
    """Of a row of frequencies: the first grid point under the kernel, and all points' weights.

    `side` is -1 where the frequency's opposite is looked up.
    """
    half = np.float32(WIDTH / 2)
    in_x = np.int32(shape[3])
    in_y = np.int32(shape[2]) * in_x
    in_z = np.int32(shape[1]) * in_y
    zero = np.int32(shape[0] // 2) * in_z + np.int32(shape[1] // 2) * in_y
    zero += np.int32(WIDTH // 2) * in_x
    x0, y0, z0 = start
    x1, y1, z1 = step
    for f in range(length):
        x, y, z = x0 + np.float32(f) * x1, y0 + np.float32(f) * y1, z0 + np.float32(f) * z1
        s = np.float32(-1) if x < np.float32(0) else np.float32(1)
        x, y, z = x * s, y * s, z * s
        i, j, k = np.ceil(x - half), np.ceil(y - half), np.ceil(z - half)
        side[f] = s
        at[f] = zero + np.int32(k) * in_z + np.int32(j) * in_y + np.int32(i) * in_x
        x, y, z = i - x + half, j - y + half, k - z + half
        taps[0, 0, f], taps[0, 1, f] = _tap(TAPS[0], x), _tap(TAPS[1], x)
        taps[0, 2, f], taps[0, 3, f] = _tap(TAPS[2], x), _tap(TAPS[3], x)
        taps[1, 0, f], taps[1, 1, f] = _tap(TAPS[0], y), _tap(TAPS[1], y)
        taps[1, 2, f], taps[1, 3, f] = _tap(TAPS[2], y), _tap(TAPS[3], y)
        taps[2, 0, f], taps[2, 1, f] = _tap(TAPS[0], z), _tap(TAPS[1], z)
        taps[2, 2, f], taps[2, 3, f] = _tap(TAPS[2], z), _tap(TAPS[3], z)


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy")
def _gather(
    flat: np.ndarray,
    shape: tuple,
    length: int,
    at: np.ndarray,
    taps: np.ndarray,
    line: np.ndarray,
    out: np.ndarray,
) -> None:
    """Interpolate a row of frequencies.

    Grid points along x are next to each other, with all their numbers: a `line` of them is summed
    over y and z at once, and then over x. `out` is (number, frequency).
    """
    # counted without a sign: an index that may be negative is looked at before each use
    numbers = uint64(shape[3])
    in_y = uint64(shape[2]) * numbers
    in_z = uint64(shape[1]) * in_y
    x, y, z = taps
    for f in range(length):
        y0, y1, y2, y3 = y[0, f], y[1, f], y[2, f], y[3, f]
        z0, z1, z2, z3 = z[0, f], z[1, f], z[2, f], z[3, f]
        a0, a1, a2, a3 = z0 * y0, z0 * y1, z0 * y2, z0 * y3
        b0, b1, b2, b3 = z1 * y0, z1 * y1, z1 * y2, z1 * y3
        c0, c1, c2, c3 = z2 * y0, z2 * y1, z2 * y2, z2 * y3
        d0, d1, d2, d3 = z3 * y0, z3 * y1, z3 * y2, z3 * y3
        o0 = uint64(at[f])
        o1 = o0 + in_z
        o2 = o1 + in_z
        o3 = o2 + in_z
        p0 = o0
        p1 = p0 + in_y
        p2 = p1 + in_y
        p3 = p2 + in_y
        q0 = o1
        q1 = q0 + in_y
        q2 = q1 + in_y
        q3 = q2 + in_y
        r0 = o2
        r1 = r0 + in_y
        r2 = r1 + in_y
        r3 = r2 + in_y
        s0 = o3
        s1 = s0 + in_y
        s2 = s1 + in_y
        s3 = s2 + in_y
        for n in range(uint64(WIDTH) * numbers):
            line[n] = (
                (a0 * flat[p0 + n] + a1 * flat[p1 + n] + a2 * flat[p2 + n] + a3 * flat[p3 + n])
                + (b0 * flat[q0 + n] + b1 * flat[q1 + n] + b2 * flat[q2 + n] + b3 * flat[q3 + n])
                + (c0 * flat[r0 + n] + c1 * flat[r1 + n] + c2 * flat[r2 + n] + c3 * flat[r3 + n])
                + (d0 * flat[s0 + n] + d1 * flat[s1 + n] + d2 * flat[s2 + n] + d3 * flat[s3 + n])
            )
        x0, x1, x2, x3 = x[0, f], x[1, f], x[2, f], x[3, f]
        for n in range(numbers):
            out[n, f] = (
                x0 * line[n]
                + x1 * line[numbers + n]
                + x2 * line[uint64(2) * numbers + n]
                + x3 * line[uint64(3) * numbers + n]
            )


@njit(nogil=True, fastmath=True, cache=True, error_model="numpy")
def cut_slices(
    values: Float[np.ndarray, "z y x numbers"],
    seen: Float[np.ndarray, "image 3 3"],
    along: Float[np.ndarray, "image 2 3"],
    middle: Float[np.ndarray, "image 2"],
    rows: Float[np.ndarray, "row 4"],
    strength: Float[np.ndarray, "frequency"],
    out: Float[np.ndarray, "image field 2 frequency"],
) -> None:
    """Slices of a transform, shifted, with arms along the camera's axes.

    Parameters
    ----------
    values : (z, y, x, 2 field) float32
        See :class:`atomdrgn.physics.projection.rigid_slices.RigidSlices`; one field, or four.
    seen : (image, 3, 3) float32
        From the grid's axes to the camera's.
    along : (image, 2, 3) float32
        Steps of the grid's x, y and z for one index along the camera's x, and along its y.
    middle : (image, 2) float32
        Where the camera sees the middle of the beads, in units of the images' extent.
    rows : (row, 4) int64
        See :attr:`atomdrgn.physics.disc.FourierDisc.rows`.
    strength : (frequency,) float32
        What coefficients are multiplied by.
    out : (image, field, 2, frequency) float32
        Is written.
    """
    shape, flat, longest = values.shape, values.reshape(-1), rows[:, 3].max()
    at, side = np.empty(longest, np.int32), np.empty(longest, np.float32)
    taps, line = np.empty((3, WIDTH, longest), np.float32), np.empty(WIDTH * shape[3], np.float32)
    row, phase = np.empty((shape[3], longest), np.float32), np.empty((2, longest), np.float32)
    start, fields = np.empty(3, np.float32), shape[3] // 2
    for image in range(len(seen)):
        step, turn = along[image, 0], seen[image]
        for r in range(rows.shape[0]):
            y, first, begin, length = rows[r]
            end = begin + length
            for axis in range(3):
                start[axis] = first * step[axis] + y * along[image, 1, axis]
            _find_taps(start, step, length, shape, at, side, taps)
            _gather(flat, shape, length, at, taps, line, row)
            x_turn, y_turn = middle[image, 0], np.float32(y) * middle[image, 1]
            given = strength[begin:end]
            for f in range(length):
                c, s = turned(-(np.float32(first + f) * x_turn + y_turn))
                phase[0, f], phase[1, f] = given[f] * c, given[f] * s
            c, s = phase
            real, imaginary = out[image, 0, 0, begin:end], out[image, 0, 1, begin:end]
            for f in range(length):
                re, im = row[0, f], side[f] * row[1, f]
                real[f], imaginary[f] = re * c[f] - im * s[f], re * s[f] + im * c[f]
            for axis in range(fields - 1):
                t0, t1, t2 = turn[axis, 0], turn[axis, 1], turn[axis, 2]
                real, imaginary = (
                    out[image, axis + 1, 0, begin:end],
                    out[image, axis + 1, 1, begin:end],
                )
                for f in range(length):
                    re = t0 * row[2, f] + t1 * row[4, f] + t2 * row[6, f]
                    im = side[f] * (t0 * row[3, f] + t1 * row[5, f] + t2 * row[7, f])
                    real[f], imaginary[f] = re * c[f] - im * s[f], re * s[f] + im * c[f]

"""Loops of docking.

They give a model's transform at turned frequencies, and a smooth map with its slope at points.
"""

import math

import numpy as np
from jaxtyping import Complex, Float
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def turned_transform(
    transform: Complex[np.ndarray, "z y half"],
    cycles: Float[np.ndarray, "frequency 3"],
    rotation: Float[np.ndarray, "3 3"],
    out: Complex[np.ndarray, "frequency"],
) -> None:
    """Coefficients of a model that was turned by a matrix, by trilinear interpolation.

    Parameters
    ----------
    transform : (z, y, half) complex64
        Of the model in a padded box; ky and kz rise along their axes from below zero, kx from zero.
    cycles : (frequency, 3) float32
        Frequencies x, y, z in cycles of the padded box.
    rotation : (3, 3) float32
        Acts on the model's columns xyz.
    out : (frequency,) complex64
        Is filled.
    """
    middle = transform.shape[0] // 2
    for i in range(cycles.shape[0]):
        kx, ky, kz = cycles[i]
        # the turned model's transform at k is the model's own at the frequency turned back
        x = rotation[0, 0] * kx + rotation[1, 0] * ky + rotation[2, 0] * kz
        y = rotation[0, 1] * kx + rotation[1, 1] * ky + rotation[2, 1] * kz
        z = rotation[0, 2] * kx + rotation[1, 2] * ky + rotation[2, 2] * kz
        mirrored = x < 0
        if mirrored:
            x, y, z = -x, -y, -z
        y, z = y + np.float32(middle), z + np.float32(middle)
        a, b, c = int(z), int(y), int(x)
        fz, fy, fx = z - np.float32(a), y - np.float32(b), x - np.float32(c)
        one = np.float32(1)
        near = (transform[a, b, c] * (one - fx) + transform[a, b, c + 1] * fx) * (one - fy) + (
            transform[a, b + 1, c] * (one - fx) + transform[a, b + 1, c + 1] * fx
        ) * fy
        far = (transform[a + 1, b, c] * (one - fx) + transform[a + 1, b, c + 1] * fx) * (
            one - fy
        ) + (transform[a + 1, b + 1, c] * (one - fx) + transform[a + 1, b + 1, c + 1] * fx) * fy
        value = near * (one - fz) + far * fz
        out[i] = np.conj(value) if mirrored else value


@njit(nogil=True, fastmath=True, cache=True)
def spline_sum(
    spline: Float[np.ndarray, "z y x"],
    per_extent: Float[np.ndarray, "3"],
    position: Float[np.ndarray, "point 3"],
    amplitude: Float[np.ndarray, "point"],
    slope: Float[np.ndarray, "point 3"],
) -> float:
    """Sum of a periodic cubic spline over weighted points, and its slope at each of them.

    Parameters
    ----------
    spline : (z, y, x) float32
        Coefficients; the first stands at the origin, and the last is followed by the first.
    per_extent : (3,) float64
        One over the period along x, y, z, 1/A. Points further than half a period from the origin
        see nothing.
    position : (point, 3) float64
        x, y, z, A.
    amplitude : (point,) float64
        Weights.
    slope : (point, 3) float64
        Is filled: derivatives by x, y, z of the point, times its weight.

    Returns
    -------
    float
    """
    weight, change, index = np.empty((3, 4)), np.empty((3, 4)), np.empty((3, 4), np.int64)
    total = 0.0
    for p in range(position.shape[0]):
        inside = True
        for axis in range(3):
            n = spline.shape[2 - axis]
            turns = position[p, axis] * per_extent[axis]
            inside = inside and abs(turns) <= 0.5
            at = turns * n
            first = math.floor(at)
            u = at - first
            v = 1 - u
            weight[axis, 0], weight[axis, 3] = v * v * v / 6, u * u * u / 6
            weight[axis, 1], weight[axis, 2] = (
                2 / 3 - 0.5 * u * u * (2 - u),
                2 / 3 - 0.5 * v * v * (2 - v),
            )
            change[axis, 0], change[axis, 3] = -0.5 * v * v, 0.5 * u * u
            change[axis, 1], change[axis, 2] = 1.5 * u * u - 2 * u, 2 * v - 1.5 * v * v
            for k in range(4):
                index[axis, k] = (int(first) - 1 + k) % n
                change[axis, k] *= n * per_extent[axis]
        slope[p] = 0
        if not inside:
            continue
        value = dx = dy = dz = 0.0
        for k in range(4):
            for j in range(4):
                row = spline[index[2, k], index[1, j]]
                along = across = 0.0
                for i in range(4):
                    along += row[index[0, i]] * weight[0, i]
                    across += row[index[0, i]] * change[0, i]
                value += along * weight[1, j] * weight[2, k]
                dx += across * weight[1, j] * weight[2, k]
                dy += along * change[1, j] * weight[2, k]
                dz += along * weight[1, j] * change[2, k]
        total += amplitude[p] * value
        slope[p, 0], slope[p, 1], slope[p, 2] = (
            amplitude[p] * dx,
            amplitude[p] * dy,
            amplitude[p] * dz,
        )
    return total

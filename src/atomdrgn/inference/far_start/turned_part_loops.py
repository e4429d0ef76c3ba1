"""The loop of turned parts: how well images agree with a part at every rotation."""

import numpy as np
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def agreements(transform, frequency, rotation, target, weight, out):
    """Log-likelihood that each rotation of a part adds to one image's.

    It is found by trilinear interpolation of the part's transform.

    Parameters
    ----------
    transform : (z, y, x) complex64
        Of the part about its pivot; frequencies rise along each axis, zero in the middle.
    frequency : (frequency, 3) float32
        x, y, z of the image's plane in the molecule's frame, in steps of the transform.
    rotation : (rotation, 3, 3) float32
        Act on the part's columns xyz.
    target : (frequency,) complex64
        What the rest of the molecule leaves of the image, times the transfer function, both
        whitened, seen from the pivot.
    weight : (frequency,) float32
        Square of the transfer function, whitened.
    out : (rotation,) float32
        Is filled.
    """
    middle = np.float32(transform.shape[0] // 2)
    one = np.float32(1)
    for g in range(rotation.shape[0]):
        r = rotation[g]
        total = np.float32(0)
        for i in range(frequency.shape[0]):
            kx, ky, kz = frequency[i]
            # the turned part's transform at k is the part's own at the frequency turned back
            x = r[0, 0] * kx + r[1, 0] * ky + r[2, 0] * kz + middle
            y = r[0, 1] * kx + r[1, 1] * ky + r[2, 1] * kz + middle
            z = r[0, 2] * kx + r[1, 2] * ky + r[2, 2] * kz + middle
            a, b, c = int(z), int(y), int(x)
            fz, fy, fx = z - np.float32(a), y - np.float32(b), x - np.float32(c)
            near = (transform[a, b, c] * (one - fx) + transform[a, b, c + 1] * fx) * (one - fy) + (
                transform[a, b + 1, c] * (one - fx) + transform[a, b + 1, c + 1] * fx
            ) * fy
            far = (transform[a + 1, b, c] * (one - fx) + transform[a + 1, b, c + 1] * fx) * (
                one - fy
            ) + (transform[a + 1, b + 1, c] * (one - fx) + transform[a + 1, b + 1, c + 1] * fx) * fy
            value = near * (one - fz) + far * fz
            cross = value.real * target[i].real + value.imag * target[i].imag
            total += cross - np.float32(0.5) * weight[i] * (
                value.real * value.real + value.imag * value.imag
            )
        out[g] = total

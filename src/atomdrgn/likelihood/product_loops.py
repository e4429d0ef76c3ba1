"""The loop behind the normal equations: products of derivative images, from the camera's motions to the latent's numbers."""

import numpy as np
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def to_latent(among, seen, change, matrix, right):
    """``change.T @ among @ change`` and ``change.T @ seen``, where `change` is one small block for each segment.

    Parameters
    ----------
    among : (batch, 5 segment, 5 segment) float32
        Products among the five derivative images of each segment.
    seen : (batch, 5 segment, 2) float32
        Of these with the prediction and the data.
    change : (batch, segment, 5, 6) float32
        How the latent moves each segment in the camera's frame.
    matrix : (batch, 6 segment, 6 segment) float32
        Is filled.
    right : (batch, 2, 6 segment) float32
        Is filled.
    """
    n_segments = change.shape[1]
    left = np.empty((6 * n_segments, 5 * n_segments), np.float32)
    for image in range(len(among)):
        for s in range(n_segments):
            for k in range(6):
                row = left[6 * s + k]
                row[:] = 0
                for j in range(5):
                    factor, of = change[image, s, j, k], among[image, 5 * s + j]
                    for i in range(5 * n_segments):
                        row[i] += factor * of[i]
                for which in range(2):
                    total = np.float32(0)
                    for j in range(5):
                        total += change[image, s, j, k] * seen[image, 5 * s + j, which]
                    right[image, which, 6 * s + k] = total
        for r in range(6 * n_segments):
            for s in range(n_segments):
                for k in range(6):
                    total = np.float32(0)
                    for j in range(5):
                        total += left[r, 5 * s + j] * change[image, s, j, k]
                    matrix[image, r, 6 * s + k] = total

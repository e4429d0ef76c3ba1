"""The loop behind the normal equations.

It makes products of derivative images, from the camera's motions to the latent's numbers.
"""

import numpy as np
from numba import njit


def _loops(changes, numbers):
    """For so many derivative images and numbers of a segment, which the compiler is to know."""

    @njit(nogil=True, fastmath=True, cache=True)
    def to_latent(among, seen, change, matrix, right):
        """``change.T @ among @ change`` and ``change.T @ seen``.

        `change` is one small block for each segment.

        Parameters
        ----------
        among : (batch, changes segment, changes segment) float32
            Products among the derivative images of each segment.
        seen : (batch, changes segment, 2) float32
            Of these with the prediction and the data.
        change : (batch, segment, changes, numbers) float32
            How the latent moves each segment in the camera's frame, and its occupancy where that is
            free.
        matrix : (batch, numbers segment, numbers segment) float32
            Is filled.
        right : (batch, 2, numbers segment) float32
            Is filled.
        """
        n_segments = change.shape[1]
        left = np.empty((numbers * n_segments, changes * n_segments), np.float32)
        for image in range(len(among)):
            for s in range(n_segments):
                for k in range(numbers):
                    row = left[numbers * s + k]
                    row[:] = 0
                    for j in range(changes):
                        factor, of = change[image, s, j, k], among[image, changes * s + j]
                        for i in range(changes * n_segments):
                            row[i] += factor * of[i]
                    for which in range(2):
                        total = np.float32(0)
                        for j in range(changes):
                            total += change[image, s, j, k] * seen[image, changes * s + j, which]
                        right[image, which, numbers * s + k] = total
            for r in range(numbers * n_segments):
                for s in range(n_segments):
                    for k in range(numbers):
                        total = np.float32(0)
                        for j in range(changes):
                            total += left[r, changes * s + j] * change[image, s, j, k]
                        matrix[image, r, numbers * s + k] = total

    return to_latent


to_latent, to_latent_with_occupancy = _loops(5, 6), _loops(6, 7)

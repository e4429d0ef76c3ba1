"""The loop that adds the Fourier coefficients of images to a sum of slices."""

import math

import numpy as np
from jaxtyping import Complex, Float
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def add_slices(
    value: Complex[np.ndarray, "image y x"],
    weight: Float[np.ndarray, "image y x"],
    rotation: Float[np.ndarray, "image 3 3"],
    shift: Float[np.ndarray, "image 2"],
    strength: Float[np.ndarray, "image"],
    reach: float,
    sums: Float[np.ndarray, "z y half 3"],
) -> None:
    """Add images to a sum of slices.

    Each coefficient is shared between the eight nearest of its voxels.

    Parameters
    ----------
    value : (image, y, x) complex64
        Weighted coefficients of padded images, in the order of rfft2.
    weight : (image, y, x) float32
        Their weights.
    rotation : (image, 3, 3) float32
        Molecule to microscope.
    shift : (image, 2) float32
        Of the molecule in the image, x and y, padded boxes; is undone.
    strength : (image,) float32
        Weight of each image; 0 leaves it out.
    reach : float
        Radius up to which coefficients count, cycles a padded box.
    sums : (z, y, x, 3) float32
        Real part, imaginary part and weight for x >= 0; y and z rise from below zero. Is added to.
    """
    box, half = value.shape[1], value.shape[2]
    zero_z, zero_y = sums.shape[0] // 2, sums.shape[1] // 2
    one = np.float32(1)
    for image in range(value.shape[0]):
        s = strength[image]
        if s == 0:
            continue
        r = rotation[image]
        turn_x, turn_y = 2 * math.pi * shift[image, 0], 2 * math.pi * shift[image, 1]
        step_c, step_s = np.float32(math.cos(turn_x)), np.float32(math.sin(turn_x))
        for row in range(box):
            ky = row if row < (box + 1) // 2 else row - box
            if abs(ky) > reach:
                continue
            # of the column that is its own mirror one half is enough
            first = 0 if ky >= 0 else 1
            last = min(int(math.sqrt(reach * reach - ky * ky)), half - 1)
            start = ky * turn_y + first * turn_x
            c, t = s * np.float32(math.cos(start)), s * np.float32(math.sin(start))
            row_x, row_y, row_z = (
                np.float32(ky) * r[1, 0],
                np.float32(ky) * r[1, 1],
                np.float32(ky) * r[1, 2],
            )
            for kx in range(first, last + 1):
                w, v = weight[image, row, kx] * s, value[image, row, kx]
                re, im = v.real * c - v.imag * t, v.real * t + v.imag * c
                c, t = c * step_c - t * step_s, t * step_c + c * step_s
                k = np.float32(kx)
                x, y, z = k * r[0, 0] + row_x, k * r[0, 1] + row_y, k * r[0, 2] + row_z
                if x < 0:  # its opposite is its conjugate
                    x, y, z, im = -x, -y, -z, -im
                x0, y0, z0 = int(x), int(math.floor(y)), int(math.floor(z))
                fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
                for j in range(4):
                    share = (fz if j > 1 else one - fz) * (fy if j % 2 else one - fy)
                    line = sums[z0 + zero_z + j // 2, y0 + zero_y + j % 2]
                    near, far = share * (one - fx), share * fx
                    line[x0, 0] += near * re
                    line[x0, 1] += near * im
                    line[x0, 2] += near * w
                    line[x0 + 1, 0] += far * re
                    line[x0 + 1, 1] += far * im
                    line[x0 + 1, 2] += far * w

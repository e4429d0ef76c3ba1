"""The loop that adds the Fourier coefficients of images to a sum of slices."""

import math

import numpy as np
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def add_slices(value, weight, rotation, shift, strength, reach, sums):
    """Add images to a sum of slices, each coefficient shared between the eight nearest of its voxels.

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
    two_pi = np.float32(2 * math.pi)
    for image in range(value.shape[0]):
        s = strength[image]
        if s == 0:
            continue
        r = rotation[image]
        for row in range(box):
            ky = row if row < (box + 1) // 2 else row - box
            if abs(ky) > reach:
                continue
            last = min(int(math.sqrt(reach * reach - ky * ky)), half - 1)
            # of the column that is its own mirror one half is enough
            for kx in range(0 if ky >= 0 else 1, last + 1):
                w = weight[image, row, kx] * s
                if w == 0:
                    continue
                x = kx * r[0, 0] + ky * r[1, 0]
                y = kx * r[0, 1] + ky * r[1, 1]
                z = kx * r[0, 2] + ky * r[1, 2]
                turn = two_pi * (kx * shift[image, 0] + ky * shift[image, 1])
                c, t = math.cos(turn), math.sin(turn)
                v = value[image, row, kx] * s
                re, im = v.real * c - v.imag * t, v.real * t + v.imag * c
                if x < 0:                      # its opposite is its conjugate
                    x, y, z, im = -x, -y, -z, -im
                x0, y0, z0 = int(x), int(math.floor(y)), int(math.floor(z))
                fx, fy, fz = x - x0, y - y0, z - z0
                for k in range(2):
                    share_z = fz if k else 1 - fz
                    for j in range(2):
                        share_y = share_z * (fy if j else 1 - fy)
                        line = sums[z0 + k + zero_z, y0 + j + zero_y]
                        for i in range(2):
                            share = share_y * (fx if i else 1 - fx)
                            line[x0 + i, 0] += share * re
                            line[x0 + i, 1] += share * im
                            line[x0 + i, 2] += share * w

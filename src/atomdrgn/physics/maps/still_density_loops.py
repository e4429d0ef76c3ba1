"""The loop that cuts central slices through several transforms at once."""

import math

import numpy as np
from jaxtyping import Float, Int
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def cut_slices(
    transform: Float[np.ndarray, "z y half number"],
    step: int,
    x_index: Int[np.ndarray, "frequency"],
    y_index: Int[np.ndarray, "frequency"],
    rotation: Float[np.ndarray, "image 3 3"],
    shift: Float[np.ndarray, "image 2"],
    out: Float[np.ndarray, "image number frequency"],
) -> None:
    """Trilinear values of transforms on central slices, shifted as the images are.

    Parameters
    ----------
    transform : (z, y, half, number) float32
        For x >= 0, y and z rising from below zero: real and imaginary part of each transform.
    step : int
        Their points in a step of the images' frequencies.
    x_index, y_index : (frequency,) int64
        Frequencies of the images, of which x_index is not negative.
    rotation : (image, 3, 3) float32
        Molecule to microscope.
    shift : (image, 2) float32
        Of the molecule in the image, x and y, in units of the images' extent.
    out : (image, number, frequency) float32
        Is filled in.
    """
    zero_z, zero_y = transform.shape[0] // 2, transform.shape[1] // 2
    numbers = transform.shape[3]
    one = np.float32(1)
    value = np.empty(numbers, np.float32)
    for image in range(rotation.shape[0]):
        r = rotation[image]
        turn_x, turn_y = 2 * math.pi * shift[image, 0], 2 * math.pi * shift[image, 1]
        for f in range(len(x_index)):
            kx, ky = np.float32(step * x_index[f]), np.float32(step * y_index[f])
            x = kx * r[0, 0] + ky * r[1, 0]
            y = kx * r[0, 1] + ky * r[1, 1]
            z = kx * r[0, 2] + ky * r[1, 2]
            sign = one
            if x < 0:  # its opposite is its conjugate
                x, y, z, sign = -x, -y, -z, -one
            x0, y0, z0 = int(x), int(math.floor(y)), int(math.floor(z))
            fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
            value[:] = 0
            for j in range(4):
                share = (fz if j > 1 else one - fz) * (fy if j % 2 else one - fy)
                line = transform[z0 + zero_z + j // 2, y0 + zero_y + j % 2]
                near, far = share * (one - fx), share * fx
                for n in range(numbers):
                    value[n] += near * line[x0, n] + far * line[x0 + 1, n]
            angle = -(turn_x * x_index[f] + turn_y * y_index[f])
            c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
            for n in range(0, numbers, 2):
                re, im = value[n], sign * value[n + 1]
                out[image, n, f] = re * c - im * s
                out[image, n + 1, f] = re * s + im * c

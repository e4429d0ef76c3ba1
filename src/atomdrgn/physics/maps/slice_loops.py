"""Loops that cut central slices through several transforms at once."""

import math

import numpy as np
from jaxtyping import Float
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def slice_volumes(
    volumes: Float[np.ndarray, "z y half numbers"],
    rotation: Float[np.ndarray, "3 3"],
    place: Float[np.ndarray, "frequency 2"],
    slices: Float[np.ndarray, "frequency numbers"],
) -> None:
    """Trilinear values of several transforms on the central slice of one image.

    Parameters
    ----------
    volumes : (z, y, half, 2 volume) float32
        Real and imaginary parts by turns; x >= 0, and y and z rise from below zero.
    rotation : (3, 3) float32
        Molecule to microscope.
    place : (frequency, 2) float32
        x and y of each frequency, in voxels.
    slices : (frequency, 2 volume) float32
        Is written.
    """
    zero_z, zero_y, count = volumes.shape[0] // 2, volumes.shape[1] // 2, volumes.shape[3]
    one = np.float32(1)
    for f in range(place.shape[0]):
        kx, ky = place[f, 0], place[f, 1]
        x = kx * rotation[0, 0] + ky * rotation[1, 0]
        y = kx * rotation[0, 1] + ky * rotation[1, 1]
        z = kx * rotation[0, 2] + ky * rotation[1, 2]
        opposite = x < 0
        if opposite:
            x, y, z = -x, -y, -z
        x0, y0, z0 = int(x), int(math.floor(y)), int(math.floor(z))
        fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
        out = slices[f]
        out[:] = 0
        for j in range(4):
            share = (fz if j > 1 else one - fz) * (fy if j % 2 else one - fy)
            near, far = share * (one - fx), share * fx
            line = volumes[z0 + zero_z + j // 2, y0 + zero_y + j % 2]
            first, second = line[x0], line[x0 + 1]
            for c in range(count):
                out[c] += near * first[c] + far * second[c]
        if opposite:
            for c in range(1, count, 2):
                out[c] = -out[c]


@njit(nogil=True, fastmath=True, cache=True)
def shifted_slices(
    volumes: Float[np.ndarray, "z y half numbers"],
    rotation: Float[np.ndarray, "image 3 3"],
    shift: Float[np.ndarray, "image 2"],
    place: Float[np.ndarray, "frequency 2"],
    cycles: Float[np.ndarray, "frequency 2"],
    slices: Float[np.ndarray, "image frequency numbers"],
) -> None:
    """Slices of several images, shifted as their molecules are.

    Parameters
    ----------
    volumes, place
        As for :func:`slice_volumes`.
    rotation : (image, 3, 3) float32
        Molecule to microscope.
    shift : (image, 2) float32
        Of the molecule in the image, x and y, in units of the images' extent.
    cycles : (frequency, 2) float32
        x and y of each frequency, in one over that extent.
    slices : (image, frequency, 2 volume) float32
        Is written.
    """
    for image in range(len(rotation)):
        slice_volumes(volumes, rotation[image], place, slices[image])
        turn_x, turn_y = 2 * math.pi * shift[image, 0], 2 * math.pi * shift[image, 1]
        for f in range(len(place)):
            angle = -(turn_x * cycles[f, 0] + turn_y * cycles[f, 1])
            c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
            value = slices[image, f]
            for n in range(0, len(value), 2):
                re, im = value[n], value[n + 1]
                value[n], value[n + 1] = re * c - im * s, re * s + im * c

"""Loops over slices of a mean and its components: systems of images, their sums, and voxels."""

import math

import numpy as np
from jaxtyping import Complex, Float
from numba import njit

from ..physics.maps.slice_loops import slice_volumes


@njit(nogil=True, fastmath=True, cache=True)
def image_systems(
    volumes: Float[np.ndarray, "z y half numbers"],
    rotation: Float[np.ndarray, "image 3 3"],
    place: Float[np.ndarray, "frequency 2"],
    transfer: Float[np.ndarray, "image frequency"],
    data: Float[np.ndarray, "image frequency 2"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal equations of each image in the amounts of the volumes, and the slices.

    Parameters
    ----------
    volumes, rotation, place
        As for :func:`~atomdrgn.physics.maps.slice_loops.slice_volumes`, (image, 3, 3) rotations.
    transfer : (image, frequency) float32
        What a coefficient of the molecule is multiplied by in its whitened image.
    data : (image, frequency, 2) float32
        Whitened coefficients.

    Returns
    -------
    matrix : (image, volume, volume) float64
    right : (image, volume) float64
    slices : (image, frequency, 2 volume) float32
        Times the transfer.
    """
    n, frequencies, numbers = len(rotation), len(place), volumes.shape[3]
    count = numbers // 2
    slices = np.empty((n, frequencies, numbers), np.float32)
    matrix, right = np.zeros((n, count, count)), np.zeros((n, count))
    for i in range(n):
        slice_volumes(volumes, rotation[i], place, slices[i])
        gram, b = np.zeros((count, count), np.float32), np.zeros(count, np.float32)
        for f in range(frequencies):
            t, s = transfer[i, f], slices[i, f]
            for c in range(numbers):
                s[c] *= t
            re, im = data[i, f, 0], data[i, f, 1]
            for p in range(count):
                pr, pi = s[2 * p], s[2 * p + 1]
                b[p] += pr * re + pi * im
                for q in range(p + 1):
                    gram[p, q] += pr * s[2 * q] + pi * s[2 * q + 1]
        for p in range(count):
            right[i, p] = b[p]
            for q in range(p + 1):
                matrix[i, p, q] = gram[p, q]
                matrix[i, q, p] = gram[p, q]
    return matrix, right, slices


@njit(nogil=True, fastmath=True, cache=True)
def add_to_sums(
    rotation: Float[np.ndarray, "image 3 3"],
    place: Float[np.ndarray, "frequency 2"],
    transfer: Float[np.ndarray, "image frequency"],
    data: Float[np.ndarray, "image frequency 2"],
    amount: Float[np.ndarray, "image volume"],
    moment: Float[np.ndarray, "image packed"],
    sums: Float[np.ndarray, "z y half numbers"],
) -> None:
    """Add images to the systems of the voxels that their coefficients lie between.

    Parameters
    ----------
    rotation, place, transfer, data
        As for :func:`image_systems`.
    amount : (image, volume) float32
        Expected amounts of the volumes.
    moment : (image, packed) float32
        Expected products of two amounts: the lower triangle, row by row.
    sums : (z, y, half, 2 volume + packed) float32
        Right sides, real and imaginary parts by turns, then matrices. Is added to.
    """
    zero_z, zero_y = sums.shape[0] // 2, sums.shape[1] // 2
    count, packed, one = amount.shape[1], moment.shape[1], np.float32(1)
    added = np.empty(2 * count + packed, np.float32)
    for i in range(len(rotation)):
        r = rotation[i]
        for f in range(place.shape[0]):
            t = transfer[i, f]
            if t == 0:
                continue
            kx, ky = place[f, 0], place[f, 1]
            x = kx * r[0, 0] + ky * r[1, 0]
            y = kx * r[0, 1] + ky * r[1, 1]
            z = kx * r[0, 2] + ky * r[1, 2]
            re, im = t * data[i, f, 0], t * data[i, f, 1]
            if x < 0:
                x, y, z, im = -x, -y, -z, -im
            for c in range(count):
                added[2 * c], added[2 * c + 1] = re * amount[i, c], im * amount[i, c]
            w = t * t
            for c in range(packed):
                added[2 * count + c] = w * moment[i, c]
            x0, y0, z0 = int(x), int(math.floor(y)), int(math.floor(z))
            fx, fy, fz = x - np.float32(x0), y - np.float32(y0), z - np.float32(z0)
            for j in range(4):
                share = (fz if j > 1 else one - fz) * (fy if j % 2 else one - fy)
                near, far = share * (one - fx), share * fx
                line = sums[z0 + zero_z + j // 2, y0 + zero_y + j % 2]
                first, second = line[x0], line[x0 + 1]
                for c in range(len(added)):
                    first[c] += near * added[c]
                    second[c] += far * added[c]


@njit(nogil=True, fastmath=True, cache=True)
def solve_voxels(
    sums: Float[np.ndarray, "voxel numbers"], precision: Float[np.ndarray, "voxel volume"]
) -> Complex[np.ndarray, "voxel volume"]:
    """Coefficients of the volumes in each voxel: its matrix and a prior's against its right side.

    Parameters
    ----------
    sums : (voxel, 2 volume + packed) float32
        As :func:`add_to_sums` has them.
    precision : (voxel, volume) float32
        Of the prior, added to the diagonal; above 0.

    Returns
    -------
    (voxel, volume) complex64
    """
    voxels, count = precision.shape
    result = np.zeros((voxels, count), np.complex64)
    root, value = np.zeros((count, count)), np.zeros((count, 2))
    for v in range(voxels):
        s = sums[v]
        k = 2 * count
        for p in range(count):
            for q in range(p + 1):
                a = np.float64(s[k])
                k += 1
                if p == q:
                    a += precision[v, p] + 1e-9 * a
                for m in range(q):
                    a -= root[p, m] * root[q, m]
                root[p, q] = math.sqrt(max(a, 1e-30)) if p == q else a / root[q, q]
        for part in range(2):
            for p in range(count):
                a = np.float64(s[2 * p + part])
                for m in range(p):
                    a -= root[p, m] * value[m, part]
                value[p, part] = a / root[p, p]
            for p in range(count - 1, -1, -1):
                a = value[p, part]
                for m in range(p + 1, count):
                    a -= root[m, p] * value[m, part]
                value[p, part] = a / root[p, p]
        for p in range(count):
            result[v, p] = value[p, 0] + 1j * value[p, 1]
    return result


@njit(nogil=True, fastmath=True, cache=True)
def times_voxels(
    sums: Float[np.ndarray, "voxel numbers"],
    precision: Float[np.ndarray, "voxel volume"],
    coefficient: Complex[np.ndarray, "voxel volume"],
) -> Complex[np.ndarray, "voxel volume"]:
    """The matrices that :func:`solve_voxels` inverts, times coefficients.

    Parameters
    ----------
    sums, precision
        As there.
    coefficient : (voxel, volume) complex64

    Returns
    -------
    (voxel, volume) complex64
    """
    voxels, count = precision.shape
    result = np.zeros((voxels, count), np.complex64)
    for v in range(voxels):
        k = 2 * count
        for p in range(count):
            result[v, p] += precision[v, p] * coefficient[v, p]
            for q in range(p + 1):
                a = sums[v, k]
                k += 1
                result[v, p] += a * coefficient[v, q]
                if q != p:
                    result[v, q] += a * coefficient[v, p]
    return result

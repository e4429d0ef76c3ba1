"""The loop behind :func:`atomdrgn.physics.maps.atom_density.density_of_atoms`."""

import math

import numpy as np
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def add_gaussians(
    position: np.ndarray, scale: np.ndarray, sigma: np.ndarray, reach: float, density: np.ndarray
) -> None:
    """Add Gaussians to a map.

    Parameters
    ----------
    position : (atom, 3) float64
        x, y, z, voxels from the first one.
    scale, sigma : (atom,) float64
        Value at the centre; standard deviation, voxels.
    reach : float
        Standard deviations.
    density : (z, y, x) float32
        Is added to.
    """
    most = 2 * int(math.ceil(reach * sigma.max())) + 2 if len(sigma) else 0
    profile = np.empty((3, most), np.float32)
    first, count = np.empty(3, np.int64), np.empty(3, np.int64)
    for a in range(position.shape[0]):
        for axis in range(3):
            x, n = position[a, axis], density.shape[2 - axis]
            low = max(int(math.ceil(x - reach * sigma[a])), 0)
            high = min(int(math.floor(x + reach * sigma[a])), n - 1)
            first[axis], count[axis] = low, max(high - low + 1, 0)
            for i in range(count[axis]):
                d = (low + i - x) / sigma[a]
                profile[axis, i] = math.exp(-0.5 * d * d)
        for k in range(count[2]):
            along_z = np.float32(scale[a]) * profile[2, k]
            for j in range(count[1]):
                weight = along_z * profile[1, j]
                row = density[first[2] + k, first[1] + j]
                for i in range(count[0]):
                    row[first[0] + i] += weight * profile[0, i]

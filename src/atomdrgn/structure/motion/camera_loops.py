"""The loops behind :mod:`.camera`."""

import numpy as np
from numba import njit


@njit(nogil=True, fastmath=True, cache=True)
def place(
    turn: np.ndarray,
    offset: np.ndarray,
    arm: np.ndarray,
    bead: np.ndarray,
    weight: np.ndarray,
    ends: np.ndarray,
    plane: np.ndarray,
) -> None:
    """Project every bead to x and y: what its segments make of it, blended.

    Parameters
    ----------
    turn : (batch, segment, 3, 3) float32
        From the base model's frame to the camera's.
    offset : (batch, segment, 2) float32
        Of each segment's moved centroid, A.
    arm : (3, entry) float32
        From the centroid of its segment to each bead in the base model, A.
    bead : (entry,) int64
    weight : (entry,) float32
    ends : (segment,) int64
        Where the entries of each segment end.
    plane : (batch, 2, bead) float32
        Is filled, A.
    """
    for image in range(len(turn)):
        for axis in range(2):
            out = plane[image, axis]
            out[:] = 0
            entry = 0
            for segment in range(len(ends)):
                a, b, c = (
                    turn[image, segment, axis, 0],
                    turn[image, segment, axis, 1],
                    turn[image, segment, axis, 2],
                )
                d = offset[image, segment, axis]
                while entry < ends[segment]:
                    out[bead[entry]] += weight[entry] * (
                        a * arm[0, entry] + b * arm[1, entry] + c * arm[2, entry] + d
                    )
                    entry += 1


@njit(nogil=True, fastmath=True, cache=True)
def fill_fields(
    turn: np.ndarray, arm: np.ndarray, amplitude: np.ndarray, ends: np.ndarray, field: np.ndarray
) -> None:
    """Amplitude, and amplitude times each component of the arm in the camera's frame.

    Parameters
    ----------
    turn, arm, ends
        As in :func:`place`.
    amplitude : (entry,) float32
        Of the bead, times its membership.
    field : (batch, 4, entry) float32
        Is filled.
    """
    for image in range(len(turn)):
        field[image, 0] = amplitude
        for axis in range(3):
            out = field[image, axis + 1]
            start = 0
            for segment in range(len(ends)):
                a, b, c = (
                    turn[image, segment, axis, 0],
                    turn[image, segment, axis, 1],
                    turn[image, segment, axis, 2],
                )
                for entry in range(start, ends[segment]):
                    out[entry] = amplitude[entry] * (
                        a * arm[0, entry] + b * arm[1, entry] + c * arm[2, entry]
                    )
                start = ends[segment]

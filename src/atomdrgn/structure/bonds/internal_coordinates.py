"""Distances, angles and torsions of atoms."""

import numpy as np
from jaxtyping import Float, Int


def distance(
    position: Float[np.ndarray, "atom 3"], pairs: Int[np.ndarray, "pair 2"]
) -> Float[np.ndarray, "pair"]:
    """How far apart the atoms of each pair are, A."""
    return np.linalg.norm(position[pairs[:, 0]] - position[pairs[:, 1]], axis=1)


def angle(
    position: Float[np.ndarray, "atom 3"], triples: Int[np.ndarray, "triple 3"]
) -> Float[np.ndarray, "triple"]:
    """The angle at the middle atom of each triple, 0 to pi, rad."""
    i, j, k = position[triples.T]
    return np.arctan2(np.linalg.norm(np.cross(i - j, k - j), axis=1), ((i - j) * (k - j)).sum(1))


def torsion(
    position: Float[np.ndarray, "atom 3"], quadruples: Int[np.ndarray, "row 4"]
) -> Float[np.ndarray, "row"]:
    """The torsion about the two middle atoms of each row, -pi to pi, rad; 0 is cis, and clockwise
    along the axis is positive.

    Raises nothing where three atoms are in a line: what it gives there says nothing.

    References
    ----------
    IUPAC-IUB Commission on Biochemical Nomenclature (1970).
    """
    i, j, k, m = position[quadruples.T]
    axis = k - j
    before, after = np.cross(j - i, axis), np.cross(axis, m - k)
    length = np.linalg.norm(axis, axis=1)
    return np.arctan2((np.cross(before, after) * axis).sum(1), length * (before * after).sum(1))


def turn(
    after: Float[np.ndarray, "row"], before: Float[np.ndarray, "row"]
) -> Float[np.ndarray, "row"]:
    """By how much torsions have changed, the shorter way round, -pi to pi, rad."""
    return (after - before + np.pi) % (2 * np.pi) - np.pi


def off_plane(omega: Float[np.ndarray, "row"]) -> Float[np.ndarray, "row"]:
    """By how much torsions are off 0 or pi, whichever is nearer, -pi/2 to pi/2, rad."""
    return omega - np.pi * np.round(omega / np.pi)

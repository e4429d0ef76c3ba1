"""Distances, angles and torsions of atoms."""

import numpy as np
from jaxtyping import Float, Int


def distance(
    position: Float[np.ndarray, "atom 3"], pairs: Int[np.ndarray, "pair 2"]
) -> Float[np.ndarray, "pair"]:
    """How far apart the atoms of each pair are, A.

    Parameters
    ----------
    position : (atom, 3)
        A.
    pairs : (pair, 2) int
        Numbers of atoms.

    Returns
    -------
    (pair,)

    Examples
    --------
    >>> distance(np.array([[0.0, 0, 0], [3, 4, 0]]), np.array([[0, 1]]))
    array([5.])
    """
    return np.linalg.norm(position[pairs[:, 0]] - position[pairs[:, 1]], axis=1)


def angle(
    position: Float[np.ndarray, "atom 3"], triples: Int[np.ndarray, "triple 3"]
) -> Float[np.ndarray, "triple"]:
    """The angle at the middle atom of each triple, 0 to pi, rad.

    Parameters
    ----------
    position : (atom, 3)
        A.
    triples : (triple, 3) int
        Numbers of atoms.

    Returns
    -------
    (triple,)

    Examples
    --------
    >>> corner = np.array([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]])
    >>> np.degrees(angle(corner, np.array([[0, 1, 2]])))
    array([90.])
    """
    i, j, k = position[triples.T]
    return np.arctan2(np.linalg.norm(np.cross(i - j, k - j), axis=1), ((i - j) * (k - j)).sum(1))


def torsion(
    position: Float[np.ndarray, "atom 3"], quadruples: Int[np.ndarray, "row 4"]
) -> Float[np.ndarray, "row"]:
    """The torsion about the two middle atoms of each row, -pi to pi, rad.

    0 is cis, and clockwise along the axis is positive.

    Raises nothing where three atoms are in a line: what it gives there says nothing.

    Parameters
    ----------
    position : (atom, 3)
        A.
    quadruples : (row, 4) int
        Numbers of atoms.

    Returns
    -------
    (row,)

    References
    ----------
    IUPAC-IUB Commission on Biochemical Nomenclature (1970).

    Examples
    --------
    >>> flat = np.array([[1.0, 1, 0], [1, 0, 0], [0, 0, 0], [0, -1, 0]])
    >>> np.abs(np.degrees(torsion(flat, np.array([[0, 1, 2, 3]]))))
    array([180.])
    """
    i, j, k, m = position[quadruples.T]
    axis = k - j
    before, after = np.cross(j - i, axis), np.cross(axis, m - k)
    length = np.linalg.norm(axis, axis=1)
    return np.arctan2((np.cross(before, after) * axis).sum(1), length * (before * after).sum(1))


def turn(
    after: Float[np.ndarray, "row"], before: Float[np.ndarray, "row"]
) -> Float[np.ndarray, "row"]:
    """By how much torsions have changed, the shorter way round, -pi to pi, rad.

    Parameters
    ----------
    after, before : (row,)
        Torsions, rad.

    Returns
    -------
    (row,)

    Examples
    --------
    >>> np.degrees(turn(np.radians([-170.0]), np.radians([170.0]))).round()
    array([20.])
    """
    return (after - before + np.pi) % (2 * np.pi) - np.pi


def off_plane(omega: Float[np.ndarray, "row"]) -> Float[np.ndarray, "row"]:
    """By how much torsions are off 0 or pi, whichever is nearer, -pi/2 to pi/2, rad.

    Parameters
    ----------
    omega : (row,)
        Torsions, rad.

    Returns
    -------
    (row,)

    Examples
    --------
    >>> np.degrees(off_plane(np.radians([175.0, 10.0, -178.0]))).round()
    array([-5., 10.,  2.])
    """
    return omega - np.pi * np.round(omega / np.pi)

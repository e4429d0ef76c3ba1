"""The search of :class:`~atomdrgn.structure.neighbours.NeighbourSearch`, compiled."""

import numpy as np
from numba import njit

BEADS_A_LEAF = 8  # one vector of single-precision numbers
# A: where the empty places of a leaf stand; its square still fits into single precision
FAR = 1e15


@njit(nogil=True, fastmath=True, cache=True)
def pairs_within(
    position: np.ndarray,
    square: float,
    leaf: np.ndarray,
    child: np.ndarray,
    owner: np.ndarray,
    place: np.ndarray,
    residues: int,
) -> np.ndarray:
    """Rows (conformation, i, j), i < j, of beads with a squared distance below `square`.

    Parameters
    ----------
    position : (batch, bead, 3)
        A.
    square : scalar of the same type
        A^2.
    leaf : (leaf, 8) int32
        Beads; -1 where a leaf has fewer.
    child : (node, 2) int32
        Nodes below each node; -1 and its leaf where it has none. Node 0 is the root, parents stand
        before their children.
    owner : (node,) int32
        The one segment of all beads below a node, or -1. Pairs of one and the same segment are left
        out.
    place : (bead,) int64
        Of the residues along their chains.
    residues : int
        Pairs at most so many places apart are left out.

    Returns
    -------
    (pair, 3) int64
        Rising in the conformation.
    """
    found, count = np.empty((256, 3), np.int64), 0
    point = np.empty((3, len(leaf), BEADS_A_LEAF), position.dtype)
    box = np.empty((len(child), 6), position.dtype)
    # two more for each level of both trees
    waiting = np.empty((4 * len(child) + 4, 2), np.int32)
    for conformation in range(len(position)):
        _fit_boxes(position[conformation], leaf, child, point, box)
        waiting[0] = 0
        top = 1 if owner[0] < 0 else 0
        while top:
            top -= 1
            u, v = waiting[top]
            if child[u, 0] >= 0 or child[v, 0] >= 0:
                if u == v:
                    for part in child[u]:
                        waiting[top] = part
                        top += owner[part] < 0
                    waiting[top] = child[u]
                    top += _may_touch(child[u, 0], child[u, 1], box, owner, square)
                    continue
                # the larger is parted
                if child[v, 0] < 0 or child[u, 0] >= 0 and _length(box, u) > _length(box, v):
                    u, v = v, u
                for part in child[v]:
                    waiting[top, 0], waiting[top, 1] = u, part
                    # no branch to be foreseen wrongly
                    top += _may_touch(u, part, box, owner, square)
                continue
            first, second = child[u, 1], child[v, 1]
            if not _any_near(point, first, second, square):
                continue
            for k in range(BEADS_A_LEAF):
                for m in range(k + 1 if u == v else 0, BEADS_A_LEAF):
                    i, j = leaf[first, k], leaf[second, m]
                    if _squared_distance(point, first, k, second, m) >= square or i < 0 or j < 0:
                        continue
                    if abs(place[i] - place[j]) <= residues:
                        continue
                    if count == len(found):
                        more = np.empty((2 * count, 3), np.int64)
                        more[:count] = found
                        found = more
                    found[count, 0], found[count, 1], found[count, 2] = (
                        conformation,
                        min(i, j),
                        max(i, j),
                    )
                    count += 1
    return found[:count]


@njit(nogil=True, fastmath=True, cache=True)
def _fit_boxes(
    position: np.ndarray, leaf: np.ndarray, child: np.ndarray, point: np.ndarray, box: np.ndarray
) -> None:
    """Fill in the leaves' points and the boxes of all nodes, from the last to the root.

    A box is least x, y, z, largest x, y, z.
    """
    for node in range(len(child) - 1, -1, -1):
        if child[node, 0] >= 0:
            for axis in range(3):
                box[node, axis] = min(box[child[node, 0], axis], box[child[node, 1], axis])
                box[node, 3 + axis] = max(
                    box[child[node, 0], 3 + axis], box[child[node, 1], 3 + axis]
                )
            continue
        where = child[node, 1]
        for axis in range(3):
            least = most = position[leaf[where, 0], axis]
            for k in range(BEADS_A_LEAF):
                point[axis, where, k] = FAR
                if leaf[where, k] >= 0:
                    value = position[leaf[where, k], axis]
                    point[axis, where, k] = value
                    least, most = min(least, value), max(most, value)
            box[node, axis], box[node, 3 + axis] = least, most


@njit(nogil=True, fastmath=True, cache=True)
def _may_touch(u: int, v: int, box: np.ndarray, owner: np.ndarray, square: float) -> bool:
    """Whether two nodes may hold a pair.

    They do where not all is of one and the same segment, and where their boxes are near each other.
    """
    x = max(box[u, 0] - box[v, 3], box[v, 0] - box[u, 3], square * 0)
    y = max(box[u, 1] - box[v, 4], box[v, 1] - box[u, 4], square * 0)
    z = max(box[u, 2] - box[v, 5], box[v, 2] - box[u, 5], square * 0)
    return ((owner[u] != owner[v]) | (owner[u] < 0)) & (x * x + y * y + z * z < square)


@njit(nogil=True, fastmath=True, cache=True)
def _length(box: np.ndarray, node: int) -> float:
    return box[node, 3] - box[node, 0] + box[node, 4] - box[node, 1] + box[node, 5] - box[node, 2]


@njit(nogil=True, fastmath=True, cache=True)
def _any_near(point: np.ndarray, first: int, second: int, square: float) -> bool:
    """Whether any of 64 distances is short.

    All of them, without a branch, are quicker than some.
    """
    near = 0
    for k in range(BEADS_A_LEAF):
        for m in range(BEADS_A_LEAF):
            near += _squared_distance(point, first, k, second, m) < square
    return near > 0


@njit(nogil=True, fastmath=True, cache=True)
def _squared_distance(point: np.ndarray, first: int, k: int, second: int, m: int) -> float:
    x = point[0, first, k] - point[0, second, m]
    y = point[1, first, k] - point[1, second, m]
    z = point[2, first, k] - point[2, second, m]
    return x * x + y * y + z * z

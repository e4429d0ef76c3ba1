"""Compiled loops over restrained beads: their strain, its gradient, and its normal equations."""

import numpy as np
from numba import njit

# A: what single precision makes of a length that has not changed: a one-sided term at rest would
# else count or not by chance
ROUNDING = 1e-4


@njit(nogil=True, cache=True)
def strained_springs(position, bead, length, weight, one_sided):
    """Residuals of distances in each conformation.

    Found are conformations, beads, residuals, directions and weights.

    Parameters
    ----------
    position : (batch, bead, 3)
        A.
    bead : (spring, 2) int64
        Pairs that are looked at in every conformation.
    length : (spring,) float64
        At rest, A.
    weight : (spring,) float64
        1 / sigma^2, 1/A^2.
    one_sided : bool
        Strained by longer distances only; where they are not, the residual is left out.

    Returns
    -------
    (row,) int64, (row, 2) int64, (row,), (row, 2, 3), (row,) float64
        In the order of the conformations.
    """
    most = len(position) * len(bead)
    conformation, pair = np.empty(most, np.int64), np.empty((most, 2), np.int64)
    residual, direction, weights = np.empty(most), np.empty((most, 2, 3)), np.empty(most)
    count = 0
    for b in range(len(position)):
        for spring in range(len(bead)):
            distance = _apart(position[b], bead[spring, 0], bead[spring, 1], direction[count])
            residual[count] = distance - length[spring]
            if not one_sided or residual[count] > ROUNDING:
                conformation[count], pair[count], weights[count] = b, bead[spring], weight[spring]
                count += 1
    return conformation[:count], pair[:count], residual[:count], direction[:count], weights[:count]


@njit(nogil=True, cache=True)
def strained_clashes(position, clash, clash_bead, base, clash_distance, clash_weight):
    """The same of pairs of beads that are nearer than `clash_distance` and than in the base model.

    Parameters
    ----------
    position : (batch, bead, 3)
        A.
    clash : (clash,) int64
        Conformation in which a pair stands near, rising.
    clash_bead : (clash, 2) int64
        That pair.
    base : (bead, 3)
        The base model, A.
    clash_distance, clash_weight : float
        A, 1/A^2.
    """
    most = len(clash)
    conformation, pair = np.empty(most, np.int64), np.empty((most, 2), np.int64)
    residual, direction, weights = np.empty(most), np.empty((most, 2, 3)), np.empty(most)
    count = 0
    for near in range(most):
        b, i, j = clash[near], clash_bead[near, 0], clash_bead[near, 1]
        # a contact of the base model costs nothing
        nearest = min(clash_distance, _apart(base, i, j, direction[count]))
        residual[count] = _apart(position[b], i, j, direction[count]) - nearest
        if residual[count] < -ROUNDING:
            conformation[count], pair[count], weights[count] = b, clash_bead[near], clash_weight
            count += 1
    return conformation[:count], pair[:count], residual[:count], direction[:count], weights[:count]


@njit(nogil=True, cache=True)
def _apart(position, i, j, direction):
    """Distance of two beads, A.

    It writes its gradients to their positions, (2, 3): unit vectors, zero where both stand in one
    place.
    """
    square = 0.0
    for axis in range(3):
        direction[0, axis] = np.float64(position[i, axis]) - np.float64(position[j, axis])
        square += direction[0, axis] ** 2
    distance = np.sqrt(square)
    for axis in range(3):
        direction[0, axis] /= max(distance, 1e-6)
        direction[1, axis] = -direction[0, axis]
    return distance


@njit(nogil=True, cache=True)
def strain(conformation, bead, residual, direction, weight, energy, gradient):
    """Adds half the weighted squares of residuals to `energy` (batch,).

    It adds their gradients to `gradient` (batch, bead, 3).
    """
    for k in range(len(conformation)):
        b = conformation[k]
        force = weight[k] * residual[k]
        energy[b] += 0.5 * force * residual[k]
        for end in range(bead.shape[1]):
            i = bead[k, end]
            for axis in range(3):
                gradient[b, i, axis] += force * direction[k, end, axis]


@njit(nogil=True, fastmath=True, cache=True)
def add_equations(
    conformation,
    bead,
    residual,
    direction,
    weight,
    first,
    segment,
    share,
    slot,
    base,
    centroid,
    rotation,
    jacobian,
    matrix,
    gradient,
    chi2,
):
    """Adds the residuals' normal equations.

    Each changes with the few segments only that its beads belong to.

    Parameters
    ----------
    conformation, bead, residual, direction, weight
        As :class:`~atomdrgn.likelihood.restraints.restraint.Strained` holds them.
    first : (bead + 1,) int64
        The entries of bead i in `segment` and `share` are first[i] to first[i + 1].
    segment, share : (entry,)
        The segments that a bead belongs to, and how much.
    slot : (segment,) int64
        Place of a segment among the free ones, -1 where it is fixed.
    base, centroid : (bead, 3), (segment, 3)
        Of the base model, A.
    rotation : (batch, segment, 3, 3)
        Of each segment.
    jacobian : (batch, free, 6, 6)
        Shift and small turn (rad) of a free segment with its six numbers.
    matrix, gradient, chi2 : (batch, numbers free, numbers free), (batch, numbers free), (batch,)
        What is added to. Numbers of a segment behind the first six move nothing.
    """
    numbers = matrix.shape[1] // max(1, jacobian.shape[1])
    most = 0
    for i in range(len(first) - 1):
        most = max(most, first[i + 1] - first[i])
    most *= bead.shape[1]
    row, place = np.empty((most, 6), matrix.dtype), np.empty(most, np.int64)
    for k in range(len(conformation)):
        b = conformation[k]
        chi2[b] += weight[k] * residual[k] ** 2
        entries = 0
        for end in range(bead.shape[1]):
            i = bead[k, end]
            for entry in range(first[i], first[i + 1]):
                s = segment[entry]
                if slot[s] < 0:
                    continue
                u = 0
                while u < entries and place[u] != numbers * slot[s]:
                    u += 1
                if u == entries:
                    row[u], place[u] = 0, numbers * slot[s]
                    entries += 1
                _add_to_row(
                    row[u],
                    share[entry],
                    direction[k, end],
                    base[i],
                    centroid[s],
                    rotation[b, s],
                    jacobian[b, slot[s]],
                )
        scale = matrix.dtype.type(weight[k])
        for u in range(entries):
            for n in range(6):
                weighted = scale * row[u, n]
                gradient[b, place[u] + n] -= weighted * residual[k]
                for v in range(entries):
                    for m in range(6):
                        matrix[b, place[u] + n, place[v] + m] += weighted * row[v, m]


@njit(nogil=True, fastmath=True, cache=True)
def _add_to_row(row, share, direction, bead, centroid, rotation, jacobian):
    """How a segment's six numbers move a bead along a direction.

    It adds its share, and its moment about the centroid.
    """
    x, y, z = bead[0] - centroid[0], bead[1] - centroid[1], bead[2] - centroid[2]
    arm_x = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
    arm_y = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
    arm_z = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
    moment_x = share * (arm_y * direction[2] - arm_z * direction[1])
    moment_y = share * (arm_z * direction[0] - arm_x * direction[2])
    moment_z = share * (arm_x * direction[1] - arm_y * direction[0])
    for n in range(6):
        row[n] += (
            share
            * (
                direction[0] * jacobian[0, n]
                + direction[1] * jacobian[1, n]
                + direction[2] * jacobian[2, n]
            )
            + moment_x * jacobian[3, n]
            + moment_y * jacobian[4, n]
            + moment_z * jacobian[5, n]
        )

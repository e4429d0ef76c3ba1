"""Rigid motions of segments, and offsets of beads that move one by one.

It is told what they do to beads and atoms.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...physics.record import Record
from ...physics.rotations import (
    left_jacobian,
    matrix_from_quaternion,
    quaternion_from_vector,
    vector_from_matrix,
)


@dataclass(frozen=True)
class RigidMotion(Record):
    """A rotation and a shift of each segment, about the segment's own centroid in the base model.

    A point x of a segment with centroid c goes to ``R (x - c) + c + t``.

    Parameters
    ----------
    rotation : (*batch, segment, 4)
        Unit quaternions (w, x, y, z).
    translation : (*batch, segment, 3)
        A.

    Examples
    --------
    >>> still = RigidMotion(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.ones(1, 3))
    >>> still.apply(torch.zeros(2, 3), torch.zeros(1, 3), weight=torch.ones(2, 1))
    tensor([[1., 1., 1.],
            [1., 1., 1.]])
    """

    rotation: Float[Tensor, "*batch segment 4"]
    translation: Float[Tensor, "*batch segment 3"]

    def apply(
        self,
        position: Float[Tensor, "point 3"],
        centroid: Float[Tensor, "segment 3"],
        *,
        weight: Float[Tensor, "point segment"],
    ) -> Float[Tensor, "*batch point 3"]:
        """Points moved by their segments, blended by membership: a weighted sum of moved copies.

        Rows of `weight` sum to 1.
        """
        return self.blend(weighted_arms(position, centroid, weight=weight), centroid)

    def blend(
        self, arms: Float[Tensor, "column point"], centroid: Float[Tensor, "segment 3"]
    ) -> Float[Tensor, "*batch point 3"]:
        """The same of points whose :func:`weighted_arms` are at hand.

        It is one matrix product for all points of a batch.
        """
        moved = centroid + self.translation
        # (*batch, segment, 3, 4)
        matrix = torch.cat([matrix_from_quaternion(self.rotation), moved[..., None]], -1)
        rows = matrix.transpose(-3, -2).reshape(-1, arms.shape[0])
        return (rows @ arms).view(*moved.shape[:-2], 3, arms.shape[1]).transpose(-1, -2)


@dataclass(frozen=True)
class FlexedMotion(RigidMotion):
    """Rigid motions of segments, and how far the molecule is along what these do within themselves.

    Parameters
    ----------
    feature : (*batch, feature)
        What offsets of beads are multiplied by (:class:`~.flexing.Flexing`).

    Examples
    --------
    >>> still = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 3)
    >>> FlexedMotion(*still, feature=torch.tensor([1.0, 0.5])).feature.shape
    torch.Size([2])
    """

    feature: Float[Tensor, "*batch feature"]


@dataclass(frozen=True)
class BeadMotion(Record):
    """An offset of each bead from where it stands in the base model.

    Parameters
    ----------
    offset : (*batch, bead, 3)
        A.

    Examples
    --------
    >>> BeadMotion(torch.zeros(5, 24, 3))[:2].offset.shape
    torch.Size([2, 24, 3])
    """

    offset: Float[Tensor, "*batch bead 3"]


def twists(
    latent: Float[Tensor, "*batch latent"],
    *,
    free: Int[Tensor, "free"],
    radius: Float[Tensor, "segment"],
) -> tuple[Float[Tensor, "*batch segment 3"], Float[Tensor, "*batch segment 3"]]:
    """Speed of the centroid (A) and rotation vector (rad) of every segment.

    They come from the six numbers of each free one.

    Parameters
    ----------
    latent : (*batch, latent)
        Six numbers for each free segment.
    free : (free,) int
        Numbers of the segments that move.
    radius : (segment,)
        What turns are multiplied by in a latent, A.

    Returns
    -------
    speed, vector : (*batch, segment, 3)

    Examples
    --------
    >>> speed, vector = twists(torch.ones(6), free=torch.tensor([1]), radius=torch.full((2,), 10.0))
    >>> speed, vector
    (tensor([[0., 0., 0.],
            [1., 1., 1.]]), tensor([[0.0000, 0.0000, 0.0000],
            [0.1000, 0.1000, 0.1000]]))
    """
    full = latent.new_zeros(*latent.shape[:-1], len(radius), 6)
    full[..., free, :] = latent.unflatten(-1, (len(free), 6))
    return full[..., :3], full[..., 3:] / radius[:, None]


def screw_motion(
    speed: Float[Tensor, "*batch segment 3"], vector: Float[Tensor, "*batch segment 3"]
) -> RigidMotion:
    """Where a screw takes a segment in one unit of time: the exponential of its twist.

    Parameters
    ----------
    speed : (*batch, segment, 3)
        Of the centroid, A.
    vector : (*batch, segment, 3)
        Rotation vector, rad.

    Returns
    -------
    RigidMotion

    Examples
    --------
    >>> screw_motion(torch.ones(1, 3), torch.zeros(1, 3)).translation
    tensor([[1., 1., 1.]])
    """
    return RigidMotion(
        quaternion_from_vector(vector), (left_jacobian(vector) @ speed[..., None])[..., 0]
    )


def twist_of(
    turn: Float[Tensor, "*batch 3 3"],
    shift: Float[Tensor, "*batch 3"],
    centroid: Float[Tensor, "3"],
    radius: Float[Tensor, ""],
) -> Float[Tensor, "*batch 6"]:
    """The six numbers of a segment that moves a point x to ``turn x + shift``.

    They are the logarithm of its rigid motion.

    Parameters
    ----------
    turn : (*batch, 3, 3)
        Rotation matrices.
    shift : (*batch, 3)
        A.
    centroid : (3,)
        Of the segment in the base model, A.
    radius : Tensor
        What turns are multiplied by, A; a scalar.

    Returns
    -------
    (*batch, 6)

    Examples
    --------
    >>> twist_of(torch.eye(3), torch.ones(3), torch.zeros(3), torch.tensor(10.0))
    tensor([1., 1., 1., 0., 0., 0.])
    """
    vector = vector_from_matrix(turn)
    moved = turn @ centroid + shift - centroid
    speed = torch.linalg.solve(left_jacobian(vector), moved[..., None])[..., 0]
    return torch.cat([speed, vector * radius], -1)


def weighted_arms(
    position: Float[Tensor, "point 3"],
    centroid: Float[Tensor, "segment 3"],
    *,
    weight: Float[Tensor, "point segment"],
) -> Float[Tensor, "column point"]:
    """What :meth:`RigidMotion.blend` multiplies by rotations and shifts.

    It is arms from each centroid and 1, times membership: four rows a segment, ``w (x - c)`` and
    ``w``.

    Four rows a segment: ``w (x - c)`` and ``w``.

    Parameters
    ----------
    position : (point, 3)
        A.
    centroid : (segment, 3)
        A.
    weight : (point, segment)
        Membership.

    Returns
    -------
    (column, point)

    Examples
    --------
    >>> weighted_arms(torch.ones(1, 3), torch.zeros(1, 3), weight=torch.ones(1, 1)).T
    tensor([[1., 1., 1., 1.]])
    """
    arm = torch.cat([position[:, None] - centroid, torch.ones_like(weight)[..., None]], -1)
    return (weight[..., None] * arm).flatten(1).T.contiguous()


def blended_rotation(
    motion: RigidMotion, weight: Float[Tensor, "bead segment"]
) -> Float[Tensor, "*batch bead 3 3"]:
    """One proper rotation for each bead: the mean of its segments' quaternions.

    They are weighted by membership; the mean is normalised.

    Atoms turn with it about their bead, so that a residue at a border keeps its shape: the blend of
    positions would shear it.

    Parameters
    ----------
    motion : RigidMotion
        (*batch, segment)
    weight : (bead, segment)
        Membership.

    Returns
    -------
    (*batch, bead, 3, 3)

    Examples
    --------
    >>> still = RigidMotion(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 3))
    >>> blended_rotation(still, torch.ones(1, 1))
    tensor([[[1., 0., 0.],
             [0., 1., 0.],
             [0., 0., 1.]]])
    """
    largest = weight.argmax(-1)
    reference = motion.rotation[..., largest, :]  # (*batch, bead, 4)
    same_side = torch.sign(torch.einsum("...nq,...sq->...ns", reference, motion.rotation))
    mean = torch.einsum(
        "...ns,...sq->...nq", weight * torch.where(same_side == 0, 1.0, same_side), motion.rotation
    )
    return matrix_from_quaternion(mean)

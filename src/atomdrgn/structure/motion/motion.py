"""Rigid motions of segments, and what they do to beads and atoms; offsets of beads that move one by
one.
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
    quaternion_product,
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
        """Points moved by their segments, blended by membership: a weighted sum of moved copies;
        rows of `weight` sum to 1.
        """
        return self.blend(weighted_arms(position, centroid, weight=weight), centroid)

    def blend(
        self, arms: Float[Tensor, "column point"], centroid: Float[Tensor, "segment 3"]
    ) -> Float[Tensor, "*batch point 3"]:
        """The same of points whose :func:`weighted_arms` are at hand: one matrix product for all
        points of a batch.
        """
        moved = centroid + self.translation
        # (*batch, segment, 3, 4)
        matrix = torch.cat([matrix_from_quaternion(self.rotation), moved[..., None]], -1)
        rows = matrix.transpose(-3, -2).reshape(-1, arms.shape[0])
        return (rows @ arms).view(*moved.shape[:-2], 3, arms.shape[1]).transpose(-1, -2)

    def compose(self, first: "RigidMotion") -> "RigidMotion":
        """The motion that does `first` and then this one, both about the same centroids."""
        matrix = matrix_from_quaternion(self.rotation)
        turned = (matrix @ first.translation[..., None])[..., 0]
        return RigidMotion(
            quaternion_product(self.rotation, first.rotation), turned + self.translation
        )

    def inverse(self) -> "RigidMotion":
        """The motion that undoes this one."""
        back = self.rotation * torch.tensor(
            [1.0, -1.0, -1.0, -1.0], dtype=self.rotation.dtype, device=self.rotation.device
        )
        return RigidMotion(
            back, -(matrix_from_quaternion(back) @ self.translation[..., None])[..., 0]
        )


@dataclass(frozen=True)
class FlexedMotion(RigidMotion):
    """The same, and how far the molecule is along what its segments do within themselves.

    Parameters
    ----------
    feature : (*batch, feature)
        What offsets of beads are multiplied by (:class:`~.flexing.Flexing`).
    """

    feature: Float[Tensor, "*batch feature"]


@dataclass(frozen=True)
class BeadMotion(Record):
    """An offset of each bead from where it stands in the base model.

    Parameters
    ----------
    offset : (*batch, bead, 3)
        A.
    """

    offset: Float[Tensor, "*batch bead 3"]


def twists(
    latent: Float[Tensor, "*batch latent"],
    *,
    free: Int[Tensor, "free"],
    radius: Float[Tensor, "segment"],
) -> tuple[Float[Tensor, "*batch segment 3"], Float[Tensor, "*batch segment 3"]]:
    """Of every segment: speed of the centroid (A) and rotation vector (rad), from the six numbers
    of each free one.
    """
    full = latent.new_zeros(*latent.shape[:-1], len(radius), 6)
    full[..., free, :] = latent.unflatten(-1, (len(free), 6))
    return full[..., :3], full[..., 3:] / radius[:, None]


def screw_motion(
    speed: Float[Tensor, "*batch segment 3"], vector: Float[Tensor, "*batch segment 3"]
) -> RigidMotion:
    """Where a screw takes a segment in one unit of time: the exponential of its twist."""
    return RigidMotion(
        quaternion_from_vector(vector), (left_jacobian(vector) @ speed[..., None])[..., 0]
    )


def twist_of(
    turn: Float[Tensor, "*batch 3 3"],
    shift: Float[Tensor, "*batch 3"],
    centroid: Float[Tensor, "3"],
    radius: Float[Tensor, ""],
) -> Float[Tensor, "*batch 6"]:
    """The six numbers of a segment that moves a point x to ``turn x + shift``: the logarithm of its
    rigid motion.
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
    """What :meth:`RigidMotion.blend` multiplies by rotations and shifts: arms from each centroid
    and 1, times membership.

    Four rows a segment: ``w (x - c)`` and ``w``.
    """
    arm = torch.cat([position[:, None] - centroid, torch.ones_like(weight)[..., None]], -1)
    return (weight[..., None] * arm).flatten(1).T.contiguous()


def blended_rotation(
    motion: RigidMotion, weight: Float[Tensor, "bead segment"]
) -> Float[Tensor, "*batch bead 3 3"]:
    """One proper rotation for each bead: the mean of its segments' quaternions, weighted by
    membership and normalised.

    Atoms turn with it about their bead, so that a residue at a border keeps its shape: the blend of
    positions would shear it.
    """
    largest = weight.argmax(-1)
    reference = motion.rotation[..., largest, :]  # (*batch, bead, 4)
    same_side = torch.sign(torch.einsum("...nq,...sq->...ns", reference, motion.rotation))
    mean = torch.einsum(
        "...ns,...sq->...nq", weight * torch.where(same_side == 0, 1.0, same_side), motion.rotation
    )
    return matrix_from_quaternion(mean)

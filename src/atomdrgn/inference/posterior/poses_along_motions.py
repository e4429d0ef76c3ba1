"""Where the poses of images go as their particles go along the motions."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from ...physics.record import Record

# Places count by this power of their posterior weights: where one of them has it all, others still
# tell how the pose follows.
TEMPERED = 0.25
# of the mean weight of places: slopes that nothing is known of are none
RIDGE = 1e-2


@dataclass(frozen=True)
class PosesAlong(Record):
    """The likeliest correction of each image's pose at any place of its particle.

    Of particles whose images share one, as those of a tilt series, it is one of six numbers for
    each particle: a shift (A) and a turn (rad) along and about the molecule's axes.

    Parameters
    ----------
    value : (image, 5)
        At a place (see :class:`~atomdrgn.inference.population.pose_corrections.PoseCorrections`).
    place : (image, k)
        That place, A.
    slope : (image, 5, k)
        What a step along each motion adds.
    """

    value: Float[Tensor, "image number"]
    place: Float[Tensor, "image k"]
    slope: Float[Tensor, "image number k"]

    @property
    def stays(self) -> bool:
        """Whether nothing is known of how poses follow."""
        return not bool(self.slope.any())

    def with_motions(self, more: int) -> "PosesAlong":
        """The same with further motions, that poses do not follow."""
        return PosesAlong(self.value, pad(self.place, (0, more)), pad(self.slope, (0, more)))

    def at(self, place: Float[Tensor, "*some image k"]) -> Float[Tensor, "*some image number"]:
        """The corrections at places of the images' particles."""
        return self.value + (self.slope @ (place - self.place)[..., None])[..., 0]


@dataclass(frozen=True, eq=False)
class PosesAt:
    """Corrections at a place of each particle; index it by images for theirs."""

    along: PosesAlong
    particle: Tensor  # (image,)
    place: Tensor  # (particle, k)

    def __getitem__(self, index: Int[Tensor, "batch"]) -> Float[Tensor, "batch 5"]:
        return self.along[index].at(self.place[self.particle[index]])


def poses_that_stay(value: Float[Tensor, "image 5"], k: int) -> PosesAlong:
    """Corrections that are the same at all places along `k` motions."""
    return PosesAlong(value, value.new_zeros(len(value), k), value.new_zeros(len(value), 5, k))


def poses_along(
    place: Float[Tensor, "draw image k"],
    mode: Float[Tensor, "draw image number"],
    log_weight: Float[Tensor, "draw image"],
) -> PosesAlong:
    """How poses follow the motions, by least squares over places that were looked at.

    Parameters
    ----------
    place : (draw, image, k)
        Places of each image's particle.
    mode : (draw, image, 5), or (draw, particle, 6)
        The likeliest correction of the pose at each.
    log_weight : (draw, image)
        Logarithm of each place's weight in the particle's posterior.
    """
    posterior, weight = log_weight.softmax(0), (TEMPERED * log_weight).softmax(0)
    centre = torch.einsum("di,dik->ik", posterior, place)
    offset = place - centre
    across = torch.einsum("di,dik->ik", weight, offset.square()).clamp_min(1e-12).sqrt()
    one = offset.new_ones(*offset.shape[:-1], 1)
    feature = torch.cat([one, offset / across], -1)
    matrix = torch.einsum("di,dif,dig->ifg", weight, feature, feature)
    matrix = matrix + RIDGE * torch.eye(matrix.shape[-1])
    matrix[:, 0, 0] -= RIDGE
    right = torch.einsum("di,dif,din->ifn", weight, feature, mode)
    found = torch.linalg.solve(matrix, right)
    return PosesAlong(found[:, 0], centre, (found[:, 1:] / across[..., None]).mT)

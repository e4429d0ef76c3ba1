"""The pose of an image as five more unknowns of its normal equations, and these without them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..physics.record import Record
from .normal_equations import POSE_NUMBERS, NormalEquations

LONGEST_STEP = 0.35  # of the prior's standard deviation: 4 degrees and 4 A where that is flat to 20


@dataclass(frozen=True)
class PoseGiven(Record):
    """The pose of each image as its particle's latent decides it.

    It is about where the equations were linearised.

    Parameters
    ----------
    step : (image, 5)
        From the pose to its likeliest value at the latent itself: shift along x and y (A), turns
        about x, y and z (rad).
    follow : (image, 5, latent)
        How much less it is by each step of the latent.
    covariance : (image, 5, 5)
        At a known latent.
    """

    step: Float[Tensor, "image 5"]
    follow: Float[Tensor, "image 5 latent"]
    covariance: Float[Tensor, "image 5 5"]

    def posterior(
        self,
        step: Float[Tensor, "image latent"],
        covariance: Float[Tensor, "image direction direction"],
        *,
        seen: Float[Tensor, "latent direction"],
        unseen: Float[Tensor, "latent other"],
    ) -> tuple[Float[Tensor, "image 5"], Float[Tensor, "image 5"]]:
        """Step of the pose and its standard deviation, when the latent has gone by a step.

        The latent is not known exactly either.

        Parameters
        ----------
        step : (image, latent)
            Posterior mean of the latent less where it was linearised.
        covariance : (image, direction, direction)
            Of the latent, in the coordinates of `seen`; along `unseen` it is 1.
        seen, unseen : (latent, direction), (latent, other)
            Directions of the latent.
        """
        along, other = self.follow @ seen, self.follow @ unseen
        variance = (
            self.covariance.diagonal(dim1=1, dim2=2)
            + ((along @ covariance) * along).sum(-1)
            + other.square().sum(-1)
        )
        return self.step - (self.follow @ step[..., None])[..., 0], variance.sqrt()


def eliminate_pose(
    equations: NormalEquations, correction: Float[Tensor, "image 5"], prior_sd: Float[Tensor, "5"]
) -> tuple[NormalEquations, PoseGiven]:
    """Equations of the latent alone.

    Every image's pose is at its likeliest value, its uncertainty taken out (Schur complement).

    Parameters
    ----------
    equations : NormalEquations
        Of latent and pose, the five numbers of the pose last (see
        :func:`~atomdrgn.likelihood.normal_equations.image_products`).
    correction : (image, 5)
        By how much the pose was corrected already; its prior is Gaussian about no correction.
    prior_sd : (5,)
        Standard deviations of that.
    """
    n = equations.gradient.shape[-1] - POSE_NUMBERS
    # in its units the matrix is at least 1 and as well conditioned as can be
    scale = prior_sd.double()
    among = scale[:, None] * equations.matrix[:, n:, n:].double() * scale + torch.eye(
        POSE_NUMBERS, dtype=scale.dtype, device=scale.device
    )
    with_latent = scale[:, None] * equations.matrix[:, n:, :n].double()
    offset = correction.double() / scale
    gradient = scale * equations.gradient[:, n:].double() - offset
    factor = torch.linalg.cholesky(among)
    half = torch.linalg.solve_triangular(
        factor, torch.cat([with_latent, gradient[..., None]], -1), upper=False
    )
    whole = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    latent_half, gradient_half = half[..., :n], half[..., n:]
    reduced = NormalEquations(
        matrix=(equations.matrix[:, :n, :n] - latent_half.mT @ latent_half).float(),
        gradient=(equations.gradient[:, :n] - (latent_half.mT @ gradient_half)[..., 0]).float(),
        chi2=(
            equations.chi2 + offset.square().sum(-1) - gradient_half[..., 0].square().sum(-1)
        ).float(),
    )
    covariance = scale[:, None] * torch.cholesky_inverse(factor) * scale
    return reduced, PoseGiven(
        (scale * whole[..., n]).float(),
        (scale[:, None] * whole[..., :n]).float(),
        covariance.float(),
    )


@dataclass(frozen=True)
class PoseIntegral(Record):
    """The likelihood of each image, integrated over its pose.

    Parameters
    ----------
    chi2 : (image,)
        Minus twice its logarithm, up to a constant of the prior.
    mode : (image, 5)
        The likeliest correction of the pose, as in :class:`PoseGiven`.
    covariance : (image, 5, 5)
        Of the pose about it.
    """

    chi2: Float[Tensor, "image"]
    mode: Float[Tensor, "image 5"]
    covariance: Float[Tensor, "image 5 5"]


def integrate_pose(
    equations_at: Callable[[Float[Tensor, "image 5"]], NormalEquations],
    start: Float[Tensor, "image 5"],
    prior_sd: Float[Tensor, "5"],
    *,
    steps: int,
) -> PoseIntegral:
    """Likelihoods of images integrated over their poses, by Laplace's method.

    Gauss-Newton steps from a start lead to the mode; where a step has made an image less likely,
    the next one begins half-way.

    Parameters
    ----------
    equations_at : callable
        From corrections of the poses to equations of the pose alone (see
        :func:`~atomdrgn.likelihood.normal_equations.pose_products`).
    start : (image, 5)
        Corrections to begin with.
    prior_sd : (5,)
        Standard deviations of the prior, which is Gaussian about no correction.
    steps : int
        How often the equations are made; the last step is taken on paper.

    References
    ----------
    Tierney & Kadane, J. Am. Stat. Assoc. 81:82 (1986).
    """
    longest = LONGEST_STEP * prior_sd
    at, mode, best = start, start, start.new_full((len(start),), torch.inf)
    least, wanted, step = best, torch.zeros_like(start), torch.zeros_like(start)
    covariance = torch.diag(prior_sd.square()).expand(len(start), -1, -1)
    for _ in range(steps):
        equations = equations_at(at)
        left, given = eliminate_pose(equations, at, prior_sd)
        here = equations.chi2 + (at / prior_sd).square().sum(-1)
        better = here < best
        row = better[:, None]
        mode, wanted = torch.where(row, at, mode), torch.where(row, given.step, wanted)
        covariance = torch.where(row[..., None], given.covariance, covariance)
        least, best = torch.where(better, left.chi2, least), torch.minimum(here, best)
        step = torch.where(row, wanted.minimum(longest).maximum(-longest), 0.5 * step)
        at = mode + step
    # by the quadratic about the best of these
    short = (wanted - step)[..., None]
    found = least + (short.mT @ torch.linalg.solve(covariance, short))[:, 0, 0]
    volume = (covariance / (prior_sd[:, None] * prior_sd)).double().logdet().float()
    return PoseIntegral(found - volume, at, covariance)

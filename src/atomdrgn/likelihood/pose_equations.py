"""The pose of an image as five more unknowns of its normal equations, and these without them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..physics.record import Record
from .normal_equations import POSE_NUMBERS, NormalEquations


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
        POSE_NUMBERS, dtype=torch.float64
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

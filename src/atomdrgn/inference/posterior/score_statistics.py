"""Scores: slopes of the likelihoods.

Their covariance shows motions that no single particle tells of.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.disc import FourierDisc
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.linearisation import Linearised, sum_linearised

TRACY_WIDOM = 3.27  # the quantile of 0.999 of their law
# of the largest information: directions of which images tell less are left to the prior
LEAST_SEEN = 1e-4


@dataclass(frozen=True)
class Scores:
    """Sums over all particles of what their images say of motions.

    They are taken at the conformations where the particles are.

    Parameters
    ----------
    count : int
        Particles.
    information : (latent, latent)
        Sum of their normal matrices.
    target : (latent,)
        Sum of the right sides of their normal equations.
    square : (latent, latent)
        Sum of the squares of their scores, the slopes of the log-likelihood.
    """

    count: int
    information: Float[Tensor, "latent latent"]
    target: Float[Tensor, "latent"]
    square: Float[Tensor, "latent latent"]


def sum_scores(model: FitModel, state: FitState, disc: FourierDisc, *, title: str) -> Scores:
    """Scores of all images up to the resolution of `disc`."""
    n = model.deformation.n_latent
    like = [torch.zeros(shape, dtype=torch.float64) for shape in ((n, n), (n,), (n, n))]
    model.reporter.start(title, len(model.my_images))

    def summed(found: Linearised) -> tuple[Tensor, Tensor, Tensor]:
        model.reporter.advance(len(found.block.image))
        _, score = found.of_motions(model.deformation, state.latent)
        return (
            found.full.sum(0).double(),
            found.target.sum(0).double(),
            (score.T @ score).double(),
        )

    sums = sum_linearised(model.by_images, state, disc, model.my_particles, summed, like)
    model.reporter.finish()
    return Scores(model.n_particles, *sums)


@dataclass(frozen=True)
class ScoreMotion:
    """A motion that scores show.

    Parameters
    ----------
    step : (latent,)
        One standard deviation of it, A.
    stands_out : bool
        It is more than the largest that noise makes.
    """

    step: Float[Tensor, "latent"]
    stands_out: bool


def motion_of_scores(
    scores: Scores,
    prior: Float[Tensor, "latent latent"],
    besides: Float[Tensor, "latent known"] | None = None,
) -> ScoreMotion:
    """The largest motion that the covariance of scores shows beyond noise.

    Motions that are known are left out.

    Scores of images in which nothing moves have their own information as covariance. In units of it
    a motion is what rises above the eigenvalues of noise; its length is what rises above their
    bulk, and where images tell little of it, it is as the prior has it.

    Parameters
    ----------
    scores : Scores
    prior : (latent, latent)
        Covariance of motions that are likely, A^2.
    besides : (latent, known), optional
        Steps of motions that are left out.

    References
    ----------
    Cox & Hinkley, Theoretical Statistics (1974), 4.8: scores tell of parameters that vary.
    """
    information, covariance = scores.information / scores.count, scores.square / scores.count
    root = torch.linalg.cholesky(prior)
    value, vector = torch.linalg.eigh(root.T @ information @ root)
    seen = value > LEAST_SEEN * value[-1]
    value, likely = value[seen], root @ vector[:, seen]
    white = likely / value.sqrt()
    left = torch.eye(len(value), dtype=torch.float64)
    if besides is not None:
        known = torch.linalg.qr(white.T @ information @ besides)[0]
        # what is at right angles to them
        left = torch.linalg.svd(known, full_matrices=True)[0][:, known.shape[1] :]
    size, axis = torch.linalg.eigh(left.T @ white.T @ covariance @ white @ left)
    bulk, largest = size.median(), size[-1]
    noise = bulk * largest_of_noise(len(size), scores.count)
    excess = (largest / bulk - 1).clamp_min(1e-3)
    told = scores.count * excess / (1 + excess)
    shrunk = value.sqrt() / (value + 1 / told)
    return ScoreMotion(
        likely @ (shrunk * (left @ axis[:, -1])) * excess.sqrt(), bool(largest > noise)
    )


def largest_of_noise(numbers: int, count: int) -> float:
    """Largest eigenvalue that white noise exceeds once in a thousand.

    It is that of the covariance of so many `numbers`, seen `count` times.

    References
    ----------
    Johnstone, Ann. Stat. 29:295 (2001), theorem 1, with the quantile 3.27 of the law of Tracy and
    Widom.
    """
    n, p = math.sqrt(count - 1), math.sqrt(numbers)
    return ((n + p) ** 2 + TRACY_WIDOM * (n + p) * (1 / n + 1 / p) ** (1 / 3)) / count

"""The population of motions: one Gaussian over all particles, and each particle's place in it, in closed form."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..parallel import in_order
from ..physics.record import Record

CHUNK = 256      # particles whose matrices are inverted together


@dataclass(frozen=True)
class Population(Record):
    """A Gaussian over latents.

    Parameters
    ----------
    mean : (latent,)
        A.
    root : (latent, rank)
        ``covariance = root @ root.T``, A.
    """

    mean: Float[Tensor, "latent"]
    root: Float[Tensor, "latent rank"]

    @property
    def covariance(self) -> Float[Tensor, "latent latent"]:
        return self.root @ self.root.T


@dataclass(frozen=True)
class Posterior(Record):
    """What is known of each particle: a Gaussian ``mean + root @ w`` with w of the covariance given.

    Parameters
    ----------
    mean : (particle, latent)
        A.
    whitened : (particle, rank, rank)
        Covariance in the coordinates of the population's root: covariance = root @ whitened @ root.T.
    """

    mean: Float[Tensor, "particle latent"]
    whitened: Float[Tensor, "particle rank rank"]


def whitened_posterior(matrix: Float[Tensor, "batch latent latent"], target: Float[Tensor, "batch latent"],
                       population: Population) -> tuple[Tensor, Tensor, Tensor]:
    """Posterior mean and covariance of w, where latent = mean + root @ w, w ~ N(0, 1), and the log evidence over latent 0's.

    Parameters
    ----------
    matrix, target
        Normal equations: minus twice the log-likelihood is ``q matrix q - 2 target q`` and a constant.
    """
    root = population.root
    precision = root.T @ matrix @ root
    precision.diagonal(dim1=-2, dim2=-1).add_(1)
    right = (target - matrix @ population.mean) @ root
    factor = torch.linalg.cholesky(precision)
    covariance = torch.cholesky_inverse(factor)
    mean = (covariance @ right[..., None])[..., 0]
    centre = population.mean
    at_centre = (target - 0.5 * matrix @ centre) @ centre
    evidence = at_centre + 0.5 * (mean * right).sum(-1) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return mean, covariance, evidence


@dataclass(frozen=True)
class Moments(Record):
    """Sums over particles that the next population is made of, in whitened coordinates.

    Parameters
    ----------
    count : ()
        Particles.
    mean : (rank,)
        Of the posterior means.
    second : (rank, rank)
        Of posterior covariances and products of means.
    evidence : ()
        Of the log evidence.
    """

    count: Float[Tensor, ""]
    mean: Float[Tensor, "rank"]
    second: Float[Tensor, "rank rank"]
    evidence: Float[Tensor, ""]


def moments(matrix: Float[Tensor, "particle latent latent"], target: Float[Tensor, "particle latent"],
            population: Population) -> Moments:
    """The expectation step, summed over particles."""
    rank = population.root.shape[1]
    total = [population.mean.new_zeros(shape, dtype=torch.float64) for shape in ((), (rank,), (rank, rank), ())]

    def of_chunk(start):
        mean, covariance, evidence = whitened_posterior(matrix[start:start + CHUNK], target[start:start + CHUNK], population)
        return len(mean), mean.sum(0), covariance.sum(0) + mean.T @ mean, evidence.sum()

    for terms in in_order(of_chunk, range(0, len(matrix), CHUNK)):
        for sum_, term in zip(total, terms, strict=True):
            sum_ += term
    return Moments(*total)


@dataclass(frozen=True)
class CovariancePrior:
    """What is believed of the population's covariance: as if so many particles with this covariance had been seen.

    It keeps few particles from being explained by wild motions, and many do not feel it.

    Parameters
    ----------
    covariance : (latent, latent)
        A^2.
    particles : float
        Its weight.
    """

    covariance: Float[Tensor, "latent latent"]
    particles: float

    def log_density(self, population: Population) -> float:
        """Of a population, up to a constant (inverse Wishart)."""
        root = population.root.double()
        value, vector = torch.linalg.eigh(root @ root.T)
        value = value.clamp_min(1e-10)
        mean_strain = ((vector.T @ self.covariance.double() @ vector).diagonal() / value).sum()
        return float(-0.5 * self.particles * (value.log().sum() + mean_strain))


def update(population: Population, sums: Moments, prior: CovariancePrior | None = None) -> Population:
    """The maximisation step: the Gaussian that fits the posteriors, and the prior, best."""
    shift = sums.mean / sums.count
    root = population.root.double()
    covariance = root @ (sums.second / sums.count - shift[:, None] * shift) @ root.T
    if prior is not None:
        covariance = (sums.count * covariance + prior.particles * prior.covariance.double()) / (sums.count + prior.particles)
    value, vector = torch.linalg.eigh(covariance)
    mean = population.mean + (root @ shift).to(population.mean)
    return Population(mean, (vector * value.clamp_min(1e-8).sqrt()).to(mean))


def fit_population(matrix: Float[Tensor, "particle latent latent"], target: Float[Tensor, "particle latent"],
                   start: Population, *, prior: CovariancePrior | None = None, rounds: int = 15,
                   tolerance: float = 0.2) -> tuple[Population, list[float]]:
    """The likeliest Gaussian over latents by accelerated EM, and the log evidence a particle before each round.

    Plain EM crawls where images say little. After every two rounds the path of (mean, log covariance) is extrapolated, and the
    extrapolation is kept where the evidence, with the prior, rises. Stops after `rounds`, or when the log evidence of
    all particles gains less than `tolerance` in two rounds.

    References
    ----------
    Varadhan & Roland, Scand. J. Stat. 35:335 (2008), scheme S3 (SQUAREM).
    """
    def step(population):
        sums = moments(matrix, target, population)
        belief = prior.log_density(population) if prior else 0.0
        return update(population, sums, prior), (float(sums.evidence) + belief) / float(sums.count)

    population, history = start, []
    while len(history) < rounds:
        first, evidence = step(population)
        second, better = step(first)
        guess = _extrapolate(population, first, second)
        after, reached = step(guess)
        population = after if reached > better else second
        history += [evidence, better, reached]
        if abs(better - evidence) * len(matrix) < tolerance:
            break
    return population, history


def _extrapolate(before: Population, first: Population, second: Population, longest: float = 16.0) -> Population:
    """Where the last two rounds lead to, if they go on."""
    before, first, second = (_coordinates(population) for population in (before, first, second))
    step, bend = first - before, second - 2 * first + before
    length = float((step.norm() / bend.norm().clamp_min(1e-12)).clamp(1, longest))
    return _population(before + 2 * length * step + length**2 * bend)


def _coordinates(population):
    """Mean and log covariance as one vector."""
    root = population.root.double()
    value, vector = torch.linalg.eigh(root @ root.T)
    log = (vector * value.clamp_min(1e-8).log()) @ vector.T
    return torch.cat([population.mean.double(), log.flatten()])


def _population(coordinates):
    n = math.isqrt(len(coordinates))      # n + n^2 numbers
    mean, log = coordinates[:n], coordinates[n:].unflatten(0, (n, n))
    value, vector = torch.linalg.eigh(0.5 * (log + log.T))
    return Population(mean.float(), (vector * (0.5 * value).exp()).float())


def posterior(matrix: Float[Tensor, "particle latent latent"], target: Float[Tensor, "particle latent"],
              population: Population) -> Posterior:
    """Each particle's mean and covariance given its images and the population."""

    def of_chunk(start):
        mean, covariance, _ = whitened_posterior(matrix[start:start + CHUNK], target[start:start + CHUNK], population)
        return population.mean + mean @ population.root.T, covariance

    means, covariances = zip(*in_order(of_chunk, range(0, len(matrix), CHUNK)), strict=True)
    return Posterior(torch.cat(means), torch.cat(covariances))

"""The population of motions: one Gaussian over all particles, and each particle's place in it, in closed form."""

import logging
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..physics.record import Record
from .parallel import in_order

logger = logging.getLogger(__name__)
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


def whitened_posterior(matrix: Float[Tensor, "batch latent latent"], target: Float[Tensor, "batch latent"], population: Population):
    """Posterior mean and covariance of w, where latent = mean + root @ w and w ~ N(0, 1), and the log of the evidence over that of latent 0.

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
    evidence = 0.5 * (mean * right).sum(-1) - factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + (target - 0.5 * matrix @ centre) @ centre
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


def moments(matrix: Float[Tensor, "particle latent latent"], target: Float[Tensor, "particle latent"], population: Population) -> Moments:
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


def update(population: Population, sums: Moments, smallest: float = 0.03) -> Population:
    """The maximisation step: the Gaussian that fits the posteriors best. Directions with an s.d. below `smallest` A are frozen out."""
    shift = sums.mean / sums.count
    covariance = sums.second / sums.count - shift[:, None] * shift
    root = population.root.double()
    value, vector = torch.linalg.eigh(root @ covariance @ root.T)
    keep = value > smallest**2
    keep[-1] = True                                   # the widest direction stays, however narrow
    mean = population.mean + (root @ shift).to(population.mean)
    return Population(mean, (vector[:, keep] * value[keep].clamp_min(1e-12).sqrt()).to(population.mean))


def fit_population(matrix: Float[Tensor, "particle latent latent"], target: Float[Tensor, "particle latent"], start: Population, *,
                   rounds: int = 15, tolerance: float = 1e-3) -> tuple[Population, list[float]]:
    """Maximum-likelihood Gaussian over latents by accelerated EM, and the mean log evidence a particle before each round.

    Plain EM crawls where images say little. After every two rounds the path of (mean, log covariance) is extrapolated, and the
    extrapolation is kept where the evidence rises. Stops after `rounds`, or when two rounds gain less than `tolerance` a particle.

    References
    ----------
    Varadhan & Roland, Scand. J. Stat. 35:335 (2008), scheme S3 (SQUAREM).
    """
    def step(population):
        sums = moments(matrix, target, population)
        return update(population, sums), float(sums.evidence / sums.count)

    population, history = start, []
    while len(history) < rounds:
        first, evidence = step(population)
        second, better = step(first)
        history += [evidence, better]
        guess = _extrapolate(population, first, second)
        if guess is not None:
            after, reached = step(guess)
            history.append(reached)
            if reached > better:
                second = after
        population = second
        if abs(better - evidence) < tolerance:
            break
    return population, history


def _extrapolate(before: Population, first: Population, second: Population, longest: float = 16.0) -> Population | None:
    """Where the last two rounds lead to, if they go on; None where directions were frozen out on the way."""
    if before.root.shape[1] != second.root.shape[1]:
        return None
    basis = torch.linalg.qr(second.root.double())[0]
    before, first, second = (_coordinates(population, basis) for population in (before, first, second))
    step, bend = first - before, second - 2 * first + before
    length = float((step.norm() / bend.norm().clamp_min(1e-12)).clamp(1, longest))
    return _population(before + 2 * length * step + length**2 * bend, basis)


def _coordinates(population, basis):
    """Mean and log covariance in `basis` as one vector."""
    inner = basis.T @ population.root.double()
    value, vector = torch.linalg.eigh(inner @ inner.T)
    log = (vector * value.clamp_min(1e-8).log()) @ vector.T
    return torch.cat([population.mean.double(), log.flatten()])


def _population(coordinates, basis):
    rank = basis.shape[1]
    mean, log = coordinates[:-rank * rank], coordinates[-rank * rank:].unflatten(0, (rank, rank))
    value, vector = torch.linalg.eigh(0.5 * (log + log.T))
    return Population(mean.float(), (basis @ (vector * (0.5 * value).exp())).float())


def posterior(matrix: Float[Tensor, "particle latent latent"], target: Float[Tensor, "particle latent"], population: Population) -> Posterior:
    """Each particle's mean and covariance given its images and the population."""

    def of_chunk(start):
        mean, covariance, _ = whitened_posterior(matrix[start:start + CHUNK], target[start:start + CHUNK], population)
        return population.mean + mean @ population.root.T, covariance

    means, covariances = zip(*in_order(of_chunk, range(0, len(matrix), CHUNK)), strict=True)
    return Posterior(torch.cat(means), torch.cat(covariances))

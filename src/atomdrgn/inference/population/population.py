"""The population of motions.

It is one Gaussian over all particles, and each particle's place in it, in closed form.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...parallel import Portions, in_order
from ...physics.record import Record

CHUNK = 256  # particles whose matrices are inverted together
ROUNDS = 30
# Rounds end where two of them gain less of the log evidence than this for each number of the
# covariance: the noise of the particles decides half a unit of it for each.
ENOUGH = 0.01

# Logarithms of a covariance in units of the start's: what is narrower does not move, and its
# inverse would not fit into single precision.
LOG_RANGE = -10.0, 18.0
ROUNDING = 3e-7  # of the largest number of a matrix, in single precision


@dataclass(frozen=True)
class Population(Record):
    """A Gaussian over latents.

    Parameters
    ----------
    mean : (latent,)
        A.
    root : (latent, latent)
        ``covariance = root @ root.T``, A.
    """

    mean: Float[Tensor, "latent"]
    root: Float[Tensor, "latent latent"]

    @property
    def covariance(self) -> Float[Tensor, "latent latent"]:
        """Of latents over the particles."""
        return self.root @ self.root.T


@dataclass(frozen=True)
class PopulationPrior(Record):
    """What is believed of a population before any image is seen.

    Parameters
    ----------
    mean, mean_covariance : (latent,), (latent, latent)
        Where the population's mean is believed to be, A, and how far from there, A^2.
    covariance : (latent, latent)
        Of the particles about the mean, as if so many particles with this covariance had been seen,
        A^2. It keeps few particles from being explained by wild motions, and many do not feel it.
    particles : float
        Its weight.
    """

    mean: Float[Tensor, "latent"]
    mean_covariance: Float[Tensor, "latent latent"]
    covariance: Float[Tensor, "latent latent"]
    particles: float


@dataclass(frozen=True)
class Directions(Record):
    """The motions that images can tell from none, and the others.

    A direction in which an image says much less than the population already knows cannot be seen in
    one particle; the mean over all of them can. Few directions are left where the population is
    narrow or the images coarse.

    Parameters
    ----------
    seen : (latent, direction)
        ``seen @ seen.T`` is the population's covariance along them, A.
    unseen : (latent, other)
        The same of the rest.
    left_out : float
        Information of an image on the rest, summed: next to nothing.
    """

    seen: Float[Tensor, "latent direction"]
    unseen: Float[Tensor, "latent other"]
    left_out: float


def informative_directions(
    matrix: Float[Tensor, "latent latent"],
    covariance: Float[Tensor, "latent latent"],
    *,
    least: float,
    most: int | None = None,
) -> Directions:
    """The directions that images tell of: with information of at least `least`.

    It is the mean over particles, with a population's variance as the unit.

    Parameters
    ----------
    matrix : (latent, latent)
        Mean of the particles' normal matrices.
    covariance : (latent, latent)
        Of the population, A^2.
    least : float
        Information, where 1 halves the variance.
    most : int, optional
        More directions are not taken, though images tell of more.
    """
    root = torch.linalg.cholesky(covariance.double())
    value, vector = torch.linalg.eigh(root.T @ matrix.double() @ root)
    value, turned = value.flip(0), (root @ vector.flip(1)).float()
    count = max(1, int((value[:most] >= least).sum()))
    return Directions(
        turned[:, :count].contiguous(),
        turned[:, count:].contiguous(),
        float(value[count:].clamp_min(0).sum()),
    )


@dataclass(frozen=True)
class Equations(Record):
    """Normal equations of some particles, kept along the directions that their images see.

    Minus twice the log-likelihood of a particle is ``q matrix q - 2 target q`` and a constant. Of
    each matrix only the rows along the directions are kept, and the sum over particles whole: all
    that a population with a free mean needs.

    Parameters
    ----------
    cross : (particle, direction, latent)
        ``seen.T @ matrix``.
    target : (particle, latent)
    total : (latent, latent)
        Sum of the matrices of all of them, those of other processes too.
    """

    cross: Float[Tensor, "particle direction latent"]
    target: Float[Tensor, "particle latent"]
    total: Float[Tensor, "latent latent"]


@dataclass(frozen=True)
class Posterior(Record):
    """What is known of each particle.

    Parameters
    ----------
    mean : (particle, latent)
        A.
    covariance : (particle, direction, direction)
        In the coordinates of the directions, whose prior is the population's.
    """

    mean: Float[Tensor, "particle latent"]
    covariance: Float[Tensor, "particle direction direction"]


@dataclass(frozen=True)
class _Estimate:
    """What a round of the fit finds at a covariance.

    It holds the likeliest mean, and how likely mean and covariance make the images.
    """

    mean: Tensor  # (latent,)
    evidence: float  # a particle


def fit_population(
    equations: Equations,
    directions: Directions,
    before: Population,
    *,
    prior: PopulationPrior,
    keep_unseen: float = 1.0,
    rounds: int = ROUNDS,
    enough: float = ENOUGH,
    portions: Portions | None = None,
) -> tuple[Population, list[float]]:
    """The likeliest Gaussian over latents, and the log evidence a particle in each round.

    The mean is the one that makes the images likeliest at each covariance (generalised least
    squares), the covariance along the directions seen is found by EM, extrapolated after every two
    rounds: plain EM crawls where images say little. An extrapolation is kept where the evidence,
    with the prior, rises.

    Parameters
    ----------
    equations, directions
        Of the particles.
    prior : PopulationPrior
    before : Population
        What is known so far: what stays along the other directions.
    keep_unseen : float
        Part of the covariance along these that stays; for the rest the prior takes its place.
    rounds, enough
        When to end: rounds at most, or a gain of the log evidence in two rounds for each number of
        the covariance.
    portions : Portions, optional
        Of the particles, which several processes share; by default this one has all.

    References
    ----------
    Varadhan & Roland, Scand. J. Stat. 35:335 (2008), scheme S3 (SQUAREM); Liu & Rubin, Biometrika
    81:633 (1994), ECME.
    """
    portions = portions or Portions.one(len(equations.target))
    problem = _Problem(equations, directions, prior, portions)
    n_seen = directions.seen.shape[1]
    covariance = torch.eye(n_seen, dtype=torch.float64)
    history: list[float] = []
    while len(history) < rounds:
        at_start, first = problem.round(covariance)
        at_first, second = problem.round(first)
        at_guess, third = problem.round(_extrapolate(covariance, first, second))
        covariance = third if at_guess.evidence > at_first.evidence else second
        history += [at_start.evidence, at_first.evidence, at_guess.evidence]
        if (
            abs(at_first.evidence - at_start.evidence) * problem.count
            < enough * n_seen * (n_seen + 1) / 2
        ):
            break
    found = problem.estimate(covariance)[0]
    seen = directions.seen @ torch.linalg.cholesky(covariance).float()
    unseen = unseen_root(directions, before, prior, keep_unseen)
    return Population(found.mean.float(), torch.cat([seen, unseen], 1)), [*history, found.evidence]


def unseen_root(
    directions: Directions, before: Population, prior: PopulationPrior, keep: float
) -> Float[Tensor, "latent other"]:
    """Root of a population's covariance along the directions that images do not see.

    Parameters
    ----------
    directions, before, prior
        As in :func:`fit_population`.
    keep : float
        Part of the covariance before that stays; for the rest the prior takes its place.
    """
    if not directions.unseen.shape[1]:
        return directions.unseen
    back = torch.linalg.inv(torch.cat([directions.seen, directions.unseen], 1).double())
    back = back[directions.seen.shape[1] :]
    known, belief = (back @ each.covariance.double() @ back.T for each in (before, prior))
    return directions.unseen @ torch.linalg.cholesky(keep * known + (1 - keep) * belief).float()


class _Problem:
    """The particles of a fit, and what one round sums over them."""

    def __init__(
        self,
        equations: Equations,
        directions: Directions,
        prior: PopulationPrior,
        portions: Portions,
    ) -> None:
        self.portions, self.seen = portions, directions.seen
        batches = portions.batches(torch.arange(len(equations.target)), CHUNK)
        self.of = [portions.of(batch) for batch in batches]
        # portions rise, so that each is a run
        chunks = [slice(int(batch[0]), int(batch[-1]) + 1) for batch in batches]
        self.chunks = [
            (
                equations.cross[chunk],
                _at_least_rounding(equations.cross[chunk] @ self.seen),
                equations.target[chunk] @ self.seen,
            )
            for chunk in chunks
        ]
        self.count = float(
            portions.processes.total(
                torch.tensor(float(len(equations.target)), dtype=torch.float64)
            )
        )
        self.whole = equations.total.double()
        self.target = self._sum(
            [(equations.target[chunk].double().sum(0),) for chunk in chunks],
            [torch.zeros(len(self.whole), dtype=torch.float64)],
        )[0]
        self.mean_precision = torch.linalg.inv(prior.mean_covariance.double())
        self.believed_mean = prior.mean.double()
        self.back = torch.linalg.inv(torch.cat([directions.seen, directions.unseen], 1).double())
        seen = slice(0, directions.seen.shape[1])
        self.prior, self.weight = self.in_directions(prior.covariance)[seen, seen], prior.particles

    def _sum(self, terms: Iterable[Sequence[Tensor]], like: Sequence[Tensor]) -> list[Tensor]:
        """Sums of terms of the chunks, over all processes."""
        return self.portions.sum(zip(self.of, terms, strict=True), like)

    def in_directions(
        self, covariance: Float[Tensor, "latent latent"]
    ) -> Float[Tensor, "latent latent"]:
        """A covariance in the coordinates of the directions, the seen ones first."""
        return self.back @ covariance.double() @ self.back.T

    def round(
        self, covariance: Float[Tensor, "direction direction"]
    ) -> tuple[_Estimate, Float[Tensor, "direction direction"]]:
        """The estimate at a covariance, and the next covariance."""
        estimate, second = self.estimate(covariance)
        return estimate, (second + self.weight * self.prior) / (self.count + self.weight)

    def estimate(
        self, covariance: Float[Tensor, "direction direction"]
    ) -> tuple[_Estimate, Float[Tensor, "direction direction"]]:
        """The likeliest mean at a covariance, and the particles' second moments about it.

        These are summed.
        """
        precision = torch.linalg.inv(covariance)
        # sums in single precision left the covariance a little askew
        precision = (0.5 * (precision + precision.T)).float()
        each: list[Tensor] = []

        def of_mean() -> Iterator[Sequence[Tensor]]:
            for spread, *rest in in_order(
                lambda chunk: _seen_through(*chunk, precision), self.chunks
            ):
                each.append(spread)
                yield rest

        like = [
            torch.zeros_like(self.whole),
            torch.zeros_like(self.target),
            torch.zeros((), dtype=torch.float64),
        ]
        information, right, log_volume = self._sum(of_mean(), like)
        left = self.whole - information + self.mean_precision
        mean = torch.linalg.solve(
            left, self.target - right + self.mean_precision @ self.believed_mean
        )
        second, explained = self._second_moments(each, mean.float())
        log_volume = log_volume + 0.5 * self.count * torch.logdet(covariance)
        astray = mean - self.believed_mean
        value = (
            mean @ (self.target - 0.5 * self.whole @ mean)
            - 0.5 * astray @ self.mean_precision @ astray
        )
        belief = (
            -0.5
            * self.weight
            * (torch.logdet(covariance) + (torch.linalg.solve(covariance, self.prior)).trace())
        )
        return _Estimate(mean, float(value + explained - log_volume + belief) / self.count), second

    def _second_moments(
        self, each: Sequence[Tensor], mean: Float[Tensor, "latent"]
    ) -> list[Tensor]:
        def of_chunk(
            item: tuple[tuple[Tensor, Tensor, Tensor], Tensor],
        ) -> tuple[Tensor, Tensor]:
            (cross, _, target), covariance = item
            right = target - cross @ mean
            place = (covariance @ right[..., None])[..., 0]
            return (covariance.sum(0) + place.T @ place).double(), 0.5 * (
                place * right
            ).double().sum()

        like = [torch.zeros_like(self.prior), torch.zeros((), dtype=torch.float64)]
        return self._sum(in_order(of_chunk, zip(self.chunks, each, strict=True)), like)


def _at_least_rounding(
    information: Float[Tensor, "particle direction direction"],
) -> Float[Tensor, "particle direction direction"]:
    """Information of particles with what its rounding may have taken.

    Of one that tells very much along some directions and nothing along others rounding leaves less
    than nothing there, and a population could never be wide enough.
    """
    most = information.diagonal(dim1=1, dim2=2).amax(1)
    symmetric = 0.5 * (information + information.mT)
    return symmetric + torch.diag_embed((ROUNDING * most)[:, None].expand(information.shape[:2]))


def _seen_through(
    cross: Float[Tensor, "particle direction latent"],
    information: Float[Tensor, "particle direction direction"],
    target: Float[Tensor, "particle direction"],
    precision: Float[Tensor, "direction direction"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a chunk of particles gives to the mean and the covariance.

    It is posterior covariances, what they take from the information on the mean, and log volumes.
    """
    covariance, log_volume = _posterior_covariance(information, precision)
    flat = (covariance @ cross).flatten(0, 1)
    return (
        covariance,
        (cross.flatten(0, 1).T @ flat).double(),
        (flat.T @ target.flatten()).double(),
        log_volume.double().sum(),
    )


def _posterior_covariance(
    information: Float[Tensor, "batch direction direction"],
    precision: Float[Tensor, "direction direction"],
) -> tuple[Tensor, Tensor]:
    """(precision + information)^-1, and half the log determinant of its inverse."""
    factor = torch.linalg.cholesky(information + precision)
    return torch.cholesky_inverse(factor), factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _extrapolate(before: Tensor, first: Tensor, second: Tensor, longest: float = 16.0) -> Tensor:
    """Where the last two rounds lead the logarithm of the covariance, if they go on."""
    before, first, second = (_logarithm(covariance) for covariance in (before, first, second))
    step, bend = first - before, second - 2 * first + before
    length = float((step.norm() / bend.norm().clamp_min(1e-12)).clamp(1, longest))
    return _exponential(before + 2 * length * step + length**2 * bend)


def _logarithm(
    covariance: Float[Tensor, "direction direction"],
) -> Float[Tensor, "direction direction"]:
    value, vector = torch.linalg.eigh(covariance)
    return (vector * value.clamp_min(1e-8).log()) @ vector.T


def _exponential(
    logarithm: Float[Tensor, "direction direction"],
) -> Float[Tensor, "direction direction"]:
    value, vector = torch.linalg.eigh(0.5 * (logarithm + logarithm.T))
    return (vector * value.clamp(*LOG_RANGE).exp()) @ vector.T


def precision_along(
    directions: Directions, population: Population
) -> Float[Tensor, "direction direction"]:
    """Inverse of a population's covariance along the directions of its fit.

    It is in the coordinates of these directions.
    """
    back = torch.linalg.pinv(directions.seen.double())
    root = back @ population.root[:, : directions.seen.shape[1]].double()
    return torch.linalg.inv(root @ root.T).float()


def posterior(
    cross: Float[Tensor, "particle direction latent"],
    target: Float[Tensor, "particle latent"],
    mean: Float[Tensor, "latent"],
    precision: Float[Tensor, "direction direction"],
    *,
    seen: Float[Tensor, "latent direction"],
) -> Posterior:
    """Each particle's mean and covariance given its images and the population.

    Parameters
    ----------
    cross, target
        As in :class:`Equations`.
    mean : (latent,)
        Of the population, A.
    precision : (direction, direction)
        Of the population (see :func:`precision_along`).
    seen : (latent, direction)
        The directions.
    """
    covariance, _ = _posterior_covariance(cross @ seen, precision)
    right = target @ seen - cross @ mean
    return Posterior(mean + (covariance @ right[..., None])[..., 0] @ seen.T, covariance)

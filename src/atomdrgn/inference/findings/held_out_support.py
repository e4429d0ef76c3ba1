"""How many motions images support that had no part in finding them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.disc import FourierDisc
from ..population.population import Population
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import HalfSet
from ..problem.linearisation import LinearisedAlong, linearise_along, motions_and_way_to
from ..problem.misfit import misfits
from ..problem.principal_motions import Motions, how_alike, motions_of
from ..problem.significance import FIRST_ALIKE, SIGNIFICANT, MotionSupport, is_clear

# Cosine to what the other half-set has found, of every motion but the first: true ones have 0.96
# and more. What only mends what segments cannot do differs between half-sets: 0.05 to 0.73.
ALIKE = 0.75
# Of the particles, at either end: their gains count as that of the last one before. What a motion
# is worth to particles that are astray in another one made a third of 0.4 A seem supported where
# there are two (0.13 and 0.55 a particle; -0.04 and 0.00 then).
TAIL = 0.01
# particles of a half-set, to be asked: fewer find the ways of motions only roughly
ENOUGH = 100
SUPPORTED, NOT_TESTABLE, UNCONFIRMED, NOT_SUPPORTED = (
    "supported",
    "not testable",
    "unconfirmed",
    "not supported",
)

WORSE_THAN_BASE = "conformations explain images worse than the base model does"


@dataclass(frozen=True)
class TestedMotion:
    """What half-sets say of one motion.

    Parameters
    ----------
    verdict : str
        SUPPORTED; NOT_TESTABLE, which counts as well: images gain by it, and half-sets are too
        small to tell whether both have found it; UNCONFIRMED: images gain by it, and half-sets have
        not found the same; NOT_SUPPORTED.
    why : str
        What speaks against it, in words; nothing where nothing does.
    gain, error : tuple of float
        Of :class:`MotionSupport`, for the images of each half-set.
    alike : float
        The smallest of what half-sets agree by.
    """

    verdict: str
    why: str
    gain: tuple[float, ...]
    error: tuple[float, ...]
    alike: float

    def refused(self, why: str) -> "TestedMotion":
        """The same motion, which is no longer supported if it was."""
        return replace(self, verdict=NOT_SUPPORTED, why=why) if self.counts else self

    @property
    def counts(self) -> bool:
        """Whether particles are placed along it."""
        return self.verdict in (SUPPORTED, NOT_TESTABLE)


def held_out_support(
    half: HalfSet, state: FitState, other: FitState, disc: FourierDisc
) -> MotionSupport:
    """What motions of another fit are worth to particles that had no part in it.

    Each particle's likelihood is marginalised over a population that has the molecule's motion as a
    whole and the first k motions of the other half-set's; k = 0 is that nothing moves.
    """
    model = half.model
    motions = motions_of(model, other.population)
    root = roots_of(model, other.population, motions)
    n_whole = root.shape[1] - len(motions.variance)
    model.reporter.start("support of the motions", len(model.my_images))

    def reduced(found: LinearisedAlong) -> tuple[Tensor, Tensor, Tensor]:
        model.reporter.advance(len(found.block.image))
        matrix = found.matrix[:, :-1, :-1]
        return found.block.particle, matrix, found.gradient[:, :-1] - found.matrix[:, :-1, -1]

    evidence = torch.zeros(model.n_particles, root.shape[1] - n_whole + 1)
    for particle, matrix, right in linearise_along(
        model,
        state,
        disc,
        model.my_particles,
        along=motions_and_way_to(model, state, root, other.population.mean),
        then=reduced,
    ):
        for k in range(evidence.shape[1]):
            count = n_whole + k
            evidence[particle, k] = log_evidence(matrix[:, :count, :count], right[:, :count])
    model.reporter.finish()
    gain = with_tails_drawn_in(model.processes.total(evidence)[model.seen].diff(dim=1))
    gain, error = gain.mean(0), gain.std(0) / len(gain) ** 0.5
    needed = torch.full_like(gain, ALIKE)
    needed[:1] = FIRST_ALIKE
    alike = how_alike(model, motions, motions_of(model, state.population))
    return MotionSupport(gain, error, alike, needed, enough_to_agree(model))


def enough_to_agree(model: FitModel) -> bool:
    """Whether a half-set has enough particles to find the ways of motions."""
    return model.n_particles >= ENOUGH


def with_tails_drawn_in(gain: Float[Tensor, "particle k"]) -> Float[Tensor, "particle k"]:
    """Gains of particles, no further out than those of the first and last hundredth.

    A few that are astray decide nothing.

    References
    ----------
    Winsorised means: Tukey & McLaughlin, Sankhya A 25:331 (1963).
    """
    rising, out = gain.sort(0).values, int(TAIL * len(gain))
    return gain.clamp(rising[out], rising[len(gain) - 1 - out])


def mean_is_supported(halves: Sequence[HalfSet], states: Sequence[FitState]) -> bool:
    """Whether each half-set's mean conformation is likelier to the other than the base model."""
    gains = []
    for half, own, other in zip(halves, states, reversed(states), strict=True):
        model, means = (
            half.model,
            torch.stack([other.population.mean, torch.zeros_like(other.population.mean)]),
        )
        model.reporter.start("support of the mean conformation", len(model.my_images))
        (mean, base), _ = misfits(
            model,
            own,
            model.images.disc,
            [each.expand(model.n_particles, -1) for each in means],
            advance=model.reporter.advance,
        )
        model.reporter.finish()
        gains.append(0.5 * (base - mean)[model.seen])
    return is_clear(torch.cat(gains))


def log_evidence(
    matrix: Float[Tensor, "particle k k"], right: Float[Tensor, "particle k"]
) -> Float[Tensor, "particle"]:
    """Log evidence of particles with these normal equations in whitened coordinates.

    It is relative to that at the population's mean.
    """
    # by eigenvalues: where there is hardly any noise, single precision leaves
    # the matrix no definite sign
    value, vector = torch.linalg.eigh(matrix.double())
    value, along = value.clamp_min(0), (right.double()[..., None, :] @ vector)[..., 0, :]
    return (0.5 * (along.square() / (1 + value) - torch.log1p(value)).sum(-1)).float()


def whole_root(model: FitModel, population: Population) -> Float[Tensor, "latent whole"]:
    """Root of how a population moves the molecule as a whole.

    That is what errors of the poses do, and motions by their frame.
    """
    _, whole, read = model.deformation.whole_and_shape(model.beads.trace_index, population.mean)
    moved = read @ population.root.double()
    return (whole @ torch.linalg.cholesky(moved @ moved.T)).float()


def roots_of(
    model: FitModel, population: Population, motions: Motions
) -> Float[Tensor, "latent directions"]:
    """How a population moves the molecule as a whole, and after that along motions of it."""
    inner = without_whole(model, population, motions.direction) * motions.variance.sqrt()
    return torch.cat([whole_root(model, population), inner], 1)


def without_whole(
    model: FitModel, population: Population, direction: Float[Tensor, "latent k"]
) -> Float[Tensor, "latent k"]:
    """Steps without what of them moves the molecule as a whole."""
    _, whole, read = model.deformation.whole_and_shape(model.beads.trace_index, population.mean)
    return (direction.double() - whole @ (read @ direction.double())).float()


def judge_motions(
    supports: Sequence[MotionSupport], agreement: Float[Tensor, "all"] | None = None
) -> list[TestedMotion]:
    """What both half-sets say of each motion, from the first on.

    A motion is supported where it makes the images of both half-sets likelier, together by far more
    than by chance, and where both have found it. Behind one that is not, none is: what it is worth
    was asked on top of that one.

    Parameters
    ----------
    supports : sequence of MotionSupport
        Of each half-set.
    agreement : (all,), optional
        Cosine between what the half-sets' populations do along each motion of all particles, as far
        as that is known: a motion that neither has found may come of both together.
    """
    both = min(len(support.gain) for support in supports)
    gain, error, alike, needed = (
        torch.stack([getattr(support, name)[:both] for support in supports])
        for name in ("gain", "error", "alike", "needed")
    )
    clear = (gain > 0).all(0) & (gain.sum(0) > SIGNIFICANT * error.square().sum(0).sqrt())
    least = alike.amin(0)
    same = (alike > needed).all(0)
    if agreement is not None:
        known = slice(0, len(agreement))
        least[known] = least[known].minimum(agreement[:both])
        same[known] &= agreement[:both] > FIRST_ALIKE
    testable = all(support.testable for support in supports)
    judged: list[TestedMotion] = []
    for k in range(both):
        before = judged[-1].verdict if judged else SUPPORTED
        if not clear[k]:
            verdict, why = NOT_SUPPORTED, _without_gain(gain[:, k])
        elif before == NOT_SUPPORTED:
            verdict, why = NOT_SUPPORTED, "stands behind one that is not supported"
        elif not testable:
            verdict, why = NOT_TESTABLE, f"half-sets have fewer than {ENOUGH} particles"
        elif before == UNCONFIRMED:
            verdict, why = UNCONFIRMED, "stands behind one that is not confirmed"
        elif not same[k]:
            verdict, why = UNCONFIRMED, "the half-sets have not found the same motion"
        else:
            verdict, why = SUPPORTED, ""
        of_gain, of_error = tuple(gain[:, k].tolist()), tuple(error[:, k].tolist())
        judged.append(TestedMotion(verdict, why, of_gain, of_error, float(least[k])))
    return judged


def _without_gain(gain: Float[Tensor, "half"]) -> str:
    losing = [str(number) for number, each in enumerate(gain.tolist(), 1) if each <= 0]
    if losing:
        return f"images of half-set {' and '.join(losing)} do not gain by it"
    return f"images gain less by it than {SIGNIFICANT:g} standard errors"


def count_supported(supports: Sequence[MotionSupport]) -> int:
    """How many motions count, from the first on (see :func:`judge_motions`)."""
    return sum(motion.counts for motion in judge_motions(supports))

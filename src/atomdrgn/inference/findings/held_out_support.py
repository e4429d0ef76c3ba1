"""How many motions images support that had no part in finding them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.disc import FourierDisc
from ..population.population import Population
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import HalfSet
from ..problem.linearisation import Linearised, linearise
from ..problem.misfit import misfits
from ..problem.principal_motions import Motions, motions_of
from ..problem.significance import SIGNIFICANT, MotionSupport, is_clear

# Cosine to what the other half-set has found, of every motion but the first: true ones have 0.96
# and more. What only mends what segments cannot do differs between half-sets: 0.05 to 0.73. That
# anything moves is told by the likelihood alone: few or weak images find the first motion roughly
# (0.6), and its agreement is reported.
ALIKE = 0.75
# Of the particles, at either end: their gains count as that of the last one before. What a motion
# is worth to particles that are astray in another one made a third of 0.4 A seem supported where
# there are two (0.13 and 0.55 a particle; -0.04 and 0.00 then).
TAIL = 0.01
# particles of a half-set, to be asked: fewer find the ways of motions only roughly
ENOUGH = 100


def held_out_support(
    half: HalfSet, state: FitState, other: FitState, disc: FourierDisc
) -> MotionSupport:
    """What motions of another fit are worth to particles that had no part in it.

    Each particle's likelihood is marginalised over a population that has the molecule's motion as a
    whole and the first k motions of the other half-set's; k = 0 is that nothing moves.
    """
    model = half.model
    motions, whole = motions_of(model, other.population), whole_root(model, other.population)
    root = torch.cat(
        [
            whole,
            _without_whole(model, other.population, motions.direction) * motions.variance.sqrt(),
        ],
        1,
    )
    n_whole, number = whole.shape[1], model.deformation.motion_numbers
    root, mean = root[number], other.population.mean[number]
    model.reporter.start("support of the motions", len(model.my_images))

    def reduced(found: Linearised) -> tuple[Tensor, Tensor, Tensor]:
        model.reporter.advance(len(found.block.image))
        matrix, gradient = found.of_motions(model.deformation, state.latent)
        here = state.latent[found.block.particle][:, number]
        right = gradient + (matrix @ (here - mean)[..., None])[..., 0]
        return found.block.particle, root.T @ matrix @ root, right @ root

    evidence = torch.zeros(model.n_particles, root.shape[1] - n_whole + 1)
    for particle, matrix, right in linearise(model, state, disc, model.my_particles, then=reduced):
        for k in range(evidence.shape[1]):
            count = n_whole + k
            evidence[particle, k] = _log_evidence(matrix[:, :count, :count], right[:, :count])
    model.reporter.finish()
    gain = with_tails_drawn_in(model.processes.total(evidence)[model.seen].diff(dim=1))
    gain, error = gain.mean(0), gain.std(0) / len(gain) ** 0.5
    few = model.n_particles < ENOUGH
    return MotionSupport(
        gain,
        error,
        torch.ones_like(gain)
        if few
        else how_alike(model, motions, motions_of(model, state.population)),
    )


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


def how_alike(model: FitModel, motions: Motions, others: Motions) -> Float[Tensor, "k"]:
    """Cosine between each motion and what as many others and one more span.

    It is taken in the metric of the superposed trace.
    """
    metric = model.deformation.shape_metric(model.beads.trace_index, motions.mean).double()
    value, vector = torch.linalg.eigh(metric)
    root = value.clamp_min(0).sqrt()[:, None] * vector.T
    own, other = (torch.linalg.qr(root @ each.direction.double())[0] for each in (motions, others))
    cosine = own.T @ other
    return torch.stack([cosine[k, : k + 2].norm() for k in range(len(cosine))]).float()


def _log_evidence(
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


def _without_whole(
    model: FitModel, population: Population, direction: Float[Tensor, "latent k"]
) -> Float[Tensor, "latent k"]:
    """Steps without what of them moves the molecule as a whole."""
    _, whole, read = model.deformation.whole_and_shape(model.beads.trace_index, population.mean)
    return (direction.double() - whole @ (read @ direction.double())).float()


def count_supported(supports: Sequence[MotionSupport]) -> int:
    """How many motions, from the first, make both half-sets' images likelier.

    Together they do so by far more than by chance; further ones count only if both halves have
    found them.
    """
    both = min(len(support.gain) for support in supports)
    gain, error, alike = (
        torch.stack([getattr(support, name)[:both] for support in supports])
        for name in ("gain", "error", "alike")
    )
    found = (alike > ALIKE).all(0)
    found[:1] = True
    good = (gain > 0).all(0) & (gain.sum(0) > SIGNIFICANT * error.square().sum(0).sqrt()) & found
    return int(good.long().cumprod(0).sum())

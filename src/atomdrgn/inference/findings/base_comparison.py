"""Whether a fit explains images that it has not learned from better than its base model does."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..population.population import Population
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import HalfSet, part_of
from ..problem.linearisation import LinearisedAlong, linearise_along, motions_and_way_to
from ..problem.misfit import misfits
from ..problem.occupancy import keep_occupancy
from ..problem.principal_motions import motions_of
from .held_out_support import log_evidence, roots_of

ASKED = 500  # particles of each half-set


@dataclass(frozen=True)
class AgainstBase:
    """How much likelier images are under a fit than under the base model that it was given.

    Both with the same freedoms of contrast, pose and the molecule as a whole.

    Parameters
    ----------
    held_out : float
        Mean log-evidence a particle that images gain by what the other half-set has found.
    error : float
        Its standard error.
    fitted : float
        Mean log-likelihood a particle that images gain by their own conformations in the end.
    """

    held_out: float
    error: float
    fitted: float

    @property
    def worse(self) -> bool:
        """Whether the base model explains the images better than the fit."""
        return min(self.held_out, self.fitted) < 0


def against_base(gains: Float[Tensor, "particle"], fitted: Float[Tensor, "some"]) -> AgainstBase:
    """The comparison by gains of the particles of both half-sets."""
    error = float(gains.std() / len(gains) ** 0.5)
    return AgainstBase(float(gains.mean()), error, float(fitted.mean()))


def at_base(model: FitModel, state: FitState) -> FitState:
    """The state with every particle at the base model; what is absent from it stays absent."""
    zero = torch.zeros_like(state.latent)
    latent = keep_occupancy(model, state, zero)[torch.arange(model.n_particles)]
    return replace(state, latent=latent, population=_at_base(model, state.population))


def _at_base(model: FitModel, population: Population) -> Population:
    """The same spread about the base model."""
    mean = population.mean.clone()
    mean[model.deformation.motion_numbers] = 0.0
    return Population(mean, population.root)


def population_over_base(
    half: HalfSet, own: FitState, other: FitState, *, start: HalfSet, begun: FitState, motions: int
) -> Float[Tensor, "some"]:
    """Log-evidence of some particles of a half-set under the other one's population, over the base.

    Parameters
    ----------
    half : HalfSet
        Whose images are asked.
    own, other : FitState
        Its fit and that of the other half-set.
    start, begun
        The half-set with the base model as it was given, and the other half-set's fit there, of
        which the molecule's motion as a whole is taken.
    motions : int
        How many of the other half-set's motions the population has.
    """
    some = half.model.evenly_spread(ASKED)
    fitted = _evidence(part_of(half.model, some), own, other.population, motions)
    still, population = at_base(start.model, own), _at_base(start.model, begun.population)
    return fitted - _evidence(part_of(start.model, some), still, population, 0)


def _evidence(
    part: HalfSet, whole: FitState, population: Population, count: int
) -> Float[Tensor, "some"]:
    """Log-evidence of particles under a population, by Laplace's approximation where they are.

    Constants that conformations do not change are left out.
    """
    model, state = part.model.by_images, part.state(whole)
    disc = model.images.disc
    root = roots_of(model, population, motions_of(model, population).first(count))

    def marginalised(found: LinearisedAlong) -> tuple[Tensor, Tensor]:
        pulled, matrix = found.matrix[:, :, -1], found.matrix[:, :-1, :-1]
        at_mean = found.gradient[:, -1] - 0.5 * pulled[:, -1]
        spread = log_evidence(matrix, found.gradient[:, :-1] - pulled[:, :-1])
        return found.block.particle, at_mean + spread

    gain = torch.zeros(model.n_particles)
    for particle, of_these in linearise_along(
        model,
        state,
        disc,
        model.my_particles,
        along=motions_and_way_to(model, state, root, population.mean),
        then=marginalised,
    ):
        gain[particle] = of_these
    (left,), _ = misfits(model, state, disc, [state.latent])
    return model.processes.total(gain) - 0.5 * left


def conformations_over_base(
    model: FitModel,
    state: FitState,
    latent: Float[Tensor, "particle latent"],
    *,
    start: FitModel,
) -> Float[Tensor, "some"]:
    """Log-likelihood that images of some particles gain by conformations over the base model.

    Parameters
    ----------
    model, state
        Of all particles.
    latent : (particle, latent)
        Their conformations.
    start : FitModel
        The fit with the base model as it was given.
    """
    some = model.evenly_spread(2 * ASKED)
    left = []
    for each, at in ((model, latent), (start, at_base(start, state).latent)):
        part = part_of(each, some)
        (misfit,), _ = misfits(part.model, part.state(state), model.images.disc, [at[some]])
        left.append(misfit)
    return 0.5 * (left[1] - left[0])

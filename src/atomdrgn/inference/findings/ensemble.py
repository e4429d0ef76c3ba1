"""What a fit says in the end.

It says how many motions are supported, where each particle is along them, and how sure that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...structure.motion.surface import Surface
from ..population.latent_density import Density
from ..population.population import Population
from ..posterior.importance_sampling import Looked, WideFit
from ..posterior.pose_errors import Play
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.occupancy import keep_occupancy
from ..problem.principal_motions import Motions
from .held_out_support import TestedMotion


@dataclass(frozen=True)
class Ensemble:
    """The conformations of all particles.

    Parameters
    ----------
    motions : Motions
        The supported ones.
    surface : Surface
        From places along them to latents.
    latent : (particle, latent)
        The conformation of each particle at its mean place.
    place, sd : (particle, k)
        Mean and standard deviation of each particle's posterior, A r.m.s. of the superposed trace.
    draws : (particle, draw, k)
        Places from it.
    density : Density or None
        Of the particles over places, their errors taken out; none where nothing moves.
    supported : int or None
        Motions that images support which had no part in finding them; None where the particles are
        too few to tell.
    tested : list of TestedMotion
        What half-sets say of each motion, those that do not count as well; none where there are no
        half-sets.
    agreement : (k,)
        Of the half-sets on each motion: 1 where both find the same.
    half_error : (trace,)
        Half the difference of the half-sets, bead by bead of the trace: of the mean, and of each
        motion's standard deviation, as one vector's length; A.
    trace_step2 : (trace, k)
        Squared distance that each bead of the trace goes with a particle that goes by 1 A along
        each motion, in the frame of the poses.
    play : Play, optional
        Errors of the poses; none where they were not looked for.
    looked : Looked, optional
        Places of each particle with their likelihoods; none where there is no density.
    """

    motions: Motions
    surface: Surface
    latent: Float[Tensor, "particle latent"]
    place: Float[Tensor, "particle k"]
    sd: Float[Tensor, "particle k"]
    draws: Float[Tensor, "particle draw k"]
    density: Density | None
    supported: int | None
    tested: list[TestedMotion]
    agreement: Float[Tensor, "k"]
    half_error: Float[Tensor, "trace"]
    trace_step2: Float[Tensor, "trace k"]
    play: Play | None = None
    looked: Looked | None = None

    def with_base_error(self, error: Float[Tensor, "trace"]) -> "Ensemble":
        """Arrays with what half-sets differ by where they correct the base model.

        They are given in A, and in what they differ by.
        """
        return replace(self, half_error=torch.hypot(self.half_error, error))

    def trace_motion2(self) -> Float[Tensor, "trace"]:
        """Mean square of each trace bead's distance from its mean over particles, A^2."""
        return self.trace_step2 @ (self.place - self.place.mean(0)).square().mean(0)

    def trace_error2(self) -> Float[Tensor, "trace"]:
        """Mean square of its error in a particle, A^2."""
        return self.trace_step2 @ self.sd.square().mean(0)


def make_ensemble(
    model: FitModel,
    state: FitState,
    motions: Motions,
    found: WideFit,
    populations: Sequence[Population],
    tested: Sequence[TestedMotion],
) -> Ensemble:
    """The ensemble that a fit of all particles leads to.

    Parameters
    ----------
    model, state
        Of all particles.
    motions : Motions
        The supported ones.
    found : WideFit
        Where particles are along them.
    populations : sequence of Population
        Of the two half-sets; none where there are none.
    tested : sequence of TestedMotion
        What half-sets say of each motion; none where there are none.
    """
    surface, belief = found.surface, found.belief
    latent = keep_occupancy(model, state, surface.at(belief.mean))[torch.arange(model.n_particles)]
    jacobian = model.deformation.bead_jacobian(motions.mean, model.beads.trace_index)
    return Ensemble(
        motions,
        surface,
        latent,
        belief.mean,
        belief.sd,
        found.draws,
        found.density,
        len(motions.variance) if populations else None,
        list(tested),
        agreement_of_halves(model, motions, populations),
        _half_error(jacobian, motions, populations),
        (jacobian @ motions.direction).square().sum(1),
        found.play,
        found.looked,
    )


def agreement_of_halves(
    model: FitModel, motions: Motions, populations: Sequence[Population]
) -> Float[Tensor, "k"]:
    """Cosine between what both half-sets move when a particle goes along each motion."""
    if not populations:
        return torch.full((len(motions.variance),), float("nan"))
    metric = model.deformation.shape_metric(model.beads.trace_index, motions.mean)
    first, second = (_response(motions, population) for population in populations)
    length = (
        torch.stack([torch.einsum("ik,ij,jk->k", each, metric, each) for each in (first, second)])
        .clamp_min(0.0)  # a body that moves as a whole keeps its shape, to rounding
        .prod(0)
        .sqrt()
    )
    cosine = torch.einsum("ik,ij,jk->k", first, metric, second) / length.clamp_min(1e-12)
    return cosine.clamp(-1.0, 1.0)


def _response(motions: Motions, population: Population) -> Float[Tensor, "latent k"]:
    """How far a population's latents go with one of its standard deviations along each motion."""
    across = population.root.T @ motions.read
    return population.root @ across / across.norm(dim=0).clamp_min(1e-6)


def _half_error(
    jacobian: Float[Tensor, "trace 3 latent"],
    motions: Motions,
    populations: Sequence[Population],
) -> Float[Tensor, "trace"]:
    if not populations:
        return torch.full((len(jacobian),), float("nan"))
    first, second = populations
    apart = torch.cat(
        [
            (first.mean - second.mean)[:, None],
            _response(motions, first) - _response(motions, second),
        ],
        1,
    )
    return 0.5 * (jacobian @ apart).square().sum((1, 2)).sqrt()

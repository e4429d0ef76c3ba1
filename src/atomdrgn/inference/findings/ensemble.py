"""What a fit says in the end.

How many motions are supported, where each particle is along them, and how sure that is.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...reporting import Reporter
from ...structure.motion.surface import Surface, straight_surface
from ..population.latent_density import Density
from ..population.population import Population
from ..posterior.importance_sampling import Belief, WideFit, draw, look_and_refine
from ..posterior.low_snr import mapped_support, motions_of_mapping, place_on_mapping
from ..posterior.pose_errors import Play
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import HalfSet
from ..problem.occupancy import keep_occupancy
from ..problem.principal_motions import Motions, motions_of
from ..problem.significance import Support
from .held_out_support import count_supported, held_out_support

# Likelihoods are looked at widely along so many motions, and none whose s.d. is less of the first
# one's: a third motion of 0.4 A beside two of 3.4 A, of which images told a fifth, took the
# correlations of these two from 0.991 and 0.994 to 0.985 and 0.990.
MOST_WIDE, NARROW = 3, 0.2


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
    supports : list of Support
        Of each half-set, by what the other has found.
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
    """

    motions: Motions
    surface: Surface
    latent: Float[Tensor, "particle latent"]
    place: Float[Tensor, "particle k"]
    sd: Float[Tensor, "particle k"]
    draws: Float[Tensor, "particle draw k"]
    density: Density | None
    supported: int | None
    supports: list[Support]
    agreement: Float[Tensor, "k"]
    half_error: Float[Tensor, "trace"]
    trace_step2: Float[Tensor, "trace k"]
    play: Play | None = None

    def with_base_error(self, error: Float[Tensor, "trace"]) -> "Ensemble":
        """Arrays with what half-sets differ by where they correct the base model.

        In A, and in what they differ by.
        """
        return replace(self, half_error=torch.hypot(self.half_error, error))

    def trace_motion2(self) -> Float[Tensor, "trace"]:
        """Mean square of each trace bead's distance from its mean over particles, A^2."""
        return self.trace_step2 @ (self.place - self.place.mean(0)).square().mean(0)

    def trace_error2(self) -> Float[Tensor, "trace"]:
        """Mean square of its error in a particle, A^2."""
        return self.trace_step2 @ self.sd.square().mean(0)


def judge_support(
    halves: list[HalfSet], states: list[FitState], reporter: Reporter
) -> list[Support]:
    """What the motions of each half-set are worth to the images of the other."""
    return [
        held_out_support(half, own, other, half.model.images.disc, reporter)
        if other.mapping is None
        else mapped_support(half.model, own, other.mapping, reporter)
        for half, own, other in zip(halves, states, reversed(states), strict=True)
    ]


def make_ensemble(
    model: FitModel,
    state: FitState,
    populations: list[Population],
    supports: list[Support],
    *,
    seed: int,
    reporter: Reporter,
    at_base: bool = False,
) -> Ensemble:
    """The ensemble that a fit of all particles leads to.

    Parameters
    ----------
    model, state
        Of all particles.
    populations : list of Population
        Of the two half-sets; none where there are none.
    supports : list of Support
        Of :func:`judge_support`.
    seed : int
        Of the draws.
    reporter : Reporter
    at_base : bool
        Particles stand about the base model, not about their mean: nothing moves, and the mean is
        no better.
    """
    motions = (
        motions_of(model, state.population)
        if state.mapping is None
        else motions_of_mapping(model, state.mapping)
    )
    supported = count_supported(supports) if supports else None
    if supported is not None:
        motions = motions.first(supported)
    if at_base:
        motions = replace(motions, mean=torch.zeros_like(motions.mean))
    if state.mapping is not None and supported:
        found = place_on_mapping(model, state, reporter, seed=seed)
    else:
        found = _placed(model, state, motions, wide=bool(supports), seed=seed, reporter=reporter)
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
        supported,
        supports,
        _agreement(model, motions, populations),
        _half_error(jacobian, motions, populations),
        (jacobian @ motions.direction).square().sum(1),
        found.play,
    )


def _placed(model, state, motions, *, wide, seed, reporter) -> WideFit:
    """Where particles are along the motions.

    Looked at widely along the first of them if there are half-sets.
    """
    k, n = len(motions.variance), model.n_particles
    generator = torch.Generator().manual_seed(seed)
    place, sd = motions.place(state.latent), state.latent_sd[:, :k].clamp_min(1e-4)
    belief = Belief(place, torch.diag_embed(sd))
    surface = straight_surface(motions.mean, motions.direction, motions.variance.sqrt())
    if not k:
        return WideFit(surface, None, belief, torch.zeros(n, 1, 0))
    if not wide:
        spread, weight = _of_gaussian(belief, generator)
        return WideFit(surface, None, belief, draw(spread, weight, belief, generator))
    sd = motions.variance.sqrt()
    count = min(MOST_WIDE, int((sd > NARROW * sd[0]).sum()))
    looked = look_and_refine(model, state, motions.first(count), reporter, seed=seed)
    if k == count:
        return looked
    first = slice(0, count)
    # along the others, from where the surface has each particle: it bends, and what it explains
    # already does not count twice
    bent = keep_occupancy(model, state, looked.surface.at(looked.belief.mean))[torch.arange(n)]
    place = (state.latent - bent) @ motions.read
    belief = Belief(place, belief.root)
    spread, weight = _of_gaussian(belief, generator)
    draws = draw(spread, weight, belief, generator)
    place[:, first], draws[..., first] = looked.belief.mean, looked.draws
    root = belief.root.clone()
    root[:, first, first] = looked.belief.root
    return replace(
        looked,
        surface=looked.surface.with_straight(motions.direction[:, count:], sd[count:]),
        belief=Belief(place, root),
        draws=draws,
    )


def _of_gaussian(belief, generator, count=64):
    """Places of each particle's Gaussian, all of the same weight."""
    normal = torch.randn(count, *belief.mean.shape, generator=generator)
    place = belief.mean + (belief.root @ normal[..., None])[..., 0]
    return place, torch.full(place.shape[:2], 1 / count)


def _agreement(model, motions, populations) -> Float[Tensor, "k"]:
    """Cosine between what both half-sets move when a particle goes along each motion."""
    if not populations:
        return torch.full((len(motions.variance),), float("nan"))
    metric = model.deformation.shape_metric(model.beads.trace_index, motions.mean)
    first, second = (_response(motions, population) for population in populations)
    length = (
        torch.stack([torch.einsum("ik,ij,jk->k", each, metric, each) for each in (first, second)])
        .prod(0)
        .sqrt()
    )
    return torch.einsum("ik,ij,jk->k", first, metric, second) / length.clamp_min(1e-12)


def _response(motions, population) -> Float[Tensor, "latent k"]:
    """How far a population's latents go with one of its standard deviations along each motion."""
    across = population.root.T @ motions.read
    return population.root @ across / across.norm(dim=0).clamp_min(1e-6)


def _half_error(jacobian, motions, populations) -> Float[Tensor, "trace"]:
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

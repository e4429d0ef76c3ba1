"""Two half-sets, fitted apart, and the fit of both together that goes on from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...physics.maps.still_density import StillDensity
from ..population.population import Population
from ..population.pose_corrections import PoseCorrections
from .fit_problem import FitModel
from .fit_state import FitState

FEWEST = 8  # particles of a half-set: fewer tell nothing


@dataclass(frozen=True, eq=False)
class HalfSet:
    """One of two parts of the particles.

    Parameters
    ----------
    model : FitModel
        The fit of these particles alone.
    particle : (particle,)
        Their numbers among all.
    image : (image,)
        The numbers of their images.
    group : (group,)
        The number that each of their noise groups has among those of all images: a part numbers its
        own.
    """

    model: FitModel
    particle: Int[Tensor, "particle"]
    image: Int[Tensor, "image"]
    group: Int[Tensor, "group"]

    def state(self, whole: FitState) -> FitState:
        """What a state of all particles says of these."""
        return replace(
            whole,
            latent=whole.latent[self.particle],
            freedom=whole.freedom[self.particle],
            latent_sd=whole.latent_sd[self.particle],
            contrast=whole.contrast[self.image],
            spectrum=whole.spectrum[self.group],
            poses=None if whole.poses is None else whole.poses[self.image],
        )


def half_sets(model: FitModel) -> list[HalfSet]:
    """The two half-sets of the particle file; none where one of them has next to no particles.

    Images that are kept in memory are shared, nothing else is.
    """
    half = torch.zeros(model.n_particles, dtype=torch.long)
    half[model.particle] = model.images.stack.half
    if min(int(((half == number) & model.seen).sum()) for number in (1, 2)) < FEWEST:
        return []
    return [part_of(model, torch.nonzero(half == number)[:, 0]) for number in (1, 2)]


def part_of(model: FitModel, particle: Int[Tensor, "some"]) -> HalfSet:
    """A fit of some of the particles alone."""
    number = torch.full((model.n_particles,), -1)
    number[particle] = torch.arange(len(particle))
    image = torch.nonzero(number[model.particle] >= 0)[:, 0]
    mine = number[model.my_particles]
    part = replace(
        model,
        images=model.images.part(image),
        particle=number[model.particle[image]],
        portion=model.portion[particle],
        my_particles=mine[mine >= 0],
    )
    group = torch.zeros(int(part.images.group.max()) + 1, dtype=torch.long)
    group[part.images.group] = model.images.group[image]
    return HalfSet(part, particle, image, group)


def join(
    model: FitModel, halves: Sequence[HalfSet], states: Sequence[FitState], *, step: int
) -> FitState:
    """Where the fit of all particles begins.

    Each begins where its half-set's fit has left it, populations and scales averaged.

    Parameters
    ----------
    model : FitModel
        Of all particles.
    halves, states
        The half-sets and their fits.
    step : int
        The pass to go on with.
    """
    latent, freedom = (
        torch.zeros(model.n_particles, model.deformation.n_latent),
        torch.zeros(model.n_particles),
    )
    contrast = torch.ones(len(model.images))
    poses = None if states[0].poses is None else _poses_of_all(model, halves, states)
    n_groups, n_shells = int(model.images.group.max()) + 1, states[0].spectrum.shape[1]
    spectrum, seen = torch.zeros(n_groups, n_shells), torch.zeros(n_groups, 1)
    for half, state in zip(halves, states, strict=True):
        latent[half.particle], freedom[half.particle], contrast[half.image] = (
            state.latent,
            state.freedom,
            state.contrast,
        )
        spectrum.index_add_(0, half.group, state.spectrum)
        seen.index_add_(0, half.group, torch.ones(len(half.group), 1))

    def mean(name: str) -> float:
        return 0.5 * sum(getattr(state, name) for state in states)

    population = Population(
        0.5 * (states[0].population.mean + states[1].population.mean),
        _root_of_mean([state.population.root for state in states]),
    )
    return FitState(
        step=step,
        latent=latent,
        population=population,
        latent_sd=torch.zeros(model.n_particles, 1),
        freedom=freedom,
        uncertainty=_root_of_mean([state.uncertainty for state in states]),
        spectrum=spectrum / seen,
        contrast=contrast,
        contrast_sd=mean("contrast_sd"),
        amplitude=mean("amplitude"),
        width2=mean("width2"),
        poses=poses,
        gain=states[0].gain,
        residual=_mean_residual([state.residual for state in states]),
    )


def _mean_residual(found: Sequence[StillDensity | None]) -> StillDensity | None:
    """The mean of what half-sets have found, the absent one nothing."""
    there = [each for each in found if each is not None]
    if not there:
        return None
    finest = max(there, key=lambda each: len(each.density))
    if any(each.density.shape != finest.density.shape for each in there):
        return finest
    return replace(finest, density=torch.stack([e.density for e in there]).sum(0) / len(found))


def _poses_of_all(
    model: FitModel, halves: Sequence[HalfSet], states: Sequence[FitState]
) -> PoseCorrections:
    """Those of the half-sets' images."""
    poses = [state.poses for state in states if state.poses is not None]
    value, sd = torch.zeros(2, len(model.images), poses[0].value.shape[1])
    for half, each in zip(halves, poses, strict=True):
        value[half.image], sd[half.image] = each.value, each.sd
    return PoseCorrections(value, sd)


def _root_of_mean(
    roots: Sequence[Float[Tensor, "latent latent"]],
) -> Float[Tensor, "latent latent"]:
    """Root of the mean of covariances that are given by their roots."""
    total = torch.zeros(roots[0].shape, dtype=torch.float64)
    for root in roots:
        total = total + root.double() @ root.double().T
    value, vector = torch.linalg.eigh(0.5 * total)
    return (vector * value.clamp_min(1e-12).sqrt()).float()

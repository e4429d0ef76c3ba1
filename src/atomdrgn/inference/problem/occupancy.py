"""Occupancies of segments during a fit.

It is told what of them is believed, and what they leave of the brightness.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...structure.motion.segment_deformation import OCCUPANCY_UNIT, TWIST, SegmentDeformation
from ..population.population import PopulationPrior
from .fit_problem import FitModel
from .fit_state import FitState

# Occupancies that vary by more than this over the particles are more than noise: what is absent
# from one particle in 40 varies by 0.16.
LEAST_SD = 0.15
# Over the particles: parts that vary by less during a fit are there in all of them, with a mean of
# 1 but for so much.
VARYING_SD, MEAN_SD = 0.25, 1e-4


def prior_with_settled_occupancies(model: FitModel, state: FitState) -> PopulationPrior:
    """The prior of the next pass: what does not vary over the particles is there.

    Half an occupancy for all particles is no absence. Free, it would explain what is blurred by
    motions that are not known yet, and these would never be found: where a part is pale, nothing
    pulls it to its place.
    """
    prior = model.prior
    if not model.composition:
        return prior
    place = occupancy_numbers(model.segments)
    sd = OCCUPANCY_UNIT * state.population.root[place].square().sum(1).sqrt()
    there = place[sd < VARYING_SD]
    covariance = prior.mean_covariance.clone()
    covariance[there], covariance[:, there] = 0.0, 0.0
    covariance[there, there] = (MEAN_SD / OCCUPANCY_UNIT) ** 2
    return replace(prior, mean_covariance=covariance)


def settle_brightness(model: FitModel, state: FitState) -> FitState:
    """The same images with occupancies of 1 for what is present.

    The beads' amplitude takes the rest.

    A part of occupancy 0 or c has a mean m and a variance s2 over the particles with ``m + s2 / m =
    c``, whatever the share of either, and so has what is always there. The median part, by
    electrons, says what 1 is.
    """
    if not model.composition:
        return state
    deformation = model.segments
    place = occupancy_numbers(deformation)
    population = state.population
    mean = (1 + OCCUPANCY_UNIT * population.mean[place]).clamp_min(LEAST_SD)
    level = mean + OCCUPANCY_UNIT**2 * population.root[place].square().sum(1) / mean
    mass = (model.beads.amplitude @ deformation.weight)[deformation.free]
    level, order = level.sort()
    below = mass[order].cumsum(0)
    scale = float(level[torch.searchsorted(below, 0.5 * below[-1])])

    def of_scale(
        values: Float[Tensor, "latent *other"], offset: float
    ) -> Float[Tensor, "latent *other"]:
        values = values.clone()
        values[place] = values[place] / scale + offset
        return values

    offset = (1 / scale - 1) / OCCUPANCY_UNIT
    population = replace(
        population, mean=of_scale(population.mean, offset), root=of_scale(population.root, 0.0)
    )
    return replace(
        state,
        latent=of_scale(state.latent.T, offset).T.contiguous(),
        population=population,
        uncertainty=of_scale(state.uncertainty, 0.0),
        amplitude=state.amplitude * scale,
    )


@dataclass(frozen=True, eq=False)
class _Composed:
    """Conformations of all particles with their own occupancies.

    Index it by particles for their latents.
    """

    deformation: SegmentDeformation
    conformations: Any  # what is looked up by particle
    latent: Tensor

    def __getitem__(self, particle: Int[Tensor, "some"]) -> Float[Tensor, "some latent"]:
        occupancy = self.deformation.occupancy(self.latent[particle])
        return self.deformation.with_occupancy(self.conformations[particle], occupancy)


def keep_occupancy(model: FitModel, state: FitState, conformations: Any) -> Any:
    """Conformations that are looked up by particle.

    Each has the occupancies that its particle has now.

    Where a motion is looked at widely, what is absent from a particle stays absent.
    """
    return (
        _Composed(model.segments, conformations, state.latent)
        if model.composition
        else conformations
    )


def occupancy_numbers(deformation: SegmentDeformation) -> Int[Tensor, "segment"]:
    """Where in a latent the occupancies are."""
    return torch.arange(deformation.n_latent).view(-1, deformation.numbers)[:, TWIST]

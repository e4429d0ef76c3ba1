"""The population's motions: its principal axes, and each particle's place along them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .model import FitModel
from .population import Population, Posterior
from .state import FitState

MOST_MOTIONS = 10
SMALLEST_SHARE = 0.01      # of the largest motion's variance: what is smaller is not listed


@dataclass(frozen=True)
class Motions:
    """Principal motions, largest first, measured by how far they move the trace.

    Parameters
    ----------
    variance : (k,)
        Of the population along each, A^2.
    share : (k,)
        Of the population's whole variance.
    direction : (latent, k)
        Step of the latent that moves the trace by 1 A r.m.s.
    latent, latent_sd : (particle, k)
        Each particle's place along each motion from the population's mean, and its standard deviation, A r.m.s. of the trace.
    """

    variance: Float[Tensor, "k"]
    share: Float[Tensor, "k"]
    direction: Float[Tensor, "latent k"]
    latent: Float[Tensor, "particle k"]
    latent_sd: Float[Tensor, "particle k"]


def motions_of(model: FitModel, state: FitState) -> Motions:
    """The principal motions of a fit as it stands, measured on the trace of its base model."""
    metric = model.deformation.trace_metric(model.beads.trace_index, state.population.mean)
    return principal_motions(state.population, Posterior(state.latent, state.uncertainty), metric)


def principal_motions(population: Population, posterior: Posterior, metric: Float[Tensor, "latent latent"]) -> Motions:
    """Axes of the population in the metric of the trace, at most ten, and the particles along them."""
    root, metric = population.root.double(), metric.double()
    value, vector = torch.linalg.eigh(root.T @ metric @ root)
    value, vector = value.flip(0).clamp_min(1e-12), vector.flip(1)
    count = min(MOST_MOTIONS, int((value >= SMALLEST_SHARE * value[0]).sum()))
    direction = root @ vector[:, :count] / value[:count].sqrt()
    # the sign of an axis is free: its largest component is positive, so that the same fit gives the same signs
    direction = direction * direction.gather(0, direction.abs().argmax(0, keepdim=True)).sign()
    read = (metric @ direction).float()
    seen = (root.T @ metric @ direction).float()
    variance = torch.einsum("rk,prs,sk->pk", seen, posterior.whitened, seen)
    return Motions(variance=value[:count].float(), share=(value[:count] / value.sum()).float(), direction=direction.float(),
                   latent=(posterior.mean - population.mean) @ read, latent_sd=variance.clamp_min(0).sqrt())

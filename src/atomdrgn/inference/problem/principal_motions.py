"""The population's motions: its principal axes, and each particle's place along them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..population.population import Directions, Population, Posterior
from .fit_problem import FitModel

MOST_MOTIONS = 10
SMALLEST_SHARE = 0.01  # of the largest motion's variance: what is smaller is not listed


@dataclass(frozen=True)
class Motions:
    """Principal motions, largest first.

    They are measured by how far they move the trace after superposition.

    Parameters
    ----------
    variance : (k,)
        Of the population along each, A^2.
    share : (k,)
        Of the population's whole variance.
    direction : (latent, k)
        Step of the latent that moves the trace by 1 A r.m.s.
    mean : (latent,)
        Of the population.
    read : (latent, k)
        ``(latent - mean) @ read`` is a particle's place along each motion, A r.m.s. of the trace.
    """

    variance: Float[Tensor, "k"]
    share: Float[Tensor, "k"]
    direction: Float[Tensor, "latent k"]
    mean: Float[Tensor, "latent"]
    read: Float[Tensor, "latent k"]

    def first(self, count: int) -> "Motions":
        """The first few."""
        return Motions(
            self.variance[:count],
            self.share[:count],
            self.direction[:, :count],
            self.mean,
            self.read[:, :count],
        )

    def place(self, latent: Float[Tensor, "particle latent"]) -> Float[Tensor, "particle k"]:
        """Each particle's coordinate along each motion, from the population's mean.

        It is in A r.m.s. of the trace.
        """
        return (latent - self.mean) @ self.read

    def sd(self, posterior: Posterior, directions: Directions) -> Float[Tensor, "particle k"]:
        """Standard error of :meth:`place`."""
        seen, unseen = directions.seen.T @ self.read, directions.unseen.T @ self.read
        variance = torch.einsum(
            "dk,pde,ek->pk", seen, posterior.covariance, seen
        ) + unseen.square().sum(0)
        return variance.clamp_min(0).sqrt()


def motions_of(model: FitModel, population: Population) -> Motions:
    """The principal motions of a population, measured on the superposed trace."""
    return principal_motions(
        population, model.deformation.shape_metric(model.beads.trace_index, population.mean)
    )


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


def principal_motions(population: Population, metric: Float[Tensor, "latent latent"]) -> Motions:
    """Axes of the population in the metric of the trace, at most ten."""
    root, metric = population.root.double(), metric.double()
    variance, share, vector = leading_axes(root.T @ metric @ root)
    direction = with_settled_sign(root @ vector / variance.sqrt())
    return Motions(
        variance=variance.float(),
        share=share.float(),
        direction=direction.float(),
        mean=population.mean,
        read=(metric @ direction).float(),
    )


def leading_axes(
    covariance: Float[Tensor, "p p"],
) -> tuple[Float[Tensor, "k"], Float[Tensor, "k"], Float[Tensor, "p k"]]:
    """Variance along each principal axis, its share of all variance, and the axes.

    The largest comes first.
    """
    value, vector = torch.linalg.eigh(covariance)
    value, vector = value.flip(0).clamp_min(1e-12), vector.flip(1)
    count = min(MOST_MOTIONS, int((value >= SMALLEST_SHARE * value[0]).sum()))
    return value[:count], value[:count] / value.sum(), vector[:, :count]


def with_settled_sign(direction: Float[Tensor, "p k"]) -> Float[Tensor, "p k"]:
    """Axes, whose sign is free, with their largest component positive.

    The same fit gives the same signs.
    """
    return direction * direction.gather(0, direction.abs().argmax(0, keepdim=True)).sign()

"""States: separate peaks of the density of particles, and which particle is in which.

The density is one over latent coordinates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..population.latent_density import Density

DIP = 0.2  # between states the density falls below this part of the lower peak
SMALLEST = 0.02  # part of the particles
STEPS = 33  # at which the density is looked at between two peaks


@dataclass(frozen=True)
class States:
    """What find_states has found.

    Parameters
    ----------
    rows : list of dict
        Of each state, where there are at least two: its number, population and that's standard
        error, and mean place.
    of_particle : (particle,)
        Number of the likeliest state, from 1.
    """

    rows: list[dict]
    of_particle: Int[Tensor, "particle"]


def find_states(
    density: Density | None,
    draws: Float[Tensor, "particle draw k"],
    seen: Bool[Tensor, "particle"] | None = None,
) -> States:
    """Peaks of the density between which it dips.

    Parameters
    ----------
    density : Density or None
        Of particles over their places, the places' errors taken out.
    draws : (particle, draw, k)
        Places from each particle's posterior.
    seen : (particle,), optional
        The particles that count towards populations; by default all.
    """
    one = torch.ones(len(draws), dtype=torch.long)
    if density is None:
        return States([], one)
    number = _peaks(density)
    n_states = int(number.max()) + 1
    if n_states < 2:
        return States([], one)
    part = density.log_parts(draws[..., : density.mean.shape[1]]).softmax(-1)
    member = torch.zeros(len(draws), n_states).index_add_(1, number, part.mean(1))
    expected = torch.zeros(n_states).index_add_(0, number, density.weight)
    # of the population's likelihood, each particle's slope: their squares add up to the information
    slope = (member - expected) / (expected * (1 - expected))
    counted = slice(None) if seen is None else seen
    error = slope[counted].square().sum(0).rsqrt()
    # a step of EM: the density is fitted to some of the particles, and these are all of them
    population = member[counted].mean(0)
    order = population.argsort(descending=True)
    rows = [
        {
            "number": rank + 1,
            "population": round(float(population[state]), 4),
            "error": round(float(error[state]), 4),
            "place": [round(value, 3) for value in _mean_place(density, number == state)],
        }
        for rank, state in enumerate(order.tolist())
    ]
    return States(rows, order.argsort()[member.argmax(1)] + 1)


def _mean_place(density: Density, members: Bool[Tensor, "component"]) -> list[float]:
    weight = density.weight[members]
    return (weight @ density.mean[members] / weight.sum()).tolist()


def _peaks(density: Density) -> Int[Tensor, "component"]:
    """The peak that each component belongs to, from 0.

    Those of next to no weight belong to the nearest.
    """
    count = len(density.weight)
    label = torch.arange(count)
    step = torch.linspace(0, 1, STEPS)[:, None]
    for i in range(count):
        for j in range(i):
            along = density.log(density.mean[i] * step + density.mean[j] * (1 - step)).exp()
            if along.min() > DIP * min(along[0], along[-1]):
                label[label == label[i]] = label[j].clone()
    weight = torch.zeros(count).index_add_(0, label, density.weight)
    large = weight >= SMALLEST
    for i in torch.nonzero(~large[label])[:, 0].tolist():
        distance = (
            (density.mean - density.mean[i]).norm(dim=1).masked_fill(~large[label], float("inf"))
        )
        label[i] = label[distance.argmin()]
    return torch.unique(label, return_inverse=True)[1]

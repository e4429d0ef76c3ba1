"""States: separate peaks of the density of particles, and how likely each particle is in which.

The density is one over latent coordinates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..population.latent_density import Density
from ..posterior.importance_sampling import Looked

DIP = 0.2  # between states the density falls below this part of the lower peak
SMALLEST = 0.02  # part of the particles
STEPS = 33  # at which the density is looked at between two peaks
ROUNDS = 1000  # of EM for the populations, at most; they end where none moves by more than this
SETTLED = 1e-6
AT_ONCE = 2**24  # numbers of likelihoods by component


@dataclass(frozen=True)
class States:
    """What find_states has found.

    Parameters
    ----------
    rows : list of dict
        Of each state, where there are at least two: its number, population and that's standard
        error, and mean place.
    probability : (particle, state)
        That each particle is in each state; one state where there are not two.
    """

    rows: list[dict]
    probability: Float[Tensor, "particle state"]

    @property
    def of_particle(self) -> Int[Tensor, "particle"]:
        """Number of the likeliest state, from 1."""
        return self.probability.argmax(1) + 1

    def columns(self) -> dict[str, list[float]]:
        """Columns of particles.csv: the probability of each state, where there are at least two."""
        return state_columns(self.probability)


def state_columns(probability: Float[Tensor, "particle state"]) -> dict[str, list[float]]:
    """Columns of particles.csv: the probability of each state, where there are at least two."""
    if probability.shape[1] < 2:
        return {}
    return {
        f"state_probability_{number}": [round(value, 6) for value in column.tolist()]
        for number, column in enumerate(probability.double().T, 1)
    }


def find_states(
    density: Density | None,
    looked: Looked | None,
    *,
    particles: int,
    seen: Bool[Tensor, "particle"] | None = None,
) -> States:
    """Peaks of the density between which it dips, and who is in which.

    Populations are those of maximum likelihood, each particle with its own likelihood over the
    places that were looked at: no particle is counted into one state.

    Parameters
    ----------
    density : Density or None
        Of particles over their places, the places' errors taken out.
    looked : Looked or None
        Places of each particle with their likelihoods; none where there is no density.
    particles : int
        How many there are.
    seen : (particle,), optional
        The particles that count towards populations; by default all.
    """
    of_components = None
    if density is not None and looked is not None:
        of_components = likelihood_by_component(density, looked)
    return states_of(density, of_components, particles=particles, seen=seen)


def states_of(
    density: Density | None,
    of_components: Float[Tensor, "particle component"] | None,
    *,
    particles: int,
    seen: Bool[Tensor, "particle"] | None = None,
) -> States:
    """As :func:`find_states`, by each particle's likelihood in each component of the density.

    Parameters
    ----------
    density : Density or None
        Of particles over their places.
    of_components : (particle, component) or None
        As :func:`likelihood_by_component` finds them.
    particles, seen
        As there.
    """
    one = States([], torch.ones(particles, 1))
    if density is None or of_components is None:
        return one
    number = _peaks(density)
    n_states = int(number.max()) + 1
    if n_states < 2:
        return one
    likelihood = _by_state(of_components, density, number)
    counted = slice(None) if seen is None else seen
    population = _most_likely(likelihood[counted], density, number)
    probability = (likelihood + population.log()).softmax(1)
    # of the populations' likelihood, each particle's slope: their squares add up to the information
    slope = (probability[counted] - population) / (population * (1 - population))
    error = slope.square().sum(0).rsqrt()
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
    return States(rows, probability[:, order].float())


def likelihood_by_component(
    density: Density, looked: Looked
) -> Float[Tensor, "particle component"]:
    """Logarithm of each particle's likelihood if it comes from one component of the density."""
    count = len(density.weight)
    batch = max(1, AT_ONCE // (len(looked.place) * count))
    found = [
        (density.log_parts(place) + likelihood[..., None]).logsumexp(0)
        for place, likelihood in zip(
            looked.place.split(batch, 1), looked.likelihood.split(batch, 1), strict=True
        )
    ]
    return torch.cat(found) - density.weight.log()


def _by_state(
    likelihood: Float[Tensor, "particle component"],
    density: Density,
    number: Int[Tensor, "component"],
) -> Float[Tensor, "particle state"]:
    """The same of states, whose components have the shares that they have in the density."""
    joint = likelihood.double() + density.weight.double().log()
    states = range(int(number.max()) + 1)
    return torch.stack(
        [
            joint[:, number == state].logsumexp(1) - density.weight[number == state].sum().log()
            for state in states
        ],
        1,
    )


def _most_likely(
    likelihood: Float[Tensor, "particle state"], density: Density, number: Int[Tensor, "component"]
) -> Float[Tensor, "state"]:
    """Populations of maximum likelihood, by EM."""
    n_states = likelihood.shape[1]
    population = torch.zeros(n_states, dtype=torch.float64)
    population.index_add_(0, number, density.weight.double())
    population /= population.sum()
    for _ in range(ROUNDS):
        before, population = population, (likelihood + population.log()).softmax(1).mean(0)
        if (population - before).abs().max() < SETTLED:
            break
    return population


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

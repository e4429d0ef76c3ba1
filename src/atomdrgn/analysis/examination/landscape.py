"""The particles' free-energy landscape over their motions, its uncertainty and its basins."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

MOST_BINS = {1: 40, 2: 24}  # along a motion, of landscapes over one motion and over two
FEWEST_BINS = 5
RESAMPLED = 100  # times, for the errors
SHALLOWEST = 1.0  # kT: dips that are less deep are no basins
SURE = 2.0  # errors
SMALLEST = 0.02  # of the particles, in a basin


@dataclass(frozen=True)
class Landscape:
    """Free energy over one or two motions, in kT, from the lowest bin.

    Parameters
    ----------
    edges : tuple of (bin + 1,)
        Of the bins along each motion, A.
    population : (*bin,)
        Share of the particles in each.
    free_energy : (*bin,)
        kT; not a number where no particle is.
    error : (*bin,)
        Of `free_energy`, kT: by counting, and by not knowing where each particle is.
    """

    edges: tuple[Float[np.ndarray, "edge"], ...]
    population: Float[np.ndarray, "*bin"]
    free_energy: Float[np.ndarray, "*bin"]
    error: Float[np.ndarray, "*bin"]

    @property
    def centres(self) -> tuple[Float[np.ndarray, "bin"], ...]:
        """Of the bins along each motion, A."""
        return tuple(0.5 * (edge[1:] + edge[:-1]) for edge in self.edges)

    def at(self, values: np.ndarray, place: Float[np.ndarray, "particle k"]) -> np.ndarray:
        """What an array over the bins holds where particles are, (particle,).

        Its motions are the first of `place`.
        """
        return values[tuple(_bin(place[:, axis], edge) for axis, edge in enumerate(self.edges))]


def free_energy(
    draws: Float[np.ndarray, "particle draw k"],
    sd: Float[np.ndarray, "particle k"],
    *,
    rng: np.random.Generator,
) -> Landscape:
    """The landscape over one or two motions: minus the logarithm of how many particles are where.

    Draws from the particles' posteriors are counted, not their means, which shrink towards each
    other where errors are large. Bins are no narrower than the median error. An error is that of
    repeats of the experiment: particles drawn anew, each at one draw from its posterior.

    Parameters
    ----------
    draws : (particle, draw, k)
        Places along one or two motions, A.
    sd : (particle, k)
        Errors of the particles' places, A.
    rng : numpy.random.Generator
        Of the repeats.

    References
    ----------
    Rubin, Multiple Imputation for Nonresponse in Surveys (1987); Efron, Ann. Stat. 7:1 (1979).
    """
    n, n_draws, k = draws.shape
    edges = tuple(_edges(draws[..., axis], sd[:, axis], MOST_BINS[k]) for axis in range(k))
    shape = tuple(len(edge) - 1 for edge in edges)
    bins = np.ravel_multi_index(
        tuple(_bin(draws[..., axis], edge) for axis, edge in enumerate(edges)), shape
    )
    population = np.bincount(bins.ravel(), minlength=np.prod(shape)) / bins.size
    lowest = population.argmax()
    repeats = np.empty((RESAMPLED, len(population)))
    for repeat in repeats:
        again = rng.integers(0, n, n)
        repeat[:] = (
            np.bincount(bins[again, rng.integers(0, n_draws, n)], minlength=len(population)) / n
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        # of logarithms by their slopes: a repeat may have nobody in a bin
        relative = repeats / population
        error = (relative - relative[:, [lowest]]).std(0)
        energy = np.log(population[lowest]) - np.log(population)
    empty = population == 0
    energy[empty] = error[empty] = np.nan
    return Landscape(edges, population.reshape(shape), energy.reshape(shape), error.reshape(shape))


def _edges(place: np.ndarray, sd: np.ndarray, most: int) -> np.ndarray:
    low, high = place.min(), place.max()
    width = max(
        np.median(sd), (high - low) / min(most, max(FEWEST_BINS, int(np.sqrt(len(place))))), 1e-6
    )
    count = max(1, int(np.ceil((high - low) / width - 1e-6)))
    middle = 0.5 * (low + high)
    return middle + width * (np.arange(count + 1) - 0.5 * count)


def _bin(place: np.ndarray, edge: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(edge, place, side="right") - 1, 0, len(edge) - 2)


@dataclass(frozen=True)
class Basin:
    """A minimum of a landscape with a barrier around it.

    Parameters
    ----------
    place : (k,)
        Its lowest bin's centre, A.
    population : float
        Share of the particles whose way down leads to it.
    free_energy, error : float
        Of its lowest bin, kT.
    barrier, barrier_error : float
        How high the lowest way out of it to a deeper basin climbs, kT; infinite for the deepest.
    """

    place: tuple[float, ...]
    population: float
    free_energy: float
    error: float
    barrier: float
    barrier_error: float


def basins(landscape: Landscape) -> tuple[list[Basin], Int[np.ndarray, "*bin"]]:
    """Minima that are clearly separate, deepest first, and the basin of each bin (-1: none).

    Water rises from the lowest bin: a minimum becomes a basin of its own where it is deeper than
    SHALLOWEST, and surely deeper than nothing, when its water meets that of a deeper one. Islands
    of fewer than SMALLEST of the particles are no basins.

    References
    ----------
    Chazal et al., J. ACM 60:41 (2013): clustering by the persistence of density peaks.
    """
    energy, error = landscape.free_energy.ravel(), landscape.error.ravel()
    shape = landscape.free_energy.shape
    parent: dict[int, int] = {}
    lowest: dict[int, int] = {}
    barrier: dict[int, tuple[float, float]] = {}

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for number in np.argsort(energy, kind="stable").tolist():
        if np.isnan(energy[number]):
            continue
        parent[number] = lowest[number] = number
        for other in sorted(
            {root(near) for near in _beside(number, shape) if near in parent},
            key=lambda r: energy[lowest[r]],
        ):
            here = root(number)
            if other == here:
                continue
            deep, shallow = sorted((here, other), key=lambda r: energy[lowest[r]])
            if shallow in barrier:
                continue
            depth = energy[number] - energy[lowest[shallow]]
            # the pass may be as much lower as its population may be larger
            sure = depth - np.log1p(SURE * error[number]) - SURE * error[lowest[shallow]]
            if depth > SHALLOWEST and sure > 0:
                barrier[shallow] = depth, np.hypot(error[number], error[lowest[shallow]])
            else:
                parent[shallow] = deep
    label = np.full(len(energy), -1)
    members: dict[int, list[int]] = {}
    for number in parent:
        members.setdefault(root(number), []).append(number)
    share = {top: landscape.population.ravel()[own].sum() for top, own in members.items()}
    order = sorted(
        (top for top in members if share[top] >= SMALLEST), key=lambda r: energy[lowest[r]]
    )
    found = []
    for rank, top in enumerate(order):
        label[members[top]] = rank
        place = np.unravel_index(lowest[top], shape)
        depth, doubt = barrier.get(top, (np.inf, 0.0))
        found.append(
            Basin(
                tuple(float(centre[i]) for centre, i in zip(landscape.centres, place, strict=True)),
                float(share[top]),
                float(energy[lowest[top]]),
                float(error[lowest[top]]),
                float(depth),
                float(doubt),
            )
        )
    return found, label.reshape(shape)


def _beside(number: int, shape: tuple[int, ...]) -> Iterator[int]:
    """Numbers of the bins that share a side with one."""
    at = np.array(np.unravel_index(number, shape))
    for axis in range(len(shape)):
        for step in (-1, 1):
            place = at.copy()
            place[axis] += step
            if 0 <= place[axis] < shape[axis]:
                yield int(np.ravel_multi_index(place, shape))

"""The density of a population of latents, freed of their errors, and particles placed in it.

Latents of a motion lie along a curve. A normal population knows nothing of that; a mixture of
normal ones does, and tells a particle's place by all of its components together.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.cluster import KMeans

from .particle_systems import Amounts, Systems, log_evidence, posterior

MIXTURES = (1, 2, 3, 4, 6)  # numbers of normal densities that are tried
ROUNDS, SETTLED = 100, 1e-4  # of EM; nats a particle
# particles, as it were, that each density has seen, of the variance of LEAST
PRIOR, LEAST = 2.0, 0.02


@dataclass(frozen=True, eq=False)
class Mixture:
    """Normal densities with weights.

    Parameters
    ----------
    weight : (density,)
    mean : (density, latent)
    covariance : (density, latent, latent)
    """

    weight: Float[np.ndarray, "density"]
    mean: Float[np.ndarray, "density latent"]
    covariance: Float[np.ndarray, "density latent latent"]

    def classes(
        self, systems: Systems
    ) -> tuple[Float[np.ndarray, "density particle"], list[Amounts]]:
        """Log likelihood of particles with the weight of each density, and their latents in it."""
        each = list(zip(self.weight, self.mean, self.covariance, strict=True))
        return (
            np.stack([np.log(w) + log_evidence(systems, m, c) for w, m, c in each]),
            [posterior(systems, m, c) for _, m, c in each],
        )

    def latents(self, systems: Systems) -> Amounts:
        """Posterior mean and covariance of particles' latents."""
        value, amounts = self.classes(systems)
        share = np.exp(value - np.logaddexp.reduce(value, 0))
        mean = sum(q[:, None] * each.mean for q, each in zip(share, amounts, strict=True))
        second = sum(q[:, None, None] * each.second for q, each in zip(share, amounts, strict=True))
        return Amounts(mean, second - mean[:, :, None] * mean[:, None])

    def turned(self, axes: Float[np.ndarray, "latent axis"]) -> "Mixture":
        """The same along other axes, orthogonal ones."""
        return Mixture(self.weight, self.mean @ axes, axes.T @ self.covariance @ axes)


def without_contrast(systems: Systems, covariance: Float[np.ndarray, "volume volume"]) -> Systems:
    """Systems in latents alone, contrast integrated out given them.

    Parameters
    ----------
    systems : Systems
        In contrast and latents.
    covariance : (volume, volume)
        Of both in the population; latents of variance 1.
    """
    count = len(covariance)
    step = np.eye(count)
    step[0, 1:] = covariance[0, 1:]
    variance = max(covariance[0, 0] - float(covariance[0, 1:] @ covariance[0, 1:]), 1e-9)
    matrix, right = step.T @ systems.matrix @ step, systems.right @ step
    spread = 1 / (matrix[:, 0, 0] + 1 / variance)
    with_contrast = matrix[:, 1:, 0]
    return Systems(
        matrix[:, 1:, 1:]
        - spread[:, None, None] * with_contrast[:, :, None] * with_contrast[:, None],
        right[:, 1:] - (spread * (right[:, 0] + 1 / variance))[:, None] * with_contrast,
    )


def population_density(
    systems: Systems, weight: Float[np.ndarray, "particle"], *, seed: int = 0
) -> Mixture:
    """The mixture that the systems of all particles are best explained by, by BIC.

    Parameters
    ----------
    systems : Systems
        In latents alone.
    weight : (particle,)
        How much each particle counts.
    seed : int
        For where k-means starts.

    Returns
    -------
    Mixture

    References
    ----------
    Bovy, Hogg & Roweis, Ann. Appl. Stat. 5 (2011), 1657-1677: extreme deconvolution. Schwarz, Ann.
    Statist. 6 (1978), 461-464: BIC.
    """
    latents = systems.right.shape[1]
    start = posterior(systems, np.zeros(latents), np.eye(latents)).mean
    best, least = None, np.inf
    for count in MIXTURES:
        if len(start) < 10 * count * (1 + latents):
            break
        found, likelihood = _mixture(systems, weight, start, count, seed=seed)
        numbers = count * (1 + latents + latents * (latents + 1) / 2) - 1
        cost = numbers * np.log(weight.sum()) - 2 * likelihood
        if cost < least:
            best, least = found, cost
    return best or Mixture(np.ones(1), np.zeros((1, latents)), np.eye(latents)[None])


def _mixture(
    systems: Systems, weight: np.ndarray, start: np.ndarray, count: int, *, seed: int
) -> tuple[Mixture, float]:
    label = KMeans(count, n_init=3, random_state=seed).fit_predict(start)
    latents = start.shape[1]
    groups = [start[label == number] for number in range(count)]
    mixture = Mixture(
        np.array([len(each) for each in groups]) / len(start),
        np.array([each.mean(0) for each in groups]),
        np.array([(each - each.mean(0)).T @ (each - each.mean(0)) / len(each) for each in groups])
        + 0.3 * np.eye(latents),
    )
    before = -np.inf
    for _ in range(ROUNDS):
        value, amounts = mixture.classes(systems)
        total = np.logaddexp.reduce(value, 0)
        likelihood = float(weight @ total)
        share = np.exp(value - total) * weight
        size = share.sum(1)
        mean = np.array([q @ each.mean for q, each in zip(share, amounts, strict=True)])
        mean /= np.maximum(size, 1e-9)[:, None]
        spread = []
        for q, each, centre in zip(share, amounts, mean, strict=True):
            off = each.mean - centre
            spread.append((q[:, None] * off).T @ off + np.tensordot(q, each.covariance, 1))
        covariance = (np.array(spread) + PRIOR * LEAST * np.eye(latents)) / (size + PRIOR)[
            :, None, None
        ]
        mixture = Mixture(np.maximum(size, 1e-9) / size.sum(), mean, covariance)
        if likelihood - before < SETTLED * weight.sum():
            break
        before = likelihood
    return mixture, likelihood

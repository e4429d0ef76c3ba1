"""In which numbers the population of a pass is found: all of the latent, or along a few directions.

The numbers of a latent grow with the segments, and what is made of them for every particle with
their square and cube. What images tell apart does not grow: of many segments the motions that the
population makes, or may make by the elastic prior, are few. Along these its mean, its covariance
and the place of each particle are found; elsewhere all particles stand at the population's mean,
and its covariance is the prior's.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .population import Directions, Population, PopulationPrior, unseen_root

# Images of an antibody at an SNR of 0.1 tell of some 30 directions of 12 segments and of 40 to 60
# of 60 segments. Clear images of a small molecule (30 segments) tell of 135: there 50 left a hinge
# unfinished (correlation with the truth 0.974 after eight passes), 100 do not (0.991; all: 0.992).
MOST_DIRECTIONS = 100
MANY = 150  # numbers of a latent: of fewer, nothing would be saved


def is_bounded(n_latent: int) -> bool:
    """Whether latents have so many numbers that a population is found along a part of them."""
    return n_latent > MANY


@dataclass(frozen=True)
class EveryNumber:
    """The latent itself: the population's mean is free along all of its numbers.

    Parameters
    ----------
    directions : Directions
        Those of the pass.
    """

    directions: Directions

    @property
    def own(self) -> Directions:
        """The directions in these numbers."""
        return self.directions

    def prior(self, prior: PopulationPrior) -> PopulationPrior:
        """What is believed of the population, in these numbers."""
        return prior

    def before(self, population: Population) -> Population:
        """A population in these numbers."""
        return population

    def population(
        self, found: Population, before: Population, prior: PopulationPrior, keep_unseen: float
    ) -> Population:
        """The population of latents that was found in these numbers."""
        return found

    def latent(self, number: Float[Tensor, "some number"]) -> Float[Tensor, "some latent"]:
        """The latents at these numbers."""
        return number


@dataclass(frozen=True)
class AlongDirections:
    """Steps along the directions of a pass, from the population's mean before it.

    Parameters
    ----------
    directions : Directions
        Those of the pass.
    origin : (latent,)
        A.
    """

    directions: Directions
    origin: Float[Tensor, "latent"]

    @property
    def count(self) -> int:
        """How many directions there are."""
        return self.directions.seen.shape[1]

    @property
    def own(self) -> Directions:
        """As :meth:`EveryNumber.own`: the numbers themselves, and no others."""
        return Directions(
            torch.eye(self.count), torch.zeros(self.count, 0), self.directions.left_out
        )

    def prior(self, prior: PopulationPrior) -> PopulationPrior:
        """As :meth:`EveryNumber.prior`, of as many particles for each number."""
        seen, unseen = self.directions.seen.double(), self.directions.unseen.double()
        back = torch.linalg.inv(torch.cat([seen, unseen], 1))[: self.count]
        information = torch.linalg.inv(prior.mean_covariance.double())
        precision = seen.T @ information @ seen
        pulled = seen.T @ information @ (prior.mean - self.origin).double()
        return PopulationPrior(
            torch.linalg.solve(precision, pulled).float(),
            torch.linalg.inv(precision).float(),
            (back @ prior.covariance.double() @ back.T).float(),
            prior.particles * self.count / len(self.origin),
        )

    def before(self, population: Population) -> Population:
        """As :meth:`EveryNumber.before`: the directions are in its units."""
        return Population(torch.zeros(self.count), torch.eye(self.count))

    def population(
        self, found: Population, before: Population, prior: PopulationPrior, keep_unseen: float
    ) -> Population:
        """As :meth:`EveryNumber.population`: elsewhere it moves towards the prior."""
        seen = self.directions.seen @ found.root
        unseen = unseen_root(self.directions, before, prior, keep_unseen)
        return Population(self.latent(found.mean), torch.cat([seen, unseen], 1))

    def latent(self, number: Float[Tensor, "*some number"]) -> Float[Tensor, "*some latent"]:
        """As :meth:`EveryNumber.latent`."""
        return self.origin + number @ self.directions.seen.T


PassNumbers = EveryNumber | AlongDirections


def numbers_of(directions: Directions, population: Population) -> PassNumbers:
    """In which the population of a pass is found that was like this before."""
    if is_bounded(len(population.mean)):
        return AlongDirections(directions, population.mean)
    return EveryNumber(directions)

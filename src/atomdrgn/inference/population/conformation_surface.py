"""One surface of conformations for all particles, and how many particles stand where on it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.record import Record
from ...structure.motion.surface import Surface
from .latent_density import Density

NODES = {1: 15, 2: 9}  # along each motion: a grid over three has too many
REACH = 2.6  # standard deviations to both sides


@dataclass(frozen=True)
class Mapping(Record):
    """A surface of conformations, and how many particles stand where on it.

    Parameters
    ----------
    surface : Surface
        Over places, A r.m.s. of the superposed trace, 0 where particles are on average.
    density : Density
        Of the particles.

    References
    ----------
    Bishop, Svensen & Williams, Neural Comput. 10:215 (1998): the generative topographic mapping.
    """

    surface: Surface
    density: Density

    @property
    def k(self) -> int:
        """How many motions it has."""
        return len(self.surface.scale)

    def nodes(self) -> Float[Tensor, "node k"]:
        """The grid of places, the middle one at zero."""
        half = NODES[self.k] // 2
        line = torch.arange(-half, half + 1) * (REACH / half)
        return torch.cartesian_prod(*[line * scale for scale in self.surface.scale]).reshape(
            -1, self.k
        )

    def log_weight(self) -> Float[Tensor, "node"]:
        """Logarithm of the share of particles at each node; the shares sum to 1."""
        return self.density.log(self.nodes()).log_softmax(0)

    def share(self, likelihood: Float[Tensor, "node particle"]) -> Float[Tensor, "node particle"]:
        """Weight of each node in its particles' posteriors, from their log-likelihoods.

        A particle's sum is 1.
        """
        return (likelihood + self.log_weight()[:, None]).softmax(0)

    def places(self, particles: int) -> Float[Tensor, "node particle k"]:
        """The grid, the same for so many particles."""
        return self.nodes()[:, None].expand(-1, particles, -1)

    def first(self, count: int) -> "Mapping":
        """Without the motions behind the first few, of which there is at least one."""
        i, j = torch.triu_indices(self.k, self.k)
        kept = torch.cat(
            [torch.arange(1 + count), 1 + self.k + torch.nonzero((i < count) & (j < count))[:, 0]]
        )
        covariance = self.density.root @ self.density.root.mT
        return Mapping(
            Surface(self.surface.scale[:count], self.surface.coefficient[kept]),
            Density(
                self.density.weight,
                self.density.mean[:, :count],
                torch.linalg.cholesky(covariance[:, :count, :count]),
            ),
        )

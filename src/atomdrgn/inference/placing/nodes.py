"""Nodes of a box of latent coordinates, and what is between them by polynomials.

Images change smoothly along motions: what they are anywhere in a box follows from what they are at
a few nodes. It is linear in these, and so are inner products with an image's data.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.record import Record

# Places along each axis of a box at which likelihoods are wanted, by the number of axes.
PLACES = {0: 1, 1: 64, 2: 16, 3: 10}


@dataclass(frozen=True)
class Boxes(Record):
    """Parts of the latent coordinates, one a particle.

    Parameters
    ----------
    centre : (particle, k)
        A, along each motion.
    axes : (particle, k, k)
        Its columns lead from the centre to the middles of faces.
    """

    centre: Float[Tensor, "particle k"]
    axes: Float[Tensor, "particle k k"]

    def at(self, unit: Float[Tensor, "some k"]) -> Float[Tensor, "some particle k"]:
        """Places of each particle, by coordinates from -1 to 1 along the axes."""
        return self.centre + torch.einsum("pka,sa->spk", self.axes, unit)

    @property
    def log_volume(self) -> Float[Tensor, "particle"]:
        """Logarithm of what each box holds, A^k."""
        return torch.linalg.det(self.axes).abs().log() + self.axes.shape[-1] * math.log(2)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Chebyshev's nodes of a box, and the weights of each at places all over the box.

    Parameters
    ----------
    unit : (node, k)
        From -1 to 1.
    place : (place, k)
        An even grid.
    weight : (place, node)
        Of each node in the polynomial's value at each place; a place's sum is 1.

    References
    ----------
    Berrut & Trefethen, SIAM Rev. 46:501 (2004), equations 4.2 and 5.3.
    """

    unit: Float[Tensor, "node k"]
    place: Float[Tensor, "place k"]
    weight: Float[Tensor, "place node"]

    @classmethod
    def of_box(cls, counts: Sequence[int]) -> "Nodes":
        """So many nodes along each axis.

        Examples
        --------
        >>> nodes = Nodes.of_box([4])
        >>> cube = nodes.unit[:, 0] ** 3
        >>> torch.allclose(nodes.weight @ cube, nodes.place[:, 0] ** 3, atol=1e-5)
        True
        """
        if not len(counts):  # a point
            return cls(torch.zeros(1, 0), torch.zeros(1, 0), torch.ones(1, 1))
        count = PLACES[len(counts)]
        even = (2 * torch.arange(count, dtype=torch.float64) + 1) / count - 1
        units = [chebyshev_nodes(n) for n in counts]
        weights = [lagrange_weights(unit, even) for unit in units]
        weight = weights[0]
        for other in weights[1:]:
            weight = torch.einsum("pn,qm->pqnm", weight, other).reshape(
                len(weight) * len(other), -1
            )
        return cls(
            torch.cartesian_prod(*units).reshape(-1, len(units)).float(),
            torch.cartesian_prod(*[even] * len(units)).reshape(-1, len(units)).float(),
            weight.float(),
        )


def chebyshev_nodes(count: int) -> Float[Tensor, "count"]:
    """Zeros of Chebyshev's polynomial of this degree, rising; double precision."""
    return -torch.cos((2 * torch.arange(count, dtype=torch.float64) + 1) * math.pi / (2 * count))


def lagrange_weights(
    node: Float[Tensor, "node"], place: Float[Tensor, "place"]
) -> Float[Tensor, "place node"]:
    """Of the values at nodes in the polynomial through them, at some places."""
    apart = place[:, None] - node
    between = (node[:, None] - node).fill_diagonal_(1.0)
    weight = torch.empty(len(place), len(node), dtype=node.dtype)
    for number in range(len(node)):
        others = torch.arange(len(node)) != number
        weight[:, number] = apart[:, others].prod(1) / between[number, others].prod()
    return weight

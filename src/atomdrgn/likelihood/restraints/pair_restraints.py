"""Restraints of distances between two beads: springs, tethers and clashes."""

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...structure.neighbours import NeighbourSearch
from .restraint import Residuals, Restraint, Strained
from .restraint_loops import strained_clashes, strained_springs

Sigma = float | Float[Tensor, "pair"]
SHORTEST = 1e-3  # A: beads nearer than this pull in no direction


def distances(
    position: Float[Tensor, "*batch bead 3"], pairs: Int[Tensor, "pair 2"]
) -> Float[Tensor, "*batch pair"]:
    """Distances between pairs of beads, A."""
    return torch.linalg.vector_norm(
        position[..., pairs[:, 0], :] - position[..., pairs[:, 1], :], dim=-1
    )


@final
@dataclass(frozen=True, eq=False)
class Springs(Restraint):
    """Pairs of beads that keep their distance: bonds along the chain, or an elastic network.

    Parameters
    ----------
    name : str
        Such as "bond".
    pairs : (pair, 2)
        Beads at the two ends.
    length : (pair,)
        Their distance without strain, A.
    sigma : float or (pair,)
        Standard deviation of that, A.
    bonds : bool
        Whether these hold a chain together.
    """

    name: str
    pairs: Int[Tensor, "pair 2"]
    length: Float[Tensor, "pair"]
    sigma: Sigma
    bonds: bool = True

    def strain(self, position: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """Of each conformation."""
        stretch = distances(position, self.pairs) - self.length.to(position)
        return 0.5 * (stretch / self.sigma).square().sum(-1)

    def residuals(self, position: Float[Tensor, "bead 3"]) -> Residuals:
        """All pairs, strained or not."""
        stretch = distances(position, self.pairs) - self.length.to(position)
        return _of_pairs(position, self.pairs, stretch, self.sigma)

    def strained(self, position: Float[Tensor, "batch bead 3"]) -> Strained:
        """The same of many conformations."""
        return _strained(position, self.pairs, self.length, self.sigma, one_sided=False)

    def on_surface(self, looser: float) -> "Springs | None":
        """Bonds, looser."""
        return replace(self, sigma=looser * self.sigma) if self.bonds else None


@final
@dataclass(frozen=True, eq=False)
class StraightSprings(Restraint):
    """Neighbours in the base model keep their distance to first order, each at its own length.

    Parameters
    ----------
    name : str
        Such as "neighbours".
    base : (bead, 3)
        The base model, A.
    pairs : (pair, 2)
        Of neighbours.
    sigma : (pair,)
        Standard deviation of their distance, A.
    """

    name: str
    base: Float[Tensor, "bead 3"]
    pairs: Int[Tensor, "pair 2"]
    sigma: Float[Tensor, "pair"]

    def strain(self, position: Float[Tensor, "*field bead 3"]) -> Float[Tensor, "*field"]:
        """Of each field of positions."""
        return 0.5 * (self._stretch(position) / self.sigma).square().sum(-1)

    def residuals(self, position: Float[Tensor, "bead 3"]) -> Residuals:
        """All pairs; their gradients are the same everywhere."""
        return _of_pairs(self.base, self.pairs, self._stretch(position), self.sigma)

    def on_surface(self, looser: float) -> "StraightSprings":
        """The same, looser."""
        return replace(self, sigma=looser * self.sigma)

    def _stretch(self, position: Float[Tensor, "*field bead 3"]) -> Float[Tensor, "*field pair"]:
        i, j = self.pairs.T
        offset = position - self.base
        along = torch.nn.functional.normalize(self.base[i] - self.base[j], dim=-1)
        return ((offset[..., i, :] - offset[..., j, :]) * along).sum(-1)


@final
@dataclass(frozen=True, eq=False)
class Tethers(Restraint):
    """Side chains that may not leave their backbone: free up to a distance, a spring beyond.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), section 3:
    one-sided constraints.

    Parameters
    ----------
    name : str
        Such as "tether".
    pairs : (pair, 2)
        Side chains with their backbones.
    longest : (pair,)
        Up to where these are free, A.
    sigma : float
        Standard deviation of what is beyond, A.
    """

    name: str
    pairs: Int[Tensor, "pair 2"]
    longest: Float[Tensor, "pair"]
    sigma: float

    def strain(self, position: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """Of each conformation."""
        beyond = (distances(position, self.pairs) - self.longest.to(position)).clamp_min(0)
        return 0.5 * (beyond**2).sum(-1) / self.sigma**2

    def residuals(self, position: Float[Tensor, "bead 3"]) -> Residuals:
        """Those that are too long."""
        beyond = distances(position, self.pairs) - self.longest.to(position)
        acting = beyond > 0
        return _of_pairs(position, self.pairs[acting], beyond[acting], self.sigma)

    def strained(self, position: Float[Tensor, "batch bead 3"]) -> Strained:
        """The same of many conformations."""
        return _strained(position, self.pairs, self.longest, self.sigma, one_sided=True)

    def on_surface(self, looser: float) -> "Tethers":
        """The same, looser: these are bonds."""
        return replace(self, sigma=looser * self.sigma)


@final
@dataclass(frozen=True, eq=False)
class Clashes(Restraint):
    """Beads that may not come nearer than a distance, unless the base model has them as near.

    Parameters
    ----------
    name : str
        Such as "clash".
    base : (bead, 3)
        The base model, A.
    neighbours : NeighbourSearch
        Finds beads that may clash.
    distance : float
        Beads nearer than this clash, A.
    sigma : float
        Standard deviation, A.
    """

    name: str
    base: Float[Tensor, "bead 3"]
    neighbours: NeighbourSearch
    distance: float
    sigma: float

    def strain(self, position: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """Of each conformation."""
        each = position.reshape(-1, *position.shape[-2:])
        conformation, pairs = self.neighbours(each, self.distance)
        apart = torch.linalg.vector_norm(
            each[conformation, pairs[:, 0]] - each[conformation, pairs[:, 1]], dim=-1
        )
        strain = 0.5 * ((self._nearest(pairs) - apart).clamp_min(0) / self.sigma) ** 2
        return (
            each.new_zeros(len(each)).index_add(0, conformation, strain).view(position.shape[:-2])
        )

    def residuals(self, position: Float[Tensor, "bead 3"]) -> Residuals:
        """Those that are too near."""
        _, pairs = self.neighbours(position[None], self.distance)
        beyond = distances(position, pairs) - self._nearest(pairs)
        acting = beyond < 0
        return _of_pairs(position, pairs[acting], beyond[acting], self.sigma)

    def strained(self, position: Float[Tensor, "batch bead 3"]) -> Strained:
        """The same of many conformations."""
        conformation, pairs = self.neighbours(position, self.distance)
        return Strained(
            *strained_clashes(
                position.detach().contiguous().numpy(),
                conformation.numpy(),
                pairs.numpy(),
                self.base.numpy(),
                self.distance,
                self.sigma**-2,
            )
        )

    def on_surface(self, looser: float) -> None:
        """None: clashes are left out on a surface."""

    def _nearest(self, pairs: Int[Tensor, "pair 2"]) -> Float[Tensor, "pair"]:
        """How near pairs may be, A: a contact of the base model costs nothing."""
        return distances(self.base, pairs).clamp_max(self.distance)


def _of_pairs(
    position: Float[Tensor, "bead 3"],
    pairs: Int[Tensor, "pair 2"],
    value: Float[Tensor, "pair"],
    sigma: Sigma,
) -> Residuals:
    """Residuals of distances in one conformation."""
    arm = (position[pairs[:, 0]] - position[pairs[:, 1]]).double()
    arm = arm / torch.linalg.vector_norm(arm, dim=1, keepdim=True).clamp_min(SHORTEST)
    sigma = position.new_full((len(pairs),), sigma) if isinstance(sigma, float) else sigma
    return Residuals(pairs, value, torch.stack([arm, -arm], 1), sigma.double() ** -2)


def _strained(
    position: Float[Tensor, "batch bead 3"],
    pairs: Int[Tensor, "pair 2"],
    length: Float[Tensor, "pair"],
    sigma: Sigma,
    *,
    one_sided: bool,
) -> Strained:
    """Residuals of distances in many conformations, by compiled loops."""
    weight = sigma**-2 if isinstance(sigma, float) else sigma.double().numpy() ** -2
    return Strained(
        *strained_springs(
            position.detach().contiguous().numpy(),
            pairs.numpy(),
            length.double().numpy(),
            np.broadcast_to(weight, len(pairs)).copy(),
            one_sided,
        )
    )

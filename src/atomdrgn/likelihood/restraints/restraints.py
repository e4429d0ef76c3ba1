"""What is known of a molecule's shape without any image: half squared strain over sigma squared,
one value a conformation.

All of them are zero at the base model.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...errors import InputError
from ...structure.beads import BeadModel
from ...structure.contacts import bond_pairs, elastic_pairs, tether_pairs
from ...structure.neighbours import NeighbourSearch
from ...structure.segmentation import Segmentation
from .restraint_loops import strain, strained_pairs

# Standard deviations, A: the r.m.s. changes along a simulated closing of adenylate kinase (98
# frames) are 0.4 between consecutive residues, 0.23 between side chain and backbone, and 0.7
# between residues within 10 A and 8 places in the chain.
BOND_SIGMA, TETHER_SIGMA, ELASTIC_SIGMA = 0.5, 0.3, 1.0
# Residues that are not neighbours in their chain come as near as 3.5 A and seldom nearer (1 in
# 1,000 contacts of 1AON).
CLASH_SIGMA, CLASH_DISTANCE = 0.5, 4.0


def distances(
    position: Float[Tensor, "*batch bead 3"], pairs: Int[Tensor, "pair 2"]
) -> Float[Tensor, "*batch pair"]:
    """Distances between pairs of beads, A."""
    return torch.linalg.vector_norm(
        position[..., pairs[:, 0], :] - position[..., pairs[:, 1], :], dim=-1
    )


def harmonic(
    position: Float[Tensor, "*batch bead 3"],
    pairs: Int[Tensor, "pair 2"],
    *,
    rest_length: Float[Tensor, "pair"],
    sigma: float,
) -> Float[Tensor, "*batch"]:
    """Strain of springs between beads: bonds along the chain, or an elastic network.

    Parameters
    ----------
    position : (*batch, bead, 3)
        A.
    pairs : (pair, 2)
        Beads at the two ends.
    rest_length : (pair,)
        Length without strain, A.
    sigma : float
        Standard deviation of a length, A.
    """
    return 0.5 * ((distances(position, pairs) - rest_length) ** 2).sum(-1) / sigma**2


def tether(
    position: Float[Tensor, "*batch bead 3"],
    pairs: Int[Tensor, "pair 2"],
    *,
    longest: Float[Tensor, "pair"],
    sigma: float,
) -> Float[Tensor, "*batch"]:
    """Strain of side chains that leave their backbone: nothing up to the `longest` distance (A), a
    spring beyond.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), section 3:
    one-sided constraints.
    """
    return 0.5 * ((distances(position, pairs) - longest).clamp_min(0) ** 2).sum(-1) / sigma**2


def clash(
    position: Float[Tensor, "batch bead 3"],
    conformation: Int[Tensor, "pair"],
    pairs: Int[Tensor, "pair 2"],
    *,
    nearest: Float[Tensor, "pair"],
    sigma: float,
) -> Float[Tensor, "batch"]:
    """Strain of beads that stand too near to each other; zero without pairs.

    Parameters
    ----------
    position : (batch, bead, 3)
        A.
    conformation : (pair,)
        Which entry of the batch a pair belongs to.
    pairs : (pair, 2)
        As :class:`~atomdrgn.structure.neighbours.NeighbourSearch` finds them.
    nearest : (pair,)
        Distance below which they clash, A.
    sigma : float
        Standard deviation, A.
    """
    apart = torch.linalg.vector_norm(
        position[conformation, pairs[:, 0]] - position[conformation, pairs[:, 1]], dim=-1
    )
    strain = 0.5 * ((nearest - apart).clamp_min(0) / sigma) ** 2
    return position.new_zeros(len(position)).index_add(0, conformation, strain)


class StrainedPairs(NamedTuple):
    """Springs, and other pairs where they are strained, of a batch of conformations; half the
    weighted squares are the strain.

    Parameters
    ----------
    conformation : (pair,)
        Which entry of the batch a pair belongs to, rising.
    pair : (pair, 2)
        The two beads.
    residual : (pair,)
        By how much they are too far from each other, A; negative: too near.
    direction : (pair, 3)
        Gradient of the residual to the position of the first bead; that to the second is its
        negative.
    weight : (pair,)
        1 / sigma^2, 1/A^2.
    """

    conformation: Int[np.ndarray, "pair"]
    pair: Int[np.ndarray, "pair 2"]
    residual: Float[np.ndarray, "pair"]
    direction: Float[np.ndarray, "pair 3"]
    weight: Float[np.ndarray, "pair"]


class _Springs(NamedTuple):
    """Bonds, tethers and the elastic network as
    :func:`~atomdrgn.likelihood.restraints.restraint_loops.strained_pairs` reads them.
    """

    bead: np.ndarray
    length: np.ndarray
    side: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class Restraints:
    """Bonds, tethers, an elastic network and clashes of one base model; calling it gives their sum
    for each conformation.

    Parameters
    ----------
    beads : BeadModel
        The base model, where every term is zero.
    bonds, tethers, elastic : (pair, 2)
        Beads that are held together.
    neighbours : NeighbourSearch
        Finds beads that may clash.
    bond_sigma, tether_sigma, elastic_sigma, clash_sigma : float
        Standard deviations, A.
    clash_distance : float
        Beads nearer than this clash, unless they are as near in the base model, A; 0: none do.
    """

    beads: BeadModel
    bonds: Int[Tensor, "bond 2"]
    tethers: Int[Tensor, "tether 2"]
    elastic: Int[Tensor, "elastic 2"]
    neighbours: NeighbourSearch
    bond_sigma: float = BOND_SIGMA
    tether_sigma: float = TETHER_SIGMA
    elastic_sigma: float = ELASTIC_SIGMA
    clash_sigma: float = CLASH_SIGMA
    clash_distance: float = CLASH_DISTANCE

    def to(self, device) -> "Restraints":
        """The same restraints for conformations on `device`."""
        return replace(
            self,
            beads=self.beads.to(device),
            bonds=self.bonds.to(device),
            tethers=self.tethers.to(device),
            elastic=self.elastic.to(device),
        )

    def __call__(self, position: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch"]:
        """Strain of each conformation, in units of k T or of a log likelihood; its gradient is
        found in the same loop.

        :meth:`each` is the same by its parts, as differentiable operations.
        """
        if position.is_cuda:
            return sum(self.each(position).values())
        return _Strain.apply(position, self)

    def each(self, position: Float[Tensor, "batch bead 3"]) -> dict[str, Float[Tensor, "batch"]]:
        """The same by its parts: "bond", "tether", "elastic", "clash"."""
        base = self.beads.position
        conformation, pairs = self.neighbours(position, self.clash_distance)
        # a contact of the base model costs nothing
        nearest = distances(base, pairs).clamp_max(self.clash_distance)
        return {
            "bond": harmonic(
                position, self.bonds, rest_length=distances(base, self.bonds), sigma=self.bond_sigma
            ),
            "tether": tether(
                position,
                self.tethers,
                longest=distances(base, self.tethers),
                sigma=self.tether_sigma,
            ),
            "elastic": harmonic(
                position,
                self.elastic,
                rest_length=distances(base, self.elastic),
                sigma=self.elastic_sigma,
            ),
            "clash": clash(position, conformation, pairs, nearest=nearest, sigma=self.clash_sigma),
        }

    def strained(self, position: Float[Tensor, "batch bead 3"]) -> StrainedPairs:
        """Springs between beads, and one-sided restraints where they act, in the given
        conformations.
        """
        clash, clashing = self.neighbours(position, self.clash_distance)
        return StrainedPairs(
            *strained_pairs(
                position.detach().contiguous().numpy(),
                *self._springs,
                clash.numpy(),
                clashing.numpy(),
                self.beads.position.numpy(),
                self.clash_distance,
                self.clash_sigma**-2,
            )
        )

    def of_bonds(self, looser: float) -> "Restraints":
        """Bonds and tethers alone, with standard deviations so many times as large; nothing
        clashes.
        """
        return replace(
            self,
            elastic=self.elastic[:0],
            bond_sigma=looser * self.bond_sigma,
            tether_sigma=looser * self.tether_sigma,
            clash_distance=0.0,
        )

    @cached_property
    def _springs(self):
        pairs = torch.cat([self.bonds, self.tethers, self.elastic])
        count = [len(self.bonds), len(self.tethers), len(self.elastic)]
        weight = [self.bond_sigma**-2, self.tether_sigma**-2, self.elastic_sigma**-2]
        return _Springs(
            pairs.numpy(),
            distances(self.beads.position.double(), pairs).numpy(),
            np.repeat(np.array([0, 1, 0], dtype=np.int8), count),
            np.repeat(weight, count),
        )


class _Strain(torch.autograd.Function):
    """Sum of all restraints, whose gradient to the positions is made together with it."""

    @staticmethod
    def forward(ctx, position, restraints):
        energy, gradient = (
            torch.zeros(len(position), dtype=torch.float64),
            position.new_zeros(position.shape),
        )
        strain(*restraints.strained(position), energy.numpy(), gradient.numpy())
        ctx.save_for_backward(gradient)
        return energy.to(position)

    @staticmethod
    @once_differentiable
    def backward(ctx, scale):
        return scale[:, None, None] * ctx.saved_tensors[0], None


def make_restraints(
    beads: BeadModel,
    segmentation: Segmentation | None = None,
    *,
    bond_sigma: float = BOND_SIGMA,
    tether_sigma: float = TETHER_SIGMA,
    elastic_sigma: float = ELASTIC_SIGMA,
    clash_sigma: float = CLASH_SIGMA,
    clash_distance: float = CLASH_DISTANCE,
) -> Restraints:
    """Restraints that hold a base model together.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    segmentation : Segmentation, optional
        Beads that move by segments: pairs of one and the same segment, which nothing can strain,
        are left out, and so are elastic pairs of segments that share no bead, because neighbouring
        domains may part. Without it every pair counts.
    bond_sigma, tether_sigma, elastic_sigma, clash_sigma : float
        Standard deviations, A.
    clash_distance : float
        A.

    Raises
    ------
    InputError
        A standard deviation or distance that is not positive.
    """
    settings = {
        "bond_sigma": bond_sigma,
        "tether_sigma": tether_sigma,
        "elastic_sigma": elastic_sigma,
        "clash_sigma": clash_sigma,
        "clash_distance": clash_distance,
    }
    for name, value in settings.items():
        if not value > 0:
            raise InputError(f"{name} is {value}: it has to be positive (A)")
    device = beads.position.device
    bonds, tethers, elastic = (
        bond_pairs(beads).to(device),
        tether_pairs(beads).to(device),
        elastic_pairs(beads).to(device),
    )
    if segmentation is not None:
        rigid, apart = _rigid_pairs(segmentation, elastic)
        bonds, elastic = bonds[~_rigid_pairs(segmentation, bonds)[0]], elastic[~rigid & ~apart]
        tethers = tethers[~_rigid_pairs(segmentation, tethers)[0]]
    return Restraints(
        beads=beads,
        bonds=bonds,
        tethers=tethers,
        elastic=elastic,
        neighbours=NeighbourSearch(beads, segmentation),
        **settings,
    )


def _rigid_pairs(segmentation, pairs):
    """(pair,) bool twice: both beads belong wholly to one segment; the beads have no segment in
    common.
    """
    overlap = (segmentation.weight[pairs[:, 0]] * segmentation.weight[pairs[:, 1]]).sum(1)
    return overlap == 1, overlap == 0

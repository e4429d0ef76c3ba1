"""What holds the conformations of a fit of segments together: a table of terms, and their sum.

Those of the table are zero at the base model; what was measured otherwise need not be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import InputError
from ...structure.beads import BeadModel
from ...structure.contacts import bond_pairs, elastic_pairs, tether_pairs
from ...structure.neighbours import NeighbourSearch
from ...structure.segmentation import Segmentation
from .pair_restraints import Clashes, Springs, Tethers, distances
from .restraint import Restraint, Strained, quick_strain

# Standard deviations, A: the r.m.s. changes along a simulated closing of adenylate kinase (98
# frames) are 0.4 between consecutive residues, 0.23 between side chain and backbone, and 0.7
# between residues within 10 A and 8 places in the chain.
BOND_SIGMA, TETHER_SIGMA, ELASTIC_SIGMA = 0.5, 0.3, 1.0
# A: segments are rigid and molecules are not, so the bonds between segments take up what bends
BORDER_BOND_SIGMA = 1.0
# Residues that are not neighbours in their chain come as near as 3.5 A and seldom nearer (1 in
# 1,000 contacts of 1AON).
CLASH_SIGMA, CLASH_DISTANCE = 0.5, 4.0


@dataclass(frozen=True, eq=False)
class Restraints:
    """Terms that hold a molecule together; calling it gives the strain of each conformation.

    Parameters
    ----------
    terms : tuple of Restraint
        What it is the sum of.
    """

    terms: tuple[Restraint, ...]

    def __call__(self, position: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch"]:
        """Strain of each conformation, in units of k T or of a log likelihood, by compiled loops.

        Its gradient is found in the same loop.

        :meth:`strain` is the same as differentiable operations.
        """
        return self.strain(position) if position.is_cuda else quick_strain(self.terms, position)

    def strain(self, position: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """Strain of each conformation, in the precision of the positions."""
        return sum(
            (term.strain(position) for term in self.terms), position.new_zeros(position.shape[:-2])
        )

    def each(self, position: Float[Tensor, "batch bead 3"]) -> dict[str, Float[Tensor, "batch"]]:
        """The same by its terms."""
        return {term.name: term.strain(position) for term in self.terms}

    def strained(self, position: Float[Tensor, "batch bead 3"]) -> tuple[Strained, ...]:
        """Of each term the residuals that act in the given conformations."""
        return tuple(term.strained(position) for term in self.terms)

    def curvature(
        self, position: Float[Tensor, "bead 3"]
    ) -> Float[Tensor, "coordinate coordinate"]:
        """Gauss-Newton matrix of the strain in x, y, z of all beads, 1/A^2, double precision."""
        residuals = [term.residuals(position) for term in self.terms]
        ends = max((each.bead.shape[1] for each in residuals), default=0)
        matrix = torch.zeros(len(position), len(position), 3, 3, dtype=torch.float64)
        # each row with as many ends, of which those it does not have pull at nothing
        rows = [
            (
                torch.nn.functional.pad(each.bead, (0, ends - each.bead.shape[1])),
                torch.nn.functional.pad(each.direction, (0, 0, 0, ends - each.bead.shape[1])),
                each.weight,
            )
            for each in residuals
        ]
        if not rows:
            return matrix.transpose(1, 2).reshape(3 * len(position), -1)
        bead, direction, weight = (torch.cat(each) for each in zip(*rows, strict=True))
        own = [(end, end) for end in range(ends)]
        across = [(a, b) for a in range(ends) for b in range(ends) if a != b]
        for a, b in own + across:
            block = weight[:, None, None] * direction[:, a, :, None] * direction[:, b, None, :]
            matrix.index_put_((bead[:, a], bead[:, b]), block, accumulate=True)
        return matrix.transpose(1, 2).reshape(3 * len(position), -1)

    def on_surface(self, looser: float) -> "Restraints":
        """What holds where one surface is fitted to all particles at once."""
        left = (term.on_surface(looser) for term in self.terms)
        return Restraints(tuple(term for term in left if term is not None))

    def to(self, device: torch.device | str) -> "Restraints":
        """The same restraints for conformations on `device`."""
        return Restraints(tuple(term.to(device) for term in self.terms))


def bonds(
    beads: BeadModel, segmentation: Segmentation | None = None, *, sigma: float = BOND_SIGMA
) -> Springs:
    """Residues that follow each other in a chain."""
    pairs = _that_strain(bond_pairs(beads).to(beads.position.device), segmentation)
    return _at_rest(beads, "bond", pairs, sigma, bonds=True)


def tethers(
    beads: BeadModel, segmentation: Segmentation | None = None, *, sigma: float = TETHER_SIGMA
) -> Tethers:
    """Side chains, which stay as near to their backbone as in the base model."""
    pairs = _that_strain(tether_pairs(beads).to(beads.position.device), segmentation)
    return Tethers(
        "tether", pairs, distances(beads.position.double(), pairs), _positive("tether", sigma)
    )


def elastic_network(
    beads: BeadModel, segmentation: Segmentation | None = None, *, sigma: float = ELASTIC_SIGMA
) -> Springs:
    """Residues near each other; those of segments that share no bead may part, as domains do."""
    pairs = elastic_pairs(beads).to(beads.position.device)
    if segmentation is not None:
        pairs = pairs[_overlap(segmentation, pairs) != 0]
    return _at_rest(beads, "elastic", _that_strain(pairs, segmentation), sigma, bonds=False)


def clashes(
    beads: BeadModel,
    segmentation: Segmentation | None = None,
    *,
    distance: float = CLASH_DISTANCE,
    sigma: float = CLASH_SIGMA,
) -> Clashes:
    """Beads of residues that are no neighbours in their chain."""
    return Clashes(
        "clash",
        beads.position,
        NeighbourSearch(beads, segmentation),
        _positive("clash distance", distance),
        _positive("clash", sigma),
    )


# From a base model, and how it is cut into segments if it is: pairs of one and the same segment,
# which nothing can strain, may be left out.
Maker = Callable[[BeadModel, Segmentation | None], Restraint]
# What each particle's conformation in a fit of segments is held together by. A further restraint is
# one more line. What an elastic network knows is in the population's start: as a restraint on every
# particle it would hold hinges shut.
OF_SEGMENTS: list[Maker] = [
    partial(bonds, sigma=BORDER_BOND_SIGMA),
    tethers,
    clashes,
]
WITH_ELASTIC_NETWORK: list[Maker] = [bonds, tethers, elastic_network, clashes]


def make_restraints(
    beads: BeadModel, segmentation: Segmentation | None = None, terms: list[Maker] | None = None
) -> Restraints:
    """Restraints that hold a base model together.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    segmentation : Segmentation, optional
        Beads that move by segments. Without it every pair counts.
    terms : list of callable, optional
        What makes each term; by default bonds, tethers, an elastic network and clashes.

    Raises
    ------
    InputError
        A standard deviation or distance that is not positive.
    """
    return Restraints(
        tuple(
            make(beads, segmentation) for make in (WITH_ELASTIC_NETWORK if terms is None else terms)
        )
    )


def _at_rest(
    beads: BeadModel, name: str, pairs: Int[Tensor, "pair 2"], sigma: float, *, bonds: bool
) -> Springs:
    length = distances(beads.position.double(), pairs)
    return Springs(name, pairs, length, _positive(name, sigma), bonds)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise InputError(f"{name}: {value} A: it has to be positive")
    return float(value)


def _that_strain(
    pairs: Int[Tensor, "pair 2"], segmentation: Segmentation | None
) -> Int[Tensor, "some 2"]:
    """Pairs without those of which both beads belong wholly to one segment."""
    return pairs if segmentation is None else pairs[_overlap(segmentation, pairs) != 1]


def _overlap(segmentation: Segmentation, pairs: Int[Tensor, "pair 2"]) -> Float[Tensor, "pair"]:
    """What the two beads have in common: 1 where both are of one segment, 0 where of none."""
    return (segmentation.weight[pairs[:, 0]] * segmentation.weight[pairs[:, 1]]).sum(1)

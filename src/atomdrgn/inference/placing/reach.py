"""How far apart nodes may be: what images along a motion need, measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...physics.record import Record
from .likelihood_between import Comparison
from .nodes import Boxes, chebyshev_nodes

# Numbers of nodes along an axis that boxes have: as many as there may be, and for the finest
# steps of what is measured at each width.
COUNTS = (3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32)
MEASURED = 48  # particles
PARTICLES = 0.9  # of these have no larger error
HALVINGS = 6  # of the widest box


@dataclass(frozen=True)
class Reach(Record):
    """How wide a box may be for so many nodes along an axis of it.

    Parameters
    ----------
    half : (count, k)
        Half the width along each motion, for each of :data:`COUNTS`, A.
    """

    half: Float[Tensor, "count k"]

    def counts(self, boxes: Boxes) -> Int[Tensor, "particle k"]:
        """How many nodes each axis of each box needs; the most there are where that is too few."""
        wide = torch.einsum("pka,nk->pna", boxes.axes.square(), self.half.square().reciprocal())
        enough = torch.cat([wide[:, :-1] <= 1, torch.ones_like(wide[:, :1], dtype=torch.bool)], 1)
        return torch.tensor(COUNTS)[enough.int().argmax(1)]


def measure_reach(
    comparison: Comparison, places: Float[Tensor, "some k"], tolerance: float
) -> Reach:
    """How wide boxes may be, from images of some particles.

    Along each motion images are expanded in Chebyshev's polynomials on boxes that are halved again
    and again; what so many nodes leave out of them is what is left of the expansion, and what a
    log-likelihood is wrong by is that, in units of the noise.

    Parameters
    ----------
    comparison : Comparison
        Of some particles, with the frequencies that count.
    places : (some, k)
        Where particles are: the widest box holds them all.
    tolerance : float
        What a log-likelihood may be wrong by between nodes, in nine of ten particles.

    References
    ----------
    Trefethen, Approximation Theory and Approximation Practice (2013), chapters 3 and 4.
    """
    particles = comparison.model.evenly_spread(MEASURED)
    low, high = places.min(0).values, places.max(0).values
    widest, centre = 0.5 * (high - low), 0.5 * (high + low)
    k = len(centre)
    half = torch.empty(len(COUNTS), k)
    for axis in range(k):
        widths = [float(widest[axis]) / 2**number for number in range(HALVINGS)]
        left_out = []
        for width in widths:
            axes = torch.zeros(comparison.model.n_particles, k, 1)
            axes[:, axis] = width
            boxes = Boxes(centre.expand(len(axes), -1), axes)
            left_out.append(_left_out(comparison, boxes, particles))
        half[:, axis] = torch.tensor(
            [
                _largest(widths, [each[n] / tolerance for each in left_out])
                for n in range(len(COUNTS))
            ]
        )
        # of more nodes than the widest box needs, and at least in proportion to their number
        for n in range(1, len(COUNTS)):
            grown = half[n - 1, axis] * COUNTS[n] / COUNTS[n - 1]
            half[n, axis] = grown if half[n - 1, axis] >= widths[0] else half[n, axis]
    return Reach(half)


def _left_out(comparison: Comparison, boxes: Boxes, particles: Int[Tensor, "some"]) -> list[float]:
    """R.m.s. of what each of the numbers of nodes leaves out, in most particles."""
    node = chebyshev_nodes(COUNTS[-1])
    order = torch.arange(len(node), dtype=torch.float64)[:, None]
    to_order = (2 / len(node)) * torch.cos(order * torch.arccos(node))
    found = torch.cat(
        [
            power
            for power in comparison.power_by_order(
                node.float()[:, None], to_order.float(), boxes, particles
            )
        ]
    )
    # half of a polynomial's square on average over the box
    tail = (0.5 * found.double()).flip(1).cumsum(1).flip(1)
    most = tail.quantile(PARTICLES, dim=0).sqrt()
    return [float(most[min(count, len(most) - 1)]) for count in COUNTS]


def _largest(widths: Sequence[float], error: Sequence[float]) -> float:
    """The largest width whose error is at most 1, by a power law between two that were tried."""
    good = next((n for n, each in enumerate(error) if each <= 1), None)
    if good is None:
        return widths[-1]
    if not good:
        return widths[0]
    worse, better = math.log(error[good - 1]), math.log(max(error[good], 1e-9))
    part = -better / (worse - better)
    return widths[good] * (widths[good - 1] / widths[good]) ** part

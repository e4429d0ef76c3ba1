"""Parts of a molecule that may have turned as one.

They are runs of segments along a chain, and segments that hold together.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...structure.beads import BeadModel
from ...structure.contacts import bond_pairs, elastic_pairs
from ...structure.motion.segment_deformation import SegmentDeformation

SMALLEST, LARGEST = 0.04, 0.6  # of the molecule's mass
FEWEST_BEADS = 10


@dataclass(frozen=True, eq=False)
class RigidPart:
    """Segments that may have turned together.

    Parameters
    ----------
    segments : tuple of int
    bead : (bead,)
        True for those of the part.
    pivot : (3,)
        What the part turns about: the middle of its junctions with the rest, A.
    """

    segments: tuple[int, ...]
    bead: Bool[Tensor, "bead"]
    pivot: Float[Tensor, "3"]


def rigid_parts(deformation: SegmentDeformation, beads: BeadModel) -> list[RigidPart]:
    """Every run of free segments along a chain, and every branch of the tree of contacts.

    In it segments with most contacts join first.

    Those that are next to nothing of the molecule, or most of it, are left out.
    """
    segment = deformation.weight.argmax(1)
    mass = (
        torch.zeros(deformation.n_segments).index_add_(0, segment, beads.amplitude)
        / beads.amplitude.sum()
    )
    free = set(deformation.free.tolist())
    found = {
        part
        for part in _runs(segment.numpy(), beads) | _branches(segment.numpy(), beads)
        if part <= free and SMALLEST <= float(mass[list(part)].sum()) <= LARGEST
    }
    parts = [_part(tuple(sorted(part)), segment, beads) for part in sorted(found, key=sorted)]
    return [part for part in parts if int(part.bead.sum()) >= FEWEST_BEADS]


def _runs(segment: Int[np.ndarray, "bead"], beads: BeadModel) -> set[frozenset[int]]:
    """Segments that follow each other along a chain."""
    found = set()
    for chain in np.unique(beads.chain):
        order = list(dict.fromkeys(segment[beads.chain == chain].tolist()))
        found |= {
            frozenset(order[first:last])
            for first in range(len(order))
            for last in range(first + 1, len(order) + 1)
        }
    return found


def _branches(segment: Int[np.ndarray, "bead"], beads: BeadModel) -> set[frozenset[int]]:
    """The tree's: those two join next that have most contacts for their surface."""
    pairs = segment[torch.cat([elastic_pairs(beads), bond_pairs(beads)]).numpy()]
    count = np.bincount(segment)
    contacts = np.zeros((len(count), len(count)))
    np.add.at(contacts, (pairs[:, 0], pairs[:, 1]), 1)
    contacts += contacts.T
    groups, found = [frozenset({number}) for number in np.flatnonzero(count).tolist()], set()

    def joined(pair: tuple[frozenset[int], frozenset[int]]) -> float:
        first, second = (sorted(group) for group in pair)
        return contacts[np.ix_(first, second)].sum() / min(
            count[first].sum(), count[second].sum()
        ) ** (2 / 3)

    while len(groups) > 1:
        of_two = [
            (first, second) for place, first in enumerate(groups) for second in groups[place + 1 :]
        ]
        first, second = max(of_two, key=joined)
        groups = [group for group in groups if group not in (first, second)] + [first | second]
        found.add(first | second)
    return found


def _part(segments: tuple[int, ...], segment: Int[Tensor, "bead"], beads: BeadModel) -> RigidPart:
    own = torch.isin(segment, torch.tensor(segments))
    for pairs in (bond_pairs(beads), elastic_pairs(beads)):
        across = pairs[own[pairs[:, 0]] != own[pairs[:, 1]]]
        if len(across):
            return RigidPart(segments, own, beads.position[across.flatten()].mean(0))
    return RigidPart(segments, own, beads.position[own].mean(0))

"""Groups: the parts of the molecule that move as one, their borders where the images want them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import combinations, pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from ...physics.disc import FourierDisc
from ...structure.motion.deformation import Deformation
from ...structure.motion.motion import twist_of
from ...structure.motion.segment_deformation import SegmentDeformation
from ...structure.segmentation import Segmentation
from ...structure.selection import describe_residues
from ...structure.superposition import superpose
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import part_of
from ..problem.misfit import misfits
from ..problem.significance import is_clear
from .ensemble import Ensemble

CONFORMATIONS = 50  # over which motions of segments are compared
# of what one motion of the whole molecule leaves: those of which it leaves less are one group
AS_ONE = 0.4
SMALLEST = 0.5  # A: and those of which it leaves less than this
MEASURED = 1000  # particles whose images choose the borders
STEPS = (16, 4, 1)  # residues, by which a border is moved

# Conformations of some particles, by their numbers; how likely groups make particles' images.
LatentOf = Callable[[Int[Tensor, "some"]], Float[Tensor, "some latent"]]
Judge = Callable[[Int[Tensor, "trace"]], Float64[Tensor, "particle"]]


@dataclass(frozen=True)
class Groups:
    """What find_groups has found.

    Parameters
    ----------
    rows : list of dict
        Of each group: its number, a selection of its residues, how many they are, and how far it
        moves (A r.m.s.).
    of_trace : (trace,)
        The group of each trace bead, from 0.
    """

    rows: list[dict]
    of_trace: Int[Tensor, "trace"]


def find_groups(model: FitModel, state: FitState, ensemble: Ensemble) -> Groups:
    """Groups: segments that move as one, their borders where images want them.

    Parameters
    ----------
    model, state
        The fit.
    ensemble : Ensemble
        Where the particles are.
    """
    segment = model.segment_of_trace
    if not len(ensemble.motions.variance):
        return _described(model, ensemble, torch.zeros_like(segment))
    of_trace = merge_segments(model, ensemble.latent[model.evenly_spread(CONFORMATIONS)])[segment]
    if ensemble.tested:
        of_trace = _with_learned_borders(
            model,
            state,
            model.images.disc,
            lambda some: ensemble.surface(ensemble.place[some]),
            of_trace,
        )
    return _described(model, ensemble, torch.unique(of_trace, return_inverse=True)[1])


def cut_at_groups(model: FitModel, state: FitState, disc: FourierDisc) -> Int[Tensor, "trace"]:
    """The segment of each residue when segments' borders are moved to those of groups.

    Groups are those of the particles as the state has them, borders where images up to the
    resolution of `disc` want them. Where a segment lies across the border of two groups, what is of
    the other group than most of it goes to the next segment along the chain that is of that group.
    """
    segment = model.segment_of_trace
    group = merge_segments(model, state.latent[model.evenly_spread(CONFORMATIONS)])[segment]
    group = _with_learned_borders(model, state, disc, lambda some: state.latent[some], group)
    home = torch.stack(
        [group[segment == number].mode().values for number in range(model.n_segments)]
    )
    chain = model.beads.chain[model.beads.trace_index.numpy()]
    label = segment.clone()
    for residue in torch.nonzero(home[segment] != group)[:, 0].tolist():
        right = torch.nonzero(
            (home[segment] == group[residue]) & torch.from_numpy(chain == chain[residue])
        )[:, 0]
        if len(right):
            label[residue] = segment[right[(right - residue).abs().argmin()]]
    # none may be lost, or fall to pieces
    whole = len(label.unique()) == len(segment.unique()) and int((label.diff() != 0).sum()) <= int(
        (segment.diff() != 0).sum()
    )
    return label if whole else segment


def merge_segments(model: FitModel, latent: Float[Tensor, "some latent"]) -> Int[Tensor, "segment"]:
    """The group of each segment.

    Those two are merged, again and again, that one rigid motion explains best.

    What one motion leaves of both is measured on their own residues: the turn of a small segment
    says little of places far away. Motions are those from the middle conformation: where the base
    model is wrong in all particles alike nothing moves.

    Parameters
    ----------
    model : FitModel
    latent : (some, latent)
        Conformations over which the segments' motions are compared.
    """
    deformation, trace = model.deformation, model.beads.trace_index
    moved = deformation.conformation(latent).position[:, trace]
    middle, owner = _middle(deformation, latent)[trace], model.segment_of_trace

    def left(segments: Iterable[int]) -> float:
        own = torch.isin(owner, torch.tensor(sorted(segments)))
        turn, shift = superpose(middle[own], moved[:, own])
        apart = middle[own] @ turn.mT + shift[:, None] - moved[:, own]
        return float(apart.square().sum(-1).mean().sqrt())

    groups = [frozenset({segment}) for segment in owner.unique().tolist()]
    most = max(SMALLEST, AS_ONE * left(range(model.n_segments)))
    cost = {pair: left(pair[0] | pair[1]) for pair in combinations(groups, 2)}
    while cost and min(cost.values()) < most:
        first, second = min(cost, key=lambda pair: cost[pair])
        groups = [group for group in groups if group not in (first, second)]
        cost = {
            pair: value for pair, value in cost.items() if first not in pair and second not in pair
        }
        cost |= {(group, first | second): left(group | first | second) for group in groups}
        groups.append(first | second)
    label = torch.zeros(model.n_segments, dtype=torch.long)
    for number, group in enumerate(sorted(groups, key=min)):
        label[sorted(group)] = number
    chain = model.beads.chain[trace.numpy()]
    for segment in owner.unique().tolist():
        beside = _neighbours(owner, label, chain, segment)
        if int((label == label[segment]).sum()) == 1 and len(beside) == 2:
            # a single segment between two groups lies across their border
            label[segment] = min(
                beside,
                key=lambda group: left({segment, *torch.nonzero(label == group)[:, 0].tolist()}),
            )
    return torch.unique(label, return_inverse=True)[1]


def _middle(
    deformation: Deformation, latent: Float[Tensor, "some latent"]
) -> Float[Tensor, "bead 3"]:
    """The conformation in the middle of some, in steps of the segments.

    Positions would shrink where turns are wide.
    """
    return deformation.conformation(latent.mean(0, keepdim=True)).position[0]


def _neighbours(
    owner: Int[Tensor, "trace"], label: Int[Tensor, "segment"], chain: np.ndarray, segment: int
) -> set[int]:
    """The groups on both sides of a segment along its chain.

    It is one where the same is on both, or where the chain ends.
    """
    places = torch.nonzero(owner == segment)[:, 0].tolist()
    beside = [(places[0], places[0] - 1), (places[-1], places[-1] + 1)]
    return {
        int(label[owner[other]])
        for own, other in beside
        if 0 <= other < len(chain) and chain[own] == chain[other]
    }


def _with_learned_borders(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    latent_of: LatentOf,
    of_trace: Int[Tensor, "trace"],
) -> Int[Tensor, "trace"]:
    """Each border along a chain moved to where images clearly are likeliest.

    They move in ever smaller steps.

    Before that, a group that is one stretch between two others is parted between these where images
    are likelier without it: segments that lie across the border of two groups move like neither of
    them.
    """
    chain = model.beads.chain[model.beads.trace_index.numpy()]
    borders = _borders(of_trace, chain)
    if not borders:
        return of_trace
    judge = _BorderJudge(model, state, disc, latent_of, of_trace)
    model.reporter.start("borders between groups", len(borders))
    best = judge(of_trace)
    for start, end in _between_two(of_trace, chain):
        tried, middle = of_trace.clone(), (start + end) // 2
        tried[start:middle], tried[middle:end] = of_trace[start - 1], of_trace[end]
        tried, value = _settled(judge, tried, middle - 1, judge(tried), chain)
        if value.sum() > best.sum():
            of_trace, best = tried, value
    for border in _borders(of_trace, chain):
        tried, value = _settled(judge, of_trace, border, best, chain)
        if is_clear(value - best):
            of_trace, best = tried, value
        model.reporter.advance(1)
    model.reporter.finish()
    return of_trace


def _borders(of_trace: Int[Tensor, "trace"], chain: np.ndarray) -> list[int]:
    """After which residues a group ends that does not end with its chain."""
    same = torch.from_numpy(chain[1:] == chain[:-1])
    return torch.nonzero(same & (of_trace[1:] != of_trace[:-1]))[:, 0].tolist()


def _between_two(of_trace: Int[Tensor, "trace"], chain: np.ndarray) -> list[tuple[int, int]]:
    """First residue, and last + 1, of groups between two others along a chain.

    They are one stretch of it.
    """
    borders = _borders(of_trace, chain)
    return [
        (first + 1, last + 1)
        for first, last in pairwise(borders)
        if chain[first] == chain[last + 1]
        and of_trace[first] != of_trace[last + 1]
        and int((of_trace == of_trace[last]).sum()) == last - first
    ]


def _settled(
    judge: Judge,
    of_trace: Int[Tensor, "trace"],
    border: int,
    best: Float64[Tensor, "particle"],
    chain: np.ndarray,
) -> tuple[Int[Tensor, "trace"], Float64[Tensor, "particle"]]:
    """The groups with one border where images are likeliest, and how likely they are.

    It goes as far as ever smaller steps find it.
    """
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for shift in (-step, step):
                tried = _moved(of_trace, border, shift, chain)
                if tried is None:
                    continue
                value = judge(tried)
                if value.sum() > best.sum():
                    best, of_trace, border, improved = value, tried, border + shift, True
                    break
    return of_trace, best


def _moved(
    of_trace: Int[Tensor, "trace"], old: int, shift: int, chain: np.ndarray
) -> Int[Tensor, "trace"] | None:
    """The groups with one border moved.

    It is None where the border would leave its chain or pass another border.
    """
    new = old + shift
    low, high = min(old, new), max(old, new)
    if low < 0 or high + 1 >= len(chain) or len(set(chain[low : high + 2].tolist())) > 1:
        return None
    if any(low <= other <= high for other in _borders(of_trace, chain) if other != old):
        return None
    tried = of_trace.clone()
    tried[old + 1 : new + 1] = of_trace[old]
    tried[new + 1 : old + 1] = of_trace[old + 1]
    return tried


class _BorderJudge:
    """How likely images are when groups move as rigid bodies of the middle conformation."""

    def __init__(
        self,
        model: FitModel,
        state: FitState,
        disc: FourierDisc,
        latent_of: LatentOf,
        of_trace: Int[Tensor, "trace"],
    ) -> None:
        some = model.evenly_spread(MEASURED)
        self.part = part_of(model, some)
        self.state = self.part.state(state)
        self.disc = disc
        latent, trace = latent_of(some), model.beads.trace_index
        self.middle = replace(model.beads, position=_middle(model.deformation, latent))
        position, middle = (
            model.deformation.conformation(latent).position[:, trace],
            self.middle.position[trace],
        )
        # the rigid motion of each group is that of what is surely its own: not
        # of the segments at a border
        self.turn, self.shift = zip(
            *(superpose(middle[own], position[:, own]) for own in _cores(model, of_trace)),
            strict=True,
        )

    def __call__(self, of_trace: Int[Tensor, "trace"]) -> Float64[Tensor, "particle"]:
        model, count = self.part.model, len(self.turn)
        of_bead = torch.zeros(len(model.beads), dtype=torch.long)
        of_bead[model.beads.trace_index] = of_trace
        weight = torch.eye(count)[of_bead[torch.from_numpy(model.beads.anchor)]]
        present = weight.sum(0) > 0
        deformation = SegmentDeformation(self.middle, _rigid_segmentation(weight[:, present]))
        latent = torch.cat(
            [
                twist_of(
                    self.turn[group],
                    self.shift[group],
                    deformation.centroid[place],
                    deformation.radius[place],
                )
                for place, group in enumerate(torch.nonzero(present)[:, 0].tolist())
            ],
            1,
        )
        left, _ = misfits(replace(model, deformation=deformation), self.state, self.disc, [latent])
        return -0.5 * left[0].double()


def _cores(model: FitModel, of_trace: Int[Tensor, "trace"]) -> list[Bool[Tensor, "trace"]]:
    """Of each group, the trace beads of segments that are wholly its own.

    They are all of its beads where there are none.
    """
    segment = model.segment_of_trace
    chain = model.beads.chain[model.beads.trace_index.numpy()]
    border = torch.from_numpy(chain[1:] == chain[:-1]) & (of_trace[1:] != of_trace[:-1])
    at_border = torch.cat([segment[:-1][border], segment[1:][border]])
    sure = ~torch.isin(segment, at_border)
    cores = []
    for group in range(int(of_trace.max()) + 1):
        own = of_trace == group
        cores.append(own & sure if (own & sure).sum() >= 3 else own)
    return cores


def _rigid_segmentation(weight: Float[Tensor, "bead group"]) -> Segmentation:
    """Groups as segments with sharp borders; what a mixture would say of them is not asked for."""
    n, none = weight.shape[1], torch.zeros(0)
    return Segmentation(
        weight=weight,
        fixed=torch.zeros(n, dtype=torch.bool),
        mean=none,
        width=none,
        log_weight=none,
        component_chain=none.long(),
        component_segment=none.long(),
        coordinate=torch.zeros(len(weight)),
        chain=torch.zeros(len(weight), dtype=torch.long),
        temperature=1.0,
    )


def _described(model: FitModel, ensemble: Ensemble, of_trace: Int[Tensor, "trace"]) -> Groups:
    trace, moved2, rows = model.beads.trace_index, ensemble.trace_motion2(), []
    for group in range(int(of_trace.max()) + 1):
        own = of_trace == group
        mask = np.zeros(len(model.beads), dtype=bool)
        mask[trace[own].numpy()] = True
        rows.append(
            {
                "number": group + 1,
                "selection": describe_residues(model.beads, mask),
                "residues": int(own.sum()),
                "motion": round(float(moved2[own].mean().sqrt()), 3),
            }
        )
    return Groups(rows, of_trace)

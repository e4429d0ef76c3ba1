"""Which beads move together: a Gaussian mixture along each chain, and where its parts start."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from ..errors import InputError
from ..physics.record import Record
from .beads import BeadModel
from .selection import select

TEMPERATURE = 20.0  # as in cryoSPHERE's experiments
# logit a residue: membership falls from 0.9 to 0.1 over 4 residues
BORDER_SLOPE = 2 * math.log(9) / 4
SMALLEST_MEMBERSHIP = 1e-3
CONTACT_DISTANCE = 10.0  # A, between residues' beads


@dataclass(frozen=True, eq=False)
class Segmentation(Record):
    """How much each bead belongs to each segment, and the mixture that says so.

    A component is a Gaussian on the places 0, 1, ... of the residues of one chain; a segment owns
    one or more, of any chain.

    Parameters
    ----------
    weight : (bead, segment)
        Membership; rows sum to 1 and have one or two entries that are not 0.
    fixed : (segment,) bool
        The segment does not move.
    mean, width : (component,)
        In residues.
    log_weight : (component,)
        Logarithm of the component's weight, up to one number a chain.
    component_chain, component_segment : (component,) int
        The chain that a component lives on, as numbered in `chain`, and the segment that owns it.
    coordinate : (bead,)
        Place along the chain of the residue that a bead belongs to or follows.
    chain : (bead,) int
        Number of that chain, in file order.
    temperature : float
        Exponent of the responsibilities; larger is sharper.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> segmentation = make_segments(coarse_grain(read_structure("model.pdb")), 2)
    >>> len(segmentation), segmentation.weight.shape
    (2, torch.Size([24, 2]))
    """

    weight: Float[Tensor, "bead segment"]
    fixed: Bool[Tensor, "segment"]
    mean: Float[Tensor, "component"]
    width: Float[Tensor, "component"]
    log_weight: Float[Tensor, "component"]
    component_chain: Int[Tensor, "component"]
    component_segment: Int[Tensor, "component"]
    coordinate: Float[Tensor, "bead"]
    chain: Int[Tensor, "bead"]
    temperature: float

    def __len__(self) -> int:
        return len(self.fixed)

    def __getitem__(self, index: Any) -> NoReturn:
        raise TypeError(
            "a segmentation is not indexed: its tensors have different leading dimensions; index "
            "`weight` instead"
        )

    def membership(
        self,
        mean: Float[Tensor, "component"],
        width: Float[Tensor, "component"],
        log_weight: Float[Tensor, "component"],
        *,
        temperature: float | Tensor | None = None,
    ) -> Float[Tensor, "bead segment"]:
        """Membership under other parameters of the mixture, differentiable in them."""
        return membership(
            mean,
            width,
            log_weight,
            temperature=self.temperature if temperature is None else temperature,
            component_chain=self.component_chain,
            component_segment=self.component_segment,
            coordinate=self.coordinate,
            chain=self.chain,
            n_segments=len(self),
        )


def membership(  # noqa: PLR0913 - the symbols of the equation
    mean: Float[Tensor, "component"],
    width: Float[Tensor, "component"],
    log_weight: Float[Tensor, "component"],
    *,
    temperature: float | int | Tensor,
    component_chain: Int[Tensor, "component"],
    component_segment: Int[Tensor, "component"],
    coordinate: Float[Tensor, "bead"],
    chain: Int[Tensor, "bead"],
    n_segments: int,
) -> Float[Tensor, "bead segment"]:
    """How much each bead belongs to each segment.

    It is the responsibilities of the segment's components, raised to the temperature.

    Rows sum to 1 and have one or two entries that are not 0. Differentiable in the first three and
    the temperature.

    Parameters
    ----------
    mean, width, log_weight : (component,)
        Of the Gaussians, in residues; the weights need not be normalised.
    temperature : float
        Exponent; larger is sharper.
    component_chain, component_segment : (component,) int
        Where each component lives, and which segment owns it.
    coordinate, chain : (bead,)
        Place along which chain; every chain needs a component.
    n_segments : int
        Number of columns.

    Returns
    -------
    (bead, segment)

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), equation 6.

    Examples
    --------
    >>> membership(
    ...     torch.tensor([0.0, 3.0]),
    ...     torch.ones(2),
    ...     torch.zeros(2),
    ...     temperature=1.0,
    ...     component_chain=torch.zeros(2, dtype=torch.long),
    ...     component_segment=torch.arange(2),
    ...     coordinate=torch.tensor([0.0, 1.5]),
    ...     chain=torch.zeros(2, dtype=torch.long),
    ...     n_segments=2,
    ... ).round(decimals=2)
    tensor([[0.9900, 0.0100],
            [0.5000, 0.5000]])
    """
    log_density = log_weight - torch.log(width) - 0.5 * ((coordinate[:, None] - mean) / width) ** 2
    here = chain[:, None] == component_chain
    share = torch.softmax(torch.where(here, temperature * log_density, -torch.inf), -1)
    return without_traces(
        share.new_zeros(len(share), n_segments).index_add(1, component_segment, share)
    )


def without_traces(weight: Float[Tensor, "bead segment"]) -> Float[Tensor, "bead segment"]:
    """Memberships with all but the two largest, and those below 1e-3, set to exactly 0.

    Rows sum to 1 again.

    Parameters
    ----------
    weight : (bead, segment)
        Memberships.

    Returns
    -------
    (bead, segment)

    Examples
    --------
    >>> without_traces(torch.tensor([[0.6, 0.2, 0.2], [0.9999, 0.0001, 0.0]]))
    tensor([[0.7500, 0.2500, 0.0000],
            [1.0000, 0.0000, 0.0000]])
    """
    if weight.shape[1] > 2:
        weight = weight * torch.zeros_like(weight).scatter(1, weight.topk(2).indices, 1.0)
    weight = torch.where(weight >= SMALLEST_MEMBERSHIP, weight, 0.0)
    return weight / weight.sum(1, keepdim=True)


def make_segments(
    beads: BeadModel,
    count: int | None = None,
    *,
    temperature: float = TEMPERATURE,
    parts: Sequence[str] | None = None,
    fixed: str | None = None,
) -> Segmentation:
    """A first segmentation: chains cut into equal pieces, or the parts that a user names.

    A chain of n of the N residues is cut into about n count / N equal pieces. While there are more
    pieces than segments, the smallest is joined to the one it touches most for their size; while
    there are fewer, the largest is cut in two. Beads that are no polymer follow their anchor.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    count : int, optional
        Number of segments, `fixed` and `parts` among them; as many as these by default.
    temperature : float
        Larger than 20: sharper borders. At 20, membership falls from 0.9 to 0.1 over 4 residues.
    parts : sequence of str, optional
        Selections, each a segment, numbered first and in this order. What stands in none is cut
        into the remaining segments.
    fixed : str, optional
        A selection that does not move: one more segment, the last.

    Returns
    -------
    Segmentation

    Raises
    ------
    InputError
        More segments than residues, parts that overlap, residues in no part while no segments are
        left for them, or the reverse.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> make_segments(beads, 3, parts=["A:1-6"], fixed="B").fixed
    tensor([False, False,  True])
    """
    trace = np.flatnonzero(beads.trace)
    label = _labels_of_selections(beads, parts or [], fixed)[trace]
    named = len(parts or []) + (fixed is not None)
    if count is None:
        count = named
    if not 0 < temperature < math.inf:
        raise InputError(
            f"a temperature of {temperature}: it has to be a positive number; larger is sharper"
        )
    free = np.flatnonzero(label < 0)
    _require_segments_fit(beads, trace[free], count=count, named=named)
    last = len(parts or [])
    if len(free):
        label[label >= last] += count - named  # the fixed segment stays the last
        label[free] = last + _automatic_labels(beads, trace[free], count - named)
    is_fixed = torch.zeros(count, dtype=torch.bool)
    is_fixed[count - 1] = fixed is not None
    return _mixture(beads, label, fixed=is_fixed, temperature=temperature)


def _labels_of_selections(beads: BeadModel, parts: Sequence[str], fixed: str | None) -> np.ndarray:
    """(bead,) number of the selection that holds a bead, -1 for none."""
    selections = [*parts, *([fixed] if fixed is not None else [])]
    label = np.full(len(beads), -1)
    for number, selection in enumerate(selections):
        members = select(beads, selection) & beads.trace
        if not members.any():
            raise InputError(
                f"selection {selection!r} holds no residue of a polymer; ligands and sugars follow "
                "the residue that they stand at and cannot be a segment of their own"
            )
        double = np.flatnonzero(members & (label >= 0))
        if len(double):
            raise InputError(
                f"{len(double)} residues (the first is {beads.label(double[0])}) stand in "
                f"{selection!r} and in {selections[label[double[0]]]!r}: a residue belongs to one "
                "part only"
            )
        label[members] = number
    return label


def _require_segments_fit(beads: BeadModel, free: np.ndarray, *, count: int, named: int) -> None:
    remaining = count - named
    if count < 1:
        raise InputError(f"{count} segments were asked for: at least 1 is needed")
    if remaining < 0 or remaining == 0 and len(free):
        left = (
            f" and leave out {len(free)} residues (the first is {beads.label(free[0])})"
            if len(free)
            else ""
        )
        raise InputError(
            f"{count} segments were asked for; {named} selections are given{left}: name all "
            f"residues in {count} selections, or ask for more than {named} segments"
        )
    if remaining > len(free):
        besides = f" besides the {named} selections" if named else ""
        raise InputError(
            f"{count} segments were asked for, and there are only {len(free)} residues{besides}: "
            f"ask for at most {named + len(free)}"
        )


def cut_again(
    segmentation: Segmentation, beads: BeadModel, label: Int[Tensor, "trace"]
) -> Segmentation:
    """The same segments with other borders.

    Parameters
    ----------
    segmentation : Segmentation
        Whose segments are meant.
    beads : BeadModel
        The base model.
    label : (trace,) int
        The segment of each trace bead; every segment has one.

    Returns
    -------
    Segmentation

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> label = torch.tensor([0] * 20 + [1] * 4)
    >>> cut_again(make_segments(beads, 2), beads, label).weight.sum(0).round()
    tensor([20.,  4.])
    """
    return _mixture(
        beads, label.numpy(), fixed=segmentation.fixed, temperature=segmentation.temperature
    )


# ---- where segments start -----------------------------------------------------------------------


def _automatic_labels(beads: BeadModel, trace: np.ndarray, count: int) -> np.ndarray:
    """(trace,) int: segment of each of these trace beads.

    Segments are 0 .. count - 1, numbered by their first residue.
    """
    position = beads.position.numpy()[trace]
    piece = _equal_pieces(_runs(beads, trace), len(trace), count)
    piece = _joined_pieces(piece, position, count)
    while piece.max() + 1 < count:
        piece = _with_largest_cut(piece)
    _, first = np.unique(piece, return_index=True)
    return np.argsort(np.argsort(first))[piece]


def _runs(beads: BeadModel, trace: np.ndarray) -> np.ndarray:
    """(trace,) int: number of the stretch, unbroken by other parts, of a chain."""
    chain, order = beads.chain[trace], beads.order[trace]
    return np.concatenate(
        [[0], np.cumsum((chain[1:] != chain[:-1]) | (order[1:] != order[:-1] + 1))]
    )


def _equal_pieces(run: np.ndarray, total: int, count: int) -> np.ndarray:
    """Pieces of about equal size: at least one a run."""
    length = np.bincount(run)
    pieces = np.clip(np.round(length * count / total).astype(int), 1, length)
    place = np.arange(len(run)) - np.concatenate([[0], np.cumsum(length)[:-1]])[run]
    return np.concatenate([[0], np.cumsum(pieces)[:-1]])[run] + place * pieces[run] // length[run]


def _joined_pieces(piece: np.ndarray, position: np.ndarray, count: int) -> np.ndarray:
    """The pieces, joined while there are more than `count`.

    The smallest joins the one that it touches most for the size of both.
    """
    size = np.bincount(piece).astype(float)
    target = len(piece) / count
    pairs = cKDTree(position).query_pairs(CONTACT_DISTANCE, output_type="ndarray")
    touch = np.zeros((len(size), len(size)))
    np.add.at(touch, (piece[pairs[:, 0]], piece[pairs[:, 1]]), 1)
    touch += touch.T
    np.fill_diagonal(touch, 0)
    sum_of_positions = np.stack([np.bincount(piece, x) for x in position.T], 1)
    into, alive = np.arange(len(size)), np.ones(len(size), dtype=bool)
    while alive.sum() > count:
        small = np.flatnonzero(alive)[np.argmin(size[alive])]
        others = np.flatnonzero(alive & (np.arange(len(size)) != small))
        # contacts are divided by the square of how far the pair outgrows the target, so that no
        # segment swallows the rest
        score = touch[small, others] / np.maximum((size[small] + size[others]) / target, 1) ** 2
        if score.max() == 0:
            score = -np.linalg.norm(
                sum_of_positions[others] / size[others, None]
                - sum_of_positions[small] / size[small],
                axis=1,
            )
        home = others[np.argmax(score)]
        size[home] += size[small]
        sum_of_positions[home] += sum_of_positions[small]
        touch[home] += touch[small]
        touch[:, home] += touch[:, small]
        touch[home, home] = 0
        alive[small], into[into == small] = False, home
    return np.unique(into[piece], return_inverse=True)[1]


def _with_largest_cut(piece: np.ndarray) -> np.ndarray:
    largest = np.flatnonzero(piece == np.argmax(np.bincount(piece)))
    piece = piece.copy()
    piece[largest[len(largest) // 2 :]] = piece.max() + 1
    return piece


# ---- the mixture that has its borders there -----------------------------------------------------


def _mixture(
    beads: BeadModel, label: np.ndarray, *, fixed: Bool[Tensor, "segment"], temperature: float | int
) -> Segmentation:
    """The mixture whose borders fall exactly between residues of different labels.

    All are equally soft.

    With equal widths the logarithms of the responsibilities are straight lines along the chain, but
    for a parabola that all share. Means at equal distances make the slopes differ by the same step
    from one component to the next, hence equally soft borders whatever the lengths of the pieces;
    log weights then put each border where it belongs. For pieces of equal length the means are the
    middles of the pieces.
    """
    trace = np.flatnonzero(beads.trace)
    names = list(dict.fromkeys(beads.chain[trace].tolist()))
    middles, widths, log_weights, chains, segments = [], [], [], [], []
    for number, name in enumerate(names):
        on_chain = label[beads.chain[trace] == name]
        cut = np.flatnonzero(np.diff(on_chain)) + 1
        spacing = len(on_chain) / (len(cut) + 1)
        middle = (np.arange(len(cut) + 1) + 0.5) * spacing - 0.5
        variance = TEMPERATURE * spacing / BORDER_SLOPE
        # equal density at the border: log w[k] - (b - m[k])^2 / 2v is the same for k and k + 1
        border = cut - 0.5
        step = ((border - middle[1:]) ** 2 - (border - middle[:-1]) ** 2) / (2 * variance)
        middles.append(middle)
        widths.append(np.full(len(middle), math.sqrt(variance)))
        log_weights.append(np.concatenate([[0.0], np.cumsum(step)]))
        chains.append(np.full(len(middle), number))
        segments.append(on_chain[np.concatenate([[0], cut])])
    mean, width, log_weight = (
        torch.tensor(np.concatenate(values), dtype=torch.float32)
        for values in (middles, widths, log_weights)
    )
    mixture = {
        "component_chain": torch.tensor(np.concatenate(chains)),
        "component_segment": torch.tensor(np.concatenate(segments)),
        "coordinate": torch.tensor(beads.order, dtype=torch.float32),
        "chain": torch.tensor([names.index(name) for name in beads.chain[beads.anchor].tolist()]),
    }
    weight = membership(
        mean, width, log_weight, temperature=temperature, n_segments=len(fixed), **mixture
    )
    return Segmentation(
        weight=weight,
        fixed=fixed,
        mean=mean,
        width=width,
        log_weight=log_weight,
        temperature=float(temperature),
        **mixture,
    )

"""How parts of the molecule move against each other.

It is told by distances, angles, axes, fluctuations and correlations.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import InputError
from ...physics.rotations import vector_from_matrix
from ...runs.run import Run
from ...structure.beads import BeadModel
from ...structure.motion.motion import BeadMotion, FlexedMotion, RigidMotion, weighted_arms
from ...structure.selection import select
from ...structure.superposition import nearest_rotation

FEWEST_BEADS = 3  # of a part whose turn is asked for
SMALLEST_TURN = 2.0  # degrees, from one end to the other: below it an axis says nothing
TAIL = 0.1  # of the conformations, at either end of a turn
SUPERPOSED = 5  # rounds in which conformations and their mean are superposed


class Parts:
    """Where parts of the molecule are in any conformation, and how they are turned.

    No bead is placed for it: sums over the beads of a part are linear in the motions of the
    segments, so that a part is four points, however large it is.

    Parameters
    ----------
    run : Run
        Whose beads and segments are meant.
    members : (part, bead) bool
        The beads of each part, which count by their electrons.
    """

    def __init__(self, run: Run, members: Bool[Tensor, "part bead"]) -> None:
        bead, weight, electrons, centroid = (
            torch.from_numpy(run.model[name])
            for name in ("bead", "weight", "amplitude", "centroid")
        )
        share = members * electrons
        share = share / share.sum(1, keepdim=True)
        # (part, 3)
        self.base = share @ bead
        # (part, bead, 3)
        moment = share[:, :, None] * (bead - self.base[:, None])
        columns = torch.cat([share, moment.transpose(1, 2).reshape(-1, len(bead))])
        self._arms = weighted_arms(bead, centroid, weight=weight) @ columns.T
        self._centroid = centroid

    def centre(self, motion: RigidMotion) -> Float[Tensor, "*batch part 3"]:
        """Centre of each part, A."""
        return motion.blend(self._arms, self._centroid)[..., : len(self.base), :]

    def turn(self, motion: RigidMotion) -> Float[Tensor, "*batch part 3 3"]:
        """How each part is turned against the base model: the best superposition of its beads.

        References
        ----------
        Kabsch, Acta Cryst. A 32:922 (1976).
        """
        moment = motion.blend(self._arms, self._centroid)[..., len(self.base) :, :].unflatten(
            -2, (len(self.base), 3)
        )
        return nearest_rotation(moment.mT)


@dataclass(frozen=True)
class Measure:
    """A number that is asked of every conformation.

    Parameters
    ----------
    kind : {"distance", "angle"}
        An angle of three parts is at the centre of the second; one of two is by how much the first
        is turned against the second, compared with the base model.
    text : str
        As it was asked for: "A:1-226 and B".
    parts : Parts
    """

    kind: str
    text: str
    parts: Parts

    @property
    def unit(self) -> str:
        """What it is measured in."""
        return "A" if self.kind == "distance" else "degrees"

    def __call__(self, motion: RigidMotion) -> Float[Tensor, "*batch"]:
        """Its value in some conformations, A or degrees."""
        if self.kind == "angle" and len(self.parts.base) == 2:
            return vector_from_matrix(seen_from(self.parts, motion)).norm(dim=-1).rad2deg()
        centre = self.parts.centre(motion)
        if self.kind == "distance":
            return (centre[..., 0, :] - centre[..., 1, :]).norm(dim=-1)
        arms = torch.nn.functional.normalize(centre[..., [0, 2], :] - centre[..., [1], :], dim=-1)
        cross = torch.linalg.cross(arms[..., 0, :], arms[..., 1, :]).norm(dim=-1)
        return torch.atan2(cross, (arms[..., 0, :] * arms[..., 1, :]).sum(-1)).rad2deg()


def parse_measure(run: Run, kind: str, text: str) -> Measure:
    """What ``--distance "A and B"`` or ``--angle "A and B and C"`` asks for.

    Raises
    ------
    InputError
        Another number of selections, one that names nothing, or a part too small to have an
        orientation.
    """
    selections = [part.strip() for part in text.split(" and ")]
    expected = (2,) if kind == "distance" else (2, 3)
    if len(selections) not in expected or not all(selections):
        raise InputError(
            f"--{kind} {text!r}: {len(selections)} selection{'s' * (len(selections) != 1)}; write "
            + (
                'two, as in "A:1-226 and B"'
                if kind == "distance"
                else 'two, as in "A:1-226 and B" (the turn of the first), or three (the angle at '
                "the second)"
            )
        )
    members = [select(run.bead_model, selection) for selection in selections]
    for selection, chosen in zip(selections, members, strict=True):
        if kind == "angle" and len(selections) == 2 and chosen.sum() < FEWEST_BEADS:
            raise InputError(
                f"--angle {text!r}: {selection!r} holds fewer than {FEWEST_BEADS} residues, which "
                "have no orientation"
            )
    return Measure(kind, text, Parts(run, torch.from_numpy(np.stack(members))))


@dataclass(frozen=True, eq=False)
class Turn:
    """How one part turns against another over the particles.

    Parameters
    ----------
    moving, fixed : str
        Selections of their residues.
    residues : int
        Of the moving part.
    sd : float
        Of the turn about its axis, degrees.
    range : (2,)
        5 and 95 % quantiles of the turn from its mean, degrees.
    axis : (3,)
        Of the turn, unit length, in the frame of the base model.
    point : (3,) or None
        Of the axis, beside the hinge, A; None where the turn is too small for its axis to have a
        place.
    slide : float
        How far the moving part goes along the axis between the ends of the turn, A.
    hinge : list of str
        Residues at which a chain goes from one part to the other.
    parts : Parts
        The moving one and the fixed one.
    mean : (3, 3)
        Rotation of the moving part as seen from the fixed one that turns are counted from.
    """

    moving: str
    fixed: str
    residues: int
    sd: float
    range: tuple[float, float]
    axis: Float[np.ndarray, "3"]
    point: Float[np.ndarray, "3"] | None
    slide: float
    hinge: list[str]
    parts: Parts
    mean: Float[Tensor, "3 3"]

    @property
    def width(self) -> float:
        """Of :attr:`range`, degrees."""
        return self.range[1] - self.range[0]

    def degrees(self, motion: RigidMotion) -> Float[np.ndarray, "conformation"]:
        """The turn of some conformations about the axis, from the mean, degrees."""
        return _along(seen_from(self.parts, motion), self.mean, torch.from_numpy(self.axis)).numpy()


def turn_of(run: Run, motion: RigidMotion, moving: str, fixed: str) -> Turn:
    """How one part turns against another over some conformations.

    The axis is the leading one of the rotation vectors; where the turn is large enough it is the
    axis of the screw between the mean motions at both ends, which also has a place.

    References
    ----------
    Hayward & Berendsen, Proteins 30:144 (1998): domains and their screw axes.
    """
    beads = run.bead_model
    members = np.stack([select(beads, moving), select(beads, fixed)])
    parts = Parts(run, torch.from_numpy(members))
    relative = seen_from(parts, motion)
    mean = nearest_rotation(relative.mean(0))
    vector = vector_from_matrix(relative @ mean.T)
    axis = torch.linalg.eigh(vector.T @ vector)[1][:, -1]
    axis = axis * axis[axis.abs().argmax()].sign()
    degrees = _along(relative, mean, axis)
    low, high = degrees <= degrees.quantile(TAIL), degrees >= degrees.quantile(1 - TAIL)
    hinge = _borders(beads, *members)
    point, slide = None, torch.zeros(())
    if degrees[high].mean() - degrees[low].mean() > SMALLEST_TURN:
        beside = (
            torch.from_numpy(beads.position.numpy()[hinge]).double().mean(0)
            if hinge
            else parts.base.double().mean(0)
        )
        place = _place_from(parts, motion)
        closed, opened = (
            (nearest_rotation(relative[tail].mean(0)), place[tail].mean(0)) for tail in (low, high)
        )
        axis, point, slide = _screw(closed, opened, beside)
        degrees = _along(relative, mean, axis)
    return Turn(
        moving=moving,
        fixed=fixed,
        residues=int((members[0] & beads.trace).sum()),
        sd=float(degrees.std()),
        range=tuple(degrees.quantile(torch.tensor([0.05, 0.95], dtype=degrees.dtype)).tolist()),
        axis=axis.numpy(),
        point=None if point is None else point.numpy(),
        slide=float(slide),
        hinge=[beads.label(bead) for bead in hinge],
        parts=parts,
        mean=mean,
    )


def seen_from(parts: Parts, motion: RigidMotion) -> Float[Tensor, "*batch 3 3"]:
    """Rotation of the first part as seen from the second, in the frame of the base model."""
    turn = parts.turn(motion).double()
    return turn[..., 1, :, :].mT @ turn[..., 0, :, :]


def _place_from(parts: Parts, motion: FlexedMotion | RigidMotion) -> Tensor:
    """Where the first part's centre is, as seen from the second."""
    turn, centre = parts.turn(motion).double(), parts.centre(motion).double()
    apart = (centre[..., 0, :] - centre[..., 1, :])[..., None]
    return (turn[..., 1, :, :].mT @ apart)[..., 0] + parts.base[1].double()


def _along(relative: Tensor, mean: Tensor, axis: Tensor) -> Tensor:
    return (vector_from_matrix(relative @ mean.T) @ axis).rad2deg()


def _screw(
    start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], beside: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Axis, point and slide of the screw that takes one rigid motion to another.

    The point is the one beside another that is given.
    """
    (turn, place), (turn_then, place_then) = start, end
    vector = vector_from_matrix(turn_then @ turn.T)
    angle, shift = vector.norm(), place_then - place
    axis = vector / angle
    slide = shift @ axis
    across = shift - slide * axis
    point = place + 0.5 * across + 0.5 * torch.linalg.cross(axis, across) / torch.tan(0.5 * angle)
    return axis, point + axis * ((beside - point) @ axis), slide


def _borders(beads: BeadModel, first: np.ndarray, second: np.ndarray) -> list[int]:
    """The residues at which a chain goes from one part to the other."""
    trace = np.flatnonzero(beads.trace)
    here, there = trace[:-1], trace[1:]
    meets = (beads.chain[here] == beads.chain[there]) & (
        (first[here] & second[there]) | (second[here] & first[there])
    )
    return here[meets].tolist()


@dataclass(frozen=True)
class Fluctuations:
    """How far residues move about their mean place, and which segments move together.

    Conformations are superposed first.

    Parameters
    ----------
    rmsf : (trace,)
        Root mean square fluctuation, A, conformations superposed on the part that is still.
    correlation : (segment, segment)
        Of the displacements of the segments' centroids, conformations superposed as a whole: 1
        together, -1 against each other.
    """

    rmsf: Float[np.ndarray, "trace"]
    correlation: Float[np.ndarray, "segment segment"]


def fluctuations(
    run: Run, motion: RigidMotion | BeadMotion, still: Bool[np.ndarray, "bead"]
) -> Fluctuations:
    """Fluctuations of residues and segments over some conformations.

    Parameters
    ----------
    run : Run
    motion : RigidMotion or BeadMotion
        Of the segments, in each conformation; or of the beads, where there are no segments.
    still : (bead,) bool
        What conformations are superposed on, for `rmsf`: a molecule of two parts that turn against
        each other has no frame of its own in which one of them stands.

    References
    ----------
    Ichiye & Karplus, Proteins 11:205 (1991): cross-correlations of fluctuations.
    """
    model = run.model
    trace = torch.from_numpy(np.flatnonzero(model["trace"]))
    position = run.deformation.beads(motion)[:, trace]
    centre = (
        torch.from_numpy(model["centroid"]) + motion.translation
        if isinstance(motion, RigidMotion)
        else position[:, :0]
    )
    points = torch.cat([position, centre], 1)
    everything = torch.arange(len(trace))
    held = torch.from_numpy(np.flatnonzero(still[trace.numpy()]))
    away = _about_their_mean(points, held if len(held) >= FEWEST_BEADS else everything)[
        :, : len(trace)
    ]
    of_segments = _about_their_mean(points, everything)[:, len(trace) :]
    together = torch.einsum("pik,pjk->ij", of_segments, of_segments)
    length = together.diagonal().sqrt().clamp_min(1e-9)
    return Fluctuations(
        away.square().sum(-1).mean(0).sqrt().numpy(),
        (together / (length[:, None] * length)).numpy(),
    )


def _about_their_mean(points: Tensor, on: Tensor) -> Tensor:
    """Displacements of points from their mean over superposed conformations.

    These are superposed on some of the points.
    """
    for _ in range(SUPERPOSED):
        own, mean = points[:, on], points[:, on].mean(0)
        centre = own.mean(1, keepdim=True)
        back = nearest_rotation(torch.einsum("pni,nj->pij", own - centre, mean - mean.mean(0))).mT
        points = (points - centre) @ back.mT + mean.mean(0)
    return points - points.mean(0)

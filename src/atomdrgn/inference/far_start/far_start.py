"""Where a fit starts when particles are far from the base model.

A part of it is turned every way before anything else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.disc import FourierDisc
from ...physics.rotations import uniform_rotations, vector_from_matrix
from ...structure.motion.motion import twist_of
from ...structure.motion.segment_deformation import TWIST
from ...structure.selection import describe_residues
from ..problem.calibration import calibrate
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import part_of
from ..problem.significance import is_clear
from .rigid_parts import RigidPart, rigid_parts
from .turned_part import likelihood_of_turns

# Resolution of the search, A: a part's turns show at about its own size, and the work grows with
# the square of what is finer.
FINEST, COARSEST, SIZE = 20.0, 40.0, 0.6  # the last times the molecule's radius of gyration
FEW_ROTATIONS, ROTATIONS = 600, 4000  # 14 and 8 degrees to the nearest on average
# particles that choose the part, and that shares of its rotations are found from
FEW, MANY = 64, 400
FEWEST, IMAGES = 16, 256  # of a tilt series: fewer particles of so many images
BEST_PARTS = 2  # whose pivots are refined
PIVOT_STEPS = 1 / 4, 1 / 8  # of the resolution
ROUNDS = 50  # of EM
# of what is far: where few particles seem to be nearer, no more are asked
HOPEFUL = 0.5
# of the shares, over all rotations, where they are judged by other particles
SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class FarStart:
    """Where particles are that are far from the base model.

    Parameters
    ----------
    latent : (latent,)
        Of the rotation in the middle of theirs.
    resolution : float
        That they were found at, A: where a fit goes on from here.
    selection : str
        The part that has turned.
    turn : float
        How far it has, degrees.
    """

    latent: Float[Tensor, "latent"]
    resolution: float
    selection: str
    turn: float


@dataclass(frozen=True, eq=False)
class _Turns:
    """A part, rotations of it, and how likely they make the images of some particles."""

    part: RigidPart
    rotation: Float[Tensor, "rotation 3 3"]
    likelihood: Float[Tensor, "rotation particle"]

    @cached_property
    def share(self) -> Float[Tensor, "rotation"]:
        """Of the particles, at each rotation."""
        return _shares(self.likelihood)

    @cached_property
    def evidence(self) -> float:
        """Log-likelihood of all particles with these shares, over that of the base model."""
        return float((_mixed(self.likelihood, self.share) - self.likelihood[0]).sum())

    def middle(self) -> Float[Tensor, "3 3"]:
        """The rotation least far from where the particles are.

        It is a median, which a few that only look alike do not pull.
        """
        cosine = 0.5 * (torch.einsum("gij,hij->gh", self.rotation, self.rotation) - 1)
        return self.rotation[(cosine.clamp(-1, 1).acos() @ self.share).argmin()]

    def likeliest(self) -> Float[Tensor, "particle 3 3"]:
        """Rotation of each particle."""
        return self.rotation[(self.likelihood + self.share.log()[:, None]).argmax(0)]


def find_far_start(model: FitModel, state: FitState, *, near: float) -> FarStart | None:
    """The turn of a part by more than `near` in the particles' middle.

    It is None where there is none such, and where segments do not move.

    Every part is turned about its junctions by rotations all over, the same for all particles, and
    EM finds the share of the particles at each. The part that makes images likeliest counts. What
    is found has to make particles that had no say in it likelier than the same without turns beyond
    `near`.

    Parameters
    ----------
    model, state
        A fit that has not begun.
    near : float
        How far a part may be from the base model for a fit to find it from there, A r.m.s. of its
        beads.
    """
    if not model.of_segments:
        return None
    generator = torch.Generator().manual_seed(model.seed)
    disc = model.images.disc.coarser(search_resolution(model))
    parts, rotations = rigid_parts(model.segments, model.beads), _rotations(FEW_ROTATIONS)
    if not parts:
        return None
    part = _likeliest_part(model, state, disc, parts, rotations, near, generator)
    if part is None:
        return None
    many, rotations = (
        _Some.evenly(model, state, MANY).calibrated(disc, generator),
        _rotations(ROTATIONS),
    )
    for _ in range(2):  # noise is less where the part is in its place
        many = many.at(many.turns(disc, part, rotations)).calibrated(disc, generator)
    found = many.turns(disc, part, rotations)
    gain = _held_out(found.likelihood) - _held_out(
        found.likelihood[_moved(part, model, rotations) < near]
    )
    if not (_middle_moved(found, model) > near and is_clear(gain)):
        return None
    turn = found.middle()
    latent = _latent_of(model, state.latent[:1], part, turn[None])[0]
    selection = describe_residues(model.beads, part.bead.numpy() & model.beads.trace)
    return FarStart(
        latent, disc.resolution, selection, math.degrees(vector_from_matrix(turn).norm())
    )


def _likeliest_part(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    parts: Sequence[RigidPart],
    rotations: Float[Tensor, "rotation 3 3"],
    near: float,
    generator: torch.Generator,
) -> RigidPart | None:
    """The likeliest part with its pivot; None where the likeliest do not seem to be far."""
    count = min(FEW, max(FEWEST, IMAGES * model.n_particles // len(model.images)))
    few = _Some.evenly(model, state, count).calibrated(disc, generator)
    looks = [
        few.turns(disc, part, rotations)
        for part in model.reporter.watch(parts, "turning every part", len(parts))
    ]
    likeliest = [
        look
        for look in sorted(looks, key=lambda look: -look.evidence)[:BEST_PARTS]
        if _middle_moved(look, model) > HOPEFUL * near
    ]
    if not likeliest:
        return None
    best = max(
        (few.with_better_pivot(disc, look.part, rotations) for look in likeliest),
        key=lambda look: look.evidence,
    )
    if _middle_moved(best, model) < HOPEFUL * near:
        return None
    return (
        few.at(best).calibrated(disc, generator).with_better_pivot(disc, best.part, rotations).part
    )


def search_resolution(model: FitModel) -> float:
    """The resolution that parts are turned at, A."""
    trace = model.beads.position[model.beads.trace_index]
    gyration = float((trace - trace.mean(0)).square().sum(1).mean().sqrt())
    return min(max(SIZE * gyration, FINEST), COARSEST)


@dataclass(frozen=True, eq=False)
class _Some:
    """Some of the particles, as a fit of their own."""

    model: FitModel
    state: FitState

    @classmethod
    def evenly(cls, model: FitModel, state: FitState, count: int) -> "_Some":
        part = part_of(model, model.evenly_spread(count))
        return cls(part.model, part.state(state))

    def calibrated(self, disc: FourierDisc, generator: torch.Generator) -> "_Some":
        """The same with scales and noise measured where the particles are."""
        state = self.state
        for _ in range(2):  # the first gain is measured with a wrong noise spectrum
            state = calibrate(self.model, state, disc, generator)
        return _Some(self.model, state)

    def at(self, found: _Turns) -> "_Some":
        """The state with every particle at its likeliest rotation."""
        latent = _latent_of(self.model, self.state.latent, found.part, found.likeliest())
        return _Some(self.model, replace(self.state, latent=latent))

    def turns(
        self, disc: FourierDisc, part: RigidPart, rotation: Float[Tensor, "rotation 3 3"]
    ) -> _Turns:
        """The likelihoods of all rotations."""
        return _Turns(
            part, rotation, likelihood_of_turns(self.model, self.state, disc, part, rotation)
        )

    def with_better_pivot(
        self, disc: FourierDisc, part: RigidPart, rotation: Float[Tensor, "rotation 3 3"]
    ) -> _Turns:
        """The turns about the pivot that makes the images likeliest.

        Junctions of segments are not where molecules bend.
        """
        best = self.turns(disc, part, rotation)
        for step in PIVOT_STEPS:
            improved = True
            while improved:
                improved = False
                for offset in torch.cat([torch.eye(3), -torch.eye(3)]) * step * disc.resolution:
                    tried = self.turns(
                        disc, replace(best.part, pivot=best.part.pivot + offset), rotation
                    )
                    if tried.evidence > best.evidence:
                        best, improved = tried, True
        return best


def _rotations(count: int) -> Float[Tensor, "rotation 3 3"]:
    """None at all, and so many that are spread over all."""
    return torch.cat([torch.eye(3)[None], uniform_rotations(count).float()])


def _latent_of(
    model: FitModel,
    latent: Float[Tensor, "particle latent"],
    part: RigidPart,
    turn: Float[Tensor, "particle 3 3"],
) -> Float[Tensor, "particle latent"]:
    """The latents with a part turned about its pivot."""
    deformation, shift = model.segments, part.pivot - turn @ part.pivot
    split = deformation.by_segment(latent).clone()
    for place, segment in enumerate(deformation.free.tolist()):
        if segment in part.segments:
            split[:, place, :TWIST] = twist_of(
                turn, shift, deformation.centroid[segment], deformation.radius[segment]
            )
    return split.flatten(1)


def _moved(
    part: RigidPart, model: FitModel, rotation: Float[Tensor, "rotation 3 3"]
) -> Float[Tensor, "rotation"]:
    """How far each rotation moves a part, A r.m.s. of its beads."""
    arm = model.beads.position[part.bead] - part.pivot
    return (arm @ rotation.mT - arm).square().sum(-1).mean(-1).sqrt()


def _middle_moved(found: _Turns, model: FitModel) -> float:
    """How far the rotation in the middle moves the part, A r.m.s. of its beads."""
    return float(_moved(found.part, model, found.middle()[None]))


def _shares(likelihood: Float[Tensor, "rotation particle"]) -> Float[Tensor, "rotation"]:
    """Shares of the particles at each rotation, by EM."""
    share = torch.full((len(likelihood),), 1 / len(likelihood), dtype=torch.float64)
    weight = (likelihood.double() - likelihood.double().amax(0)).exp()
    for _ in range(ROUNDS):
        both = weight * share[:, None]
        share = (both / both.sum(0)).mean(1) + 1e-9
    return (share / share.sum()).float()


def _mixed(
    likelihood: Float[Tensor, "rotation particle"], share: Float[Tensor, "rotation"]
) -> Float[Tensor, "particle"]:
    """Each particle's log-likelihood with shares of the rotations."""
    return (likelihood + share.log()[:, None]).logsumexp(0)


def _held_out(likelihood: Float[Tensor, "rotation particle"]) -> Float[Tensor, "particle"]:
    """Each particle's log-likelihood with the shares that the other half has.

    These are a little spread out.
    """
    found = torch.empty(likelihood.shape[1])
    for half in (0, 1):
        share = (1 - SPREAD) * _shares(likelihood[:, half::2]) + SPREAD / len(likelihood)
        found[1 - half :: 2] = _mixed(likelihood[:, 1 - half :: 2], share)
    return found

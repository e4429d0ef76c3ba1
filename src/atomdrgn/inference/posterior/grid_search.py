"""A wide look along the leading motions, for particles that the linear steps have led astray."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...physics.disc import FourierDisc
from ...structure.motion.surface import fit_surface
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.misfit import misfits
from ..problem.occupancy import keep_occupancy
from ..problem.principal_motions import principal_motions

MOST_SEARCHED = 3  # motions
REACH = 2.5  # standard deviations to both sides
# A step of the linearised fit reaches about a third of the resolution at the parts that move most,
# which is about an eighth in r.m.s. over the trace. Motions that are smaller have nothing hidden;
# grid points lie so far apart.
STEP = 1 / 8  # of the resolution
FEWEST_POINTS, MOST_POINTS = 5, 15
REACH_OF_TWO, POINTS_OF_TWO = 1.8, 7
FINEST = 30.0  # A: places that far apart need no finer images to be told apart
CLEARLY = 2.0  # log-likelihood by which another place has to be better

# From places to others that are tried in their stead.
Offers = Callable[[Float[Tensor, "particle k"]], list[Float[Tensor, "particle k"]]]


def look_widely(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    *,
    together: bool = False,
) -> tuple[FitState, int]:
    """The state with particles moved to clearly better places along motions, and their number.

    Places are compared on the surface that the particles form along the leading motions, not with
    what else a particle has adapted to where it stands. The surface is bent: the far end of a hinge
    moves on a circle, which a straight motion leaves by 8 A at 30 degrees and 60 A from the hinge.

    Parameters
    ----------
    model, state, disc
        The fit, and the frequencies to compare at (never finer than 30 A).
    together : bool
        Try the first two motions together as well: a particle can be astray in both, with no way
        out along either.
    """
    disc = disc.coarser(max(FINEST, disc.resolution))
    metric = model.deformation.trace_metric(model.beads.trace_index, state.population.mean)
    # in the frame of the poses, as images see them
    motions = principal_motions(state.population, metric)
    sd, step = motions.variance.sqrt(), STEP * disc.resolution
    wide = int((sd[:MOST_SEARCHED] > step).sum())
    if not wide:
        return state, 0
    sd, place = sd[:wide], motions.place(state.latent)[:, :wide].contiguous()
    surface = fit_surface(place, state.latent, sd)
    astray = torch.zeros(model.n_particles, dtype=torch.bool)
    looks = [_along(axis, sd, step) for axis in range(wide)]
    if together and wide > 1:
        looks.insert(0, _over_two(sd))
    for number, offers in enumerate(looks):
        tried = [place, *offers(place)]
        model.reporter.start(f"looking widely, {number + 1} of {len(looks)}", len(model.my_images))
        candidates = [keep_occupancy(model, state, surface.at(each)) for each in tried]
        left, _ = misfits(model, state, disc, candidates, advance=model.reporter.advance)
        model.reporter.finish()
        score = -0.5 * left - torch.stack([0.5 * (each / sd).square().sum(1) for each in tried])
        best, which = score.max(0)
        new = torch.stack(tried)[which, torch.arange(len(place))]
        better = (best > score[0] + CLEARLY) & ((new - place).abs().amax(1) > step)
        place = torch.where(better[:, None], new, place)
        astray |= better
    moved = keep_occupancy(model, state, surface.at(place))[torch.arange(model.n_particles)]
    return replace(state, latent=torch.where(astray[:, None], moved, state.latent)), int(
        astray.sum()
    )


def _along(axis: int, sd: Float[Tensor, "k"], step: float) -> Offers:
    """Offers places along one motion, the others as they are."""
    points = min(MOST_POINTS, max(FEWEST_POINTS, math.ceil(2 * REACH * float(sd[axis]) / step)))
    grid = torch.linspace(-REACH, REACH, points) * sd[axis]
    return lambda place: [_with_columns(place, (axis,), (value,)) for value in grid]


def _over_two(sd: Float[Tensor, "k"]) -> Offers:
    """Offers places on a grid over the first two motions."""
    grid = torch.linspace(-REACH_OF_TWO, REACH_OF_TWO, POINTS_OF_TWO)
    pairs = torch.cartesian_prod(grid * sd[0], grid * sd[1])
    return lambda place: [_with_columns(place, (0, 1), pair) for pair in pairs]


def _with_columns(
    place: Float[Tensor, "particle k"], axes: Sequence[int], values: Iterable[Tensor]
) -> Float[Tensor, "particle k"]:
    place = place.clone()
    for axis, value in zip(axes, values, strict=True):
        place[:, axis] = value
    return place

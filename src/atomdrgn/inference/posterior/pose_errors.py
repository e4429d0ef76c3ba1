"""What errors of the poses do to what images tell of the motions.

They move each molecule as a whole.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from scipy.optimize import minimize
from torch import Tensor

from ...physics.disc import FourierDisc
from ...physics.record import Record
from ...structure.motion.surface import Surface
from ..population.pose_corrections import UNKNOWN_SHIFT_SD, UNKNOWN_TURN_SD
from ..problem.fit_problem import Block, FitModel, evenly_spread
from ..problem.fit_state import FitState
from ..problem.linearisation import LinearisedAlong, linearise_along, motions_alone
from ..problem.misfit import Conformations
from ..problem.occupancy import keep_occupancy
from ..problem.significance import is_clear

MOST_LOST = 0.9  # of the information on a place
PARTICLES_ASKED = 5000  # how far poses are off
START = 0.3  # A, for turns at the molecule's own radius: where the search begins
ENOUGH = 1e-7  # of a log-likelihood, a particle: no step of the search gains less


@dataclass(frozen=True)
class Play(Record):
    """How far particles are from where their poses put them, and how little that is known.

    Parameters
    ----------
    shift, turn : float
        Standard deviation of the poses' errors along (A) and about (rad) each axis; 0 where none
        are seen.
    offset : (particle, latent)
        Step of each particle as a whole, as far as such errors make it likely.
    loss : (particle, k, k)
        What of the information on its place along the motions is lost because that step is not
        known exactly, 1/A^2.
    """

    shift: float
    turn: float
    offset: Float[Tensor, "particle latent"]
    loss: Float[Tensor, "particle k k"]

    def displaced(self, conformations: Conformations) -> "Displaced":
        """Conformations that are looked up by particle, each where its images show it."""
        return Displaced(conformations, self.offset)

    def widened(self, root: Float[Tensor, "particle k k"]) -> Float[Tensor, "particle k k"]:
        """Root (lower triangular) of the places' covariance when steps are not known.

        It is found from that when they are.
        """
        value, vector = torch.linalg.eigh(root.mT @ self.loss @ root)
        wide = root @ vector / (1 - value.clamp(0, MOST_LOST))[:, None].sqrt()
        return torch.linalg.cholesky(wide @ wide.mT)


@dataclass(frozen=True, eq=False)
class Displaced:
    """Conformations with a step of each particle as a whole.

    Index them by particles for their latents.
    """

    conformations: Conformations
    offset: Tensor

    def __getitem__(self, particle: Int[Tensor, "some"]) -> Float[Tensor, "some latent"]:
        return self.conformations[particle] + self.offset[particle]


def play_of_poses(
    model: FitModel,
    state: FitState,
    surface: Surface,
    place: Float[Tensor, "particle k"],
    offset: Float[Tensor, "particle latent"],
    disc: FourierDisc,
) -> Play:
    """The steps of all particles as wholes, and what it costs along the motions not to know them.

    Poses are off by as much as makes the images likeliest: where they are right, by nothing. Where
    they were refined on these images, they are off by anything up to 20 A and 20 degrees. (The
    spread that the population has besides the motions shrinks too slowly as it is fitted: of what a
    single particle does not tell a part is left.)

    Parameters
    ----------
    model, state
        A fit by linear steps.
    surface : Surface
        Of conformations.
    place : (particle, k)
        Where each particle seems to be on it.
    offset : (particle, latent)
        How far from there; of that only what moves it as a whole counts.
    disc : FourierDisc
        The frequencies that count.
    """
    _, whole, read = model.deformation.whole_and_shape(
        model.beads.trace_index, surface.coefficient[0]
    )
    if not whole.shape[1]:  # what is fixed holds the rest
        return no_play(place, offset)
    whole, step = whole.float(), (offset.double() @ read.T).float()
    k = place.shape[1]
    seen = (
        keep_occupancy(model, state, surface.at(place))[torch.arange(model.n_particles)]
        + step @ whole.T
    )
    at = torch.cat([place, step], 1)
    matrix, target = at.new_zeros(*at.shape, at.shape[1]), torch.zeros_like(at)
    model.reporter.start("errors of the poses", len(model.my_images))

    def both(block: Block) -> Float[Tensor, "particle latent both"]:
        slope = surface.slope(place[block.particle])
        steps = torch.cat([slope, whole.T.expand(len(slope), -1, -1)], 1)
        return motions_alone(model, steps.mT)

    def by_both(found: LinearisedAlong) -> tuple[Tensor, Tensor, Tensor]:
        model.reporter.advance(len(found.block.image))
        particle = found.block.particle
        target = found.gradient + (found.matrix @ at[particle, :, None])[..., 0]
        return particle, found.matrix, target

    for particle, of_matrix, of_target in linearise_along(
        model, replace(state, latent=seen), disc, model.my_particles, along=both, then=by_both
    ):
        matrix[particle], target[particle] = of_matrix, of_target
    model.reporter.finish()
    matrix, target = model.processes.total(matrix), model.processes.total(target)
    if model.unknown_poses:
        shift, turn = UNKNOWN_SHIFT_SD, UNKNOWN_TURN_SD
    else:
        shift, turn = _likeliest_errors(matrix, target, surface.scale)
    root = torch.cat([surface.scale, torch.tensor([shift] * 3 + [turn] * 3)])
    told = root[:, None] * matrix * root + torch.eye(len(root))
    found = torch.linalg.solve(told, (target * root)[..., None])[:, k:, 0]
    cross = matrix[:, :k, k:] * root[k:]
    return Play(
        shift,
        turn,
        found @ (whole * root[k:]).T,
        cross @ torch.linalg.solve(told[:, k:, k:], cross.mT),
    )


def no_play(place: Float[Tensor, "particle k"], offset: Float[Tensor, "particle latent"]) -> Play:
    """The play of particles that are where their poses put them."""
    return Play(0.0, 0.0, torch.zeros_like(offset), place.new_zeros(*place.shape, place.shape[1]))


def _likeliest_errors(
    matrix: Float[Tensor, "particle both both"],
    target: Float[Tensor, "particle both"],
    sd: Float[Tensor, "k"],
) -> tuple[float, float]:
    """Standard deviations of shifts (A) and turns (rad) that make particles likeliest.

    They are spread along the motions by `sd`. Zero where errors are not clearly likelier than none:
    a few particles that are astray look as if there were some.
    """
    k = len(sd)
    some = evenly_spread(len(matrix), PARTICLES_ASKED)
    matrix, target, sd = matrix[some].double(), target[some].double(), sd.double()
    arm = (
        matrix.diagonal(dim1=1, dim2=2)[:, k + 3 :].sum()
        / matrix.diagonal(dim1=1, dim2=2)[:, k : k + 3].sum()
    ).sqrt()

    def likelihood(entries: Float64[Tensor, "2"]) -> Float64[Tensor, "particle"]:
        """Log-likelihood of each particle."""
        root = torch.cat([sd, entries[0].expand(3), entries[1].expand(3) / arm])
        inside = torch.linalg.cholesky(
            root[:, None] * matrix * root + torch.eye(len(root), dtype=sd.dtype)
        )
        told = torch.linalg.solve_triangular(inside, (target * root)[..., None], upper=False)
        return 0.5 * told.square().sum((1, 2)) - inside.diagonal(dim1=1, dim2=2).log().sum(1)

    def lost(entries: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the mean of it, and the slope."""
        at = torch.from_numpy(entries).requires_grad_()
        value = -likelihood(at).mean()
        (slope,) = torch.autograd.grad(value, at)
        return value.item(), slope.numpy()

    with torch.enable_grad():
        found = torch.from_numpy(
            minimize(
                lost,
                [START, START],
                jac=True,
                method="L-BFGS-B",
                options={"ftol": ENOUGH, "gtol": 0.0},
            ).x
        )
    gain = likelihood(found) - likelihood(torch.zeros(2, dtype=sd.dtype))
    found = found.abs() * is_clear(gain)
    return float(found[0]), float(found[1] / arm)

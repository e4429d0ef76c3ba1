"""Where the base model is wrong in all particles alike: its beads moved as half-sets of images agree, motions known."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..likelihood.chain_restraints import make_chain_restraints
from ..reporting import Reporter
from ..structure.atoms import Structure
from ..structure.motion import blended_rotation
from .bead_error import bead_error
from .halves import HalfSet
from .model import FitModel, evenly_spread
from .shared_beads import Look, SharedBeads, descend, doubted
from .state import FitState
from .support import is_clear

SPRING = 0.5            # A: how far neighbours in a base model are off each other, r.m.s.; docs/accuracy.md has what others do
MOST_BEADS = 3000       # the metric of the descent grows with the square: 0.7 GB
MOST_IMAGES = 5000      # of a half-set: what beads cannot show is then more than what noise hides
STEPS = 4


@dataclass(frozen=True, eq=False)
class BaseCorrection:
    """How far the beads of the base model are from where images have them.

    Parameters
    ----------
    shifts : (half, bead, 3)
        As each half-set has found it, A.
    gain : float
        Log-likelihood that an image gains by what the other half-set has found, on average.
    supported : bool
        Whether that is more than chance.
    """

    shifts: Float[Tensor, "half bead 3"]
    gain: float
    supported: bool

    @property
    def shift(self) -> Float[Tensor, "bead 3"]:
        """Of each bead, A: what both have found, or nothing where images do not support it."""
        return self.shifts.mean(0) if self.supported else torch.zeros_like(self.shifts[0])

    @property
    def length(self) -> Float[Tensor, "bead"]:
        """Of each bead's shift, A."""
        return torch.linalg.vector_norm(self.shift, dim=1)

    @property
    def error(self) -> Float[Tensor, "bead"]:
        """Half the difference of the half-sets, A."""
        return 0.5 * torch.linalg.vector_norm(self.shifts[0] - self.shifts[1], dim=1) * self.supported


def correct_base(structure: Structure, halves: list[HalfSet], states: list[FitState], *, seed: int,
                 reporter: Reporter) -> BaseCorrection:
    """Positions of beads that all particles share, fitted with each particle moved as its half-set's fit has found it.

    Parameters
    ----------
    structure : Structure
        The base model.
    halves, states
        The half-sets and their fits.
    seed : int
        Of draws from the particles' posteriors, and of the directions in which atoms and beads are compared.
    reporter : Reporter

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), equation 3: offsets of beads by the
    likelihood and restraints. Springs between neighbours are as Tirion's (1996), all of one strength.
    """
    disc, beads = halves[0].model.images.disc, halves[0].model.beads
    restraints = make_chain_restraints(beads)
    restraints = replace(restraints, sigma=torch.full_like(restraints.sigma, (SPRING**2 + restraints.bond_error**2)**0.5))
    generator = torch.Generator().manual_seed(seed)
    error = bead_error(structure, beads, disc, generator)
    sets = [_as_moved(half.model, state, generator) for half, state in zip(halves, states, strict=True)]
    looks = [doubted(problem, look, disc, error) for problem, look in sets]
    found = []
    for (problem, _), look in zip(sets, looks, strict=True):
        steps = descend(problem, beads.position, look, disc, restraints=restraints, weight=1.0, steps=STEPS)
        *_, last = reporter.watch(steps, "correcting the base model", STEPS)
        found.append(last.position)
    gain = torch.cat([_gain(half.model, problem, look, other)
                      for half, (problem, _), look, other in zip(halves, sets, looks, reversed(found), strict=True)])
    return BaseCorrection(torch.stack(found) - beads.position, float(gain.mean()), is_clear(gain))


def _gain(model: FitModel, problem: SharedBeads, look: Look, position) -> Float[Tensor, "some"]:
    """What each image's log likelihood gains where beads are at a position rather than where the base model has them."""
    disc, some = model.images.disc, _some(model)
    gain = torch.zeros(len(model.images), dtype=torch.float64)
    there, here = (problem.log_likelihood(each, look, disc) for each in (position, problem.beads.position))
    gain[problem.index] = there - here
    return model.processes.total(gain)[some]


def _some(model: FitModel) -> Int[Tensor, "some"]:
    """Images that are looked at, by all processes together."""
    return evenly_spread(len(model.images), MOST_IMAGES)


def _as_moved(model: FitModel, state: FitState, generator: torch.Generator) -> tuple[SharedBeads, Look]:
    """The images of a fit as those of shared positions, and what they look like.

    Each particle is moved by a draw from its posterior: means spread less than particles do where images are noisy.
    """
    deformation, base = model.deformation, model.beads.position
    drawn = state.latent + torch.randn(state.latent.shape, generator=generator) @ state.uncertainty.T

    def place(position, image):
        latent = drawn[model.particle[image]]
        turn = blended_rotation(deformation.motion(latent), deformation.weight)
        moved = deformation.conformation(latent).position + (turn @ (position - base)[..., None])[..., 0]
        return model.pose(state, image).apply(moved)

    problem = SharedBeads(model.images, model.mine(_some(model)), model.beads, place, total=model.processes.total)
    return problem, Look(state.amplitude, state.width2, state.spectrum)

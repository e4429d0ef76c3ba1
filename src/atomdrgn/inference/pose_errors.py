"""What errors of the poses do to what images tell of the motions: they move each molecule as a whole."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..physics.disc import FourierDisc
from ..physics.record import Record
from ..reporting import Reporter
from .linearisation import linearise
from .model import FitModel
from .motions import Motions
from .state import FitState

MOST_LOST = 0.9      # of the information on a place


@dataclass(frozen=True)
class Play(Record):
    """How far particles are from where their poses put them, and how little that is known.

    Parameters
    ----------
    offset : (particle, latent)
        Step of each particle as a whole, as the fit by linear steps has found it.
    loss : (particle, k, k)
        What of the information on its place along the motions is lost because that step is not known exactly, 1/A^2.
    """

    offset: Float[Tensor, "particle latent"]
    loss: Float[Tensor, "particle k k"]

    def displaced(self, conformations) -> "Displaced":
        """Conformations that are looked up by particle, each where its images show it."""
        return Displaced(conformations, self.offset)

    def widened(self, root: Float[Tensor, "particle k k"]) -> Float[Tensor, "particle k k"]:
        """Lower triangular root of the covariance of places when the steps are not known, from that when they are."""
        value, vector = torch.linalg.eigh(root.mT @ self.loss @ root)
        wide = root @ vector / (1 - value.clamp(0, MOST_LOST))[:, None].sqrt()
        return torch.linalg.cholesky(wide @ wide.mT)


@dataclass(frozen=True, eq=False)
class Displaced:
    """Conformations with a step of each particle as a whole: index them by particles for their latents."""

    conformations: object
    offset: Tensor

    def __getitem__(self, particle) -> Tensor:
        return self.conformations[particle] + self.offset[particle]


def play_of_poses(model: FitModel, state: FitState, motions: Motions, disc: FourierDisc, reporter: Reporter) -> Play:
    """The steps of all particles as wholes, and what it costs along the motions not to know them.

    Steps have the population's own spread, as far as it goes without the motions: where poses are right there is next to none.

    Parameters
    ----------
    model, state
        A fit by linear steps.
    motions : Motions
        Those that count.
    disc : FourierDisc
        The frequencies that count.
    reporter : Reporter
    """
    _, whole, read = model.deformation.whole_and_shape(model.beads.trace_index, motions.mean)
    besides = state.population.root - motions.direction @ (motions.read.T @ state.population.root)
    spread = read @ besides.double()
    value, vector = torch.linalg.eigh(spread @ spread.T)
    root, k = (whole @ (vector * value.clamp_min(0).sqrt())).float(), motions.direction.shape[1]
    both = torch.cat([motions.direction, root], 1)[model.deformation.motion_numbers]
    loss = torch.zeros(model.n_particles, k, k)
    reporter.start("errors of the poses", len(model.my_images))

    def lost(found):
        reporter.advance(len(found.block.image))
        matrix, _ = found.of_motions(model.deformation, state.latent)
        matrix = both.T @ matrix @ both
        cross, own = matrix[:, :k, k:], matrix[:, k:, k:] + torch.eye(root.shape[1])
        return found.block.particle, cross @ torch.linalg.solve(own, cross.mT)

    for particle, of_particle in linearise(model, state, disc, model.my_particles, then=lost):
        loss[particle] = of_particle
    reporter.finish()
    straight = motions.mean + motions.place(state.latent) @ motions.direction.T
    offset = ((state.latent - straight).double() @ (whole @ read).T).float()
    return Play(offset, model.processes.total(loss))

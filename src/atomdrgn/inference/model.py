"""The parts that a fit is assembled from, and the views of them that a pass over the images needs."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..likelihood.noise import Noise
from ..likelihood.restraints import Restraints
from ..physics.disc import FourierDisc
from ..structure.beads import BeadModel
from ..structure.deformation import SegmentDeformation
from .images import FourierImages
from .population import CovariancePrior
from .state import FitState

BATCH_BYTES = 2**27      # what the arrays of one batch may take


@dataclass(frozen=True, eq=False)
class FitModel:
    """Images, base model and restraints of one fit: what does not change while it runs.

    Parameters
    ----------
    images : FourierImages
        The data.
    particle : (image,)
        Which row of the latents each image belongs to.
    beads : BeadModel
        The base model, its amplitudes as electrons.
    deformation : SegmentDeformation
        What a latent decodes to.
    restraints : Restraints
        What holds a conformation together.
    prior : CovariancePrior
        What is believed of the population before any image is seen.
    """

    images: FourierImages
    particle: Int[Tensor, "image"]
    beads: BeadModel
    deformation: SegmentDeformation
    restraints: Restraints
    prior: CovariancePrior

    @property
    def n_particles(self) -> int:
        return int(self.particle.max()) + 1

    def bright_beads(self, state: FitState) -> BeadModel:
        """The beads as the images show them: with the fitted amplitude and width."""
        sigma = (self.beads.sigma**2 + state.width2).sqrt()
        return replace(self.beads, amplitude=self.beads.amplitude * state.amplitude, sigma=sigma)

    def bead_width(self, state: FitState) -> float:
        """Median width of the beads as the images show them, A."""
        return float(self.bright_beads(state).sigma.median())

    def noise(self, spectrum: Float[Tensor, "group shell"]) -> Noise:
        """The noise of the images with this spectrum."""
        return Noise(spectrum, self.images.group, self.images.stack.premultiplied)

    def whitened(self, index: Int[Tensor, "batch"], disc: FourierDisc, noise: Noise,
                 ) -> tuple[Float[Tensor, "batch frequency"], Float[Tensor, "batch 2 frequency"]]:
        """Transfer function and data of some images (see :meth:`Noise.whiten`)."""
        return noise.whiten(self.images.coefficients(index, disc), self.images.stack.ctf[index], index, disc=disc)

    def batches(self, disc: FourierDisc, index: Int[Tensor, "image"] | None = None) -> tuple[Int[Tensor, "batch"], ...]:
        """All images, or those given, in runs whose arrays fit into the processor's and the machine's memory."""
        waves = 10 * len(self.deformation.members.bead) * (disc.reach + 1)
        fields = 16 * self.deformation.n_segments * (2 * len(disc) + (disc.reach + 1) ** 2)
        size = max(1, min(64, BATCH_BYTES // (4 * (waves + fields))))
        return (torch.arange(len(self.images)) if index is None else index).split(size)

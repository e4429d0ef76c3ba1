"""What an amortised fit is trained on.

The encoder sees pixels; predictions are compared with coefficients.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...likelihood.image_likelihood import Comparison, compare
from ...likelihood.noise import Noise, noise_groups
from ...likelihood.restraints.segment_restraints import Restraints
from ...particles.stack.stack import ParticleStack
from ...physics.disc import FourierDisc
from ...physics.projection.project import project_beads
from ...structure.beads import BeadModel
from ..images.fourier_images import READ_AT_ONCE, FourierImages
from .gradient import WhitenedImages, whitened_images
from .scales import scales_at_base

LOSSES = ("correlation", "likelihood")
CONTRAST_SD = 0.2  # of the images about 1, where the loss is a likelihood


@dataclass(frozen=True, eq=False)
class VaeData:
    """What the autoencoder is trained on: one image a particle.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    left_out : (image,)
        Which have no weight: they stand out from the others.
    pixels : (image, pixel)
        As they are, but for the mean and standard deviation of the set: what the encoder sees; 0 of
        images that are left out.
    images : WhitenedImages
        What predictions are compared with, under flat noise of spectrum 1.
    disc : FourierDisc
        The frequencies that are compared.
    beads : BeadModel
        The base model, as bright as the images.
    noise : Noise
        As the base model leaves it.
    loss : str
        One of :data:`LOSSES`.
    restraints : Restraints or None
        What holds a conformation together; segments hold themselves.
    """

    stack: ParticleStack
    left_out: Bool[Tensor, "image"]
    pixels: Float[Tensor, "image pixel"]
    images: WhitenedImages
    disc: FourierDisc
    beads: BeadModel
    noise: Noise
    loss: str
    restraints: Restraints | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def loss_of(
        self, index: Int[Tensor, "batch"], position: Float[Tensor, "batch bead 3"]
    ) -> Float[Tensor, "batch"]:
        """Minus the correlation of each image with its prediction, or its log-likelihood.

        The correlation is equation 7 of Ducrocq et al. (2025).
        """
        if self.loss == "likelihood":
            return -self.log_likelihood(index, position)
        return -self._compare(self.images[index], position).correlation()

    def log_likelihood(
        self, index: Int[Tensor, "batch"], position: Float[Tensor, "batch bead 3"]
    ) -> Float[Tensor, "batch"]:
        """Log-likelihood of images with beads at these positions (A), at likeliest contrasts."""
        images, noise = self.images[index], self.noise
        root = noise.spectrum[noise.group[index]][:, self.disc.shell].rsqrt()
        whitened = replace(images, transfer=images.transfer * root, data=images.data * root)
        return self._compare(whitened, position).log_likelihood(CONTRAST_SD)

    def strain_of(self, position: Float[Tensor, "batch bead 3"]) -> Float[Tensor, "batch"]:
        """Strain of each conformation, nats."""
        return (
            position.new_zeros(len(position))
            if self.restraints is None
            else self.restraints.strain(position)
        )

    def _compare(
        self, images: WhitenedImages, position: Float[Tensor, "batch bead 3"]
    ) -> Comparison:
        seen = project_beads(
            images.pose.apply(position), self.beads.amplitude, self.beads.sigma, self.disc.grid
        )
        return compare(seen, images.transfer, images.data, disc=self.disc)

    @property
    def nat(self) -> float:
        """What a nat of what is known before weighs.

        One over the pixels of an image beside the correlation, which is a mean over pixels; one
        beside the likelihood, a sum.
        """
        return 1 / self.pixels.shape[1] if self.loss == "correlation" else 1.0


def read_data(
    images: FourierImages,
    beads: BeadModel,
    *,
    loss: str,
    restraints: Restraints | None = None,
) -> VaeData:
    """Images, which have been screened, for the encoder and for the loss.

    They come with the scales that they share with the base model.
    """
    # an image is a particle here, and particles are in order
    order = torch.argsort(images.stack.particle)
    particles, left_out, disc = images.stack[order], images.left_out[order], images.disc
    everything = torch.arange(len(particles))
    group = noise_groups(particles.optics_group, particles.tilt)
    flat = Noise(
        torch.ones(int(group.max()) + 1, int(disc.shell.max()) + 1),
        group,
        particles.premultiplied,
        left_out,
    )
    whitened = whitened_images(particles, flat, disc, everything)
    amplitude, noise = scales_at_base(
        whitened, group, beads=beads, disc=disc, premultiplied=particles.premultiplied
    )
    pixels = torch.cat([particles.read(some).flatten(1) for some in everything.split(READ_AT_ONCE)])
    counted = pixels[~left_out] if left_out.any() else pixels
    pixels = (pixels - counted.mean()) / counted.std()
    pixels[left_out] = 0.0
    return VaeData(
        particles,
        left_out,
        pixels,
        whitened,
        disc,
        beads.bright(amplitude),
        noise,
        loss,
        restraints,
    )

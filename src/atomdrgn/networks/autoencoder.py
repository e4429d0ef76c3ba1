"""From images to conformations and back to images: encoder and decoder together, and what all
images share.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..physics.rotations import matrix_from_quaternion
from ..structure.beads import BeadModel
from ..structure.motion.motion import RigidMotion
from ..structure.segmentation import Segmentation
from .encoder_decoder import OFFSET_HIDDEN, ImageEncoder, MotionDecoder, OffsetDecoder
from .segment_posterior import SegmentPosterior

N_LATENT = 8  # Ducrocq et al., CryoSPHERE (2025), appendix B.2
SEGMENT_RATE = 10  # times the networks' rate, as there


class Autoencoder(nn.Module, ABC):
    """What training needs of a variational autoencoder: an encoder of images, and conformations of
    their latents.

    `encoder` and `decoder` are its networks, `position` (bead, 3) the base model's beads, A.
    """

    encoder: ImageEncoder
    decoder: nn.Module
    position: Tensor

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Tensor:
        """Standard Gaussian noise for a draw of what is believed of all images together."""

    @abstractmethod
    def mean(self) -> Tensor:
        """No noise: what is believed of all images together is read at its mean."""

    @abstractmethod
    def positions(
        self, latent: Float[Tensor, "batch latent"], noise: Tensor
    ) -> Float[Tensor, "batch bead 3"]:
        """The beads at some latents, under one draw of what all images share, A."""

    @abstractmethod
    def kl(self) -> Float[Tensor, ""]:
        """Divergence of what is believed of all images together from its prior, nats."""

    @abstractmethod
    def parameter_groups(self, rate: float) -> list[dict]:
        """Parameters with their learning rates, for an optimiser."""

    def _networks(self, rate):
        return {"params": [*self.encoder.parameters(), *self.decoder.parameters()], "lr": rate}


class MotionAutoencoder(Autoencoder):
    """A variational autoencoder whose decoder moves learned segments of a base model.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    segmentation : Segmentation
        Segments to start from.
    named : int
        The first so many of them are not learned (see :class:`SegmentPosterior`).
    n_pixels : int
        Of an image.
    generator : torch.Generator
        Draws the weights that one starts from.

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), figure 1.
    """

    def __init__(
        self,
        beads: BeadModel,
        segmentation: Segmentation,
        *,
        named: int,
        n_pixels: int,
        generator: torch.Generator,
    ):
        super().__init__()
        free = torch.nonzero(~segmentation.fixed)[:, 0]
        self.position = beads.position
        self.segments = SegmentPosterior(segmentation, named=named)
        self.encoder = ImageEncoder(n_pixels, N_LATENT, generator)
        self.decoder = MotionDecoder(N_LATENT, free, len(segmentation), generator)

    def draw(self, generator: torch.Generator) -> Float[Tensor, "3 learned"]:
        return self.segments.draw(generator)

    def mean(self) -> Float[Tensor, "3 learned"]:
        return torch.zeros_like(self.segments.place)

    def positions(
        self, latent: Float[Tensor, "batch latent"], noise: Float[Tensor, "3 learned"]
    ) -> Float[Tensor, "batch bead 3"]:
        return self.moved(self.decoder(latent), self.segments.membership(noise))

    def moved(
        self, motion: RigidMotion, membership: Float[Tensor, "bead segment"]
    ) -> Float[Tensor, "batch bead 3"]:
        """The beads under the decoder's motions, A."""
        return motion.apply(
            self.position, self.position.new_zeros(membership.shape[1], 3), weight=membership
        )

    def kl(self) -> Float[Tensor, ""]:
        return self.segments.kl()

    def parameter_groups(self, rate: float) -> list[dict]:
        return [
            self._networks(rate),
            {"params": list(self.segments.parameters()), "lr": SEGMENT_RATE * rate},
        ]


class OffsetAutoencoder(Autoencoder):
    """A variational autoencoder whose decoder moves every bead of a base model by itself.

    Images share nothing that is drawn.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    fixed : (bead,)
        Beads that do not move.
    n_pixels : int
        Of an image.
    generator : torch.Generator
        Draws the weights that one starts from.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), figure 2. The
    positions that all images share, fitted together with the offsets there, are the bias of the
    decoder's last layer here; a latent has one number there.
    """

    def __init__(
        self,
        beads: BeadModel,
        fixed: Bool[Tensor, "bead"],
        *,
        n_pixels: int,
        generator: torch.Generator,
    ):
        super().__init__()
        self.position = beads.position
        self.encoder = ImageEncoder(
            n_pixels, N_LATENT, generator, hidden=OFFSET_HIDDEN, residual=True
        )
        # at the prior: latents far out would tear the first molecules apart
        nn.init.zeros_(self.encoder.layers[-1].weight)
        self.decoder = OffsetDecoder(N_LATENT, torch.nonzero(~fixed)[:, 0], len(beads), generator)

    def draw(self, generator: torch.Generator) -> Float[Tensor, "0"]:
        return self.mean()

    def mean(self) -> Float[Tensor, "0"]:
        return torch.zeros(0)

    def positions(
        self, latent: Float[Tensor, "batch latent"], noise: Float[Tensor, "0"]
    ) -> Float[Tensor, "batch bead 3"]:
        return self.position + self.decoder(latent)

    def kl(self) -> Float[Tensor, ""]:
        return self.position.new_zeros(())

    def parameter_groups(self, rate: float) -> list[dict]:
        return [self._networks(rate)]


def about(motion: RigidMotion, centroid: Float[Tensor, "segment 3"]) -> RigidMotion:
    """Motions about the coordinate origin, told about each segment's centroid (A) instead: R x + t
    = R (x - c) + c + t'.
    """
    turned = (matrix_from_quaternion(motion.rotation) @ centroid[..., None])[..., 0]
    return RigidMotion(motion.rotation, motion.translation + turned - centroid)

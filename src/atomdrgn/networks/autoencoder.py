"""From images to conformations and back to images: encoder and decoder together.

What all images share is here as well.
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
    """What training needs of a variational autoencoder.

    It is an encoder of images, and conformations of their latents.

    Attributes
    ----------
    encoder : ImageEncoder
        From images to latents.
    decoder : nn.Module
        From latents to motions or offsets.
    position : (bead, 3)
        The base model's beads, A.
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

    def _networks(self, rate: float) -> dict:
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

    Examples
    --------
    >>> from atomdrgn import coarse_grain, make_segments, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> model = MotionAutoencoder(
    ...     beads, make_segments(beads, 2), named=0, n_pixels=256, generator=torch.Generator()
    ... )
    >>> model.positions(torch.zeros(4, N_LATENT), model.mean()).shape
    torch.Size([4, 24, 3])
    """

    decoder: MotionDecoder

    def __init__(
        self,
        beads: BeadModel,
        segmentation: Segmentation,
        *,
        named: int,
        n_pixels: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        free = torch.nonzero(~segmentation.fixed)[:, 0]
        self.position = beads.position
        self.segments = SegmentPosterior(segmentation, named=named)
        self.encoder = ImageEncoder(n_pixels, N_LATENT, generator)
        self.decoder = MotionDecoder(N_LATENT, free, len(segmentation), generator)

    def draw(self, generator: torch.Generator) -> Float[Tensor, "3 learned"]:
        """Standard Gaussian noise for a draw of the segments."""
        return self.segments.draw(generator)

    def mean(self) -> Float[Tensor, "3 learned"]:
        """No noise: the segments are read at their mean."""
        return torch.zeros_like(self.segments.place)

    def positions(
        self, latent: Float[Tensor, "batch latent"], noise: Float[Tensor, "3 learned"]
    ) -> Float[Tensor, "batch bead 3"]:
        """The beads at some latents, under one draw of the segments, A."""
        return self.moved(self.decoder(latent), self.segments.membership(noise))

    def moved(
        self, motion: RigidMotion, membership: Float[Tensor, "bead segment"]
    ) -> Float[Tensor, "batch bead 3"]:
        """The beads under the decoder's motions, A."""
        return motion.apply(
            self.position, self.position.new_zeros(membership.shape[1], 3), weight=membership
        )

    def kl(self) -> Float[Tensor, ""]:
        """Divergence of the segments' posterior from its prior, nats."""
        return self.segments.kl()

    def parameter_groups(self, rate: float) -> list[dict]:
        """Parameters of the networks, and those of the segments, which learn faster."""
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

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> beads = coarse_grain(read_structure("model.pdb"))
    >>> model = OffsetAutoencoder(
    ...     beads,
    ...     torch.zeros(len(beads), dtype=torch.bool),
    ...     n_pixels=256,
    ...     generator=torch.Generator(),
    ... )
    >>> model.positions(torch.zeros(4, N_LATENT), model.mean()).shape
    torch.Size([4, 24, 3])
    """

    decoder: OffsetDecoder

    def __init__(
        self,
        beads: BeadModel,
        fixed: Bool[Tensor, "bead"],
        *,
        n_pixels: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.position = beads.position
        self.encoder = ImageEncoder(
            n_pixels, N_LATENT, generator, hidden=OFFSET_HIDDEN, residual=True
        )
        # at the prior: latents far out would tear the first molecules apart
        nn.init.zeros_(self.encoder.layers[-1].get_parameter("weight"))
        self.decoder = OffsetDecoder(N_LATENT, torch.nonzero(~fixed)[:, 0], len(beads), generator)

    def draw(self, generator: torch.Generator) -> Float[Tensor, "0"]:
        """Nothing: images share nothing that is drawn."""
        return self.mean()

    def mean(self) -> Float[Tensor, "0"]:
        """Nothing: images share nothing that is drawn."""
        return torch.zeros(0)

    def positions(
        self, latent: Float[Tensor, "batch latent"], noise: Float[Tensor, "0"]
    ) -> Float[Tensor, "batch bead 3"]:
        """The beads at some latents, A."""
        return self.position + self.decoder(latent)

    def kl(self) -> Float[Tensor, ""]:
        """Zero: images share nothing that is drawn."""
        return self.position.new_zeros(())

    def parameter_groups(self, rate: float) -> list[dict]:
        """Parameters of the networks with their learning rate."""
        return [self._networks(rate)]


def about(motion: RigidMotion, centroid: Float[Tensor, "segment 3"]) -> RigidMotion:
    """Motions about the coordinate origin, told about each segment's centroid instead.

    R x + t = R (x - c) + c + t'.

    Parameters
    ----------
    motion : RigidMotion
        (*batch, segment) about the coordinate origin.
    centroid : (segment, 3)
        A.

    Returns
    -------
    RigidMotion

    Examples
    --------
    >>> half_turn = RigidMotion(torch.tensor([[0.0, 0.0, 0.0, 1.0]]), torch.zeros(1, 3))
    >>> about(half_turn, torch.tensor([[1.0, 0.0, 0.0]])).translation
    tensor([[-2.,  0.,  0.]])
    """
    turned = (matrix_from_quaternion(motion.rotation) @ centroid[..., None])[..., 0]
    return RigidMotion(motion.rotation, motion.translation + turned - centroid)

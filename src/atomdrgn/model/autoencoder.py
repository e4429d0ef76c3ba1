"""From images to conformations and back to images: encoder, decoder and learned segments together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..physics.rotations import matrix_from_quaternion
from ..structure.beads import BeadModel
from ..structure.motion import RigidMotion
from ..structure.segmentation import Segmentation
from .networks import ImageEncoder, MotionDecoder
from .segments import SegmentPosterior

N_LATENT = 8      # Ducrocq et al., CryoSPHERE (2025), appendix B.2


class MotionAutoencoder(nn.Module):
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

    def __init__(self, beads: BeadModel, segmentation: Segmentation, *, named: int, n_pixels: int, generator: torch.Generator):
        super().__init__()
        free = torch.nonzero(~segmentation.fixed)[:, 0]
        self.position = beads.position
        self.segments = SegmentPosterior(segmentation, named=named)
        self.encoder = ImageEncoder(n_pixels, N_LATENT, generator)
        self.decoder = MotionDecoder(N_LATENT, free, len(segmentation), generator)

    def positions(self, motion: RigidMotion, membership: Float[Tensor, "bead segment"]) -> Float[Tensor, "batch bead 3"]:
        """The beads under the decoder's motions, A."""
        return motion.apply(self.position, self.position.new_zeros(membership.shape[1], 3), weight=membership)


def about(motion: RigidMotion, centroid: Float[Tensor, "segment 3"]) -> RigidMotion:
    """Motions about the coordinate origin, told about each segment's centroid (A) instead: R x + t = R (x - c) + c + t'."""
    turned = (matrix_from_quaternion(motion.rotation) @ centroid[..., None])[..., 0]
    return RigidMotion(motion.rotation, motion.translation + turned - centroid)

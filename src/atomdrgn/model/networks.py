"""Networks: from an image to a latent, and from a latent to the motions of segments."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..structure.motion import RigidMotion

# Ducrocq et al., CryoSPHERE (2025), appendix B.2
ENCODER_HIDDEN, DECODER_HIDDEN = (512, 256, 64, 64), (512, 512)


class ImageEncoder(nn.Module):
    """A Gaussian posterior of the latent of each image, from its pixels alone.

    Parameters
    ----------
    n_pixels, n_latent : int
        What goes in and comes out.
    generator : torch.Generator
        Draws the weights that one starts from.
    hidden : sequence of int
        Widths of the hidden layers.

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), section 3.5; the image's pose is not seen.
    """

    def __init__(self, n_pixels: int, n_latent: int, generator: torch.Generator, *, hidden: Sequence[int] = ENCODER_HIDDEN):
        super().__init__()
        self.layers = perceptron([n_pixels, *hidden, 2 * n_latent], generator)

    def forward(self, pixels: Float[Tensor, "batch pixel"],
                ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean, and logarithm of the standard deviation, of each image's latent."""
        mean, log_sd = self.layers(pixels).chunk(2, -1)
        return mean, log_sd


class MotionDecoder(nn.Module):
    """A quaternion and a shift of each segment from a latent, about the coordinate origin: x -> R x + t.

    It starts with no motion at any latent. Fixed segments never move.

    Parameters
    ----------
    n_latent : int
        Of the latent.
    free : (free,) int
        The segments that move.
    n_segments : int
        All of them.
    generator : torch.Generator
        Draws the weights that one starts from.
    hidden : sequence of int
        Widths of the hidden layers.

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), section 3.4. Where segments meet, moved copies are blended here; there, rotations by a
    part of the angle follow each other. Quaternions are normalised.
    """

    def __init__(self, n_latent: int, free: Int[Tensor, "free"], n_segments: int, generator: torch.Generator, *,
                 hidden: Sequence[int] = DECODER_HIDDEN):
        super().__init__()
        self.free, self.n_segments = free, n_segments
        self.layers = perceptron([n_latent, *hidden, 7 * len(free)], generator)
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, latent: Float[Tensor, "batch latent"]) -> RigidMotion:
        """The motion of each segment, (batch, segment)."""
        number = self.layers(latent).unflatten(-1, (-1, 7))
        quaternion = number[..., :4] + _NO_TURN
        quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
        rotation = _NO_TURN.expand(len(latent), self.n_segments, 4).index_copy(1, self.free, quaternion)
        translation = latent.new_zeros(len(latent), self.n_segments, 3).index_copy(1, self.free, number[..., 4:])
        return RigidMotion(rotation, translation)


_NO_TURN = torch.tensor([1.0, 0.0, 0.0, 0.0])


def perceptron(widths: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """Fully connected layers with rectifiers between them; weights of He et al. (2015), biases of zero.

    Parameters
    ----------
    widths : sequence of int
        Of what goes in, of each hidden layer and of what comes out.
    generator : torch.Generator
        Draws the weights.
    """
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layer = nn.utils.skip_init(nn.Linear, n_in, n_out)      # its own start would draw from the global generator
        last = len(layers) == 2 * (len(widths) - 2)
        with torch.no_grad():
            layer.weight.normal_(0, math.sqrt((1 if last else 2) / n_in), generator=generator)
            layer.bias.zero_()
        layers += [layer] if last else [layer, nn.ReLU()]
    return nn.Sequential(*layers)

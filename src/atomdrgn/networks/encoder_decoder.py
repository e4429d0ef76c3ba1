"""Networks: from an image to a latent, and from a latent to motions or offsets.

Motions are of segments, offsets are of beads.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..structure.motion.motion import RigidMotion

# Ducrocq et al., CryoSPHERE (2025), appendix B.2
ENCODER_HIDDEN, DECODER_HIDDEN = (512, 256, 64, 64), (512, 512)
# Zhong et al., Exploring generative atomic models (2021), section 4: of the encoder and of the
# decoder, with residual connections
OFFSET_HIDDEN = (256, 256, 256)


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
    residual : bool
        See :func:`perceptron`.

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), section 3.5; the image's pose is not seen.

    Examples
    --------
    >>> mean, log_sd = ImageEncoder(256, 8, torch.Generator())(torch.zeros(4, 256))
    >>> mean.shape, log_sd.shape
    (torch.Size([4, 8]), torch.Size([4, 8]))
    """

    def __init__(
        self,
        n_pixels: int,
        n_latent: int,
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = ENCODER_HIDDEN,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.layers = perceptron([n_pixels, *hidden, 2 * n_latent], generator, residual=residual)

    def forward(
        self,
        pixels: Float[Tensor, "batch pixel"],
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean, and logarithm of the standard deviation, of each image's latent."""
        mean, log_sd = self.layers(pixels).chunk(2, -1)
        return mean, log_sd


class MotionDecoder(nn.Module):
    """A quaternion and a shift of each segment from a latent, about the coordinate origin.

    A point x goes to R x + t.

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
    Ducrocq et al., CryoSPHERE (2025), section 3.4. Where segments meet, moved copies are blended
    here; there, rotations by a part of the angle follow each other. Quaternions are normalised.

    Examples
    --------
    >>> decoder = MotionDecoder(8, torch.tensor([1]), 2, torch.Generator())
    >>> decoder(torch.zeros(4, 8)).translation.abs().max().item()
    0.0
    """

    def __init__(
        self,
        n_latent: int,
        free: Int[Tensor, "free"],
        n_segments: int,
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = DECODER_HIDDEN,
    ) -> None:
        super().__init__()
        self.free, self.n_segments = free, n_segments
        self.layers = perceptron([n_latent, *hidden, 7 * len(free)], generator)
        nn.init.zeros_(self.layers[-1].get_parameter("weight"))

    def forward(self, latent: Float[Tensor, "batch latent"]) -> RigidMotion:
        """The motion of each segment, (batch, segment)."""
        number = self.layers(latent).unflatten(-1, (-1, 7))
        quaternion = number[..., :4] + _NO_TURN
        quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
        rotation = _NO_TURN.expand(len(latent), self.n_segments, 4).index_copy(
            1, self.free, quaternion
        )
        translation = latent.new_zeros(len(latent), self.n_segments, 3).index_copy(
            1, self.free, number[..., 4:]
        )
        return RigidMotion(rotation, translation)


_NO_TURN = torch.tensor([1.0, 0.0, 0.0, 0.0])


class OffsetDecoder(nn.Module):
    """An offset of each bead from a latent, A.

    There are hidden features of the latent, in which the offsets are linear.

    It starts with no offset at any latent. Fixed beads never move.

    Parameters
    ----------
    n_latent : int
        Of the latent.
    free : (free,) int
        The beads that move.
    n_beads : int
        All of them.
    generator : torch.Generator
        Draws the weights that one starts from.
    hidden : sequence of int
        Widths of the hidden layers.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), sections 3
    and 4.

    Examples
    --------
    >>> decoder = OffsetDecoder(8, torch.arange(5), 6, torch.Generator())
    >>> decoder(torch.zeros(4, 8)).shape
    torch.Size([4, 6, 3])
    """

    def __init__(
        self,
        n_latent: int,
        free: Int[Tensor, "free"],
        n_beads: int,
        generator: torch.Generator,
        *,
        hidden: Sequence[int] = OFFSET_HIDDEN,
    ) -> None:
        super().__init__()
        self.free, self.n_beads = free, n_beads
        self.layers = perceptron([n_latent, *hidden, 3 * len(free)], generator, residual=True)
        nn.init.zeros_(self.layers[-1].get_parameter("weight"))

    def forward(self, latent: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch bead 3"]:
        """The offset of each bead, A."""
        return self._of_all(self.layers(latent))

    def features(self, latent: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch feature"]:
        """What the offsets are linear in."""
        return self.layers[:-1](latent)

    def linear(self) -> tuple[Float[Tensor, "feature bead 3"], Float[Tensor, "bead 3"]]:
        """Offsets of all beads by one of each feature, and where all features are zero, A."""
        weight, bias = (self.layers[-1].get_parameter(name) for name in ("weight", "bias"))
        return self._of_all(weight.T), self._of_all(bias[None])[0]

    def _of_all(self, number: Float[Tensor, "batch number"]) -> Float[Tensor, "batch bead 3"]:
        return number.new_zeros(len(number), self.n_beads, 3).index_copy(
            1, self.free, number.unflatten(-1, (-1, 3))
        )


def perceptron(
    widths: Sequence[int], generator: torch.Generator, *, residual: bool = False
) -> nn.Sequential:
    """Fully connected layers with rectifiers between them.

    Weights are those of He et al. (2015), biases are zero.

    Parameters
    ----------
    widths : sequence of int
        Of what goes in, of each hidden layer and of what comes out.
    generator : torch.Generator
        Draws the weights.
    residual : bool
        Layers between two of one width add to what passes, in place of replacing it.

    Returns
    -------
    nn.Sequential

    Examples
    --------
    >>> perceptron([3, 5, 2], torch.Generator())
    Sequential(
      (0): Linear(in_features=3, out_features=5, bias=True)
      (1): ReLU()
      (2): Linear(in_features=5, out_features=2, bias=True)
    )
    """
    layers: list[nn.Module] = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        # its own start would draw from the global generator
        layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
        last = len(layers) == 2 * (len(widths) - 2)
        with torch.no_grad():
            layer.weight.normal_(0, math.sqrt((1 if last else 2) / n_in), generator=generator)
            layer.bias.zero_()
        layers += (
            [layer] if last else [_Added(layer) if residual and n_in == n_out else layer, nn.ReLU()]
        )
    return nn.Sequential(*layers)


class _Added(nn.Module):
    """A layer that adds to what passes."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """What passes, with the layer's value added."""
        return x + self.layer(x)

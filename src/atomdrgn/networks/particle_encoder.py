"""From the images of a particle to its latent.

There is a network for each image, a pool over the images, and a network for the particle.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .encoder_decoder import perceptron
from .pooling import Pooling

HIDDEN_A, HIDDEN_B = (256, 256), (256,)
# Powell & Davis, TomoDRGN (2024), methods: of the embedding between A and B
INTERMEDIATE = 128
FIRST_SD = 0.1  # of posteriors at the start, where the prior has 1


class ParticleEncoder(nn.Module):
    """A Gaussian posterior of each particle's latent from all its images.

    Encoder A is followed by a pool and encoder B.

    Parameters
    ----------
    n_input, n_latent : int
        Numbers that are known of an image, and numbers of a latent.
    pooling : Pooling
        Over the images of a particle.
    generator : torch.Generator
        Draws the weights that one starts from.

    References
    ----------
    Powell & Davis, TomoDRGN (2024), methods, "General architecture". Particles may have different
    numbers of images: those that are missing are masked, where there every particle is cut down to
    the smallest number.

    Examples
    --------
    >>> from atomdrgn.networks.pooling import make_pooling
    >>> pooling = make_pooling("mean", INTERMEDIATE, 3, torch.Generator())
    >>> encoder = ParticleEncoder(20, 4, pooling, torch.Generator())
    >>> mean, log_sd = encoder(torch.zeros(2, 3, 20), torch.ones(2, 3, dtype=torch.bool))
    >>> mean.shape
    torch.Size([2, 4])
    """

    def __init__(
        self, n_input: int, n_latent: int, pooling: Pooling, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.a = perceptron([n_input, *HIDDEN_A, INTERMEDIATE], generator)
        self.b = perceptron([pooling.n_out, *HIDDEN_B, 2 * n_latent], generator)
        with torch.no_grad():
            self.b[-1].get_parameter("weight")[n_latent:] *= 0.1
            self.b[-1].get_parameter("bias")[n_latent:] = torch.tensor(FIRST_SD).log()

    def forward(
        self,
        image: Float[Tensor, "particle tilt input"],
        there: Bool[Tensor, "particle tilt"],
    ) -> tuple[Float[Tensor, "particle latent"], Float[Tensor, "particle latent"]]:
        """Mean, and logarithm of the standard deviation, of each particle's latent.

        Parameters
        ----------
        image : (particle, tilt, input)
            What is known of each image; of those that are not there any numbers.
        there : (particle, tilt)
            Which images there are; at least one of each particle.
        """
        mean, log_sd = self.b(torch.relu(self.pooling(self.a(image), there))).chunk(2, -1)
        return mean, log_sd

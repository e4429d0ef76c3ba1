"""How well images that are differentiable in their beads agree with the data.

It is for fits by gradient, with one value an image.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..physics.disc import FourierDisc
from ..physics.fourier import inverse_transform, transform
from ..physics.record import Record


@dataclass(frozen=True)
class Comparison(Record):
    """Inner products of an image's prediction and its data, whitened.

    Any likelihood of the image is made of these alone.

    Parameters
    ----------
    prediction2, prediction_data, data2 : (*batch,)
        Prediction with itself, with the data; data with itself.
    """

    prediction2: Float[Tensor, "*batch"]
    prediction_data: Float[Tensor, "*batch"]
    data2: Float[Tensor, "*batch"]

    def log_likelihood(self, contrast_sd: float) -> Float[Tensor, "*batch"]:
        """Log-likelihood of Gaussian noise.

        It is at each image's likeliest contrast under the prior N(1, contrast_sd^2), up to the
        noise's constant.

        With a standard deviation of 0 every contrast is 1.

        References
        ----------
        Ducrocq et al., CryoSPHERE (2025), section 3.2: N(image; prediction, sigma^2). Zhong et al.,
        Exploring generative atomic models in cryo-EM reconstruction (2021), equation 3: its
        squares.
        """
        left = self.data2 - 2 * self.prediction_data + self.prediction2
        # at contrast c the misfit is data2 - 2 c cross + c^2 power, with (c - 1)^2 / sd^2 added;
        # this is its least value
        gain = (
            contrast_sd**2
            * (self.prediction_data - self.prediction2) ** 2
            / (1 + contrast_sd**2 * self.prediction2)
        )
        return -0.5 * (left - gain)

    def correlation(self) -> Float[Tensor, "*batch"]:
        """Correlation of prediction and data, whatever the scale of either.

        Minus it is a loss for images of unknown preprocessing.

        References
        ----------
        Ducrocq et al., CryoSPHERE (2025), equation 7.
        """
        return self.prediction_data / (self.prediction2 * self.data2).sqrt()


def compare(
    image: Float[Tensor, "batch box box"],
    transfer: Float[Tensor, "batch frequency"],
    data: Complex[Tensor, "batch frequency"],
    *,
    disc: FourierDisc,
) -> Comparison:
    """Images before the lens against measured ones, differentiable in the images.

    Value and gradient take one Fourier transform of real images each.

    Parameters
    ----------
    image : (batch, box, box)
        Projections, as :func:`~atomdrgn.physics.projection.project.project_beads` makes them.
    transfer : (batch, frequency)
        What their coefficients are multiplied by: the CTF over the noise's amplitude, with the root
        of the multiplicity (see :meth:`~atomdrgn.likelihood.noise.Noise.whiten`).
    data : (batch, frequency)
        Whitened coefficients of the measured images.
    disc : FourierDisc
        The frequencies that count.
    """
    prediction2, prediction_data = _Products.apply(image, transfer, data, disc)
    return Comparison(prediction2, prediction_data, torch.view_as_real(data).square().sum((1, 2)))


class _Products(torch.autograd.Function):
    """Inner products of the filtered prediction with itself and with the data.

    Their gradient leads to the image.
    """

    @staticmethod
    def forward(
        ctx: Any,
        image: Float[Tensor, "batch box box"],
        transfer: Float[Tensor, "batch frequency"],
        data: Complex[Tensor, "batch frequency"],
        disc: FourierDisc,
    ) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
        place = _places(disc, image.device).expand(len(image), -1)
        # gather and scatter take a fifth of the time of indexing
        prediction = transform(image).flatten(1).gather(1, place) * (transfer / disc.grid.box_size)
        ctx.disc = disc
        ctx.save_for_backward(prediction, transfer, data)
        return _dot(prediction, prediction), _dot(prediction, data)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_power: Float[Tensor, "batch"], by_cross: Float[Tensor, "batch"]
    ) -> tuple[Tensor, None, None, None]:
        prediction, transfer, data = ctx.saved_tensors
        box_size = ctx.disc.grid.box_size
        # a coefficient that stands for two is met twice by the inverse transform
        back = transfer * (box_size / ctx.disc.multiplicity)
        slope = (torch.addcmul(by_cross[:, None] * data, prediction, 2 * by_power[:, None])) * back
        plane = slope.new_zeros(len(slope), box_size * (box_size // 2 + 1))
        plane.scatter_(1, _places(ctx.disc, slope.device).expand(len(slope), -1), slope)
        return inverse_transform(plane.unflatten(1, (box_size, -1)), box_size), None, None, None


def _places(disc: FourierDisc, device: torch.device) -> Int[Tensor, "frequency"]:
    """Places of the disc's coefficients in a flattened half-plane."""
    box_size = disc.grid.box_size
    return (disc.y_index % box_size * (box_size // 2 + 1) + disc.x_index).to(device)


def _dot(
    first: Complex[Tensor, "batch frequency"], second: Complex[Tensor, "batch frequency"]
) -> Float[Tensor, "batch"]:
    """(batch,): sums of products of real and of imaginary parts."""
    first, second = torch.view_as_real(first).flatten(1), torch.view_as_real(second).flatten(1)
    return (first[:, None] @ second[..., None])[:, 0, 0]

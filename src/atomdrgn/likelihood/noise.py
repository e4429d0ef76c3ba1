"""The noise of the images: its spectrum, and how image and prediction are whitened by it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..devices import moved
from ..physics.ctf import CTF
from ..physics.disc import FourierDisc

# Where a premultiplied image is divided by its CTF again, coefficients with a smaller |CTF| are
# left out: they hold next to no signal, and a small error of the defocus would blow them up.
SMALLEST_CTF = 0.1


@dataclass(frozen=True)
class Noise:
    """Noise power of each group of images (an optics group at a tilt) and ring of frequencies.

    Parameters
    ----------
    spectrum : (group, shell)
        Variance of a Fourier coefficient, scaled as on a :class:`FourierDisc`.
    group : (image,)
        Which spectrum is an image's.
    premultiplied : (image,)
        True where the image was multiplied by its CTF, noise and all.
    left_out : (image,), optional
        True where the image counts for nothing.
    """

    spectrum: Float[Tensor, "group shell"]
    group: Int[Tensor, "image"]
    premultiplied: Tensor
    left_out: Tensor | None = None

    def whiten(
        self,
        coefficient: Float[Tensor, "batch 2 frequency"],
        ctf: CTF,
        index: Int[Tensor, "batch"],
        *,
        disc: FourierDisc,
    ) -> tuple[Float[Tensor, "batch frequency"], Float[Tensor, "batch 2 frequency"]]:
        """Factor for a prediction, and the image, so that they differ by white noise of variance 1.

        Sums over the disc then stand for sums over the whole Fourier plane: each term holds the
        root of its multiplicity. An image that was premultiplied is divided by its CTF first, which
        leaves noise of the radial spectrum. Of an image that is left out, transfer function and
        data are zero: it adds nothing to any sum, and no coefficient of it is counted.

        Parameters
        ----------
        coefficient : (batch, 2, frequency)
            Of the images.
        ctf : CTF
            Of the images, (batch,).
        index : (batch,)
            Which images of the set these are.
        disc : FourierDisc
            Of the coefficients.

        Returns
        -------
        transfer : (batch, frequency)
        data : (batch, 2, frequency)
        """
        device = coefficient.device
        ctf, premultiplied = moved((ctf, self.premultiplied[index]), device)
        oscillation = ctf.oscillation(disc.kx, disc.ky)
        root = (disc.multiplicity / self.spectrum[self.group[index]][:, disc.shell]).sqrt()
        undo = premultiplied[:, None]
        held = ~undo | (oscillation.abs() > SMALLEST_CTF)
        if self.left_out is not None:
            held = held & ~self.left_out[index].to(device)[:, None]
        root = root * held
        divisor = torch.where(undo & held, oscillation, 1.0)
        return oscillation * ctf.envelope(disc.kx, disc.ky) * root, coefficient * (root / divisor)[
            :, None
        ]


def noise_groups(
    optics_group: Int[Tensor, "image"], tilt: Int[Tensor, "image"]
) -> Int[Tensor, "image"]:
    """Number of the noise spectrum that each image has.

    There is one for each optics group and tilt that occurs.
    """
    return torch.unique(torch.stack([optics_group, tilt], 1), dim=0, return_inverse=True)[1]

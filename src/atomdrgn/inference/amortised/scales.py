"""Brightness and noise as the base structure shows them, for fits by gradient.

That is before anything has moved.
"""

import torch
from torch import Tensor

from ...likelihood.noise import Noise
from ...physics.disc import FourierDisc
from ...physics.projection.project import project_beads
from ...structure.beads import BeadModel
from ..problem.calibration import IMAGES_MEASURED, sum_by_shell
from .gradient import WhitenedImages

COARSE = 30.0  # A: what is coarser tells brightness, whatever moved
AT_ONCE = 64  # images


def scales_at_base(
    images: WhitenedImages,
    group: Tensor,
    *,
    beads: BeadModel,
    disc: FourierDisc,
    premultiplied: Tensor,
) -> tuple[float, Noise]:
    """The beads' amplitude and the noise of the images, measured on the first images of a set.

    Parameters
    ----------
    images : WhitenedImages
        Of flat noise, spectrum 1.
    group : (image,)
        Noise group of each.
    beads : BeadModel
        The base model.
    disc : FourierDisc
        Of the images.
    premultiplied : (image,)
        For :class:`Noise`.
    """
    step = max(1, len(images) // IMAGES_MEASURED)

    def compared(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        some = images[index]
        image = project_beads(
            some.pose.apply(beads.position), beads.amplitude, beads.sigma, disc.grid
        )
        data, prediction = (
            torch.view_as_real(x).movedim(-1, 1)
            for x in (some.data, disc.coefficients(image) * some.transfer)
        )
        return some.transfer, data, prediction

    sums = sum_by_shell(
        compared, torch.arange(0, len(images), step).split(AT_ONCE), group=group, disc=disc
    )
    cross, power = sums.prediction_data.sum(0), sums.prediction2.sum(0)
    spectrum = sums.noise(sums.gain)
    weight = (torch.arange(len(cross)) + 1 <= disc.grid.extent / COARSE) / spectrum.mean(0)
    return float((weight * cross).sum() / (weight * power).sum()), Noise(
        spectrum, group, premultiplied
    )

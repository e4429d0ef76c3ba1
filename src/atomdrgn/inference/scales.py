"""Brightness and noise as the base structure shows them: for fits by gradient, before anything has moved."""

from dataclasses import replace

import torch
from torch import Tensor

from ..likelihood.noise import Noise
from ..parallel import in_order
from ..physics.disc import FourierDisc
from ..physics.projection import project_beads
from ..structure.beads import BeadModel
from .calibration import IMAGES_MEASURED, ShellSums
from .gradient import WhitenedImages

COARSE = 30.0            # A: what is coarser tells brightness, whatever moved
AT_ONCE = 64             # images


def scales_at_base(images: WhitenedImages, group: Tensor, *, beads: BeadModel, disc: FourierDisc,
                   premultiplied: Tensor) -> tuple[float, Noise]:
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
    n_groups, n_shells = int(group.max()) + 1, int(disc.shell.max()) + 1
    step = max(1, len(images) // IMAGES_MEASURED)

    def of_batch(index):
        some = images[index]
        image = project_beads(some.pose.apply(beads.position), beads.amplitude, beads.sigma, disc.grid)
        prediction, data = (torch.view_as_real(x) for x in (disc.coefficients(image) * some.transfer, some.data))
        held = (some.transfer != 0) * disc.multiplicity
        terms = (held, data.square().sum(-1), (prediction * data).sum(-1), prediction.square().sum(-1))
        return index, [term.new_zeros(len(index), n_shells).index_add_(1, disc.shell, term) for term in terms]

    sums = [torch.zeros(n_groups, n_shells) for _ in range(4)]
    for index, terms in in_order(of_batch, torch.arange(0, len(images), step).split(AT_ONCE)):
        for total, term in zip(sums, terms, strict=True):
            total.index_add_(0, group[index], term)
    measured = ShellSums(*sums, torch.zeros(n_groups, n_shells), torch.zeros(n_groups, n_shells))
    cross, power = measured.prediction_data.sum(0), measured.prediction2.sum(0)
    spectrum = measured.noise((cross / power.clamp_min(1e-20)).clamp_min(0))
    weight = (torch.arange(n_shells) + 1 <= disc.grid.extent / COARSE) / spectrum.mean(0)
    return float((weight * cross).sum() / (weight * power).sum()), Noise(spectrum, group, premultiplied)


def bright(beads: BeadModel, amplitude: float) -> BeadModel:
    """The beads as bright as images show them."""
    return replace(beads, amplitude=beads.amplitude * amplitude)

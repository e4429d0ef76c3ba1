"""Which images stand out from their set: spoilt ones, which no sum over images may see, and ramps of brightness, which come off.

A single image with a hot pixel, or one that was not normalised, can outweigh all others in the noise and brightness that they
share. Images are compared with those of their own noise group, because groups, tilts and doses differ in power.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import InputError
from ..physics.record import Record

# An image stands out where it is both far beyond the spread of its group (robust standard deviations) and different enough to
# matter. Of 10^4 images of white noise the largest pixel is 1.5 times the usual one, of real particles 1.7 times; junk among
# particles has 1.3 times their power.
DEVIATIONS, FACTOR = 8.0, 3.0
LEAST_SPREAD = 0.02             # of a logarithm: images that are all alike differ by rounding
FEWEST_COMPARED = 20            # images of a group; smaller ones are compared with all of their tilt, or of the set
FEWEST = 8                      # images of a set: fewer have no usual power
# A ramp is taken out of an image where its r.m.s. is this much of the image's: low frequencies of real images look like ramps of
# up to 0.21. Out of all images of a group it is taken where what is common to them is this much and so many standard errors:
# real sets have 0.002. Ramps of 0.06 that all images share cost 3 % of what they tell, ramps of 0.17 cost 18 %.
STEEP, STEEP_ERRORS = 0.3, 5.0
COMMON, COMMON_ERRORS = 0.015, 8.0
# Standard deviations of pixels whose squares and sums stay within single precision, with what a fit makes of them.
SMALLEST_RMS, LARGEST_RMS = 1e-8, 1e12


@dataclass(frozen=True)
class Figures(Record):
    """What images are judged by.

    Parameters
    ----------
    power : (image,)
        Mean square of the pixels about their mean.
    extreme : (image,)
        Distance of the farthest pixel from the mean, in units of the root of `power`.
    slope : (image, 2)
        Rise from the middle to the edge along x and y, fitted to the pixels outside the circle in the box.
    """

    power: Float[Tensor, "image"]
    extreme: Float[Tensor, "image"]
    slope: Float[Tensor, "image 2"]

    @property
    def rms(self) -> Float[Tensor, "image"]:
        """Of the pixels about their mean."""
        return self.power.sqrt()


def figures_of(images: Float[Tensor, "image box box"]) -> Figures:
    """Figures of some images, in double precision."""
    found = _figures(images)
    beyond = ~torch.isfinite(found.power + found.extreme + found.slope.sum(1)) | (found.power <= 0)
    if beyond.any():        # squares of such pixels do not fit into single precision
        again = _figures(images[beyond].double())
        for name in ("power", "extreme", "slope"):
            getattr(found, name)[beyond] = getattr(again, name)
    return found


def _figures(images):
    flat = images.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    power = flat.square().mean(1)
    slope = flat @ _slope_weights(images.shape[-1]).to(flat.dtype)
    return Figures(power.double(), (flat.abs().amax(1) / power.sqrt()).double(), slope.double())


def _coordinate(box) -> Float[Tensor, "box"]:
    """From -1 at one edge of the box to 1 at the other."""
    return torch.linspace(-1, 1, box)


def _slope_weights(box) -> Float[Tensor, "pixel 2"]:
    """What pixels are weighted by to give the slopes along x and y: outside the circle, where no particle is."""
    line = _coordinate(box)
    y, x = torch.meshgrid(line, line, indexing="ij")
    outside = (x.square() + y.square() > 1).float()
    along = torch.stack([x * outside, y * outside], -1).flatten(0, 1)
    return along / along.square().sum(0)


def ramp(slope: Float[Tensor, "image 2"], box: int) -> Float[Tensor, "image box box"]:
    """Planes of these slopes."""
    line, slope = _coordinate(box), slope.float()
    return slope[:, 0, None, None] * line + slope[:, 1, None, None] * line[:, None]


def find_ramps(figures: Figures, group: Int[Tensor, "image"], box: int) -> Float[Tensor, "image 2"]:
    """Slopes of the ramps that stand out, zero in all other images: one that a group shares, and what an image has beside it."""
    shared = torch.zeros_like(figures.slope)
    for number in group.unique():
        some = group == number
        if some.sum() >= FEWEST_COMPARED:
            shared[some] = _shared_ramp(figures[some])
    outside = int((_slope_weights(box)[:, 0] != 0).sum())
    left = figures.slope - shared
    steep = _share_of_ramp(left, figures) > max(STEEP, STEEP_ERRORS / math.sqrt(max(1, outside)))
    return torch.where(steep[:, None], figures.slope, shared)


def _shared_ramp(figures) -> Float[Tensor, "2"]:
    """The slope that images of a group have in common, or none where it does not stand out."""
    slope, rms = figures.slope.median(0).values, figures.rms.median()
    # standard error of a median
    error = 1.4826 * 1.2533 * (figures.slope - slope).abs().median(0).values / math.sqrt(len(figures.rms))
    clear = slope.norm() / math.sqrt(3) > COMMON * rms and (slope.abs() > COMMON_ERRORS * error).any()
    return slope if clear else torch.zeros_like(slope)


def _share_of_ramp(slope, figures):
    """R.m.s. of ramps over that of what is left of their images."""
    of_all, of_these = (each.square().sum(1) / 3 for each in (figures.slope, slope))
    return (of_these / (figures.power - of_all).maximum(0.01 * figures.power)).sqrt()


def stand_out(figures: Figures, *, group: Int[Tensor, "image"], tilt: Int[Tensor, "image"]) -> Bool[Tensor, "image"]:
    """Images whose power or farthest pixel is nothing like that of the others.

    Parameters
    ----------
    figures : Figures
        Without ramps.
    group : (image,)
        Noise group of each image.
    tilt : (image,)
        Its place in the tilt series.

    Raises
    ------
    InputError
        The usual pixels are so large or so small that their squares do not fit into single precision.
    """
    usual = float(figures.rms.median())
    if not SMALLEST_RMS < usual < LARGEST_RMS:
        raise InputError(f"the images' pixels vary by {usual:.1e} r.m.s., beyond what a fit can square and sum "
                         f"({SMALLEST_RMS:.0e} to {LARGEST_RMS:.0e}): scale the images to an r.m.s. of about 1")
    if len(group) < FEWEST:
        return torch.zeros(len(group), dtype=torch.bool)
    compared = _compared_with(group, tilt)
    power, extreme = figures.power.clamp_min(torch.finfo(torch.float64).tiny).log(), figures.extreme.log()
    return (_deviation(power, compared).abs() > 1) | (_deviation(extreme, compared) > 1)


def _compared_with(group, tilt) -> Int[Tensor, "image"]:
    """Number of the images that each is compared with: its group, all of its tilt, or the set."""
    of_tilt = torch.where(torch.bincount(tilt)[tilt] >= FEWEST_COMPARED, tilt + 1, 0)
    return torch.where(torch.bincount(group)[group] >= FEWEST_COMPARED, group + int(tilt.max()) + 2, of_tilt)


def _deviation(value, compared):
    """Distance of logarithms from the median of those that each is compared with, in units of what stands out."""
    result = torch.empty_like(value)
    for number in compared.unique():
        some = compared == number
        others = some if number else torch.ones_like(some)
        middle = value[others].median()
        spread = 1.4826 * (value[others] - middle).abs().median().clamp_min(LEAST_SPREAD)
        result[some] = (value[some] - middle) / (DEVIATIONS * spread).clamp_min(math.log(FACTOR))
    return result


def replaced(figures: Figures, index: Int[Tensor, "some"], by: Figures) -> Figures:
    """Figures with those of some images changed."""
    return replace(figures, **{name: getattr(figures, name).index_copy(0, index, getattr(by, name))
                               for name in ("power", "extreme", "slope")})

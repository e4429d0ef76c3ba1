"""Which images stand out from their set.

Spoilt ones, which no sum over images may see, are found, and what images can be freed of.

A single image with a hot pixel can outweigh all others in the noise and brightness that they share.
Images are compared with those of their own noise group, because groups, tilts and doses differ in
power.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...errors import InputError
from ...particles.stack.corrections import MEAN_SQUARE, TERMS, background_terms
from ...physics.record import Record

# An image stands out where it is both far beyond the spread of its group (robust standard
# deviations) and different enough to matter. Of 10^4 images of white noise the largest pixel is 1.5
# times the usual one, of real particles 1.7 times; junk among particles has 1.3 times their power.
DEVIATIONS, FACTOR = 8.0, 3.0
LEAST_SPREAD = 0.02  # of a logarithm: images that are all alike differ by rounding
# images of a group; smaller ones are compared with all of their tilt, or of the set
FEWEST_COMPARED = 20
FEWEST = 8  # images of a set: fewer have no usual power
# A ramp is taken out of an image where its r.m.s. is this much of the image's: low frequencies
# of real images look like ramps of up to 0.21. Out of all images of a group it is taken where
# what is common to them is this much and so many standard errors: real sets have ramps of
# 0.003 and curves of up to 0.03. Ramps of 0.06 that all images share cost 3 % of what they
# tell, ramps of 0.17 cost 18 %.
STEEP, STEEP_ERRORS = 0.3, 5.0
RAMP, CURVED = slice(0, 2), slice(2, TERMS)  # terms of a background
COMMON, COMMON_ERRORS = ((RAMP, 0.015), (CURVED, 0.08)), 8.0
# Standard deviations of pixels whose squares and sums stay within single precision, with what a fit
# makes of them.
SMALLEST_RMS, LARGEST_RMS = 1e-8, 1e12
# A pixel is faulty where its mean over all images differs from that of others at its distance from
# the middle by this much of the images' r.m.s. and so many robust standard deviations of such
# differences. No image adds more than LARGEST_SHARE r.m.s. to the mean. A column of which so much
# is faulty is faulty, and a row.
FAULTY, FAULTY_DEVIATIONS, LARGEST_SHARE, OF_A_LINE = 0.5, 8.0, 5.0, 0.7
LOOKS = 3  # each without what the one before has found
# square of the mean rotation's first two rows, 2 at most: beyond, images are turned alike
ALIGNED = 0.1


@dataclass(frozen=True)
class Figures(Record):
    """What images are judged by.

    Parameters
    ----------
    power : (image,)
        Mean square of the pixels about their mean.
    extreme : (image,)
        Distance of the farthest pixel from the mean, in units of the root of `power`.
    roughness : (image,)
        Mean square of differences between neighbours along x, in units of `power`: 2 for white
        noise.
    background : (image, term)
        Coefficients of the surface that fits the pixels outside the circle in the box
        (:func:`~atomdrgn.particles.stack.corrections.background_terms`).
    """

    power: Float[Tensor, "image"]
    extreme: Float[Tensor, "image"]
    roughness: Float[Tensor, "image"]
    background: Float[Tensor, "image term"]

    @property
    def rms(self) -> Float[Tensor, "image"]:
        """Of the pixels about their mean."""
        return self.power.sqrt()

    @classmethod
    def none(cls, images: int) -> "Figures":
        """Zeros for so many images, in double precision."""
        power, extreme, roughness = torch.zeros(3, images, dtype=torch.float64)
        background = torch.zeros(images, TERMS, dtype=torch.float64)
        return cls(power, extreme, roughness, background)

    def put(self, index: Int[Tensor, "some"], figures: "Figures") -> None:
        """Write those of some images in."""
        for each in fields(self):
            getattr(self, each.name)[index] = getattr(figures, each.name)


def figures_of(images: Float[Tensor, "image box box"]) -> Figures:
    """Figures of some images, in double precision."""
    found = _figures(images)
    beyond = ~torch.isfinite(
        found.power + found.extreme + found.roughness + found.background.sum(1)
    ) | (found.power <= 0)
    if beyond.any():  # squares of such pixels do not fit into single precision
        found.put(torch.nonzero(beyond)[:, 0], _figures(images[beyond].double()))
    return found


def _figures(images: Float[Tensor, "image box box"]) -> Figures:
    flat = images.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    power = flat.square().mean(1)
    step = images.diff(dim=-1).flatten(1)
    roughness = (step[:, None] @ step[..., None])[:, 0, 0] / step.shape[1] / power
    background = flat @ _background_weights(images.shape[-1]).to(flat.dtype)
    return Figures(
        power.double(),
        (flat.abs().amax(1) / power.sqrt()).double(),
        roughness.double(),
        background.double(),
    )


def _background_weights(box: int) -> Float[Tensor, "pixel term"]:
    """What pixels are weighted by to give the terms of a background.

    They are 0 inside the circle where the particle is.
    """
    outside = _outside(box)
    level = torch.cat([torch.ones(1, box * box), background_terms(box)])[:, outside].double()
    weight = torch.zeros(box * box, TERMS)
    weight[outside] = torch.linalg.pinv(level)[:, 1:].float()
    return weight


def _outside(box: int) -> Bool[Tensor, "pixel"]:
    """Which pixels are outside the circle in the box."""
    line = torch.linspace(-1, 1, box)
    return (line.square() + line[:, None].square()).flatten() > 1


def find_backgrounds(
    figures: Figures, group: Int[Tensor, "image"], box: int
) -> Float[Tensor, "image term"]:
    """Backgrounds that stand out, zero in all other images.

    Each is one that a group shares, and the ramp that an image has beside it.
    """
    shared = torch.zeros_like(figures.background)
    for number in group.unique():
        some = group == number
        if some.sum() >= FEWEST_COMPARED:
            shared[some] = _shared_background(figures[some])
    outside = int((_background_weights(box)[:, 0] != 0).sum())
    left = (figures.background - shared)[:, RAMP]
    steep = _share_of_ramp(left, figures) > max(STEEP, STEEP_ERRORS / math.sqrt(max(1, outside)))
    shared[steep, RAMP] = figures.background[steep, RAMP]
    return shared


def _shared_background(figures: Figures) -> Float[Tensor, "term"]:
    """What images of a group have in common.

    It is a ramp or curve, or none of it where it does not stand out.
    """
    value, rms = figures.background.median(0).values, figures.rms.median()
    # standard error of a median
    error = (
        1.4826
        * 1.2533
        * (figures.background - value).abs().median(0).values
        / math.sqrt(len(figures.rms))
    )
    found = torch.zeros_like(value)
    for part, least in COMMON:
        size = (value.square() * MEAN_SQUARE)[part].sum().sqrt()
        if size > least * rms and (value[part].abs() > COMMON_ERRORS * error[part]).any():
            found[part] = value[part]
    return found


def _share_of_ramp(slope: Float[Tensor, "image 2"], figures: Figures) -> Float[Tensor, "image"]:
    """R.m.s. of ramps over that of what is left of their images."""
    of_all, of_these = (each.square().sum(1) / 3 for each in (figures.background[:, RAMP], slope))
    return (of_these / (figures.power - of_all).maximum(0.01 * figures.power)).sqrt()


def find_scales(
    figures: Figures, *, group: Int[Tensor, "image"], tilt: Int[Tensor, "image"]
) -> Float[Tensor, "image"]:
    """What brings images to the r.m.s. of the others that differ from them in nothing else.

    It is 1 for all that do not stand out.

    Parameters
    ----------
    figures, group, tilt
        As :func:`stand_out` takes them.
    """
    scale = torch.ones_like(figures.power)
    if len(group) >= FEWEST:
        compared = _compared_with(group, tilt)
        power, extreme, roughness = (
            _deviation(each, compared)
            for each in (figures.power, figures.extreme, figures.roughness)
        )
        other = (power.abs() > 1) & (extreme <= 1) & (roughness.abs() <= 1)
        usual = _usual(_logarithm(figures.power), compared)
        scale[other] = (0.5 * (usual - _logarithm(figures.power)))[other].exp()
    return scale


def stand_out(
    figures: Figures, *, group: Int[Tensor, "image"], tilt: Int[Tensor, "image"]
) -> Bool[Tensor, "image"]:
    """Images whose power or farthest pixel is nothing like that of the others.

    Parameters
    ----------
    figures : Figures
        Of corrected images.
    group : (image,)
        Noise group of each image.
    tilt : (image,)
        Its place in the tilt series.

    Raises
    ------
    InputError
        The usual pixels are so large or so small that their squares do not fit into single
        precision.
    """
    usual = float(figures.rms.median())
    if not SMALLEST_RMS < usual < LARGEST_RMS:
        raise InputError(
            f"the images' pixels vary by {usual:.1e} r.m.s., beyond what a fit can square and sum "
            f"({SMALLEST_RMS:.0e} to {LARGEST_RMS:.0e}): scale the images to an r.m.s. of about 1"
        )
    if len(group) < FEWEST:
        return torch.zeros(len(group), dtype=torch.bool)
    compared = _compared_with(group, tilt)
    return (_deviation(figures.power, compared).abs() > 1) | (
        _deviation(figures.extreme, compared) > 1
    )


def _compared_with(group: Int[Tensor, "image"], tilt: Int[Tensor, "image"]) -> Int[Tensor, "image"]:
    """Number of the images that each is compared with: its group, all of its tilt, or the set."""
    of_tilt = torch.where(torch.bincount(tilt)[tilt] >= FEWEST_COMPARED, tilt + 1, 0)
    return torch.where(
        torch.bincount(group)[group] >= FEWEST_COMPARED, group + int(tilt.max()) + 2, of_tilt
    )


def _logarithm(value: Float[Tensor, "image"]) -> Float[Tensor, "image"]:
    return value.clamp_min(torch.finfo(torch.float64).tiny).log()


def _of_compared(
    value: Float[Tensor, "image"],
    compared: Int[Tensor, "image"],
    statistic: Callable[[Tensor], Tensor],
) -> Float[Tensor, "image"]:
    """A statistic of those that each is compared with, for each."""
    result = torch.empty_like(value)
    for number in compared.unique():
        some = compared == number
        result[some] = statistic(value[some] if number else value)
    return result


def _usual(value: Float[Tensor, "image"], compared: Int[Tensor, "image"]) -> Float[Tensor, "image"]:
    return _of_compared(value, compared, torch.median)


def _deviation(
    value: Float[Tensor, "image"], compared: Int[Tensor, "image"]
) -> Float[Tensor, "image"]:
    """Distance of logarithms from the median of those that each is compared with.

    It is in units of what stands out.
    """
    value = _logarithm(value)
    away = value - _usual(value, compared)
    spread = 1.4826 * _of_compared(
        value, compared, lambda some: (some - some.median()).abs().median()
    )
    return away / (DEVIATIONS * spread.clamp_min(LEAST_SPREAD)).clamp_min(math.log(FACTOR))


def share_of_mean(
    images: Float[Tensor, "image box box"], rms: Float[Tensor, "image"]
) -> Float[Tensor, "box box"]:
    """What images add to the sum of all, in units of their r.m.s.

    No pixel adds more than so many of these.
    """
    level = images - images.mean((1, 2), keepdim=True)
    return (
        (level / rms.to(level.dtype)[:, None, None])
        .clamp(-LARGEST_SHARE, LARGEST_SHARE)
        .sum(0, dtype=torch.float64)
    )


def find_faulty_pixels(
    mean: Float[Tensor, "box box"], rotation: Float[Tensor, "image 3 3"]
) -> tuple[int, ...]:
    """Numbers of the pixels that the mean of all images (:func:`share_of_mean`) shows to be faulty.

    Molecules that are turned in all ways in the plane leave a mean that depends on the distance
    from the middle alone; where images are turned alike nothing can be said.

    Parameters
    ----------
    mean : (box, box)
    rotation : (image, 3, 3)
        Of the images.
    """
    if rotation[:, :2].mean(0).square().sum() > ALIGNED + 4 / len(rotation):
        return ()
    faulty = torch.zeros_like(mean, dtype=torch.bool)
    for _ in range(LOOKS):
        faulty = _unlike_their_ring(mean, faulty)
    return tuple(torch.nonzero(faulty.flatten())[:, 0].tolist())


def _unlike_their_ring(
    mean: Float[Tensor, "box box"], faulty: Bool[Tensor, "box box"]
) -> Bool[Tensor, "box box"]:
    """Pixels that differ from others at their distance from the middle.

    They are compared without the background that the sound ones show.
    """
    box, value = len(mean), mean.flatten()
    terms = torch.cat([torch.ones(1, box * box), background_terms(box)]).T.double()
    sound = _outside(box) & ~faulty.flatten()
    value = (
        value
        - terms
        @ torch.linalg.lstsq(terms[sound], value[sound, None], driver="gelsd").solution[:, 0]
    )
    line = torch.arange(box) - box // 2
    ring = (line.square() + line[:, None].square()).sqrt().round().long().clamp_min(1).flatten()
    away = value - _of_compared(value, ring, torch.median)
    spread = 1.4826 * _of_compared(away.abs(), ring, torch.median)
    limit = (FAULTY_DEVIATIONS * spread.maximum(spread.median())).clamp_min(FAULTY)
    found = (away.abs() > limit).view(box, box)
    return (
        found | (found.float().mean(0) > OF_A_LINE) | (found.float().mean(1) > OF_A_LINE)[:, None]
    )

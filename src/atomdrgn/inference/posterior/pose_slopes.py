"""Slopes of each image's likelihood by its pose, against the mean density of the population.

A refinement ends where these slopes are zero, summed over its resolutions: the noise in one band
of resolutions is made up for by that in the others. Where poses do not know the noise, its slopes
in two bands have nothing in common. So the sum over pairs of bands tells whether a pose was refined
on its image, and whatever the images have in common with the noise known or not: of noise alone it
is zero whatever its power, and conformations and errors of poses that do not know the image raise
it.

The mean density is that of the images themselves, each looked at against the map of the half that
it is not in: no model has to explain it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...backprojection.filtering import automatic_mask
from ...backprojection.noise_spectra import measure_noise
from ...backprojection.slice_sum import empty_sum
from ...backprojection.weighted_images import Target, add_images
from ...likelihood.noise import Noise, noise_groups
from ...parallel import in_order
from ...particles.stack.stack import ParticleStack
from ...physics.correlation import fourier_shell_correlation
from ...physics.disc import FourierDisc, make_disc
from ...physics.maps.slices import SliceSource
from ...physics.pose import Pose
from ...physics.record import Record, joined
from ...physics.rotations import matrix_from_vector

# A: the bands of resolution whose slopes are compared; what refinements align with
BANDS = (60.0, 40.0, 28.0, 20.0, 15.0, 12.0, 10.0)
PIXEL = 0.4  # of the finest resolution: images are looked at with no smaller pixels
STEP = 0.02  # rad: of a turn by which images are told apart for their slope
FLOOR = 0.01  # of a shell's mean weight is added in a map that is not regularised
LEAST, MOST = 1e-3, 0.999  # correlations that are told from 0 and 1
AT_ONCE = 64  # images
# A and degrees: how far a refinement may have to go. Where an image tells less, maps are noise
REACH = 3.0
TINY = 1e-30
SHIFTS, TURNS = (0, 1), (2, 3, 4)  # of the numbers of an image's pose, camera axes
OF_SERIES = ((0, 1, 2), (3, 4, 5))  # of a particle of a tilt series, axes of the molecule


@dataclass(frozen=True)
class Slope:
    """What the slopes of the likelihood by some numbers of the poses come to.

    Parameters
    ----------
    ratio, ratio_error : float
        Their power, ``g I^-1 g``, over that of noise alone, and its standard error.
    agreement, agreement_error : float
        How slopes in different bands agree, in units of what they would lose if they made up for
        each other: -1 where a refinement has made them cancel, 0 where they are of noise alone,
        more where there is something that all bands see.
    """

    ratio: float
    ratio_error: float
    agreement: float
    agreement_error: float


@dataclass(frozen=True)
class BandRatios:
    """Ratios of turns and shifts from the images between two resolutions alone.

    Parameters
    ----------
    coarsest, finest : float
        A.
    turns, shifts : float
        As :class:`Slope` has the ratio.
    """

    coarsest: float
    finest: float
    turns: float
    shifts: float


@dataclass(frozen=True)
class PoseSlopes:
    """The slopes by turns and by shifts, and by which part of each.

    Parameters
    ----------
    particles : int
        That were asked.
    map_share : float
        Part of the information on the poses that is in what half-maps have in common: of the rest
        nothing can be told.
    turns, shifts : Slope
    turns_out_of_plane, turns_in_plane : Slope, optional
        About axes in the image's plane, and about the axis of the beam; not of tilt series.
    bands : tuple of BandRatios
    """

    particles: int
    map_share: float
    turns: Slope
    shifts: Slope
    turns_out_of_plane: Slope | None
    turns_in_plane: Slope | None
    bands: tuple[BandRatios, ...]

    def as_rounded(self) -> dict[str, Any]:
        """What summary.json says of it; what there is none of is left out."""
        return {name: _rounded(value) for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class _Parts(Record):
    """Equations of the pose in each band of each image, contrast projected out.

    Parameters
    ----------
    information : (image, band, number, number)
    slope : (image, band, number)
        Gradient of the log-likelihood.
    """

    information: Float[Tensor, "image band number number"]
    slope: Float[Tensor, "image band number"]


@dataclass(frozen=True, eq=False)
class _MeanMaps:
    """The mean density as each half of the images shows it, regularised.

    Parameters
    ----------
    source : (first, second) SliceSource
    correlation : (shell,)
        Of the two, before they were regularised.
    """

    source: tuple[SliceSource, SliceSource]
    correlation: Float[Tensor, "shell"]

    def coefficients(
        self, pose: Pose, half: Int[Tensor, "image"], disc: FourierDisc
    ) -> Float[Tensor, "image 2 frequency"]:
        """Of the map of the other half, at a pose that need not be a rotation."""
        found = torch.zeros(len(half), len(disc), dtype=torch.complex64)
        for number, source in enumerate(self.source):
            other = half != number
            if other.any():
                found[other] = source.slices(pose.rotation[other])
        phase = -2 * math.pi * (pose.shift[:, :1] * disc.kx + pose.shift[:, 1:] * disc.ky)
        return torch.view_as_real(found * torch.polar(torch.ones_like(phase), phase)).movedim(-1, 1)


def pose_slopes(
    stack: ParticleStack, particle: Int[Tensor, "image"], *, finest: float
) -> PoseSlopes | None:
    """The slopes of some images at their poses; None where there are too few bands.

    Parameters
    ----------
    stack : ParticleStack
        Images that count, with the poses that are asked.
    particle : (image,)
        Whose each is, from 0.
    finest : float
        Resolution, A, beyond which nothing is asked.
    """
    stack = _with_larger_pixels(stack, max(finest, BANDS[-1]))
    disc = make_disc(stack.grid, max(finest, BANDS[-1]))
    band = _band_of(disc)
    if int((band.unique() >= 0).sum()) < 2:
        return None
    spectrum = measure_noise(stack)
    half = particle % 2
    maps = _mean_maps(stack, half, spectrum, disc)
    noise = Noise(
        spectrum[:, 1:], noise_groups(stack.optics_group, stack.tilt), stack.premultiplied
    )

    def of_batch(index: Int[Tensor, "batch"]) -> _Parts:
        transfer, data = noise.whiten(
            disc.parts(stack.read(index)), stack.ctf[index], index, disc=disc
        )
        return _parts(maps, stack.pose[index], half[index], transfer, data, disc=disc, band=band)

    parts = joined(list(in_order(of_batch, torch.arange(len(stack)).split(AT_ONCE))))
    return _put_together(parts, stack.pose, particle, maps.correlation[1 + disc.shell], band)


def _with_larger_pixels(stack: ParticleStack, finest: float) -> ParticleStack:
    """Images with pixels no smaller than the resolution asks for: maps of large boxes are large."""
    box = 2 * math.ceil(stack.grid.extent / (PIXEL * finest) / 2)
    faulty = stack.corrections is not None and stack.corrections.faulty  # numbers of small pixels
    if box >= stack.grid.box_size or faulty:
        return stack
    return replace(stack, grid=stack.grid.cropped(box))


def _band_of(disc: FourierDisc) -> Int[Tensor, "frequency"]:
    """Number of the band that each frequency is in; -1 outside of all."""
    radius = torch.hypot(disc.kx, disc.ky)
    edges = 1 / torch.tensor(BANDS)
    band = torch.bucketize(radius, edges, right=True) - 1
    return torch.where(band == len(BANDS) - 1, -1, band)


def _mean_maps(
    stack: ParticleStack,
    half: Int[Tensor, "image"],
    spectrum: Float[Tensor, "group shell"],
    disc: FourierDisc,
) -> _MeanMaps:
    sums = [empty_sum(stack.grid) for _ in range(2)]
    add_images(
        stack,
        [Target(total, (half == number).float(), stack.pose) for number, total in enumerate(sums)],
        spectrum=spectrum,
    )
    weight = [total.shell_weight() for total in sums]
    first, second = (total.density(FLOOR * each) for total, each in zip(sums, weight, strict=True))
    mask = automatic_mask(first, second, stack.grid)
    correlation = fourier_shell_correlation(first * mask, second * mask)
    kept = correlation.clamp(LEAST, MOST)
    first, second = (
        total.density(each * (1 - kept) / kept) * mask
        for total, each in zip(sums, weight, strict=True)
    )
    return _MeanMaps((SliceSource(first, disc), SliceSource(second, disc)), correlation)


def _parts(
    maps: _MeanMaps,
    pose: Pose,
    half: Int[Tensor, "image"],
    transfer: Float[Tensor, "image frequency"],
    data: Float[Tensor, "image 2 frequency"],
    *,
    disc: FourierDisc,
    band: Int[Tensor, "frequency"],
) -> _Parts:
    """Equations of the poses of a batch."""
    inside = band >= 0
    prediction = maps.coefficients(pose, half, disc) * transfer[:, None]
    change = [
        2 * math.pi * along * torch.stack([prediction[:, 1], -prediction[:, 0]], 1)
        for along in (disc.kx, disc.ky)
    ]
    for axis in range(3):
        ahead, behind = (
            maps.coefficients(
                replace(
                    pose, rotation=matrix_from_vector(way * torch.eye(3)[axis]) @ pose.rotation
                ),
                half,
                disc,
            )
            for way in (STEP, -STEP)
        )
        change.append((ahead - behind) * transfer[:, None] / (2 * STEP))
    rows, seen, flat = (
        each[..., inside].double() for each in (torch.stack(change, 1), data, prediction)
    )
    # the contrast takes its best value, and what it takes from a slope is no slope
    power = flat.square().sum((1, 2)).clamp_min(TINY)
    share = (rows * flat[:, None]).sum((2, 3)) / power[:, None]
    left = seen - ((seen * flat).sum((1, 2)) / power)[:, None, None] * flat
    rows = rows - share[..., None, None] * flat[:, None]
    information, slope = [], []
    for number in range(len(BANDS) - 1):
        own = rows[..., band[inside] == number].flatten(2)
        information.append(own @ own.mT)
        slope.append((own @ left[..., band[inside] == number].flatten(1)[..., None])[..., 0])
    return _Parts(torch.stack(information, 1), torch.stack(slope, 1))


def _of_molecule(parts: _Parts, pose: Pose) -> _Parts:
    """Equations of a shift and a turn along the molecule's axes, which a series' images share."""
    change = torch.zeros(len(pose.shift), 5, 6, dtype=torch.float64)
    change[:, :2, :3], change[:, 2:, 3:] = pose.rotation[:, :2], pose.rotation
    change = change[:, None]
    return _Parts(
        change.mT @ parts.information @ change, (change.mT @ parts.slope[..., None])[..., 0]
    )


@dataclass(frozen=True, eq=False)
class _Particles:
    """Equations of the poses of particles, whole and in parts: in each band of each image.

    Parameters
    ----------
    parts : _Parts
    row : (image,)
        Which of the particles each image shows.
    whole, slope : (particle, number, number), (particle, number)
        Sums of the parts.
    """

    parts: _Parts
    row: Int[Tensor, "image"]
    whole: Float[Tensor, "particle number number"]
    slope: Float[Tensor, "particle number"]

    @classmethod
    def of(cls, parts: _Parts, particle: Int[Tensor, "image"]) -> "_Particles":
        """The particles that images show."""
        row = particle.unique(return_inverse=True)[1]
        every = parts.information.sum(1), parts.slope.sum(1)
        whole, slope = (
            each.new_zeros(int(row.max()) + 1, *each.shape[1:]).index_add(0, row, each)
            for each in every
        )
        return cls(parts, row, whole, slope)

    def weight(self, numbers: Sequence[int]) -> Float[Tensor, "particle number number"]:
        """What makes a slope the gain by some numbers of the pose, twice, the others at their best.

        Numbers that an image does not tell count for little: there is next to no signal in them.
        """
        shifts = self.whole.shape[1] - len(TURNS)
        known = torch.tensor([REACH] * shifts + [math.radians(REACH)] * len(TURNS)).double() ** -2
        inverse = torch.linalg.inv(self.whole + known.diag())[:, numbers]
        return inverse.mT @ torch.linalg.solve(inverse[:, :, numbers], inverse)

    def ratio(self, numbers: Sequence[int]) -> tuple[float, float]:
        """Power of the slopes by some numbers of the pose over that of noise, and its error."""
        weight = self.weight(numbers)
        return _ratio(_gain(self.slope, weight), _trace(weight, self.whole))

    def agreement(self, numbers: Sequence[int]) -> tuple[float, float]:
        """How slopes in different bands agree, and the error of that."""
        weight = self.weight(numbers)
        of_image = weight[self.row][:, None]
        told = of_image @ self.parts.information
        parts = torch.stack([_gain(self.parts.slope, of_image), _trace(told, told)], 2).sum(1)
        own, kept = parts.new_zeros(len(weight), 2).index_add(0, self.row, parts).T
        of_noise = weight @ self.whole
        return _ratio(_gain(self.slope, weight) - own, _trace(of_noise, of_noise) - kept)

    def of_numbers(self, numbers: Sequence[int]) -> Slope:
        """What the slopes by some numbers of the pose come to."""
        return Slope(*self.ratio(numbers), *self.agreement(numbers))

    def band(self, number: int) -> "_Particles":
        """The same of one band alone."""
        only = slice(number, number + 1)
        return _Particles.of(
            _Parts(self.parts.information[:, only], self.parts.slope[:, only]), self.row
        )

    def share_of(self, number: int, numbers: Sequence[int]) -> float:
        """The part of the information on some numbers of the pose that is in a band."""
        weight = self.weight(numbers)
        of_band = _trace(weight[self.row], self.parts.information[:, number])
        return float(of_band.sum() / _trace(weight, self.whole).sum())


def _gain(
    slope: Float[Tensor, "*batch number"], weight: Float[Tensor, "*#batch number number"]
) -> Float[Tensor, "*batch"]:
    return ((weight @ slope[..., None])[..., 0] * slope).sum(-1)


def _trace(
    first: Float[Tensor, "*#batch number number"], second: Float[Tensor, "*#batch number number"]
) -> Float[Tensor, "*batch"]:
    """Trace of the product of two matrices."""
    return (first * second.mT).sum((-2, -1))


def _ratio(
    value: Float[Tensor, "particle"], expected: Float[Tensor, "particle"]
) -> tuple[float, float]:
    """Sum over sum, and its standard error by how particles differ."""
    total = float(expected.sum())
    ratio = float(value.sum()) / total
    return ratio, float((value - ratio * expected).std()) * len(value) ** 0.5 / abs(total)


def _rounded(value: Any) -> Any:
    """Numbers to three decimals, wherever they are."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_rounded(each) for each in value]
    return round(value, 3) if isinstance(value, float) else value


def _put_together(
    parts: _Parts,
    pose: Pose,
    particle: Int[Tensor, "image"],
    of_frequency: Float[Tensor, "frequency"],
    band: Int[Tensor, "frequency"],
) -> PoseSlopes:
    """What the equations of all bands of all images say, particle by particle.

    `of_frequency` is the correlation of half-maps at each frequency of the disc.
    """
    series = int(torch.bincount(particle).max()) > 1
    shifts, turns = OF_SERIES if series else (SHIFTS, TURNS)
    found = _Particles.of(_of_molecule(parts, pose) if series else parts, particle)
    share, bands = 0.0, []
    for number in band[band >= 0].unique().tolist():
        alone = found.band(number)
        common = float(of_frequency[band == number].clamp(0, 1).mean())
        share += found.share_of(number, turns) * common
        bands.append(
            BandRatios(
                coarsest=BANDS[number],
                finest=BANDS[number + 1],
                turns=alone.ratio(turns)[0],
                shifts=alone.ratio(shifts)[0],
            )
        )
    return PoseSlopes(
        particles=len(found.whole),
        map_share=share,
        turns=found.of_numbers(turns),
        shifts=found.of_numbers(shifts),
        turns_out_of_plane=None if series else found.of_numbers(turns[:2]),
        turns_in_plane=None if series else found.of_numbers(turns[2:]),
        bands=tuple(bands),
    )

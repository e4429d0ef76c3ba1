"""How well a model explains the images of each tilt, beside the other tilts."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from scipy.special import ndtr, stdtrit
from torch import Tensor

ROWS = 11  # groups of tilts at most: each tilt by itself where there are as few
GAP = 1.0  # degrees that part one tilt from the next
BREADTH = 3.0  # degrees that are taken for one tilt where there is no gap
SIGMAS = 3.0  # standard errors that decide
ENOUGH = 0.5  # share of the signal of other tilts that a tilt has to have


def standard_errors(particles: int, *, tests: int = 1) -> float:
    """Standard errors that decide.

    They are 3 for many particles, more for a few, at the same risk (Student) in all tests together.
    """
    return float(-stdtrit(particles - 1, ndtr(-SIGMAS) / tests)) if particles > 1 else math.inf


class Fit(StrEnum):
    """Whether images of a tilt fit the model at their poses."""

    YES = "fits"
    NO = "does not fit"
    LITTLE = "little signal"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class TiltAgreement:
    """What a model explains of the images of each tilt, over what it is expected to explain.

    The signal of an image is its product with the prediction at its own pose, less the same with
    the rotations of other particles, which tells the pose and not just that something is there.
    Expected is the same of the prediction in place of the image; dose, tilt and lens are in it.
    Their ratio, the gain, is the same at all tilts if nothing is wrong. Signal fades with tilt and
    dose in most specimens by more than is expected, so that a tilt is blamed only where others,
    that lie as far out and are as late, have more.

    Parameters
    ----------
    signal, expected : (particle, tilt)
        Summed over the images of a particle at a tilt; 0 where it has none.
    count : (tilt,)
        Images.
    least, most : (tilt,)
        Tilt angles, degrees, rising.
    dose : (tilt,)
        Mean, e/A^2.
    """

    signal: Float[Tensor, "particle tilt"]
    expected: Float[Tensor, "particle tilt"]
    count: Int[Tensor, "tilt"]
    least: Float[Tensor, "tilt"]
    most: Float[Tensor, "tilt"]
    dose: Float[Tensor, "tilt"]

    def __len__(self) -> int:
        return len(self.count)

    @property
    def gain(self) -> tuple[Float[Tensor, "tilt"], Float[Tensor, "tilt"]]:
        """Signal over what is expected, and its standard error, from the spread over particles."""
        return _ratio(self.signal, self.expected)

    @property
    def share(self) -> tuple[Float[Tensor, "tilt"], Float[Tensor, "tilt"]]:
        """The gain over that of the tilt that tells most, and the error of the former."""
        value, error = self.gain
        return value / value[self._surest], error / value[self._surest]

    @property
    def fits(self) -> list[Fit]:
        """Of each tilt."""
        value, error = self.gain
        needed = value.new_tensor([standard_errors(count) for count in self._particles])
        enough, doubt = ENOUGH * value[self._surest], needed * error
        fits = [
            Fit.YES
            if one >= max(enough, its_doubt)
            else Fit.LITTLE
            if one + its_doubt < enough
            else Fit.UNKNOWN
            for one, its_doubt in zip(value, doubt, strict=True)
        ]
        return [Fit.NO if wrong else fit for wrong, fit in zip(self._outdone(), fits, strict=True)]

    def in_groups(self) -> "TiltAgreement":
        """The same of groups of neighbouring tilts, few enough to be read."""
        if len(self) <= ROWS:
            return self
        before = self.count.cumsum(0) - self.count
        group = torch.unique(before * ROWS // self.count.sum(), return_inverse=True)[1]
        weight = torch.nn.functional.one_hot(group).double()
        count = self.count.double() @ weight
        first = torch.searchsorted(group, torch.arange(weight.shape[1]))
        last = torch.searchsorted(group, torch.arange(weight.shape[1]), right=True) - 1
        return replace(
            self,
            signal=self.signal @ weight,
            expected=self.expected @ weight,
            count=count.long(),
            least=self.least[first],
            most=self.most[last],
            dose=(self.count * self.dose) @ weight / count,
        )

    def name(self, first: int, last: int | None = None) -> str:
        """Angles of a tilt, or of those from one to another, such as ``-27 to -21``."""
        ends = self.least[first].item(), self.most[first if last is None else last].item()
        least, most = (f"{round(end)}" for end in ends)
        return least if least == most else f"{least} to {most}"

    @property
    def misfits(self) -> list[str]:
        """Angles and dose of the tilts that do not fit, neighbours together.

        The side of a tilt is told by its dose.
        """
        wrong = [i for i, fit in enumerate(self.fits) if fit == Fit.NO]
        first = [i for i in wrong if i - 1 not in wrong]
        last = [i for i in wrong if i + 1 not in wrong]
        return [
            f"{self.name(*ends)} deg (dose {self._doses(*ends)})"
            for ends in zip(first, last, strict=True)
        ]

    def _doses(self, first: int, last: int) -> str:
        doses = self.dose[first : last + 1]
        least, most = f"{doses.min():.0f}", f"{doses.max():.0f}"
        return least if least == most else f"{least} to {most}"

    @property
    def _particles(self) -> list[int]:
        """Particles that have images at each tilt.

        From a few an error is hardly known, from one not at all.
        """
        return (self.expected != 0).sum(0).tolist()

    @property
    def _surest(self) -> int:
        """The tilt that tells most, of those of as many particles as any has, or half as many."""
        value, error = self.gain
        particles = torch.tensor(self._particles)
        return int((value / error).where(2 * particles >= particles.max(), -math.inf).argmax())

    def _outdone(self) -> Iterator[bool]:
        """Whether a tilt has clearly less than its share of the signal.

        Its share is that of tilts which are as far out and as late.
        """
        out = torch.maximum(self.least.abs(), self.most.abs())
        value, error = self.gain
        particles = self._particles
        for tilt in range(len(self)):
            harder = (out >= out[tilt] - GAP) & (self.dose >= self.dose[tilt])
            harder[tilt] = False
            if not harder.any():
                yield False
                continue
            signal, expected = (
                each[:, harder].sum(1, keepdim=True) for each in (self.signal, self.expected)
            )
            other, its_error = (part.item() for part in _ratio(signal, expected))
            missing = ENOUGH * other - value[tilt].item()
            needed = standard_errors(
                min(particles[tilt], int((expected != 0).sum())), tests=len(self)
            )
            yield missing > needed * math.hypot(error[tilt].item(), ENOUGH * its_error)


def by_tilt(
    signal: Float[Tensor, "image"],
    expected: Float[Tensor, "image"],
    *,
    particle: Int[Tensor, "image"],
    angle: Float[Tensor, "image"],
    dose: Float[Tensor, "image"],
) -> TiltAgreement:
    """Images put together that were taken at one tilt, which is known by gaps between the angles.

    Parameters
    ----------
    signal, expected : (image,)
        As :class:`TiltAgreement` has them.
    particle : (image,)
        From 0 without a gap.
    angle, dose : (image,)
        Degrees and e/A^2.
    """
    order = angle.argsort()
    sorted_angle = angle[order].double()
    start = torch.cat([torch.tensor([True]), sorted_angle.diff() > GAP])
    number = start.cumsum(0) - 1
    since = sorted_angle - sorted_angle[start][number]
    key = torch.stack([number.double(), (since / BREADTH).floor()], 1)
    tilt = torch.empty_like(order).index_put_(
        (order,), torch.unique(key, dim=0, return_inverse=True)[1]
    )
    count = tilt.bincount()
    shape = int(particle.max()) + 1, len(count)

    def total(value: Float[Tensor, "image"]) -> Float[Tensor, "particle tilt"]:
        return torch.zeros(shape, dtype=torch.float64).index_put_(
            (particle, tilt), value.double(), accumulate=True
        )

    least, most = (
        torch.zeros(shape[1], dtype=torch.float64).scatter_reduce(
            0, tilt, angle.double(), kind, include_self=False
        )
        for kind in ("amin", "amax")
    )
    return TiltAgreement(
        total(signal), total(expected), count, least, most, dose=total(dose).sum(0) / count
    )


def _ratio(
    signal: Float[Tensor, "particle tilt"], expected: Float[Tensor, "particle tilt"]
) -> tuple[Float[Tensor, "tilt"], Float[Tensor, "tilt"]]:
    """Sum over particles of the one over the other, and its standard error.

    The error is infinite of one particle.
    """
    n = (expected != 0).sum(0)
    value = signal.sum(0) / expected.sum(0)
    rest = signal - value * expected
    error = (rest.square().sum(0) * n / (n - 1)).sqrt() / expected.sum(0)
    return value, error.where(n > 1, math.inf)

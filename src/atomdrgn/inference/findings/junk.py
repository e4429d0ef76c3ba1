"""Junk: particles whose images show nothing, or something else, told by the signal in them.

An empty image is explained as well as a good one: what is left of it tells nothing. What tells it
is the contrast that fits its images best, in units of that one's error.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from ...devices import brought_back
from ...likelihood.normal_equations import predict
from ...parallel import in_order
from ...physics.disc import FourierDisc
from ..posterior.importance_sampling import ALLOWANCE, Belief, WideFit, believe, draw
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import part_of
from ..problem.misfit import misfits
from ..problem.occupancy import keep_occupancy
from ..problem.principal_motions import motions_of

# Conformations along the first motion that a particle's images are compared with, in standard
# deviations: the best counts.
TRIED = (-1.6, -0.8, 0.0, 0.8, 1.6)
FINEST = 14.0  # A: finer images add a fiftieth to the signal at twice the time
FEWEST = 40  # particles: fewer have no distribution
ROUNDS = 200  # of EM
# In units of how bright particles are: the most that what shows something else is, and how widely
# the contrasts of that and of particles are spread. Another protein at the pose of a particle has
# 0.2 to 0.3; wider bounds took in particles whose poses are off (SNR 0.02: area under the curve
# for empty images was 0.975 in place of 0.981).
FAINTER, ITS_WIDEST, WIDEST, NARROWEST = 0.4, 0.12, 0.4, 0.05
# Noise alone has the largest of some signals that are N(0, 1) each, at poses that may have been
# refined on it: about NOTHING, and less than particles have.
NOTHING, MOST, NOTHING_VARIANCE = 2.0, 5.0, (0.7, 1.3)
# Classes tell where particles have a signal that is so many standard deviations above nothing's;
# there is junk where that makes the signals of all particles so much likelier.
APART, CLEARLY = 1.5, 10.0
PLACES = 96  # that a particle is compared with to be placed
JUNK = 0.5  # from this probability on a particle has no weight


@dataclass(frozen=True)
class Signals:
    """How much signal there is in the images of each particle.

    Parameters
    ----------
    value : (particle,)
        Contrast that fits them best, over its error; of a particle's images together.
    expected : (particle,)
        The same for a particle of contrast 1, were there no noise.
    """

    value: Float[Tensor, "particle"]
    expected: Float[Tensor, "particle"]


@dataclass(frozen=True)
class Junk:
    """Which particles are junk.

    Parameters
    ----------
    signal : (particle,)
        As in :class:`Signals`.
    probability : (particle,)
        Of being junk.
    share, error : float
        Of junk among the particles, and its standard error.
    told : bool
        Whether particles have enough signal to be told from junk; if not, none is said to be any.
    """

    signal: Float[Tensor, "particle"]
    probability: Float[Tensor, "particle"]
    share: float
    error: float
    told: bool

    @property
    def without_weight(self) -> Bool[Tensor, "particle"]:
        """The particles that nothing is learned from."""
        return self.probability > JUNK


def find_junk(model: FitModel, state: FitState) -> Junk:
    """Which particles are junk, by their signals at a state of the fit.

    Parameters
    ----------
    model, state
        The fit as it stands, or that of a half-set. Particles that had no weight so far are judged
        too, all but those of spoilt images.
    """
    model = model.leaving_out(torch.zeros(model.n_particles, dtype=torch.bool))
    return judge(measure_signals(model, state), model.seen)


def measure_signals(model: FitModel, state: FitState) -> Signals:
    """The signal in each particle's images, at their poses and the best of some conformations.

    The images of a tilt series share the contrast and the conformation.
    """
    disc, motions = _measured(model, state), motions_of(model, state.population)
    step = motions.direction[:, 0] * motions.variance[0].sqrt()
    tried = [
        keep_occupancy(model, state, (motions.mean + times * step).expand(model.n_particles, -1))
        for times in TRIED
    ]
    there, on_device, its_disc = model.at_batches(state, disc)
    seen, noise = there.image_model(on_device), there.noise(on_device.spectrum)
    model.reporter.start("signal of each particle", len(model.my_images))

    def of_batch(index: Tensor) -> tuple[Tensor, Tensor]:
        transfer, data = there.whitened(index, its_disc, noise)
        pose, particle = there.pose(on_device, index), model.particle[index]
        cross, power = [], []
        for each in tried:
            latent = each[particle].to(model.device)
            image = predict(there.deformation, seen, latent, pose=pose, disc=its_disc)
            prediction = image * transfer[:, None]
            cross.append((prediction * data).sum((1, 2)))
            power.append(prediction.square().sum((1, 2)))
        return torch.stack(cross), torch.stack(power)

    cross, power = torch.zeros(2, len(tried), model.n_particles)
    batches = model.batches(disc)
    done = in_order(brought_back(of_batch, model.device), batches)
    for index, (its_cross, its_power) in zip(batches, done, strict=True):
        cross.index_add_(1, model.particle[index], its_cross)
        power.index_add_(1, model.particle[index], its_power)
        model.reporter.advance(len(index))
    model.reporter.finish()
    cross, root = model.processes.total(cross), model.processes.total(power).sqrt()
    value, best = (cross / root.clamp_min(1e-12)).max(0)
    return Signals(value, root.gather(0, best[None])[0])


def _measured(model: FitModel, state: FitState) -> FourierDisc:
    """The frequencies that signals are measured at: none beyond those of the state's noise."""
    disc = model.images.disc.coarser(max(FINEST, model.images.disc.resolution))
    shells = state.spectrum.shape[1]
    if int(disc.shell.max()) < shells:
        return disc
    return disc.coarser(disc.grid.extent / (shells - 0.5))


def judge(signals: Signals, seen: Bool[Tensor, "particle"]) -> Junk:
    """Which particles are junk, by the signal that is expected of each.

    A particle's signal scatters about what its view, defocus and conformation let expect, by noise
    and by the spread of contrast. What shows nothing has a signal that is the same for all, and
    what shows something else a faint one. The classes' shares, brightness and spreads are those
    that make the signals likeliest.

    Parameters
    ----------
    signals : Signals
    seen : (particle,)
        Which particles have an image that counts. The others are as likely junk as any.
    """
    value, expected = signals.value[seen].double(), signals.expected[seen].double().clamp_min(1e-3)
    nothing = Junk(signals.value, torch.zeros_like(signals.value), 0.0, 0.0, told=False)
    if len(value) < FEWEST:
        return nothing
    one = _Classes.fitted(value, expected, with_junk=False)
    classes = _Classes.fitted(value, expected, with_junk=True)
    if classes.apart(expected) < APART:
        return nothing
    gain = classes.log_parts(value, expected).logsumexp(0) - one.log_parts(value, expected)[0]
    if float(gain.sum()) < CLEARLY:
        return replace(nothing, told=True)
    member = 1 - classes.log_parts(value, expected).softmax(0)[0]
    share = float(member.mean())
    slope = (member - share) / max(share * (1 - share), 1e-9)
    probability = torch.full_like(signals.value, share)
    probability[seen] = member.float()
    return Junk(
        signals.value, probability, share, float(slope.square().sum().clamp_min(1).rsqrt()), True
    )


@dataclass(frozen=True)
class _Classes:
    """Particles, what shows nothing, and what shows something else: how their signals scatter.

    Parameters
    ----------
    share : (3,)
        Of each class.
    particle, other : tuple of float
        Mean and spread of the contrast of particles and of something else: the signal is
        N(mean expected, 1 + (spread expected)^2).
    nothing : tuple of float
        Mean and variance of the signal where there is nothing.
    """

    share: Float64[Tensor, "3"]
    particle: tuple[float, float]
    nothing: tuple[float, float]
    other: tuple[float, float]

    @classmethod
    def fitted(
        cls, value: Float64[Tensor, "some"], expected: Float64[Tensor, "some"], *, with_junk: bool
    ) -> "_Classes":
        """Those that make signals likeliest, by EM; from most particles' signals on."""
        ratio = value / expected
        bright = max(float(ratio[ratio >= ratio.quantile(0.3)].median()), 1e-6)
        share = [0.9, 0.05, 0.05] if with_junk else [1.0, 0.0, 0.0]
        found = cls(
            torch.tensor(share, dtype=torch.float64),
            (bright, 0.2 * bright),
            (NOTHING, 1.0),
            (0.25 * bright, 0.15 * bright),
        )
        for _ in range(ROUNDS):
            found = found._again(value, expected)
        return found

    def _again(
        self, value: Float64[Tensor, "some"], expected: Float64[Tensor, "some"]
    ) -> "_Classes":
        """After a round of EM."""
        member = self.log_parts(value, expected).softmax(0)
        mean, spread = _contrasts(member[0], value, expected, self.particle[1])
        faint, its_spread = _contrasts(member[2], value, expected, self.other[1])
        weight = member[1].sum().clamp_min(1e-9)
        most = _within(0.5 * mean * float(expected.median()), (NOTHING, MOST))
        level = _within(float((member[1] * value).sum() / weight), (0.0, most))
        variance = float((member[1] * (value - level).square()).sum() / weight)
        return _Classes(
            member.mean(1),
            (mean, _within(spread, (NARROWEST * mean, WIDEST * mean))),
            (level, _within(variance, NOTHING_VARIANCE)),
            (
                _within(faint, (0.0, FAINTER * mean)),
                _within(its_spread, (0.0, ITS_WIDEST * mean)),
            ),
        )

    def log_parts(
        self, value: Float64[Tensor, "some"], expected: Float64[Tensor, "some"]
    ) -> Float64[Tensor, "3 some"]:
        """Logarithm of each class's part of the density of signals."""
        means = [
            self.particle[0] * expected,
            torch.full_like(value, self.nothing[0]),
            self.other[0] * expected,
        ]
        variances = [
            1 + (self.particle[1] * expected).square(),
            torch.full_like(value, self.nothing[1]),
            1 + (self.other[1] * expected).square(),
        ]
        mean, variance = torch.stack(means), torch.stack(variances)
        normal = -0.5 * (2 * math.pi * variance).log() - 0.5 * (value - mean).square() / variance
        return normal + self.share.log()[:, None]

    def apart(self, expected: Float64[Tensor, "some"]) -> float:
        """How far particles' signals are above that of noise, in standard deviations of theirs."""
        deviation = (1 + (self.particle[1] * expected).square()).sqrt()
        return float(((self.particle[0] * expected - NOTHING) / deviation).median())


def _contrasts(
    member: Float64[Tensor, "some"],
    value: Float64[Tensor, "some"],
    expected: Float64[Tensor, "some"],
    spread: float,
) -> tuple[float, float]:
    """Mean and spread of the contrasts of a class, each signal weighted by what it tells of them.

    Parameters
    ----------
    member : (some,)
        How likely each is of the class.
    value, expected : (some,)
        Their signals.
    spread : float
        As it was believed.
    """
    told = member * expected.square() / (1 + (spread * expected).square())
    mean = float((told * value / expected).sum() / told.sum().clamp_min(1e-9))
    told = told * expected.square() / (1 + (spread * expected).square())
    square = ((value - mean * expected).square() - 1) / expected.square()
    return mean, math.sqrt(max(float((told * square).sum() / told.sum().clamp_min(1e-9)), 0.0))


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def place_junk(model: FitModel, state: FitState, found: WideFit) -> WideFit:
    """What is known of all particles, those without weight placed as if they were particles.

    They have no part in surface and density.

    Parameters
    ----------
    model, state
        The fit of all particles, without those.
    found : WideFit
        What it says of the others.
    """
    junk = torch.nonzero(~model.seen & _readable(model))[:, 0]
    if found.density is None or not len(junk):
        return found
    generator, density = torch.Generator().manual_seed(model.seed), found.density
    part = part_of(model.leaving_out(torch.zeros_like(model.seen)), junk)
    own, count = part.state(state), density.mean.shape[1]
    place = density.draw(PLACES, generator)[:, None].expand(-1, len(junk), -1)
    others = found.belief.mean.shape[1] - count  # motions that likelihoods were not looked at along
    tried = torch.nn.functional.pad(place, (0, others))
    left, _ = misfits(
        part.model,
        own,
        _measured(model, state),
        [keep_occupancy(part.model, own, found.surface.at(each)) for each in tried],
    )
    weight = (-0.5 * left).softmax(0)
    wide = density.variance().sqrt().diag().expand(len(junk), -1, -1)
    belief = believe(place, weight, Belief(torch.zeros(len(junk), count), wide))
    draws = draw(place, weight, belief, generator)
    mean, root, drawn = found.belief.mean.clone(), found.belief.root.clone(), found.draws.clone()
    spread = found.surface.scale[count:]
    mean[junk] = torch.nn.functional.pad(belief.mean, (0, others))
    root[junk] = torch.block_diag(torch.zeros(count, count), spread.diag())
    root[junk, :count, :count] = ALLOWANCE * belief.root
    rest = spread * torch.randn(*draws.shape[:2], others, generator=generator)
    about = belief.mean[:, None]
    drawn[junk] = torch.cat([about + ALLOWANCE * (draws - about), rest], 2)
    return replace(found, belief=Belief(mean, root), draws=drawn)


def _readable(model: FitModel) -> Bool[Tensor, "particle"]:
    """Which particles have an image that is not spoilt."""
    whole = torch.bincount(model.particle[~model.images.spoilt], minlength=model.n_particles)
    return whole > 0


def junk_columns(junk: Junk) -> dict[str, list[float]]:
    """What particles.csv says of it."""
    return {
        name: [round(value, 3) for value in column.double().tolist()]
        for name, column in (("signal", junk.signal), ("junk", junk.probability))
    }


def junk_summary(junk: Junk) -> dict[str, Any]:
    """What summary.json says of it."""
    return {
        "told": junk.told,
        "share": round(junk.share, 4),
        "error": round(junk.error, 4),
        "without_weight": int(junk.without_weight.sum()),
    }

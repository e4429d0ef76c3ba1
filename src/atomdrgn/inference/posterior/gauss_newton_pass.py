"""One pass of a fit over its images.

Every particle is linearised, the population is fitted, and every particle is moved.
"""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...likelihood.normal_equations import POSE_NUMBERS
from ...likelihood.pose_equations import PoseGiven
from ...parallel import Portions, in_order
from ...physics.disc import FourierDisc
from ...physics.record import joined
from ..population.bounded_directions import (
    MOST_DIRECTIONS,
    AlongDirections,
    PassNumbers,
    is_bounded,
    numbers_of,
)
from ..population.population import (
    CHUNK,
    ROUNDS,
    Directions,
    Equations,
    Population,
    Posterior,
    fit_population,
    informative_directions,
    posterior,
    precision_along,
)
from ..population.pose_corrections import COARSEST, PoseCorrections, no_corrections
from ..problem.calibration import calibrate
from ..problem.fit_problem import Block, FitModel
from ..problem.fit_state import FitState
from ..problem.linearisation import (
    Linearised,
    LinearisedAlong,
    linearise,
    linearise_along,
    mean_information,
)
from ..problem.misfit import poses_at
from ..problem.occupancy import prior_with_settled_occupancies, settle_brightness
from ..problem.principal_motions import Motions, motions_of
from ..residual.residual_density import with_residual

logger = logging.getLogger(__name__)
# All particles together tell the variance along a direction on which each has the information a (1
# halves the variance) to about 1 / (a sqrt(n / 2)). Directions whose variance nothing is known of
# are left to the prior, and so are those in which no particle can be told from the mean.
WORST_VARIANCE, LEAST_INFORMATION = 3.0, 0.012
# Of the starting population's covariance, added to what is known before the directions are chosen:
# EM comes down from a wide population quickly and grows from a narrow one slowly, and a direction
# that was given up can return: the bend of a wide hinge's path is such a direction (trace RMSD of a
# hinge 1.43 A without, 1.31 A with it).
WIDER = 0.1
# Multiplications that a round of the population fit may take (particles times directions cubed):
# two thousand particles tell a population along fifty directions, and where little is known
# directions are few and particles many.
ROUND_WORK, FEWEST_FITTED, FEWEST_ROUNDS = 2.5e8, 2000, 6
SMALLEST_CONTRAST_SD, LARGEST_CONTRAST_SD = 0.02, 0.5


@dataclass(eq=False)
class PassResult:
    """What a pass finds of all particles and images, filled in block by block.

    Each process fills in its own.

    Parameters
    ----------
    latent, latent_sd, freedom
        As in :class:`FitState`.
    contrast, contrast_sd : (image,)
    pose, pose_sd : (image, 5)
        Steps of the poses and their standard deviations; of no images where poses are not refined.
    """

    latent: Float[Tensor, "particle latent"]
    latent_sd: Float[Tensor, "particle motion"]
    freedom: Float[Tensor, "particle"]
    contrast: Float[Tensor, "image"]
    contrast_sd: Float[Tensor, "image"]
    pose: Float[Tensor, "posed 5"]
    pose_sd: Float[Tensor, "posed 5"]

    @classmethod
    def empty(cls, model: FitModel, *, posed: int) -> "PassResult":
        """A pass with nothing filled in yet.

        It is of a fit's particles and images, and of so many images whose poses are found; there
        are no motions before the population is known.
        """
        n, images = model.n_particles, len(model.images)
        return cls(
            torch.zeros(n, model.deformation.n_latent),
            torch.zeros(n, 0),
            torch.zeros(n),
            *torch.zeros(2, images),
            *torch.zeros(2, posed, POSE_NUMBERS),
        )

    def note(
        self, model: FitModel, particle: Int[Tensor, "some"], some: "_SomePosteriors"
    ) -> tuple[int, tuple[Tensor]]:
        """Fill in where some particles are.

        Returns
        -------
        int
            Their portion.
        tuple of (direction, direction)
            The sum of their covariances along the directions.
        """
        self.latent[particle], self.latent_sd[particle] = some.latent, some.sd
        self.freedom[particle] = some.freedom / model.rows[particle]
        if some.posed is not None and some.pose is not None:
            self.pose[some.posed.image], self.pose_sd[some.posed.image] = some.pose
        return model.particle_portions.of(particle), (some.covariance,)

    def together(self, model: FitModel) -> "PassResult":
        """What all processes have found."""
        return PassResult(*(model.processes.total(getattr(self, f.name)) for f in fields(self)))


def run_pass(
    model: FitModel, state: FitState, disc: FourierDisc, *, last: bool
) -> tuple[FitState, dict[str, Any]]:
    """The state after one pass at one resolution, and its line of the history.

    Parameters
    ----------
    model, state, disc
        The fit as it stands.
    last : bool
        No finer images come: what none of them has told of is as the prior believes.
    """
    state = _with_scales(model, state, disc, last=last)
    model.reporter.start(f"{disc.resolution:.0f} A", len(model.my_images))
    numbers = numbers_of(measure_directions(model, state, disc), state.population)
    kept, others = _divide(model, numbers.own)
    found = PassResult.empty(model, posed=0 if state.poses is None else len(model.images))
    portions = replace(model.particle_portions, number=model.portion[kept])
    equations, posed = _collect(
        _noted(model, state, disc, kept, numbers, partial(_reduced, own=numbers.own), found),
        count=len(kept),
        own=numbers.own,
        portions=model.particle_portions,
    )
    given, evidence = _fitted_population(model, state, equations, numbers, portions, last=last)
    found.latent_sd = torch.zeros(model.n_particles, len(given.motions.variance))

    def of_chunk(some: Int[Tensor, "some"]) -> _SomePosteriors:
        of_poses = (
            None
            if posed is None
            else posed.of_particles(some, _linearised_at(numbers, state, kept[some]))
        )
        return given.posteriors(equations.cross[some], equations.target[some], of_poses)

    def of_kept() -> Iterator[tuple[int, tuple[Tensor]]]:
        batches = portions.batches(torch.arange(len(kept)), CHUNK)
        for some, posteriors in zip(batches, in_order(of_chunk, batches), strict=True):
            yield found.note(model, kept[some], posteriors)

    def of_others() -> Iterator[tuple[int, tuple[Tensor]]]:
        then = partial(_then_settled, given=given, state=state)
        for linearised, posteriors in _noted(model, state, disc, others, numbers, then, found):
            yield found.note(model, linearised.block.particle, posteriors)

    n_seen = numbers.own.seen.shape[1]
    covariance = torch.zeros(n_seen, n_seen)
    for terms in (of_kept(), of_others()):
        (part,) = model.particle_portions.sum(terms, [torch.zeros(n_seen, n_seen)])
        covariance = covariance + part
    model.reporter.finish()
    found = found.together(model)
    brightness, contrast_sd = _shared_brightness(model, found)
    row = history_row(
        model,
        state,
        disc,
        evidence=evidence,
        directions=n_seen,
        contrast_sd=contrast_sd,
        variance=torch.linalg.eigvalsh(given.population.covariance).flip(0),
    )
    logger.info("%s", row)
    state = _after(state, model, found, given, covariance / int(model.seen.sum()))
    state = replace(
        state,
        residual=None if state.residual is None else state.residual.times(brightness),
        contrast=found.contrast / brightness,
        contrast_sd=min(max(contrast_sd, SMALLEST_CONTRAST_SD), LARGEST_CONTRAST_SD),
    )
    return settle_brightness(model, state), row


def _with_scales(model: FitModel, state: FitState, disc: FourierDisc, *, last: bool) -> FitState:
    """The state with brightness and noise as they are now, and poses to refine if any are."""
    generator = torch.Generator().manual_seed(model.seed * 1_000_003 + state.step)
    # the first gain is measured with a wrong noise spectrum
    for _ in range(2 if state.step == 0 else 1):
        state = calibrate(model, state, disc, generator)
    if model.finds_poses and state.poses is None and (disc.resolution <= COARSEST or last):
        state = replace(state, poses=no_corrections(len(model.images), model.pose_prior_sd))
    if model.integrates_poses and state.poses is not None:
        # equations hold near the likeliest pose: steps that are found with those of the
        # conformation led weak images far astray
        state = replace(state, poses=poses_at(model, state, disc, state.latent, state.poses.value))
    if model.finds_residual and state.step > 0:
        state = with_residual(model, state, disc)
    return state


def _noted(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    particles: Int[Tensor, "some"],
    numbers: PassNumbers,
    then: Callable[[Linearised], tuple[Linearised, Any]],
    found: PassResult,
) -> Iterator[tuple[Linearised, Any]]:
    """What `then` makes of particles' equations, block by block.

    Contrasts are noted, and the reporter told, before.
    """
    for linearised, made in _equations(model, state, disc, particles, numbers, then):
        image = linearised.block.image
        found.contrast[image] = linearised.contrast
        found.contrast_sd[image] = linearised.contrast_sd
        model.reporter.advance(len(image))
        yield linearised, made


def _equations(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    particles: Int[Tensor, "some"],
    numbers: PassNumbers,
    then: Callable[[Linearised], Any],
) -> Iterator[Any]:
    """What `then` makes of particles' equations in the numbers of the pass, block by block.

    How far a particle is from the origin besides the directions has its part in them, as one step
    more.
    """
    if not isinstance(numbers, AlongDirections):
        return linearise(model, state, disc, particles, then=then)
    n = numbers.own.seen.shape[1]

    def along(block: Block) -> Float[Tensor, "particle latent step"]:
        astray = (state.latent[block.particle] - numbers.origin)[..., None]
        return torch.cat([numbers.directions.seen.expand(len(astray), -1, -1), astray], 2)

    def about_origin(found: LinearisedAlong) -> Any:
        pose = found.pose
        if pose is not None:
            step = pose.step + pose.follow[..., n]
            pose = PoseGiven(step, pose.follow[..., :n], pose.covariance)
        target = found.gradient[:, :n] + found.matrix[:, :n, n]
        return then(
            Linearised(
                found.block,
                found.matrix[:, :n, :n],
                target,
                found.contrast,
                found.contrast_sd,
                pose,
            )
        )

    return linearise_along(model, state, disc, particles, along=along, then=about_origin)


def _linearised_at(
    numbers: PassNumbers, state: FitState, particle: Int[Tensor, "some"]
) -> Float[Tensor, "some number"]:
    """Where the equations of particles hold, in the numbers of the pass."""
    if isinstance(numbers, AlongDirections):
        return torch.zeros(len(particle), numbers.own.seen.shape[1])
    return state.latent[particle]


def _fitted_population(
    model: FitModel,
    state: FitState,
    equations: Equations,
    numbers: PassNumbers,
    portions: Portions,
    *,
    last: bool,
) -> tuple["_GivenPopulation", float]:
    """The likeliest population of the particles, and its evidence."""
    own, prior = numbers.own, prior_with_settled_occupancies(model, state)
    rounds = _rounds(model, own)
    # what images say nothing of moves towards the prior as it would if each round counted it in
    keep_unseen = (
        0.0 if last else (model.n_particles / (model.n_particles + model.prior.particles)) ** rounds
    )
    found, evidence = fit_population(
        equations,
        own,
        numbers.before(state.population),
        prior=numbers.prior(prior),
        keep_unseen=keep_unseen,
        rounds=rounds,
        portions=portions,
    )
    population = numbers.population(found, state.population, prior, keep_unseen)
    return _GivenPopulation.of(model, population, found, numbers), evidence[-1]


def _shared_brightness(model: FitModel, found: PassResult) -> tuple[float, float]:
    """Mean contrast of the images that count, and the standard deviation relative to it.

    Images that do not count get the mean: brightness that all share belongs to the amplitude.
    """
    counts = ~model.images.left_out
    mean = float(found.contrast[counts].mean())
    square = found.contrast_sd[counts].square().mean() + found.contrast[counts].var(correction=0)
    found.contrast[~counts] = mean
    return mean, float(square.sqrt()) / mean


def _after(
    state: FitState,
    model: FitModel,
    found: PassResult,
    given: "_GivenPopulation",
    covariance: Float[Tensor, "direction direction"],
) -> FitState:
    """The state with particles where they were found, with their mean covariance."""
    unseen, poses = ~model.seen, state.poses
    if poses is not None:
        step = 0.0 if model.integrates_poses else found.pose
        poses = PoseCorrections(poses.value + step, found.pose_sd)
    found.latent[unseen] = given.population.mean
    found.latent_sd[unseen] = given.motions.variance.sqrt()
    seen = given.directions.seen @ torch.linalg.cholesky(covariance)
    return replace(
        state,
        step=state.step + 1,
        latent=found.latent,
        latent_sd=found.latent_sd,
        freedom=found.freedom,
        population=given.population,
        uncertainty=torch.cat([seen, given.directions.unseen], 1),
        poses=poses,
    )


def history_row(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    *,
    evidence: float,
    directions: int,
    contrast_sd: float,
    variance: Float[Tensor, "k"],
) -> dict:
    """The line of history.csv that the pass after a state leaves.

    It has the first three of the variances, 0 where there are fewer.
    """
    widest = [*variance[:3].tolist(), 0.0, 0.0, 0.0][:3]
    return {
        "step": state.step + 1,
        "resolution": round(disc.resolution, 3),
        "evidence": round(evidence, 4),
        "directions": directions,
        "amplitude": state.amplitude,
        "bead_width": model.bead_width(state),
        "contrast_sd": contrast_sd,
    } | {f"variance{k + 1}": value for k, value in enumerate(widest)}


def measure_directions(model: FitModel, state: FitState, disc: FourierDisc) -> Directions:
    """The directions that images at this resolution tell of.

    They are found by the mean information of some particles.
    """
    mean, n = mean_information(model, state, disc), model.deformation.n_latent
    wide = state.population.covariance + WIDER * model.start.covariance
    least = max(LEAST_INFORMATION, math.sqrt(2 / model.n_particles) / WORST_VARIANCE)
    most = MOST_DIRECTIONS if is_bounded(n) else None
    return informative_directions(mean, wide, least=least, most=most)


def _divide(
    model: FitModel, directions: Directions
) -> tuple[Int[Tensor, "kept"], Int[Tensor, "other"]]:
    """Particles of this process: those the population is fitted to, and the others.

    The first are evenly spread, as many as a round's work and the memory for their equations allow;
    particles of which no image counts are in neither.
    """
    n_latent, n_seen = directions.seen.shape
    # with what a round makes of them
    bytes_each: float = 4 * (n_latent * (n_seen + 1) + 3 * n_seen**2)
    if model.finds_poses:  # twice, while they are put together
        bytes_each += (
            4
            * 2
            * POSE_NUMBERS
            * (n_latent + POSE_NUMBERS + 1)
            * len(model.images)
            / model.n_particles
        )
    every = torch.nonzero(model.seen)[:, 0]
    mine = every[torch.isin(every, model.my_particles)]
    enough = max(FEWEST_FITTED, ROUND_WORK / n_seen**3) * len(every) / model.n_particles
    # the same ones whatever the number of processes, where their memory together is the same
    room = max(1, int(min(model.memory.equations * model.processes.count / bytes_each, enough)))
    chosen = (
        torch.isin(mine, every[torch.linspace(0, len(every) - 1, room).long()])
        if room < len(every)
        else mine >= 0
    )
    return mine[chosen], mine[~chosen]


def _rounds(model: FitModel, directions: Directions) -> int:
    """How many rounds of the population fit there is time for: many where they are quick."""
    work = min(model.n_particles * directions.seen.shape[1] ** 3, ROUND_WORK)
    return max(FEWEST_ROUNDS, min(ROUNDS, int(FEWEST_ROUNDS * ROUND_WORK / work)))


def _reduced(found: Linearised, own: Directions) -> tuple[Linearised, tuple[Tensor, Tensor]]:
    """What is kept of a block: rows of its matrices along the directions, and their sum."""
    return replace(found, matrix=None), (
        own.seen.T @ found.full,
        found.full.sum(0, dtype=torch.float64),
    )


def _then_settled(
    found: Linearised, given: "_GivenPopulation", state: FitState
) -> tuple[Linearised, "_SomePosteriors"]:
    """Where the particles of a block are, when the population is known already."""
    block = found.block
    posed = (
        None
        if found.pose is None
        else _Posed(
            block.image,
            block.row,
            found.pose,
            _linearised_at(given.numbers, state, block.particle),
        )
    )
    return replace(found, matrix=None, pose=None), given.posteriors(
        given.numbers.own.seen.T @ found.full, found.target, posed
    )


def _collect(
    blocks: Iterator[tuple[Linearised, tuple[Tensor, Tensor]]],
    *,
    count: int,
    own: Directions,
    portions: Portions,
) -> tuple[Equations, "_Posed | None"]:
    n_latent, n_seen = own.seen.shape
    cross, target, posed = torch.empty(count, n_seen, n_latent), torch.empty(count, n_latent), []

    def matrices() -> Iterator[tuple[int, tuple[Tensor]]]:
        start = 0
        for linearised, (rows, matrix) in blocks:
            end = start + len(rows)
            cross[start:end], target[start:end] = rows, linearised.target
            if linearised.pose is not None:
                posed.append(
                    _Posed(linearised.block.image, linearised.block.row + start, linearised.pose)
                )
            yield portions.of(linearised.block.particle), (matrix,)
            start = end

    (total,) = portions.sum(matrices(), [torch.zeros(n_latent, n_latent, dtype=torch.float64)])
    return Equations(cross, target, total), _Posed.together(posed) if posed else None


@dataclass(frozen=True)
class _Posed:
    """Images whose poses wait for the latents of their particles."""

    image: Tensor  # (image,)
    row: Tensor  # (image,), rising: which of some particles each shows
    given: PoseGiven
    latent: Tensor | None = None  # (particle, latent), where the particles were linearised

    @classmethod
    def together(cls, several: Sequence["_Posed"]) -> "_Posed":
        """Those of several blocks."""
        return cls(
            torch.cat([each.image for each in several]),
            torch.cat([each.row for each in several]),
            joined([each.given for each in several]),
        )

    def of_particles(
        self, some: Int[Tensor, "some"], latent: Float[Tensor, "some latent"]
    ) -> "_Posed":
        """The images of a run of the particles, which were linearised there."""
        first, last = torch.searchsorted(self.row, torch.stack([some[0], some[-1] + 1])).tolist()
        part = slice(first, last)
        return _Posed(self.image[part], self.row[part] - some[0], self.given[part], latent)

    def settle(self, each: Posterior, directions: Directions) -> tuple[Tensor, Tensor]:
        """Steps of the poses and their standard deviations, given the particles' posterior."""
        assert self.latent is not None, "settled before the particles' latents are known"
        step = (each.mean - self.latent)[self.row]
        return self.given.posterior(
            step, each.covariance[self.row], seen=directions.seen, unseen=directions.unseen
        )


@dataclass(frozen=True)
class _SomePosteriors:
    """Where some particles are, given the population."""

    latent: Tensor  # (particle, latent)
    sd: Tensor  # (particle, motion)
    freedom: Tensor  # (particle,), of all its images
    covariance: Tensor  # (direction, direction), summed
    posed: _Posed | None = None
    pose: tuple[Tensor, Tensor] | None = None  # (image, 5), steps and standard deviations


@dataclass(frozen=True)
class _GivenPopulation:
    """What a population makes of particles' equations."""

    population: Population
    directions: Directions
    motions: Motions
    numbers: PassNumbers
    mean: Tensor  # (number,), of the population in the numbers of the pass
    precision: Tensor  # (direction, direction)

    @classmethod
    def of(
        cls, model: FitModel, population: Population, found: Population, numbers: PassNumbers
    ) -> "_GivenPopulation":
        """A population, as it was found in the numbers of the pass.

        With its precision along the directions: once, as blocks are small.
        """
        directions, precision = numbers.directions, precision_along(numbers.own, found)
        unseen = population.root[:, directions.seen.shape[1] :]
        motions = motions_of(model, population)
        directions = replace(directions, unseen=unseen)
        return cls(population, directions, motions, numbers, found.mean, precision)

    def posteriors(
        self, cross: Tensor, target: Tensor, posed: _Posed | None = None
    ) -> _SomePosteriors:
        """Posteriors of some particles, by rows of their matrices and the right sides."""
        own = self.numbers.own
        each = posterior(cross, target, self.mean, self.precision, seen=own.seen)
        freedom = (
            torch.einsum("pde,ped->p", cross @ own.seen, each.covariance) + self.directions.left_out
        )
        return _SomePosteriors(
            self.numbers.latent(each.mean),
            self.motions.sd(each, self.directions),
            freedom,
            each.covariance.sum(0),
            posed,
            None if posed is None else posed.settle(each, own),
        )

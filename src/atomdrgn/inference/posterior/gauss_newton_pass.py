"""One pass of a fit over its images: every particle linearised, the population fitted, every
particle moved.
"""

import logging
import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...likelihood.normal_equations import POSE_NUMBERS
from ...likelihood.pose_equations import PoseGiven
from ...parallel import in_order
from ...physics.disc import FourierDisc
from ...physics.record import joined
from ...reporting import Reporter
from ..population.population import (
    CHUNK,
    ROUNDS,
    Directions,
    Equations,
    Population,
    fit_population,
    informative_directions,
    posterior,
    precision_along,
)
from ..population.pose_corrections import COARSEST, PoseCorrections, no_corrections
from ..problem.calibration import calibrate
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.linearisation import Linearised, linearise, mean_information
from ..problem.occupancy import believed_means, settle_brightness
from ..problem.principal_motions import Motions, motions_of

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


@dataclass(frozen=True)
class Found:
    """What a pass finds of all particles and images; each process fills in its own.

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

    def note(
        self, model: FitModel, particle: Int[Tensor, "some"], settled: "_Settled"
    ) -> tuple[int, tuple[Tensor]]:
        """Fill in where some particles are; returns their portion and the sum of their covariances
        along the directions.
        """
        self.latent[particle], self.latent_sd[particle] = settled.latent, settled.sd
        self.freedom[particle] = settled.freedom / model.rows[particle]
        if settled.posed is not None:
            self.pose[settled.posed.image], self.pose_sd[settled.posed.image] = settled.pose
        return model.particle_portions.of(particle), (settled.covariance,)

    def together(self, model: FitModel) -> "Found":
        """What all processes have found."""
        return Found(*(model.processes.total(getattr(self, f.name)) for f in fields(self)))


def run_pass(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    *,
    seed: int,
    last: bool,
    reporter: Reporter,
) -> tuple[FitState, dict]:
    """The state after one pass at one resolution, and its line of the history.

    Parameters
    ----------
    model, state, disc
        The fit as it stands.
    seed : int
        For the choice of images of which scales are measured.
    last : bool
        No finer images come: what none of them has told of is as the prior believes.
    reporter : Reporter
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + state.step)
    # the first gain is measured with a wrong noise spectrum
    for _ in range(2 if state.step == 0 else 1):
        state = calibrate(model, state, disc, generator)
    if model.refine_poses and state.poses is None and (disc.resolution <= COARSEST or last):
        state = replace(state, poses=no_corrections(len(model.images)))
    reporter.start(f"{disc.resolution:.0f} A", len(model.my_images))
    directions = measure_directions(model, state, disc)
    kept, others = _divide(model, directions)
    contrast, contrast_sd = torch.zeros(2, len(model.images))

    def blocks_of(particles, then):
        """What `then` makes of their equations, block by block, after contrasts were noted and the
        reporter told.
        """
        for linearised, made in linearise(model, state, disc, particles, then=then):
            image = linearised.block.image
            contrast[image], contrast_sd[image] = linearised.contrast, linearised.contrast_sd
            reporter.advance(len(image))
            yield linearised, made

    equations, posed = _collect(
        blocks_of(kept, lambda found: _reduced(found, directions)),
        count=len(kept),
        directions=directions,
        portions=model.particle_portions,
    )
    portions = replace(model.particle_portions, number=model.portion[kept])
    rounds = _rounds(model, directions)
    # what images say nothing of moves towards the prior as it would if each round counted it in
    keep_unseen = (
        0.0 if last else (model.n_particles / (model.n_particles + model.prior.particles)) ** rounds
    )
    population, evidence = fit_population(
        equations,
        directions,
        state.population,
        prior=believed_means(model, state),
        keep_unseen=keep_unseen,
        rounds=rounds,
        portions=portions,
    )
    directions = replace(directions, unseen=population.root[:, directions.seen.shape[1] :])
    motions = motions_of(model, population)
    n, n_seen = model.n_particles, directions.seen.shape[1]
    corrected = 0 if state.poses is None else len(model.images)
    found = Found(
        torch.zeros(n, model.deformation.n_latent),
        torch.zeros(n, len(motions.variance)),
        torch.zeros(n),
        contrast,
        contrast_sd,
        *torch.zeros(2, corrected, POSE_NUMBERS),
    )
    settle = _Settled.given(population, directions, motions)

    def settled_chunk(some):
        of_poses = None if posed is None else posed.of_particles(some, state.latent[kept[some]])
        return settle(equations.cross[some], equations.target[some], of_poses)

    def of_kept():
        batches = portions.batches(torch.arange(len(kept)), CHUNK)
        for some, settled in zip(batches, in_order(settled_chunk, batches), strict=True):
            yield found.note(model, kept[some], settled)

    def of_others():
        for linearised, settled in blocks_of(
            others, lambda found: _then_settled(found, directions, settle, state.latent)
        ):
            yield found.note(model, linearised.block.particle, settled)

    covariance = sum(
        model.particle_portions.sum(terms, [torch.zeros(n_seen, n_seen)])[0]
        for terms in (of_kept(), of_others())
    )
    reporter.finish()
    found = found.together(model)
    # brightness that all images share belongs to the amplitude
    counts = ~model.images.left_out
    mean = float(found.contrast[counts].mean())
    sd = (
        float(
            (
                found.contrast_sd[counts].square().mean() + found.contrast[counts].var(correction=0)
            ).sqrt()
        )
        / mean
    )
    found.contrast[~counts] = mean
    unseen = ~model.seen
    found.latent[unseen], found.latent_sd[unseen] = population.mean, motions.variance.sqrt()
    uncertainty = torch.cat(
        [
            directions.seen @ torch.linalg.cholesky(covariance / int(model.seen.sum())),
            directions.unseen,
        ],
        1,
    )
    widest = torch.linalg.eigvalsh(population.covariance).flip(0)
    row = history_row(
        model,
        state,
        disc,
        evidence=evidence[-1],
        directions=directions.seen.shape[1],
        contrast_sd=sd,
        variance=widest,
    )
    logger.info("%s", row)
    state = replace(
        state,
        step=state.step + 1,
        latent=found.latent,
        latent_sd=found.latent_sd,
        freedom=found.freedom,
        population=population,
        uncertainty=uncertainty,
        contrast=found.contrast / mean,
        contrast_sd=min(max(sd, SMALLEST_CONTRAST_SD), LARGEST_CONTRAST_SD),
        poses=None
        if state.poses is None
        else PoseCorrections(state.poses.value + found.pose, found.pose_sd),
    )
    return settle_brightness(model, state), row


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
    """The line of history.csv that the pass after a state leaves; of the variances the first three,
    0 where there are fewer.
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
    """The directions that images at this resolution tell of, by the mean information of some
    particles.
    """
    mean = mean_information(model, state, disc)
    wide = state.population.covariance + WIDER * model.start.covariance
    least = max(LEAST_INFORMATION, math.sqrt(2 / model.n_particles) / WORST_VARIANCE)
    return informative_directions(mean, wide, least=least)


def _divide(model, directions) -> tuple[Int[Tensor, "kept"], Int[Tensor, "other"]]:
    """This process's particles: those that the population is fitted to, evenly spread, and the
    others; none of which no image counts.

    As many as a round's work and the memory for their equations allow.
    """
    n_latent, n_seen = directions.seen.shape
    # with what a round makes of them
    bytes_each = 4 * (n_latent * (n_seen + 1) + 3 * n_seen**2)
    if model.refine_poses:  # twice, while they are put together
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


def _rounds(model, directions) -> int:
    """How many rounds of the population fit there is time for: many where they are quick."""
    work = min(model.n_particles * directions.seen.shape[1] ** 3, ROUND_WORK)
    return max(FEWEST_ROUNDS, min(ROUNDS, int(FEWEST_ROUNDS * ROUND_WORK / work)))


def _reduced(found: Linearised, directions: Directions):
    """What is kept of a block: rows of its matrices along the directions, and their sum."""
    return replace(found, matrix=None), (
        directions.seen.T @ found.matrix,
        found.matrix.sum(0, dtype=torch.float64),
    )


def _then_settled(found: Linearised, directions: Directions, settle, latent):
    """Where the particles of a block are, when the population is known already."""
    block = found.block
    posed = (
        None
        if found.pose is None
        else _Posed(block.image, block.row, found.pose, latent[block.particle])
    )
    return replace(found, matrix=None, pose=None), settle(
        directions.seen.T @ found.matrix, found.target, posed
    )


def _collect(blocks, *, count, directions, portions) -> tuple[Equations, "_Posed | None"]:
    n_latent, n_seen = directions.seen.shape
    cross, target, posed = torch.empty(count, n_seen, n_latent), torch.empty(count, n_latent), []

    def matrices():
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
    def together(cls, several):
        """Those of several blocks."""
        return cls(
            *(torch.cat([getattr(each, name) for each in several]) for name in ("image", "row")),
            joined([each.given for each in several]),
        )

    def of_particles(self, some, latent):
        """The images of a run of the particles, which were linearised there."""
        first, last = torch.searchsorted(self.row, torch.stack([some[0], some[-1] + 1])).tolist()
        part = slice(first, last)
        return _Posed(self.image[part], self.row[part] - some[0], self.given[part], latent)

    def settle(self, each, directions: Directions) -> tuple[Tensor, Tensor]:
        """Steps of the poses and their standard deviations, given the particles' posterior."""
        step = (each.mean - self.latent)[self.row]
        return self.given.posterior(
            step, each.covariance[self.row], seen=directions.seen, unseen=directions.unseen
        )


@dataclass(frozen=True)
class _Settled:
    """Where some particles are, given the population."""

    latent: Tensor  # (particle, latent)
    sd: Tensor  # (particle, motion)
    freedom: Tensor  # (particle,), of all its images
    covariance: Tensor  # (direction, direction), summed
    posed: _Posed | None = None
    pose: tuple[Tensor, Tensor] | None = None  # (image, 5), steps and standard deviations

    @classmethod
    def given(cls, population: Population, directions: Directions, motions: Motions):
        """What makes it of the equations of particles."""
        precision = precision_along(directions, population)  # once: blocks are small

        def settle(cross, target, posed=None):
            each = posterior(cross, target, population.mean, precision, seen=directions.seen)
            freedom = (
                torch.einsum("pde,ped->p", cross @ directions.seen, each.covariance)
                + directions.left_out
            )
            return cls(
                each.mean,
                motions.sd(each, directions),
                freedom,
                each.covariance.sum(0),
                posed,
                None if posed is None else posed.settle(each, directions),
            )

        return settle

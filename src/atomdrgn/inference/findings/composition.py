"""Which parts are there: occupancies, what is absent together, and from which particles."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from torch import Tensor

from ...physics.disc import FourierDisc
from ...physics.record import Record
from ...structure.motion.segment_deformation import OCCUPANCY_UNIT
from ...structure.motion.surface import fit_surface
from ...structure.selection import describe_residues
from ..population.population import Population
from ..problem.fit_problem import Block, FitModel
from ..problem.fit_state import FitState
from ..problem.linearisation import Linearised, linearise
from ..problem.misfit import misfits
from ..problem.occupancy import LEAST_SD, keep_occupancy, occupancy_numbers
from ..problem.principal_motions import motions_of

LEAST_CORRELATION = 0.6  # of occupancies of segments that belong together
ROUNDS_OF_SETS = 2  # each set is decided given the others
FRACTION_ROUNDS = 200
# Where a part is looked for: places along the leading motions, in standard deviations to both
# sides, by images to so many A; and the log-likelihood by which another place has to be better.
MOTIONS_LOOKED, PLACES, REACH, FINEST_LOOKED, CLEARLY = 2, 11, 2.2, 20.0, 2.0
FINEST_DECIDED = 12.0  # A: whole parts are told from none by coarse images
# standard errors by which the fraction of a set that is absent has to be more than none
SIGNIFICANT = 3.0


@dataclass(frozen=True)
class Composition(Record):
    """What is there of each particle.

    Parameters
    ----------
    occupancy, sd : (particle, segment)
        Of each segment under the Gaussian population, and its standard error: 0 where a segment is
        fixed. Not bounded.
    mean, mean_error : (segment,)
        Over the particles.
    together : (set, segment)
        The segments of each set that is present or absent as one.
    absent : (particle, set)
        Probability that a set is absent from a particle.
    fraction, fraction_error : (set,)
        Of the particles from which a set is absent.
    """

    occupancy: Float[Tensor, "particle segment"]
    sd: Float[Tensor, "particle segment"]
    mean: Float[Tensor, "segment"]
    mean_error: Float[Tensor, "segment"]
    together: Bool[Tensor, "set segment"]
    absent: Float[Tensor, "particle set"]
    fraction: Float[Tensor, "set"]
    fraction_error: Float[Tensor, "set"]

    @property
    def present(self) -> Float[Tensor, "particle segment"]:
        """1 and 0 as decided: what is in no set is present everywhere."""
        return 1.0 - ((self.absent > 0.5).float() @ self.together.float())


def find_composition(model: FitModel, state: FitState) -> tuple[FitState, Composition]:
    """What is there of each particle, and the state then.

    With particles as they are when that is decided.

    The Gaussian population finds which segments vary together. Whether such a set is in a particle
    is then decided between the two: its images' likelihood with the set at occupancy 1 and at 0,
    each integrated over the motions (Laplace), and the fraction of particles that makes all images
    likeliest. Other segments count as present. Before a part is called absent it is looked for
    along the leading motions, and a set that next to no particle lacks is none.
    """
    disc = model.images.disc
    occupancy, sd = _occupancies(model, state, disc)
    mean = occupancy.mean(0)
    mean_error = ((occupancy.var(0, correction=0) + sd.square().mean(0)) / model.n_particles).sqrt()
    together = covarying_sets(model, state.population)
    absent = (
        torch.stack([(occupancy[:, segments].mean(1) < 0.5).float() for segments in together], 1)
        if len(together)
        else (torch.zeros(model.n_particles, 0))
    )
    fraction, error, start = torch.zeros(len(together)), torch.zeros(len(together)), state
    for _ in range(min(ROUNDS_OF_SETS, len(together))):
        for number, segments in enumerate(together):
            others = 1.0 - (absent > 0.5).float() @ (together & ~segments).float()
            gain, states = _compare(model, state, disc, segments, others)
            absent[:, number], fraction[number], error[number] = mixture(gain)
            state = replace(
                state, latent=torch.where((absent[:, number] > 0.5)[:, None], states[1], states[0])
            )
        real = fraction > SIGNIFICANT * error
        together, absent, fraction, error = (
            together[real],
            absent[:, real],
            fraction[real],
            error[real],
        )
    found = Composition(occupancy, sd, mean, mean_error, together, absent, fraction, error)
    if state is not start:
        latent = model.segments.with_occupancy(state.latent, found.present)
        state = replace(state, latent=_integrated(model, replace(state, latent=latent), disc)[1])
    return state, found


def _occupancies(
    model: FitModel, state: FitState, disc: FourierDisc
) -> tuple[Float[Tensor, "particle segment"], Float[Tensor, "particle segment"]]:
    """Occupancies of all particles under the population, with their standard errors."""
    population = state.population
    precision = torch.linalg.inv(population.covariance.double())
    right = precision @ population.mean.double()
    place = occupancy_numbers(model.segments)
    free = model.segments.free
    occupancy = torch.zeros(model.n_particles, model.segments.n_segments)
    sd = torch.zeros_like(occupancy)

    def settled(found: Linearised) -> tuple[Block, Tensor, Tensor]:
        covariance = torch.linalg.inv(found.full.double() + precision)
        mean = (covariance @ (found.target.double() + right)[..., None])[..., 0]
        variance = covariance.diagonal(dim1=1, dim2=2)[:, place]
        return (
            found.block,
            1 + OCCUPANCY_UNIT * mean[:, place].float(),
            OCCUPANCY_UNIT * variance.sqrt().float(),
        )

    model.reporter.start("composition", len(model.my_images))
    for block, mean, error in linearise(model, state, disc, model.my_particles, then=settled):
        occupancy[block.particle[:, None], free], sd[block.particle[:, None], free] = mean, error
        model.reporter.advance(len(block.image))
    model.reporter.finish()
    occupancy, sd = model.processes.total(occupancy), model.processes.total(sd)
    fixed = torch.ones(model.segments.n_segments, dtype=torch.bool)
    fixed[free] = False
    occupancy[:, fixed] = 1
    return occupancy, sd


def covarying_sets(model: FitModel, population: Population) -> Bool[Tensor, "set segment"]:
    """The segments whose occupancies vary, those that vary together in one set.

    The largest set comes first.
    """
    deformation = model.segments
    place = occupancy_numbers(deformation)
    covariance = OCCUPANCY_UNIT**2 * population.covariance[place[:, None], place]
    sd = covariance.diagonal().sqrt()
    varying = torch.nonzero(sd > LEAST_SD)[:, 0]
    sets = torch.zeros(0, deformation.n_segments, dtype=torch.bool)
    if not len(varying):
        return sets
    number = np.ones(1, dtype=int)
    if len(varying) > 1:
        correlation = (covariance / sd / sd[:, None])[varying[:, None], varying].numpy()
        apart = 1 - 0.5 * (correlation + correlation.T)
        np.fill_diagonal(apart, 0)
        number = fcluster(
            linkage(squareform(apart.clip(0), checks=False), "average"),
            1 - LEAST_CORRELATION,
            "distance",
        )
    sets = torch.zeros(number.max(), deformation.n_segments, dtype=torch.bool)
    sets[torch.from_numpy(number).long() - 1, deformation.free[varying]] = True
    mass = (model.beads.amplitude @ deformation.weight) * sets
    return sets[mass.sum(1).argsort(descending=True)]


def _compare(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    segments: Bool[Tensor, "segment"],
    others: Float[Tensor, "particle segment"],
) -> tuple[Float[Tensor, "particle"], list[Float[Tensor, "particle latent"]]]:
    """Log-likelihood of each particle with a set absent over that with it; its motions in both."""
    disc, evidence, latents = disc.coarser(max(FINEST_DECIDED, disc.resolution)), [], []
    for occupancy in (1.0, 0.0):
        latent = model.segments.with_occupancy(
            state.latent, torch.where(segments, torch.tensor(occupancy), others)
        )
        case = replace(state, latent=_looked_up(model, replace(state, latent=latent)))
        value, moved = _integrated(model, case, disc)
        left, _ = misfits(model, state, disc, [case.latent])
        evidence.append(value - 0.5 * left[0])
        latents.append(moved)
    return evidence[1] - evidence[0], latents


def _integrated(
    model: FitModel, state: FitState, disc: FourierDisc
) -> tuple[Float[Tensor, "particle"], Float[Tensor, "particle latent"]]:
    """Log-likelihood over each particle's motions, occupancies as they are, and likeliest ones."""
    population, deformation = state.population, model.deformation
    number = deformation.motion_numbers
    mean = population.mean[number].double()
    precision = torch.linalg.inv(population.covariance[number[:, None], number].double())
    gained, moved = torch.zeros(model.n_particles), torch.zeros_like(state.latent)

    def settled(found: Linearised) -> tuple[Block, Tensor, Tensor]:
        own = state.latent[found.block.particle]
        matrix, gradient = (each.double() for each in found.of_motions(deformation, state.latent))
        away = own[:, number].double() - mean
        right = gradient - away @ precision
        factor = torch.linalg.cholesky(matrix + precision)
        step = torch.cholesky_solve(right[..., None], factor)[..., 0]
        volume = factor.diagonal(dim1=1, dim2=2).log().sum(1)
        value = 0.5 * (right * step).sum(1) - 0.5 * (away * (away @ precision)).sum(1) - volume
        new = own.clone()
        new[:, number] += step.float()
        return found.block, value.float(), new

    model.reporter.start("present or absent", len(model.my_images))
    for block, value, new in linearise(model, state, disc, model.my_particles, then=settled):
        gained[block.particle], moved[block.particle] = value, new
        model.reporter.advance(len(block.image))
    model.reporter.finish()
    return model.processes.total(gained), model.processes.total(moved)


def _looked_up(model: FitModel, state: FitState) -> Float[Tensor, "particle latent"]:
    """Latents of which those that are clearly better elsewhere along the leading motions are there.

    A part that stands in the wrong place is better absent: before it is called so, it is looked
    for.
    """
    motions = motions_of(model, state.population)
    sd = motions.variance.sqrt()[:MOTIONS_LOOKED]
    place = motions.place(state.latent)[:, : len(sd)].contiguous()
    surface = fit_surface(place, state.latent, sd)
    tried = [place]
    for axis in range(len(sd)):
        for value in torch.linspace(-REACH, REACH, PLACES) * sd[axis]:
            tried.append(torch.where(torch.arange(len(sd)) == axis, value, place))
    disc = model.images.disc.coarser(max(FINEST_LOOKED, model.images.disc.resolution))
    candidates = [
        state.latent,
        *(keep_occupancy(model, state, surface.at(each)) for each in tried[1:]),
    ]
    model.reporter.start("looking for parts", len(model.my_images))
    left, _ = misfits(model, state, disc, candidates, advance=model.reporter.advance)
    model.reporter.finish()
    score = -0.5 * left - 0.5 * torch.stack([(each / sd).square().sum(1) for each in tried])
    best, which = score.max(0)
    return _candidates_at(candidates, torch.where(best > score[0] + CLEARLY, which, 0))


def _candidates_at(
    candidates: Sequence, which: Int[Tensor, "particle"]
) -> Float[Tensor, "particle latent"]:
    """One of some candidates for each particle."""
    latent = candidates[0].clone()
    for number in which.unique().tolist():
        particle = torch.nonzero(which == number)[:, 0]
        latent[particle] = candidates[number][particle]
    return latent


def mixture(gain: Float[Tensor, "particle"]) -> tuple[Float[Tensor, "particle"], float, float]:
    """Probabilities of the second of two kinds, its fraction, and the fraction's error.

    Parameters
    ----------
    gain : (particle,)
        Log-likelihood of the second kind over the first.
    """
    gain, fraction = gain.double(), torch.tensor(0.5, dtype=torch.float64)
    least = 0.5 / len(gain)
    for _ in range(FRACTION_ROUNDS):
        fraction = torch.sigmoid(gain + torch.logit(fraction)).mean().clamp(least, 1 - least)
    probability = torch.sigmoid(gain + torch.logit(fraction))
    score = probability / fraction - (1 - probability) / (1 - fraction)
    return (
        probability.float(),
        float(fraction),
        float(score.square().sum().clamp_min(1e-12).rsqrt()),
    )


def composition_columns(found: Composition) -> dict[str, list]:
    """Columns of particles.csv.

    They are the occupancy of each segment with its error, and how likely each set is absent.
    """
    columns: dict[str, list] = {}
    for name, values in (
        ("occupancy", found.occupancy),
        ("occupancy_sd", found.sd),
        ("absent", found.absent),
    ):
        columns |= {
            f"{name}_{k + 1}": np.round(value, 4).tolist()
            for k, value in enumerate(values.double().T.numpy())
        }
    return columns


def composition_summary(model: FitModel, found: Composition) -> dict:
    """What summary.json says of the composition.

    Of each segment and each set what it is, and from how many particles it is absent.
    """
    owner = model.segments.weight.argmax(1)
    free = set(model.segments.free.tolist())
    sets = found.together.long()
    in_set = (
        torch.where(sets.any(0), sets.argmax(0) + 1, 0)
        if len(sets)
        else torch.zeros_like(found.mean, dtype=torch.long)
    )
    segments = []
    for k in range(model.segments.n_segments):
        number = int(in_set[k])
        if number:
            fraction, error = (
                float(found.fraction[number - 1]),
                float(found.fraction_error[number - 1]),
            )
        else:
            fraction, error = (
                _below_half(found.occupancy[:, k], found.sd[:, k]) if k in free else (0.0, 0.0)
            )
        segments.append(
            {
                "segment": k + 1,
                "selection": describe_residues(model.beads, (owner == k).numpy()),
                "mean_occupancy": round(float(found.mean[k]), 4),
                "mean_error": round(float(found.mean_error[k]), 4),
                "set": number or None,
                "absent_fraction": round(fraction, 4),
                "absent_fraction_error": round(error, 4),
            }
        )
    rows = [
        {
            "set": number + 1,
            "segments": (torch.nonzero(members)[:, 0] + 1).tolist(),
            "absent_fraction": round(float(found.fraction[number]), 4),
            "absent_fraction_error": round(float(found.fraction_error[number]), 4),
        }
        for number, members in enumerate(found.together)
    ]
    return {"segments": segments, "sets": rows}


def _below_half(
    occupancy: Float[Tensor, "particle"], sd: Float[Tensor, "particle"]
) -> tuple[float, float]:
    """Mean probability of an occupancy below 1/2, and its standard error.

    The error is never less than if one particle told.
    """
    probability = torch.special.ndtr((0.5 - occupancy.double()) / sd.double().clamp_min(1e-6))
    fraction = float(probability.mean())
    return fraction, max((fraction * (1 - fraction)) ** 0.5, len(occupancy) ** -0.5) / len(
        occupancy
    ) ** 0.5

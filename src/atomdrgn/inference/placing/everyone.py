"""All particles on a learned landscape, what they are together, and each by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...particles.stack.stack import ParticleStack
from ...reporting import Reporter
from ..findings.conformational_states import States, likelihood_by_component, states_of
from ..findings.junk import Junk, Signals, judge
from ..findings.particle_results import MOST_ODD, ParticleResults, spread_of
from ..population.latent_density import Density, fit_density
from ..posterior.importance_sampling import ALLOWANCE, Belief, Looked, draw
from .coarse_to_fine import Placement, place_particles
from .learned import Learned, chunks_of
from .nodes import PLACES
from .placed_files import Placed, load_placed, save_placed

CHUNK = 2048  # particles that are placed together, and lie in one file
# places of particles that a density is fitted to: of evenly spread particles
MOST_FITTED = 1_300_000


@dataclass(frozen=True, eq=False)
class Everyone:
    """All particles of a file, each placed on what was learned on some of them.

    Parameters
    ----------
    learned : Learned
        What they are placed on.
    particles : ParticleStack
        All of them.
    folder : Path
        Of the run, where files of placed particles lie.
    """

    learned: Learned
    particles: ParticleStack
    folder: Path

    @cached_property
    def chunks(self) -> tuple[Int[Tensor, "image"], ...]:
        """Images of the particles of each file."""
        return chunks_of(self.particles, CHUNK)

    def place(self, reporter: Reporter) -> None:
        """Place particles whose files are not there yet; of several processes each its share."""
        processes = self.learned.model.processes
        reporter.start("placing particles", len(self.particles))
        for number, image in enumerate(self.chunks):
            mine = number % processes.count == processes.rank
            if mine and load_placed(self.folder, number, image) is None:
                save_placed(self.folder, number, place_some(self.learned, self.particles, image))
            reporter.advance(len(image))
        reporter.finish()
        processes.wait()

    def placed(self) -> Iterator[Placed]:
        """Particles of one file after the other."""
        for number, image in enumerate(self.chunks):
            found = load_placed(self.folder, number, image)
            assert found is not None, "asked for before all are placed"
            yield found

    @cached_property
    def totals(self) -> "Totals":
        """What all particles are together."""
        return find_totals(self)

    def results(self) -> Iterator[ParticleResults]:
        """What is known of the particles of one file after the other."""
        first = 0
        for number, placed in enumerate(self.placed()):
            yield self._results(placed, number, first)
            first += len(placed.placement.centre)

    def _results(self, placed: Placed, number: int, first: int) -> ParticleResults:
        totals, placement = self.totals, placed.placement
        size, k = placement.centre.shape
        own = slice(first, first + size)
        generator = torch.Generator().manual_seed(self.learned.model.seed + number)
        looked, surface = looked_at(placement), self.learned.landscape.surface
        weight = weights(looked, totals.density)
        belief = believed(placement, looked.place, weight)
        draws = draw(looked.place, weight, belief, generator) if k else torch.zeros(size, 1, 0)
        mean = belief.mean[:, None]
        others = placement.other
        white = torch.randn(*draws.shape[:2], others.shape[1], generator=generator)
        other_draws = others[:, None] + white @ placement.other_root.mT
        place = torch.cat([belief.mean, others], 1)
        pose = pose_sd = None
        if placed.poses is not None:
            pose = placed.poses.at(belief.mean[placed.particle])
            along = placed.poses.slope @ belief.root[placed.particle]
            assert placed.pose_sd is not None  # it is found with the poses
            pose_sd = torch.hypot(placed.pose_sd, along.square().sum(-1).sqrt())
        return ParticleResults(
            stack=self.particles[placed.image],
            particle=placed.particle,
            place=place,
            sd=totals.sd[own],
            draws=torch.cat([mean + ALLOWANCE * (draws - mean), other_draws], 2),
            latent=surface(place),
            gain=0.5 * (placement.of_base - placement.left),
            outlier=totals.outlier[own],
            signal=totals.junk.signal[own],
            junk=totals.junk.probability[own],
            state_probability=totals.states.probability[own],
            left_out=placed.left_out,
            pose=pose,
            pose_sd=pose_sd,
        )


@dataclass(frozen=True, eq=False)
class Totals:
    """What all particles are together.

    Parameters
    ----------
    density : Density or None
        Over latent coordinates; none where nothing moves.
    junk : Junk
        Which are junk.
    states : States
        In which state each is.
    outlier : (particle,)
        How odd what is left of each is.
    gain : float
        Log-likelihood that a particle gains over the base model, on average.
    sd : (particle, k)
        Of each along each motion.
    seen : (particle,)
        Which have an image that counts.
    """

    density: Density | None
    junk: Junk
    states: States
    outlier: Float[Tensor, "particle"]
    gain: float
    sd: Float[Tensor, "particle k"]
    seen: Bool[Tensor, "particle"]


def place_some(learned: Learned, particles: ParticleStack, image: Int[Tensor, "image"]) -> Placed:
    """Place the particles that some images are all images of."""
    model, state = learned.of(particles[image])
    placement, poses = place_particles(model, state, learned.landscape)
    found = Placed(image, model.particle, model.images.left_out, placement)
    return found if poses is None else replace(found, poses=poses[0], pose_sd=poses[1])


def looked_at(placement: Placement) -> Looked:
    """Places all over each particle's box, as places that were drawn evenly from it."""
    even = placement.likelihood.T + placement.boxes.log_volume
    return Looked(placement.place, even)


def weights(looked: Looked, density: Density | None) -> Float[Tensor, "place particle"]:
    """Of each place in its particle's posterior; a particle's sum is 1."""
    return torch.ones_like(looked.likelihood) if density is None else looked.weight(density)


def believed(
    placement: Placement,
    place: Float[Tensor, "place particle k"],
    weight: Float[Tensor, "place particle"],
) -> Belief:
    """Mean and spread of each posterior, by sums over an even grid."""
    mean = torch.einsum("sp,spk->pk", weight, place)
    offset = place - mean
    k = mean.shape[1]
    covariance = torch.einsum("sp,spk,spl->pkl", weight, offset, offset)
    # a posterior that is narrower than a step of the grid cannot be told
    step = 0.5 * placement.axes / PLACES[k]
    return Belief(mean, torch.linalg.cholesky(covariance + step @ step.mT + 1e-8 * torch.eye(k)))


def find_totals(everyone: Everyone) -> Totals:
    """Density, junk, states and oddness of all particles, read file by file."""
    few = [_without_likelihoods(each) for each in everyone.placed()]
    of_all = join_placements([each.placement for each in few])
    seen = torch.cat([each.seen for each in few])
    gain, excess = 0.5 * (of_all.of_base - of_all.left), _excess(of_all)
    signal, expected = of_all.signal, of_all.expected
    junk = judge(Signals(signal, expected), seen)
    middle, width = spread_of(excess[seen])
    outlier = torch.where(seen, (excess - middle) / width, MOST_ODD).clamp(-MOST_ODD, MOST_ODD)
    counted = seen & ~junk.without_weight
    density = _density(everyone, counted)
    of_components, sd = [], []
    for each in everyone.placed():
        looked = looked_at(each.placement)
        if density is not None:
            of_components.append(likelihood_by_component(density, looked))
        weight = weights(looked, density)
        own = ALLOWANCE * believed(each.placement, looked.place, weight).sd
        other = each.placement.other_root.square().sum(-1).sqrt()
        sd.append(torch.cat([own, other], 1))
    states = states_of(
        density,
        torch.cat(of_components) if of_components else None,
        particles=len(seen),
        seen=counted,
    )
    return Totals(density, junk, states, outlier, float(gain[seen].mean()), torch.cat(sd), seen)


def join_placements(some: Sequence[Placement]) -> Placement:
    """Particles of some placements, one after the other."""
    return Placement(
        *(torch.cat([getattr(each, field.name) for each in some]) for field in fields(Placement))
    )


def _without_likelihoods(placed: Placed) -> Placed:
    """The same without what takes memory."""
    few = replace(placed.placement, likelihood=placed.placement.likelihood[:, :0])
    return replace(placed, placement=few, poses=None, pose_sd=None)


def _excess(placement: Placement) -> Float[Tensor, "particle"]:
    """Weighted squares that are left beyond their number, in standard deviations of noise."""
    return (placement.left - placement.count) / (2 * placement.count).clamp_min(1).sqrt()


def _density(everyone: Everyone, counted: Bool[Tensor, "particle"]) -> Density | None:
    """The density of all particles: that of those it was learned on is where it begins."""
    before = everyone.learned.landscape.density
    if before is None:
        return None
    k = before.mean.shape[1]
    wanted = max(1, MOST_FITTED // PLACES[k] ** k)
    number = torch.nonzero(counted)[:, 0]
    taken = torch.zeros(len(counted), dtype=torch.bool)
    taken[number[:: max(1, -(-len(number) // wanted))]] = True
    places, likelihoods, first = [], [], 0
    for each in everyone.placed():
        size = len(each.placement.centre)
        some = looked_at(each.placement[taken[first : first + size]])
        places.append(some.place)
        likelihoods.append(some.likelihood)
        first += size
    place, likelihood = torch.cat(places, 1), torch.cat(likelihoods, 1)
    weight = Looked(place, likelihood).weight(before)
    mean = torch.einsum("sp,spk->pk", weight, place)
    error = torch.einsum("sp,spk->pk", weight, (place - mean).square()).sqrt()
    return fit_density(before, place, likelihood, error=error, most=place.shape[1])

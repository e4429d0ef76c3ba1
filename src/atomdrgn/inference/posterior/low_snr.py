"""Where one particle tells next to nothing of the motion.

It is one surface of conformations for all, with every particle spread over it.

Normal equations of single particles lead nowhere at such noise: what each is believed to be stays
near the mean, and restraints, the same for every particle, weigh more than its images. All images
together tell the motion well. Their scores (the slopes of each image's likelihood) have a
covariance beyond that of noise, and its leading axes are the motions; from there the surface is
followed to finer images, each particle standing at all nodes of a grid with the weight that its
images give them.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...physics.disc import FourierDisc
from ...structure.motion.surface import straight_surface
from ..images.resolution_schedule import finer_steps
from ..population.conformation_surface import Mapping
from ..population.latent_density import Density, fit_density, spread_out
from ..population.population import Population
from ..population.pose_corrections import no_corrections
from ..problem.calibration import calibrate
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.linearisation import mean_information
from ..problem.misfit import misfits
from ..problem.principal_motions import Motions, how_alike, motions_of
from ..problem.significance import FIRST_ALIKE, MotionSupport
from .gauss_newton_pass import history_row
from .importance_sampling import (
    ALLOWANCE,
    Belief,
    Looked,
    Sampler,
    WideFit,
    believe,
    draw,
    working_disc,
)
from .pose_errors import no_play
from .score_statistics import motion_of_scores, sum_scores

# Below so much information of a particle on the widest motion that is likely (1 halves its
# variance): measured, docs/accuracy.md.
WEAK = 3.0
# particles: covariances of scores have some fifty numbers a side; ten particles show nothing
FEWEST = 400
# of a latent: a motion stands out against what noise makes of others
FEWEST_NUMBERS = 6
SECOND_AFTER = 6  # rounds: the first motion is known well enough to see what it leaves
# A: where the surface begins; coarser images tell nothing that these do not
COARSEST = 45.0
MEAN_PASSES = 2  # to the mean conformation
# resolutions, the first ones, with two rounds each; one is enough for the others
SETTLING = 3
DRAWN = 2  # conformations of each particle that the surface is fitted to
DENSITY_FITTED = 20_000  # particles
SMALLEST = 0.05  # A: a motion that ends below has died out


def surfaces_are_for(model: FitModel) -> bool:
    """Surfaces are of motions alone, with poses as they are, and of many particles.

    What each does not tell, all have to.
    """
    return (
        not model.composition
        and not model.refine_poses
        and model.n_particles >= FEWEST
        and model.deformation.n_latent >= FEWEST_NUMBERS
    )


def finest_if_weak(model: FitModel, state: FitState) -> float | None:
    """The resolution (A) that holds nearly all that the images tell of likely motions.

    There is one where a particle tells little of them.

    None where single particles tell enough.

    Parameters
    ----------
    model, state
        A fit before its first pass.
    """
    generator, disc = torch.Generator().manual_seed(model.seed), model.images.disc
    for _ in range(2):  # the first gain is measured with a wrong noise spectrum
        state = calibrate(model, state, disc, generator)
    if information_of_a_particle(model, state, disc) > WEAK:
        return None
    return working_disc(model, state, motions_of(model, model.start).first(1)).resolution


def information_of_a_particle(model: FitModel, state: FitState, disc: FourierDisc) -> float:
    """Information of a particle's images on the widest likely motion, in units of its variance.

    It is the mean over some particles.
    """
    root = model.start.root
    return float(
        torch.linalg.eigvalsh(
            (root.T @ mean_information(model.by_images, state, disc) @ root).double()
        )[-1]
    )


def resolutions_of_rounds(finest: float) -> list[float]:
    """Resolution of each round, A: from the coarsest, where the surface settles, to the finest."""
    steps = finer_steps(max(COARSEST, finest), finest)
    return [each for each in steps[:SETTLING] for _ in range(2)] + steps[SETTLING:] + [finest]


def first_mapping(model: FitModel, state: FitState, resolution: float) -> FitState:
    """The state with the mean and the motion that the scores of all images show.

    They show it at a coarse resolution (A).
    """
    generator = torch.Generator().manual_seed(model.seed)
    disc = model.images.disc.coarser(resolution)
    prior = torch.linalg.inv(model.start.covariance.double())
    for _ in range(MEAN_PASSES):
        state = calibrate(model, state, disc, generator)
        scores = sum_scores(model, state, disc, title="mean conformation")
        mean = torch.linalg.solve(
            scores.information + prior, scores.target + prior @ model.start.mean.double()
        ).float()
        state = replace(state, latent=mean.expand(model.n_particles, -1).contiguous())
    state = calibrate(model, state, disc, generator)
    scores = sum_scores(model, state, disc, title="a motion from the scores")
    motion = motion_of_scores(scores, model.start.covariance.double())
    motions = _motions(model, mean, motion.step[:, None].float())
    sd = motions.variance.sqrt()
    density = spread_out(torch.randn(DENSITY_FITTED, 1, generator=generator) * sd)
    return with_mapping(
        model, state, Mapping(straight_surface(mean, motions.direction, sd), density)
    )


def with_second_motion(model: FitModel, state: FitState, disc: FourierDisc) -> FitState:
    """The state with a second motion, where the scores show one that the first does not explain.

    Particles have to be at conformations drawn from their posteriors.
    """
    mapping, generator = state.spread, torch.Generator().manual_seed(model.seed)
    state = calibrate(model, state, disc, generator)
    scores = sum_scores(model, state, disc, title="another motion from the scores")
    motion = motion_of_scores(
        scores, model.start.covariance.double(), besides=mapping.surface.coefficient[1:].T.double()
    )
    if not motion.stands_out:
        return state
    alone = _motions(model, mapping.surface.coefficient[0], motion.step[:, None].float())
    sd = alone.variance.sqrt()
    place = torch.cat(
        [
            mapping.density.draw(DENSITY_FITTED, generator),
            torch.randn(DENSITY_FITTED, 1, generator=generator) * sd,
        ],
        1,
    )
    return with_mapping(
        model,
        state,
        _standardised(
            model, Mapping(mapping.surface.with_straight(alone.direction, sd), spread_out(place))
        ),
    )


def map_round(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    *,
    last: bool,
) -> tuple[FitState, dict]:
    """The state after a round of expectation and maximisation, and its line of the history.

    Scales and noise are measured with each particle at a place drawn from its posterior, after the
    `last` round up to the images' own resolution; then particles are left where they are on
    average.
    """
    generator = torch.Generator().manual_seed(model.seed * 1_000_003 + state.step)
    state, mapping = calibrate(model, state, disc, generator), state.spread
    likelihood = likelihood_at_nodes(model, state, mapping, disc)
    place = mapping.places(model.n_particles)
    belief = _believed(mapping, place, mapping.share(likelihood))
    density = _density_of_seen(model, mapping, place, likelihood, belief)
    mapping = replace(mapping, density=density)
    weight = mapping.share(likelihood)
    evidence = float(_evidence(likelihood, mapping.log_weight())[_those_seen(model)].mean())
    in_place = no_play(place[0], state.latent)
    sampler = Sampler(model.by_images, state, disc, in_place, generator)
    surface = sampler.refit(mapping.surface, place, weight, times=DRAWN)
    drawn = torch.multinomial(weight.T, 1, generator=generator)[:, 0]
    mapping = _standardised(model, Mapping(surface, density))
    state = replace(with_mapping(model, state, mapping), latent=surface(place[drawn, 0]))
    if last:
        state = replace(
            calibrate(model, state, model.images.disc, generator), latent=surface(belief.mean)
        )
    row = history_row(
        model,
        state,
        disc,
        evidence=evidence,
        directions=mapping.k,
        contrast_sd=state.contrast_sd,
        variance=mapping.density.variance(),
    )
    return replace(state, step=state.step + 1), row


def likelihood_at_nodes(
    model: FitModel, state: FitState, mapping: Mapping, disc: FourierDisc
) -> Float[Tensor, "node particle"]:
    """Logarithm of the likelihood of each particle's images at each node.

    It is relative to that in the middle of the grid.
    """
    model.reporter.start(f"every node, {disc.resolution:.0f} A", len(model.my_images))
    conformations = [
        latent.expand(model.n_particles, -1) for latent in mapping.surface(mapping.nodes())
    ]
    left, _ = misfits(model, state, disc, conformations, advance=model.reporter.advance)
    model.reporter.finish()
    return 0.5 * (left[len(left) // 2] - left)


def mapped_support(model: FitModel, state: FitState, other: Mapping) -> MotionSupport:
    """What the motions of another half-set's surface are worth to particles that had no part in it.

    Against the one conformation of it that makes all these images likeliest, and each motion
    against those before it.
    """
    likelihood, weight = (
        likelihood_at_nodes(model, state, other, finest_disc(model, state)),
        other.log_weight(),
    )
    evidence = [likelihood[likelihood.sum(1, dtype=torch.float64).argmax()]]
    nodes = other.nodes()
    for k in range(1, other.k + 1):
        along = (nodes[:, k:] == 0).all(1)
        at_these = (
            other.first(k).density.log(nodes[along, :k]).log_softmax(0) if k < other.k else weight
        )
        evidence.append(_evidence(likelihood[along], at_these))
    gain = torch.stack(evidence, 1)[model.seen].diff(dim=1)
    alike = torch.zeros(other.k)
    found = how_alike(
        model, motions_of_mapping(model, other), motions_of_mapping(model, state.spread)
    )
    alike[: len(found)] = found
    # half of weak images finds the way of a second motion, too, only roughly
    needed = torch.full_like(alike, FIRST_ALIKE)
    return MotionSupport(gain.mean(0), gain.std(0) / len(gain) ** 0.5, alike, needed)


def mapping_over_base(
    model: FitModel, state: FitState, other: Mapping, *, motions: int
) -> Float[Tensor, "particle"]:
    """Log-evidence of particles on another half-set's surface, over that of the base model."""
    mean = other.surface.coefficient[:1]
    conformations, log_weight = mean, torch.zeros(1)
    if motions:
        mapping = other.first(min(motions, other.k))
        conformations, log_weight = mapping.surface(mapping.nodes()), mapping.log_weight()
    each = [
        latent.expand(model.n_particles, -1)
        for latent in torch.cat([conformations, torch.zeros_like(mean)])
    ]
    left, _ = misfits(model, state, finest_disc(model, state), each)
    return _evidence(-0.5 * left[:-1], log_weight) + 0.5 * left[-1]


def place_on_mapping(model: FitModel, state: FitState) -> WideFit:
    """Posterior of each particle's place on the state's surface.

    Where poses were refined on the images they are integrated out here, and the density is fitted
    to what is left of the likelihoods; the surface was found with poses as they are.
    """
    mapping, generator = state.spread, torch.Generator().manual_seed(model.seed)
    if model.integrates_poses:
        state = replace(state, poses=no_corrections(len(model.images), model.pose_prior_sd))
    likelihood = likelihood_at_nodes(model, state, mapping, finest_disc(model, state))
    place = mapping.places(model.n_particles)
    if model.integrates_poses:
        believed = _believed(mapping, place, mapping.share(likelihood))
        density = _density_of_seen(model, mapping, place, likelihood, believed)
        mapping = replace(mapping, density=density)
    weight = mapping.share(likelihood)
    belief = _believed(mapping, place, weight)
    draws = draw(place, weight, belief, generator)
    mean = belief.mean[:, None]
    return WideFit(
        mapping.surface,
        mapping.density,
        Belief(belief.mean, ALLOWANCE * belief.root),
        mean + ALLOWANCE * (draws - mean),
        looked=Looked(place, likelihood),
    )


def with_mapping(model: FitModel, state: FitState, mapping: Mapping) -> FitState:
    """The state with another surface, and a Gaussian about it as its population."""
    linear = mapping.surface.coefficient[1 : 1 + mapping.k].T.double()
    root = torch.linalg.cholesky(linear @ linear.T + model.prior.covariance.double()).float()
    return replace(
        state, mapping=mapping, population=Population(mapping.surface.coefficient[0].clone(), root)
    )


def finest_disc(model: FitModel, state: FitState) -> FourierDisc:
    """The frequencies that nearly all that the images tell of the motions is in."""
    return working_disc(model, state, motions_of_mapping(model, state.spread))


def motions_of_mapping(model: FitModel, mapping: Mapping) -> Motions:
    """Its principal motions, largest first."""
    return _motions(
        model, mapping.surface.coefficient[0], mapping.surface.coefficient[1 : 1 + mapping.k].T
    )


def _evidence(
    likelihood: Float[Tensor, "node particle"], log_weight: Float[Tensor, "node"]
) -> Float[Tensor, "particle"]:
    return (likelihood + log_weight[:, None]).logsumexp(0)


def _those_seen(model: FitModel) -> slice | Bool[Tensor, "particle"]:
    """The particles that count; a slice, which copies nothing, where all do."""
    return slice(None) if model.seen.all() else model.seen


def _density_of_seen(
    model: FitModel,
    mapping: Mapping,
    place: Float[Tensor, "node particle k"],
    likelihood: Float[Tensor, "node particle"],
    belief: Belief,
) -> Density:
    """The density fitted to the particles that count, from that of the surface."""
    some = _those_seen(model)
    return fit_density(
        mapping.density,
        place[:, some],
        likelihood[:, some],
        error=belief.sd[some],
        most=DENSITY_FITTED,
    )


def _believed(
    mapping: Mapping,
    place: Float[Tensor, "node particle k"],
    weight: Float[Tensor, "node particle"],
) -> Belief:
    root = mapping.surface.scale.diag().expand(place.shape[1], -1, -1)
    return believe(place, weight, Belief(torch.zeros(place.shape[1:]), root))


def _motions(
    model: FitModel, mean: Float[Tensor, "latent"], root: Float[Tensor, "latent k"]
) -> Motions:
    """Principal motions of a population that moves along few directions only."""
    still = root.new_zeros(len(root), len(root) - root.shape[1])
    return motions_of(model, Population(mean, torch.cat([root, still], 1)))


def _standardised(model: FitModel, mapping: Mapping) -> Mapping:
    """The same conformations and particles over places that are 0 on average.

    They are along principal axes, in A r.m.s. of the trace.

    An axis along which there is next to no motion is left out, but for the last: a mapping that has
    died out stays as it is.
    """
    surface, density, k = mapping.surface, mapping.density, mapping.k
    middle = density.weight @ density.mean
    offset = density.mean - middle
    within = density.root @ density.root.mT
    covariance = torch.einsum(
        "c,ckl->kl", density.weight, within + offset[:, :, None] * offset[:, None]
    )
    moved = surface.reparametrised(middle, torch.eye(k))
    linear = moved.coefficient[1 : 1 + k].T  # latent step for 1 of each old place
    motions = _motions(model, moved.coefficient[0], linear @ torch.linalg.cholesky(covariance))
    if motions.variance[0] < SMALLEST**2:
        return mapping
    # old place = axes @ new place
    axes = torch.linalg.lstsq(linear.double(), motions.direction.double()).solution.float()
    back = motions.read.T @ linear
    density = Density(
        density.weight, offset @ back.T, torch.linalg.cholesky(back @ within @ back.T)
    )
    return Mapping(
        moved.reparametrised(torch.zeros(k), axes).rescaled(density.variance().sqrt()), density
    )

"""The last word on the leading motions.

Each particle's likelihood is looked at widely, on a surface that is fitted with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...likelihood.normal_equations import power_along
from ...physics.disc import FourierDisc
from ...physics.record import Record
from ...structure.motion.surface import Surface, straight_surface
from ..population.latent_density import Density, fit_density, log_normal, spread_out
from ..problem.fit_problem import FitModel, evenly_spread
from ..problem.fit_state import FitState
from ..problem.linearisation import Linearised, sum_linearised
from ..problem.misfit import STEPS, misfits_and_poses
from ..problem.occupancy import keep_occupancy
from ..problem.principal_motions import Motions
from .pose_errors import Play, no_play, play_of_poses
from .poses_along_motions import PosesAlong, PosesAt, poses_along, poses_that_stay

# places a particle in the last round: about where it seems to be, and anywhere that particles are
NEAR, FAR = 24, 8
FEW_NEAR, FEW_FAR = 16, 8  # in the rounds before
# Of Gauss and Newton to the pose at a place anywhere, from the pose of the file: where another
# pose was found with a conformation that is wrong, nothing would be likelier near that one.
STEPS_FAR = 3
WIDER = 1.3  # the first are drawn from so much more than what is believed
ROUNDS = 4
ENOUGH = 0.97  # of the information on the motions: what is finer is not looked at
# A, of the first round: places that lie far apart are told apart by coarse images
FINEST_FIRST = 20.0
MEASURED = 128  # images, for this
FEWEST_DRAWN = 5000  # conformations that the surface is fitted to,
# but no more than this of a particle: their scatter adds an eighth to what noise does
MOST_DRAWN = 8
# bonds of the surface, than those of single particles; docs/accuracy.md has what others do
LOOSER = 3.0
# of the elastic network's variances: what bends of the surface are believed to be
BEND_SHARE = 0.1
KEPT_DRAWS = 20
ENOUGH_PLACES = 4  # that share the weight, to tell how a posterior is spread
# Errors are wider by so much than the likelihood says: base model, surface, density and noise are
# fixed in it and are not known. Measured: igg-hinge with base models that are 1.5 A off, SNR 0.1,
# with and without nuisances (docs/accuracy.md).
ALLOWANCE = 1.1
# Likelihoods are looked at widely along so many motions, and none whose s.d. is less of the first
# one's: a third motion of 0.4 A beside two of 3.4 A, of which images told a fifth, took the
# correlations of these two from 0.991 and 0.994 to 0.985 and 0.990.
MOST_WIDE, NARROW = 3, 0.2


@dataclass(frozen=True)
class Belief(Record):
    """Where a particle may be along the motions.

    Parameters
    ----------
    mean : (particle, k)
    root : (particle, k, k)
        Lower triangular root of the covariance.
    """

    mean: Float[Tensor, "particle k"]
    root: Float[Tensor, "particle k k"]

    @property
    def sd(self) -> Float[Tensor, "particle k"]:
        """Standard deviation along each motion."""
        return self.root.square().sum(-1).sqrt()


@dataclass(frozen=True)
class Looked:
    """Places that a round has looked at.

    Parameters
    ----------
    place : (draw, particle, k)
    likelihood : (draw, particle)
        Logarithm of the images' likelihood, over the density that the places were drawn from.
    pose : (draw, image, 5), optional
        Where images have their poses at each, where nothing is known of these.
    """

    place: Float[Tensor, "draw particle k"]
    likelihood: Float[Tensor, "draw particle"]
    pose: Float[Tensor, "draw image 5"] | None = None

    def weight(self, density: Density) -> Float[Tensor, "draw particle"]:
        """Of each place in its particle's posterior; a particle's sum is 1."""
        return (self.likelihood + density.log(self.place)).softmax(0)


@dataclass(frozen=True)
class WideFit:
    """What is known of all particles along the motions.

    Parameters
    ----------
    surface : Surface
        From places to conformations.
    density : Density or None
        Of the particles over places, their errors taken out; none where it was not looked for.
    belief : Belief
        Mean and spread of each particle's posterior.
    draws : (particle, draw, k)
        Places from it.
    play : Play, optional
        Errors of the poses; none where they were not looked for.
    poses : PosesAlong, optional
        Where images have their poses, where these are integrated out along the motions.
    looked : Looked, optional
        The places that were looked at, with their likelihoods; none where there is no density.
    """

    surface: Surface
    density: Density | None
    belief: Belief
    draws: Float[Tensor, "particle draw k"]
    play: Play | None = None
    poses: PosesAlong | None = None
    looked: Looked | None = None


def place_along(model: FitModel, state: FitState, motions: Motions, *, wide: bool) -> WideFit:
    """Where particles are along motions, and how sure that is.

    Parameters
    ----------
    model, state
        A fit by linear steps.
    motions : Motions
        Those to look along.
    wide : bool
        Likelihoods are looked at widely along the first motions; if not, the Gaussian posteriors
        of linear steps count.
    """
    k, n = len(motions.variance), model.n_particles
    generator = torch.Generator().manual_seed(model.seed)
    place, sd = motions.place(state.latent), state.latent_sd[:, :k].clamp_min(1e-4)
    belief = Belief(place, torch.diag_embed(sd))
    surface = straight_surface(motions.mean, motions.direction, motions.variance.sqrt())
    if not k:
        return WideFit(surface, None, belief, torch.zeros(n, 1, 0))
    if not wide:
        return WideFit(
            surface, None, belief, draw(*_of_gaussian(belief, generator), belief, generator)
        )
    sd = motions.variance.sqrt()
    count = min(MOST_WIDE, int((sd > NARROW * sd[0]).sum()))
    looked = look_and_refine(model, state, motions.first(count))
    if k == count:
        return looked
    first = slice(0, count)
    # along the others, from where the surface has each particle: it bends, and what it explains
    # already does not count twice
    bent = keep_occupancy(model, state, looked.surface.at(looked.belief.mean))[torch.arange(n)]
    place = (state.latent - bent) @ motions.read
    belief = Belief(place, belief.root)
    draws = draw(*_of_gaussian(belief, generator), belief, generator)
    place[:, first], draws[..., first] = looked.belief.mean, looked.draws
    root = belief.root.clone()
    root[:, first, first] = looked.belief.root
    return replace(
        looked,
        surface=looked.surface.with_straight(motions.direction[:, count:], sd[count:]),
        belief=Belief(place, root),
        draws=draws,
        poses=None if looked.poses is None else looked.poses.with_motions(k - count),
    )


def _of_gaussian(
    belief: Belief, generator: torch.Generator, count: int = 64
) -> tuple[Float[Tensor, "draw particle k"], Float[Tensor, "draw particle"]]:
    """Places of each particle's Gaussian, all of the same weight."""
    normal = torch.randn(count, *belief.mean.shape, generator=generator)
    place = belief.mean + (belief.root @ normal[..., None])[..., 0]
    return place, torch.full(place.shape[:2], 1 / count)


def look_and_refine(model: FitModel, state: FitState, motions: Motions) -> WideFit:
    """Posteriors along the motions from likelihoods that are looked at widely, not extrapolated.

    Rounds of importance sampling that adapt to each particle; between them the density of all
    particles and the surface of conformations are fitted to what was found (Monte Carlo EM), the
    surface by the same normal equations as everywhere.

    Parameters
    ----------
    model, state
        A fit by linear steps.
    motions : Motions
        Those to look along.

    References
    ----------
    Cappe et al., J. Comput. Graph. Stat. 13:907 (2004): population Monte Carlo. Wei & Tanner, J.
    Am. Stat. Assoc. 85:699 (1990): Monte Carlo EM.
    """
    generator = torch.Generator().manual_seed(model.seed)
    finest = working_disc(model, state, motions)
    surface = straight_surface(motions.mean, motions.direction, motions.variance.sqrt())
    place, k = motions.place(state.latent), len(motions.variance)
    offset = state.latent - surface(place)
    play = (
        no_play(place, offset)  # they are integrated out
        if model.integrates_poses
        else play_of_poses(model, state, surface, place, offset, finest)
    )
    sd = state.latent_sd[:, :k].maximum(0.02 * motions.variance.sqrt())
    belief, density = Belief(place, torch.diag_embed(sd)), spread_out(place)
    poses = None
    if model.integrates_poses and state.poses is not None:
        poses = poses_that_stay(state.poses.value, k)
    some = slice(None) if model.seen.all() else model.seen
    for number in range(ROUNDS):
        last = number + 1 == ROUNDS
        disc = finest.coarser(max(FINEST_FIRST, finest.resolution)) if number == 0 else finest
        sampler = Sampler(model, state, disc, play, generator, poses)
        near, far = (NEAR, FAR) if last else (FEW_NEAR, FEW_FAR)
        title = f"looking widely, {number + 1} of {ROUNDS}"
        looked = sampler.look(surface, belief, density, near=near, far=far, title=title)
        density = fit_density(
            density, looked.place[:, some], looked.likelihood[:, some], error=belief.sd[some]
        )
        weight = looked.weight(density)
        belief = believe(looked.place, weight, belief)
        if looked.pose is not None:
            poses = poses_along(
                looked.place[:, model.particle],
                looked.pose,
                (looked.likelihood + density.log(looked.place))[:, model.particle],
            )
            sampler = replace(sampler, poses=poses)
        if not last:
            surface = sampler.refit(surface, looked.place, weight)
        if number + 2 == ROUNDS and not model.integrates_poses:
            play = play_of_poses(model, state, surface, belief.mean, play.offset, disc)
    draws, root = (
        draw(looked.place, weight, belief, generator),
        ALLOWANCE * play.widened(belief.root),
    )
    mean, stretch = belief.mean[:, None], root @ torch.linalg.inv(belief.root)
    return WideFit(
        surface,
        density,
        Belief(belief.mean, root),
        mean + (draws - mean) @ stretch.mT,
        play,
        poses,
        replace(looked, pose=None),
    )


@dataclass(frozen=True, eq=False)
class Sampler:
    """What images say of conformations on a surface, wherever particles may be on it.

    Parameters
    ----------
    model, state
        The fit, its scales and noise.
    disc : FourierDisc
        The frequencies that count.
    play : Play
        Where each particle's images show it beside its pose.
    generator : torch.Generator
        Of all draws; it goes on with each of them.
    poses : PosesAlong, optional
        Where to look for the poses of images, where nothing is known of these.
    """

    model: FitModel
    state: FitState
    disc: FourierDisc
    play: Play
    generator: torch.Generator
    poses: PosesAlong | None = None

    @property
    def follows_poses(self) -> bool:
        """Whether it is known how poses follow their particles along the motions."""
        return self.poses is not None and not self.poses.stays

    def look(
        self,
        surface: Surface,
        belief: Belief,
        density: Density,
        *,
        near: int,
        far: int,
        title: str,
    ) -> Looked:
        """Likelihoods at places about where each particle seems to be, and anywhere.

        Parameters
        ----------
        surface : Surface
            From places to conformations.
        belief : Belief
            Where each particle seems to be.
        density : Density
            Where particles are at all.
        near, far : int
            How many places a particle there, and anywhere that particles are.
        title : str
            What the reporter says.
        """
        model, state = self.model, self.state
        normal = _even_normals(near, belief.mean.shape[1], self.generator)
        wide = WIDER * belief.root
        about = belief.mean + torch.einsum("pkl,dl->dpk", wide, normal)
        anywhere = density.draw(far, self.generator)[:, None].expand(-1, len(belief.mean), -1)
        place = torch.cat([about, anywhere])
        model.reporter.start(title, len(model.my_images))
        conformations = [
            self.play.displaced(keep_occupancy(model, state, surface.at(each))) for each in place
        ]
        starts = None
        if self.poses is not None:
            followed = [PosesAt(self.poses, model.particle, each) for each in place[:near]]
            starts = [*followed, *[torch.zeros_like(self.poses.value)] * far]
        left, _, modes = misfits_and_poses(
            model,
            state,
            self.disc,
            conformations,
            starts=starts,
            steps=[1 if self.follows_poses else STEPS] * near + [STEPS_FAR] * far,
            advance=model.reporter.advance,
        )
        model.reporter.finish()
        drawn_from = torch.logaddexp(
            log_normal(place - belief.mean, wide) + math.log(near / len(place)),
            density.log(place) + math.log(far / len(place)),
        )
        return Looked(
            place, -0.5 * left - drawn_from, None if modes is None else torch.stack(modes)
        )

    def refit(
        self,
        surface: Surface,
        place: Float[Tensor, "draw particle k"],
        weight: Float[Tensor, "draw particle"],
        *,
        times: int | None = None,
    ) -> Surface:
        """The likeliest surface when each particle is at a place drawn from its posterior.

        Of restraints bonds alone have a part in it, a small one (LOOSER): where rigid segments
        cannot keep a bond they strain it in all particles alike, and strain that is counted once a
        particle takes a quarter of a weak motion away.

        Parameters
        ----------
        surface : Surface
            As it was.
        place : (draw, particle, k)
            Where each particle may be.
        weight : (draw, particle)
            How likely that is; a particle's sum is 1.
        times : int, optional
            How often places are drawn, by default until there are enough of them.
        """
        model, number = self.model, self.model.deformation.motion_numbers
        n_features, n_latent = len(surface.coefficient), len(number)
        matrix = torch.zeros(n_features**2, n_latent**2, dtype=torch.float64)
        right = torch.zeros(n_features, n_latent, dtype=torch.float64)
        times = times or min(MOST_DRAWN, -(-FEWEST_DRAWN // model.n_particles))
        for _ in range(times):
            chosen = torch.multinomial(weight.T, 1, generator=self.generator)[:, 0]
            at = place[chosen, torch.arange(model.n_particles)]
            of_matrix, of_right = self._surface_equations(surface, at, [matrix, right])
            matrix += of_matrix / times
            right += of_right / times
        matrix = (
            matrix.view(n_features, n_features, n_latent, n_latent)
            .transpose(1, 2)
            .reshape(n_features * n_latent, -1)
        )
        loose = torch.linalg.inv(model.prior.mean_covariance[number[:, None], number].double())
        k = len(surface.scale)
        right[0] += loose @ model.prior.mean[number].double()
        precision = [loose / (BEND_SHARE if feature > k else 1.0) for feature in range(n_features)]
        found = torch.linalg.solve(matrix + torch.block_diag(*precision), right.flatten())
        coefficient = surface.coefficient.clone()
        coefficient[:, number] = found.view(n_features, n_latent).float()
        return replace(surface, coefficient=coefficient)

    def _surface_equations(
        self, surface: Surface, at: Float[Tensor, "particle k"], like: Sequence[Tensor]
    ) -> list[Tensor]:
        """Normal equations of a surface's coefficients, with each particle at a place.

        Returns
        -------
        list of (feature * feature, motion * motion) and (feature, motion)
            Matrix and right side, of the shapes of `like`.
        """
        model = self.model
        if model.restraints is not None:
            model = replace(model, restraints=model.restraints.on_surface(LOOSER))
        number, features = model.deformation.motion_numbers, surface.features(at)
        model.reporter.start("fitting the surface", len(model.my_images))
        on_surface = keep_occupancy(model, self.state, surface.at(at))
        latent = on_surface[torch.arange(model.n_particles)]
        seen = latent + self.play.offset

        def summed(found: Linearised) -> tuple[Tensor, Tensor]:
            model.reporter.advance(len(found.block.image))
            own = features[found.block.particle]
            both = (own[:, :, None] * own[:, None]).flatten(1)
            matrix, gradient = found.of_motions(model.deformation, seen)
            target = gradient + (matrix @ latent[found.block.particle][:, number, None])[..., 0]
            return (both.T @ matrix.flatten(1)).double(), (own.T @ target).double()

        drawn = replace(self.state, latent=seen)
        if self.poses is not None and drawn.poses is not None:
            value = self.poses.at(at[model.particle])
            drawn = replace(drawn, poses=replace(drawn.poses, value=value))
        sums = sum_linearised(model, drawn, self.disc, model.my_particles, summed, like)
        model.reporter.finish()
        return sums


def _even_normals(count: int, k: int, generator: torch.Generator) -> Float[Tensor, "count k"]:
    """Normal numbers that cover their distribution evenly."""
    seed = int(torch.randint(2**31, (), generator=generator))
    uniform = torch.quasirandom.SobolEngine(k, scramble=True, seed=seed).draw(count)
    if k == 1:
        uniform = (torch.arange(count)[:, None] + 0.5) / count
    return math.sqrt(2) * torch.erfinv(2 * uniform.clamp(1e-4, 1 - 1e-4) - 1)


def believe(
    place: Float[Tensor, "draw particle k"], weight: Float[Tensor, "draw particle"], before: Belief
) -> Belief:
    """Mean and spread of the places.

    Where few carry the weight, the spread is partly that believed before.
    """
    mean = torch.einsum("dp,dpk->pk", weight, place)
    offset = place - mean
    moment = torch.einsum("dp,dpk,dpl->pkl", weight, offset, offset)
    effective = 1 / weight.square().sum(0)
    trust = ((effective - 1) / (effective + 3)).clamp(0, 1)[:, None, None]
    covariance = trust * moment + (1 - trust) * 0.25 * before.root @ before.root.transpose(1, 2)
    return Belief(mean, torch.linalg.cholesky(covariance + 1e-8 * torch.eye(covariance.shape[-1])))


def draw(
    place: Float[Tensor, "draw particle k"],
    weight: Float[Tensor, "draw particle"],
    belief: Belief,
    generator: torch.Generator,
) -> Float[Tensor, "particle kept k"]:
    """Places from each particle's posterior.

    They are spread evenly over it along each motion and correlated as it is.

    Evenly, so that quantiles of a few draws are those of the posterior: the 5 % and 95 % quantiles
    of twenty draws at random enclose only 81 % of it, of these 88 %; their standard deviation is 5
    % too large. Where one or two places hold all the weight they say nothing of what is between
    them, and draws are those of the belief.

    References
    ----------
    Iman & Conover, Commun. Stat. B 11:311 (1982): correlated Latin hypercubes.
    """
    n, k = belief.mean.shape
    end = 0.25 / KEPT_DRAWS
    level = torch.linspace(end, 1 - end, KEPT_DRAWS)
    order = torch.rand(n, KEPT_DRAWS, k, generator=generator).argsort(1)
    normal = math.sqrt(2) * torch.erfinv(2 * level[order] - 1)
    correlated = normal @ belief.root.mT
    rank = correlated.argsort(1).argsort(1)
    spread = torch.stack(
        [
            _quantiles(place[..., axis].T, weight.T, level).gather(1, rank[..., axis])
            for axis in range(k)
        ],
        -1,
    )
    trust = ((1 / weight.square().sum(0) - 1) / (ENOUGH_PLACES - 1)).clamp(0, 1)[:, None, None]
    return trust * spread + (1 - trust) * (belief.mean[:, None] + correlated)


def _quantiles(
    value: Float[Tensor, "particle draw"],
    weight: Float[Tensor, "particle draw"],
    level: Float[Tensor, "kept"],
) -> Float[Tensor, "particle kept"]:
    """Quantiles of weighted values.

    The weight of each is spread evenly about it, half-way to the nearest other at most.

    What lies between two values stays empty where it is wide: shared out over all of it, the last
    weight of a tail reached to wherever a place without any was.
    """
    value, order = value.sort(1)
    weight = weight.gather(1, order).clamp_min(1e-9)
    weight = weight / weight.sum(1, keepdim=True)
    gap = torch.nn.functional.pad(value.diff(dim=1), (1, 1), value=math.inf)
    reach = 0.5 * torch.minimum(gap[:, 1:], gap[:, :-1])
    below = weight.cumsum(1)
    here = torch.searchsorted(below, level.expand(len(value), -1).contiguous()).clamp_max(
        value.shape[1] - 1
    )
    part = (1 - (below.gather(1, here) - level) / weight.gather(1, here)).clamp(0, 1)
    return value.gather(1, here) + (2 * part - 1) * reach.gather(1, here)


def working_disc(model: FitModel, state: FitState, motions: Motions) -> FourierDisc:
    """The frequencies that nearly all that the images tell of the motions is in."""
    return finest_that_tells(model, state, motions.direction * motions.variance.sqrt())


def finest_that_tells(
    model: FitModel, state: FitState, steps: Float[Tensor, "latent k"]
) -> FourierDisc:
    """The frequencies that nearly all is in that images tell of some steps of the latents."""
    disc = model.images.disc
    there, on_device, its_disc = model.at_batches(state, disc)
    seen, noise = there.image_model(on_device), there.noise(on_device.spectrum)
    steps = steps.to(model.device)
    some = evenly_spread(len(model.images), MEASURED)
    power = torch.zeros(len(disc))
    for index in some.split(model.images_at_once(disc)):
        transfer, _ = there.whitened(index, its_disc, noise)
        told = power_along(
            there.deformation,
            seen,
            on_device.latent[model.particle[index]],
            steps,
            pose=there.pose(on_device, index),
            disc=its_disc,
            transfer=transfer,
        )
        power += told.sum(0).cpu()
    by_rank = torch.argsort(disc.rank)
    told = power[by_rank].cumsum(0)
    last = int(torch.searchsorted(told, ENOUGH * told[-1]))
    frequency = math.hypot(float(disc.kx[by_rank[last]]), float(disc.ky[by_rank[last]]))
    return disc.coarser(min(max(1 / frequency, disc.resolution), 1.5 * FINEST_FIRST))

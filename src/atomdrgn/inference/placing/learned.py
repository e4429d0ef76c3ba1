"""What a fit has learned of the population, so that further particles are placed by it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...likelihood.noise import noise_groups
from ...parallel import Processes, even_batches
from ...particles.stack.stack import ParticleStack
from ...reporting import Reporter
from ..findings.ensemble import Ensemble
from ..images.fourier_images import FourierImages
from ..posterior.importance_sampling import finest_that_tells
from ..problem.fit_problem import FitModel, evenly_spread
from ..problem.fit_state import FitState
from .coarse_to_fine import Landscape, landscape_of, learn_reaches

MEASURED = 64  # images, by which it is found what images need
FEWEST = 8  # particles, for this
MEASURED_NOISE = 256  # images of a group whose noise is not known
FINEST_SHELLS = 1 / 3  # of a spectrum: there images are noise, which its scale is read from


@dataclass(frozen=True, eq=False)
class Learned:
    """A population, and how its images are.

    Parameters
    ----------
    model, state
        The fit of the particles that it was learned on.
    landscape : Landscape
        Where particles may be.
    groups : tuple of (str, int)
        Optics group and tilt of each noise spectrum of the state.
    """

    model: FitModel
    state: FitState
    landscape: Landscape
    groups: tuple[tuple[str, int], ...]

    def of(self, stack: ParticleStack) -> tuple[FitModel, FitState]:
        """The fit of other particles, their images read, of which nothing is known yet.

        Parameters
        ----------
        stack : ParticleStack
            All images of these.
        """
        images = FourierImages(stack, self.model.images.disc.resolution)
        images.load()
        particle = torch.unique(stack.particle, return_inverse=True)[1]
        size = int(particle.max()) + 1
        model = replace(
            self.model,
            images=images,
            particle=particle,
            portion=torch.zeros(size, dtype=torch.long),
            my_particles=torch.arange(size),
            processes=Processes(),
            reporter=Reporter(),
        )
        mean = self.state.population.mean
        state = replace(
            self.state,
            latent=mean.expand(size, -1),
            latent_sd=torch.zeros(size, 1),
            freedom=torch.zeros(size),
            spectrum=self._spectra(model),
            contrast=torch.ones(len(stack)),
            poses=None,
        )
        return model, state

    def measured_on(self, particles: ParticleStack) -> "Learned":
        """The same with what some images say of frequencies and boxes.

        These are the finest frequencies that tell of the motions, and how wide boxes may be for so
        many nodes.

        Parameters
        ----------
        particles : ParticleStack
            Of these some that are evenly spread are asked.
        """
        number, count = particles.particle.unique(), max(FEWEST, MEASURED // particles.n_tilts)
        some = particles.of_particles(number[evenly_spread(len(number), count)])
        model, state = self.of(some)
        landscape = self.landscape
        if landscape.density is not None:
            surface = landscape.looked_along
            steps = surface.slope(landscape.density.weight @ landscape.density.mean)
            spread = landscape.density.variance().sqrt()
            disc = finest_that_tells(model, state, (steps * spread[:, None]).T)
            landscape = landscape_of(landscape.surface, landscape.density, disc, landscape.pose_sd)
        return replace(self, landscape=learn_reaches(model, state, landscape))

    def with_noise_of(self, particles: ParticleStack) -> "Learned":
        """The same with the noise of groups of images that it was not learned on.

        It is the mean of those that are known, by so much stronger as some images of the group are
        at the finest frequencies.

        Parameters
        ----------
        particles : ParticleStack
            All that are to be placed: each group is measured once, wherever its images are.
        """
        group, mean = (
            noise_groups(particles.optics_group, particles.tilt),
            self.state.spectrum.mean(0),
        )
        names, spectra = list(self.groups), [self.state.spectrum]
        for number, name in enumerate(names_of_groups(particles)):
            if name in self.groups:
                continue
            image = torch.nonzero(group == number)[:, 0]
            some = particles[image[evenly_spread(len(image), MEASURED_NOISE)]]
            images = FourierImages(some, self.model.images.disc.resolution)
            images.load()
            names.append(name)
            spectra.append(mean[None] * _strength(images, mean))
        state = replace(self.state, spectrum=torch.cat(spectra))
        return replace(self, state=state, groups=tuple(names))

    def _spectra(self, model: FitModel) -> Float[Tensor, "group shell"]:
        """Noise of each group of these images."""
        known = dict(zip(self.groups, self.state.spectrum, strict=True))
        return torch.stack([known[name] for name in names_of_groups(model.images.stack)])


def _strength(images: FourierImages, spectrum: Float[Tensor, "shell"]) -> float:
    """Power of images over a spectrum, at its finest frequencies."""
    disc = images.disc
    finest = disc.shell >= (1 - FINEST_SHELLS) * disc.shell.max()
    finest &= disc.shell < len(spectrum)
    mine = torch.nonzero(~images.left_out)[:, 0]
    if not len(mine) or not finest.any():
        return 1.0
    power = images.coefficients(mine, disc)[..., finest].square().sum(1).mean(0)
    weight = disc.multiplicity[finest]
    return float((weight * power / spectrum[disc.shell[finest]]).sum() / weight.sum())


def names_of_groups(stack: ParticleStack) -> tuple[tuple[str, int], ...]:
    """Optics group and tilt of each group of images that has a noise spectrum of its own."""
    group = noise_groups(stack.optics_group, stack.tilt)
    first = torch.full((int(group.max()) + 1,), len(stack))
    first = first.scatter_reduce(0, group, torch.arange(len(stack)), "amin")
    return tuple(
        (stack.optics_group_names[int(stack.optics_group[n])], int(stack.tilt[n]))
        for n in first.tolist()
    )


def learned_from(model: FitModel, state: FitState, ensemble: Ensemble) -> Learned:
    """What a fit of some particles has learned.

    Parameters
    ----------
    model, state
        Of these particles, after the last step.
    ensemble : Ensemble
        Their conformations.
    """
    pose_sd = pose_errors_of(model, ensemble)
    landscape = landscape_of(ensemble.surface, ensemble.density, model.images.disc, pose_sd)
    bare = Learned(
        model, replace(state, poses=None), landscape, names_of_groups(model.images.stack)
    )
    return bare.measured_on(model.images.stack)


def pose_errors_of(model: FitModel, ensemble: Ensemble) -> Float[Tensor, "5"] | None:
    """How far poses may be off: standard deviations of shifts (A) and turns (rad).

    None where they are exact.
    """
    play = ensemble.play
    if model.finds_poses:
        return model.pose_prior_sd
    if play is None or not (play.shift or play.turn):
        return None
    return torch.tensor([play.shift] * 2 + [play.turn] * 3).clamp_min(1e-6)


def chunks_of(particles: ParticleStack, size: int) -> tuple[Int[Tensor, "some"], ...]:
    """Images of about so many particles after another, in the order of all.

    They are even: images of few particles say little of which of them are spoilt.
    """
    order = torch.argsort(particles.particle, stable=True)
    rows = torch.unique_consecutive(particles.particle[order], return_counts=True)[1]
    # particles of a chunk, and their images
    images = [int(some.sum()) for some in rows.tensor_split(even_batches(len(rows), size))]
    return tuple(some.sort().values for some in order.split(images))

"""One pass over the images.

It gives the normal equations of every particle at the conformation found so far.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import brought_back, moved
from ...likelihood.normal_equations import Unknowns, image_products
from ...likelihood.pose_equations import PoseGiven, eliminate_pose
from ...likelihood.restraints.restraint_equations import restraint_equations
from ...parallel import even_batches, in_order
from ...physics.disc import FourierDisc
from ...physics.record import joined
from ...structure.motion.deformation import Deformation
from ..population.bounded_directions import is_bounded
from .fit_problem import Block, FitModel
from .fit_state import FitState

# of which the information on each direction is measured, where latents are short and long: the
# views of 64 particles tell the directions of many segments
PARTICLES_MEASURED, FEW_MEASURED = 256, 64


@dataclass(frozen=True)
class Linearised:
    """Of the particles of a block.

    Parameters
    ----------
    block : Block
        Which particles and images.
    matrix : (particle, latent, latent), optional
        Second derivatives of minus the log-likelihood; none where they were reduced.
    target : (particle, latent)
        ``gradient + matrix @ latent``: the normal equations in absolute latents.
    contrast, contrast_sd : (image,)
        Strength of the signal in each image, and its standard deviation.
    pose : PoseGiven (image,), optional
        The pose of each image for every latent, where poses are refined.
    """

    block: Block
    matrix: Float[Tensor, "particle latent latent"] | None
    target: Float[Tensor, "particle latent"]
    contrast: Float[Tensor, "image"]
    contrast_sd: Float[Tensor, "image"]
    pose: PoseGiven | None = None

    @property
    def full(self) -> Float[Tensor, "particle latent latent"]:
        """The matrices, where they are not reduced."""
        assert self.matrix is not None, "matrices that were reduced"
        return self.matrix

    def of_motions(
        self,
        deformation: Deformation,
        latent: Float[Tensor, "all latent"],
    ) -> tuple[Float[Tensor, "particle motion motion"], Float[Tensor, "particle motion"]]:
        """Matrix and gradient of the motions alone.

        Each particle's occupancies stay as they are.

        Parameters
        ----------
        deformation : Deformation
            What the latents decode to.
        latent : (all, latent)
            Of all particles of the fit, where these were linearised: there the gradient is.
        """
        gradient = self.target - (self.full @ latent[self.block.particle, :, None])[..., 0]
        number = deformation.motion_numbers
        if len(number) == deformation.n_latent:
            return self.full, gradient
        return self.full[:, number[:, None], number], gradient[:, number]


@dataclass(frozen=True)
class LinearisedAlong:
    """Of the particles of a block, along some steps of each one's latent.

    Parameters
    ----------
    block : Block
        Which particles and images.
    matrix : (particle, direction, direction)
        Second derivatives of minus the log-likelihood.
    gradient : (particle, direction)
        First derivatives of the log-likelihood where the particle is.
    contrast, contrast_sd, pose
        As :class:`Linearised` has them, the pose for every direction.
    """

    block: Block
    matrix: Float[Tensor, "particle direction direction"]
    gradient: Float[Tensor, "particle direction"]
    contrast: Float[Tensor, "image"]
    contrast_sd: Float[Tensor, "image"]
    pose: PoseGiven | None = None


# from a block to steps of the latents of its particles (particle, latent, direction)
Along = Callable[[Block], Tensor]


def linearise(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    particles: Int[Tensor, "some"],
    *,
    then: Callable[[Linearised], Any] = lambda linearised: linearised,
) -> Iterator[Any]:
    """Normal equations of some particles.

    They come block by block, from all their images up to the resolution of `disc`.

    Parameters
    ----------
    model, state, disc
        The fit as it stands.
    particles : (some,)
        Rising.
    then : callable
        Makes of each block's :class:`Linearised` what is yielded, on the thread that made it.
    """

    def whole(found: LinearisedAlong) -> Any:
        latent = state.latent[found.block.particle]
        target = found.gradient + (found.matrix @ latent[..., None])[..., 0]
        return then(
            Linearised(
                found.block, found.matrix, target, found.contrast, found.contrast_sd, found.pose
            )
        )

    return _each_block(model, state, disc, particles, None, whole)


def linearise_along(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    particles: Int[Tensor, "some"],
    *,
    along: Along,
    then: Callable[[LinearisedAlong], Any],
) -> Iterator[Any]:
    """As :func:`linearise`, along a few steps of each particle's latent.

    Their number decides the work on what derivatives have in common, and not that of the latents.

    Parameters
    ----------
    model, state, disc, particles
        As there.
    along : callable
        Gives the steps of a block's particles.
    then : callable
        Of each block's :class:`LinearisedAlong`.
    """
    return _each_block(model, state, disc, particles, along, then)


def _each_block(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    particles: Int[Tensor, "some"],
    along: Along | None,
    then: Callable[[LinearisedAlong], Any],
) -> Iterator[Any]:
    """What is made of each block's equations: along all numbers of a latent, or along steps."""
    there, on_device, its_disc = model.at_batches(state, disc)
    seen, noise = there.image_model(on_device), there.noise(on_device.spectrum)

    def of_images(block: Block) -> LinearisedAlong:
        step = None if along is None else along(block)
        matrix, gradient = _restrained(model, state.latent[block.particle], block.particle)
        if step is not None:
            matrix, gradient = step.mT @ matrix @ step, (step.mT @ gradient[..., None])[..., 0]
        matrix, gradient, step = moved((matrix, gradient, step), model.device)
        latent, contrast, contrast_sd, given = on_device.latent[block.particle], [], [], []
        parts = even_batches(len(block.image), model.images_at_once(disc))
        for image, row in zip(
            block.image.tensor_split(parts), block.row.tensor_split(parts), strict=True
        ):
            transfer, data = there.whitened(image, its_disc, noise)
            products = image_products(
                there.deformation,
                seen,
                latent[row],
                pose=there.pose(on_device, image),
                disc=its_disc,
                transfer=transfer,
                data=data,
                unknowns=Unknowns(None if step is None else step[row], state.poses is not None),
            )
            hidden = there.hidden(on_device, image)
            equations = products.normal_equations(state.contrast_sd, hidden)
            if on_device.poses is not None:
                equations, pose = eliminate_pose(
                    equations, on_device.poses.value[image], there.pose_prior_sd
                )
                given.append(pose)
            its_row = row.to(model.device)
            matrix.index_add_(0, its_row, equations.matrix)
            gradient.index_add_(0, its_row, equations.gradient)
            strength, sd = products.contrast(state.contrast_sd, hidden)
            contrast.append(strength)
            contrast_sd.append(sd)
        return LinearisedAlong(
            block,
            matrix,
            gradient,
            torch.cat(contrast),
            torch.cat(contrast_sd),
            joined(given) if given else None,
        )

    found = brought_back(of_images, model.device)
    return in_order(lambda block: then(found(block)), model.blocks(particles, disc))


def motions_alone(
    model: FitModel, steps: Float[Tensor, "*batch latent direction"]
) -> Float[Tensor, "*batch latent direction"]:
    """Steps of the motions: each particle's occupancies stay as they are."""
    moves = torch.zeros(model.deformation.n_latent)
    moves[model.deformation.motion_numbers] = 1.0
    return steps * moves[:, None]


def motions_and_way_to(
    model: FitModel,
    state: FitState,
    directions: Float[Tensor, "latent direction"],
    to: Float[Tensor, "latent"],
) -> Along:
    """Steps along directions, and last of each particle the one that leads to a latent.

    Occupancies have no part in them.
    """

    def steps(block: Block) -> Float[Tensor, "particle latent step"]:
        way = (to - state.latent[block.particle])[..., None]
        return motions_alone(model, torch.cat([directions.expand(len(way), -1, -1), way], 2))

    return steps


def mean_information(
    model: FitModel, state: FitState, disc: FourierDisc
) -> Float[Tensor, "latent latent"]:
    """Mean of the particles' normal matrices, measured on some of them, evenly spread."""
    n = model.deformation.n_latent
    some = model.evenly_spread(FEW_MEASURED if is_bounded(n) else PARTICLES_MEASURED)
    (total,) = sum_linearised(
        model,
        state,
        disc,
        some[torch.isin(some, model.my_particles)],
        lambda found: (found.full.sum(0, dtype=torch.float64),),
        [torch.zeros(n, n, dtype=torch.float64)],
    )
    return total.float() / len(some)


def sum_linearised(
    model: FitModel,
    state: FitState,
    disc: FourierDisc,
    particles: Int[Tensor, "some"],
    term: Callable[[Linearised], Sequence[Tensor]],
    like: Sequence[Tensor],
) -> list[Tensor]:
    """Sums over the particles of all processes of what `term` makes of their equations.

    See :meth:`atomdrgn.parallel.Portions.sum`.
    """
    portions = model.particle_portions
    terms = linearise(
        model,
        state,
        disc,
        particles,
        then=lambda found: (portions.of(found.block.particle), term(found)),
    )
    return portions.sum(terms, like)


def _restrained(
    model: FitModel, latent: Float[Tensor, "particle latent"], particle: Int[Tensor, "particle"]
) -> tuple[Float[Tensor, "particle latent latent"], Float[Tensor, "particle latent"]]:
    """Where the sums over images begin: with what the restraints say, if there are any.

    Of a particle without images there is nothing.
    """
    if model.restraints is None:
        n = latent.shape[1]
        return latent.new_zeros(len(latent), n, n), torch.zeros_like(latent)
    prior = restraint_equations(model.restraints, model.deformation, latent)
    matrix, gradient = prior.matrix.clone(), prior.gradient.clone()
    unseen = ~model.seen[particle]
    if unseen.any():
        matrix[unseen], gradient[unseen] = 0.0, 0.0
    return matrix, gradient

"""One step of a fit by gradient.

It is minus the log posterior of particles, differentiable in their latents and in the beads.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from ...likelihood.image_likelihood import compare
from ...likelihood.noise import Noise
from ...likelihood.restraints.segment_restraints import Restraints
from ...parallel import in_order
from ...particles.stack.stack import ParticleStack
from ...physics.disc import FourierDisc
from ...physics.pose import Pose
from ...physics.projection.project import project_beads
from ...physics.record import Record
from ...structure.beads import BeadModel
from ...structure.motion.deformation import Deformation
from ..images.fourier_images import READ_AT_ONCE
from ..population.population import Population


@dataclass(frozen=True)
class WhitenedImages(Record):
    """Images as a gradient fit sees them, one entry an image; index them for a batch.

    Parameters
    ----------
    rotation, shift : (image, 3, 3), (image, 2)
        Their poses (see :class:`~atomdrgn.physics.pose.Pose`).
    transfer : (image, frequency)
        The CTF over the noise's amplitude, with the root of the multiplicity.
    data : (image, frequency)
        Whitened coefficients.
    """

    rotation: Float[Tensor, "image 3 3"]
    shift: Float[Tensor, "image 2"]
    transfer: Float[Tensor, "image frequency"]
    data: Complex[Tensor, "image frequency"]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def pose(self) -> Pose:
        """Of each image, as its file has it."""
        return Pose(self.rotation, self.shift)


def whitened_images(
    stack: ParticleStack, noise: Noise, disc: FourierDisc, index: Int[Tensor, "image"]
) -> WhitenedImages:
    """Some images of a stack, read once.

    12 bytes a frequency and image are kept, so that no step reads a file or makes a CTF.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    noise : Noise
        Of the stack's images.
    disc : FourierDisc
        The frequencies that count.
    index : (image,)
        Which images.
    """
    parts = []
    for some in index.split(READ_AT_ONCE):
        transfer, data = noise.whiten(
            disc.parts(stack.read(some)), stack.ctf[some], some, disc=disc
        )
        pose = stack.pose[some]
        parts.append((pose.rotation, pose.shift, transfer, torch.complex(data[:, 0], data[:, 1])))
    return WhitenedImages(*(torch.cat(each) for each in zip(*parts, strict=True)))


def minus_log_posterior(  # noqa: PLR0913 - the symbols of the equation
    latent: Float[Tensor, "particle latent"],
    images: WhitenedImages,
    particle: Int[Tensor, "image"],
    *,
    deformation: Deformation,
    beads: BeadModel,
    disc: FourierDisc,
    contrast_sd: float,
    restraints: Restraints | None = None,
    population: Population | None = None,
) -> Float[Tensor, "particle"]:
    """Minus the log posterior of each particle's latent, up to a constant.

    It goes from the latent to bent beads, their images, the CTF, and the measured images.

    ``minus_log_posterior(...).sum().backward(); optimizer.step()`` is a step of a fit; on a
    processor :func:`add_gradients` keeps its threads from waiting for each other. Differentiable in
    the latents and in the beads' amplitude and sigma. At any latent the closed-form fit's normal
    equations have the same gradient.

    Parameters
    ----------
    latent : (particle, latent)
        Of the particles of a batch, A.
    images : WhitenedImages
        All images of these particles.
    particle : (image,)
        Which row of `latent` an image belongs to.
    deformation : Deformation
        What a latent decodes to.
    beads : BeadModel
        As the images show them.
    disc : FourierDisc
        Of the images.
    contrast_sd : float
        Of the images' contrasts about 1; 0: all are 1.
    restraints : Restraints, optional
        What holds a conformation together.
    population : Population, optional
        Of the latents.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), equation 3:
    images, bonds and one-sided constraints; Ducrocq et al., CryoSPHERE (2025), equations 2 and 4:
    the image and the likelihood.
    """
    conformation = deformation.conformation(latent)
    seen = images.pose.apply(conformation.position[particle])
    image = project_beads(
        seen, beads.amplitude * conformation.occupancy[particle], beads.sigma, disc.grid
    )
    likelihood = compare(image, images.transfer, images.data, disc=disc).log_likelihood(contrast_sd)
    loss = latent.new_zeros(len(latent)).index_add(0, particle, -likelihood)
    if restraints is not None:
        loss = loss + restraints(conformation.position)
    if population is not None:
        loss = loss + minus_log_density(latent, population)
    return loss


def minus_log_density(
    latent: Float[Tensor, "particle latent"], population: Population
) -> Float[Tensor, "particle"]:
    """Half the squared distance from the population's mean in its standard deviations.

    That is minus the log density without its constant.
    """
    return 0.5 * torch.linalg.solve(population.root, (latent - population.mean).T).square().sum(0)


def add_gradients(
    loss: Callable[[Tensor], Tensor], batches: Iterable[Tensor], parameters: Iterable[Tensor]
) -> float:
    """The sum of all losses; their gradients are added to the parameters.

    As ``backward`` does, batches on several threads.

    Each batch goes forward and back on one thread. Where every operation is shared among threads
    instead, a step takes as long on idle cores and ten times as long where other programs hold
    them. Gradients are added in the order of the batches: they repeat exactly whatever the number
    of threads.

    Parameters
    ----------
    loss : callable
        The losses of the particles of one batch, which it is given as (batch,) int.
    batches : iterable of (batch,)
        Particles: one batch for each thread, as large as memory allows.
    parameters : iterable of Tensor
        Leaves that are learned.
    """
    parameters = list(parameters)

    def of_batch(batch: Tensor) -> tuple[float, tuple[Tensor, ...]]:
        value = loss(batch).sum()
        return value.item(), torch.autograd.grad(value, parameters)

    total = 0.0
    for value, gradients in in_order(of_batch, batches):
        total += value
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    return total

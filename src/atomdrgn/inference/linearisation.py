"""One pass over the images: the normal equations of every particle at the conformation found so far."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..likelihood.normal_equations import NormalEquations, image_products
from ..likelihood.restraint_equations import restraint_equations
from ..parallel import in_order
from ..physics.disc import FourierDisc
from ..reporting import Reporter
from .model import FitModel
from .state import FitState

PARTICLES_AT_ONCE = 32      # conformations whose restraints are linearised together


@dataclass(frozen=True)
class Linearised:
    """Of all particles, ready for the population fit.

    Parameters
    ----------
    matrix : (particle, latent, latent)
        Second derivatives of minus the log-likelihood.
    target : (particle, latent)
        ``gradient + matrix @ latent``: the normal equations in absolute latents.
    contrast : (image,)
        Strength of the signal in each image, 1 on average.
    contrast_sd : float
        Its standard deviation over the images, what the images leave open included.
    """

    matrix: Float[Tensor, "particle latent latent"]
    target: Float[Tensor, "particle latent"]
    contrast: Float[Tensor, "image"]
    contrast_sd: float


SMALLEST_CONTRAST_SD, LARGEST_CONTRAST_SD = 0.02, 0.5


def linearise(model: FitModel, state: FitState, disc: FourierDisc, reporter: Reporter) -> Linearised:
    """Normal equations of every particle from all its images up to the resolution of `disc`, and its restraints."""
    n = model.deformation.n_latent
    matrix, target = torch.zeros(model.n_particles, n, n), torch.zeros(model.n_particles, n)
    contrast, spread = torch.empty(len(model.images)), torch.empty(len(model.images))
    beads, noise = model.bright_beads(state), model.noise(state.spectrum)
    _add_restraints(model, state, matrix, target=target)

    def of_batch(index):
        latent = state.latent[model.particle[index]]
        transfer, data = model.whitened(index, disc, noise)
        products = image_products(model.deformation, beads, latent, pose=model.images.stack.pose[index], disc=disc,
                                  transfer=transfer, data=data)
        hidden = _hidden_power(products.matrix, state, model.particle[index])
        equations = products.normal_equations(state.contrast_sd, hidden)
        return equations, products.contrast(state.contrast_sd, hidden), latent

    batches = model.batches(disc)
    reporter.start(f"{disc.resolution:.0f} A", len(model.images))
    for index, (equations, (strength, uncertainty), latent) in zip(batches, in_order(of_batch, batches), strict=True):
        _add(equations, latent, matrix, target=target, particle=model.particle[index])
        contrast[index], spread[index] = strength, uncertainty
        reporter.advance(len(index))
    reporter.finish()
    # brightness that all images share belongs to the amplitude
    mean = float(contrast.mean())
    sd = float((spread.square().mean() + contrast.var(correction=0)).sqrt()) / mean
    return Linearised(matrix, target, contrast / mean, min(max(sd, SMALLEST_CONTRAST_SD), LARGEST_CONTRAST_SD))


def _hidden_power(matrix, state, particle):
    """Power that the uncertainty of its conformation adds to each prediction: trace of matrix times posterior covariance."""
    root = state.population.root
    return torch.einsum("bij,bji->b", root.T @ matrix @ root, state.uncertainty[particle])


def _add(equations: NormalEquations, latent, matrix, *, target, particle):
    matrix.index_add_(0, particle, equations.matrix)
    target.index_add_(0, particle, equations.gradient + (equations.matrix @ latent[..., None])[..., 0])


def _add_restraints(model, state, matrix, *, target):
    """Restraints as further data: each strained pair is a measurement of 0 with its standard deviation."""
    def of_batch(particle):
        latent = state.latent[particle]
        return restraint_equations(model.restraints, model.deformation, latent), latent

    batches = torch.arange(model.n_particles).split(PARTICLES_AT_ONCE)
    for particle, (equations, latent) in zip(batches, in_order(of_batch, batches), strict=True):
        _add(equations, latent, matrix, target=target, particle=particle)

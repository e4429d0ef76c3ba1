"""The route by gradient against the closed form, and a fit by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.inference.gradient import add_gradients, minus_log_density, minus_log_posterior, whitened_images
from atomdrgn.inference.images import FourierImages
from atomdrgn.inference.model import FitModel
from atomdrgn.inference.population import CovariancePrior, Population
from atomdrgn.inference.start import starting_population
from atomdrgn.inference.state import FitState
from atomdrgn.likelihood.normal_equations import image_products
from atomdrgn.likelihood.restraint_equations import restraint_equations
from atomdrgn.likelihood.restraints import make_restraints
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments

CONTRAST_SD = 0.2


def begin(hinged, resolution):
    """Model and state of a fit that knows brightness and noise, and nothing of the conformations."""
    structure, particles, _ = hinged
    beads = coarse_grain(structure)
    segmentation = make_segments(beads, 4)
    deformation = SegmentDeformation(beads, segmentation)
    population = starting_population(deformation, beads)
    images = FourierImages(particles, resolution)
    images.load()
    model = FitModel(images, torch.arange(len(particles)), beads, deformation, make_restraints(beads, segmentation),
                     CovariancePrior(population.covariance, 1.0))
    noise = particles.read().var((-2, -1)).mean() / 1.3                  # signal to noise is 0.3
    shells = int(images.disc.shell.max()) + 1
    state = FitState(step=0, latent=torch.zeros(len(particles), deformation.n_latent), population=population,
                     uncertainty=torch.zeros(len(particles), 1, 1), spectrum=noise.expand(1, shells),
                     contrast=torch.ones(len(particles)), contrast_sd=CONTRAST_SD, amplitude=1.0, width2=0.0)
    return model, state


@pytest.fixture(scope="module")
def begun(hinged):
    return begin(hinged, 9.0)


def settings(model, state, **more):
    return {"deformation": model.deformation, "beads": model.bright_beads(state), "disc": model.images.disc,
            "contrast_sd": state.contrast_sd} | more


def test_the_gradient_is_that_of_the_normal_equations(begun):
    """Two routes to one number: pixels and their transform, and sums of waves with their derivatives."""
    model, state = begun
    index = torch.arange(12)
    latent = 2 * torch.randn(12, model.deformation.n_latent, generator=torch.Generator().manual_seed(0))
    place = latent.clone().requires_grad_()
    images, disc = whitened_images(model, state, model.images.disc, index), model.images.disc
    loss = minus_log_posterior(place, images, index, **settings(model, state), restraints=model.restraints,
                               population=state.population)
    (gradient,) = torch.autograd.grad(loss.sum(), place)
    transfer, data = model.whitened(index, disc, model.noise(state.spectrum))
    products = image_products(model.deformation, model.bright_beads(state), latent, pose=images.pose, disc=disc,
                              transfer=transfer, data=data)
    seen = products.normal_equations(CONTRAST_SD, torch.zeros(12))
    held = restraint_equations(model.restraints, model.deformation, latent)
    precision = torch.linalg.inv(state.population.covariance.double())
    believed = latent.double() @ precision
    expected = -seen.gradient - held.gradient + believed
    for part in (seen.gradient, held.gradient, believed):
        assert part.norm() > 0.01 * expected.norm()
    assert (gradient - expected).norm() < 5e-3 * seen.gradient.norm()
    value = 0.5 * (seen.chi2 + held.chi2 + (believed * latent).sum(1))
    torch.testing.assert_close(loss.double().detach(), value, rtol=1e-3, atol=0)


def test_images_of_a_particle_are_summed(begun):
    model, state = begun
    images = whitened_images(model, state, model.images.disc, torch.arange(6))
    latent = torch.randn(2, model.deformation.n_latent, generator=torch.Generator().manual_seed(0))
    owner = torch.tensor([0, 1, 1, 0, 1, 0])
    together = minus_log_posterior(latent, images, owner, **settings(model, state))
    apart = minus_log_posterior(latent[owner], images, torch.arange(6), **settings(model, state))
    torch.testing.assert_close(together, torch.zeros(2).index_add(0, owner, apart))
    none = minus_log_posterior(latent, images[:0], owner[:0], **settings(model, state))
    assert none.tolist() == [0.0, 0.0]


def test_gradients_of_batches_on_threads_are_those_of_all(begun):
    model, state = begun
    index = torch.arange(12)
    images = whitened_images(model, state, model.images.disc, index)
    start = torch.randn(12, model.deformation.n_latent, generator=torch.Generator().manual_seed(0))

    def learned():
        return start.clone().requires_grad_(), torch.tensor(0.1, requires_grad=True)

    def loss(some, latent, log_amplitude):
        beads = replace(model.beads, amplitude=model.beads.amplitude * log_amplitude.exp())
        return minus_log_posterior(latent[some], images[some], torch.arange(len(some)), **settings(model, state, beads=beads),
                                   restraints=model.restraints)

    together, shared, again = learned(), learned(), learned()
    whole = loss(index, *together).sum()
    whole.backward()
    total = add_gradients(lambda some: loss(some, *shared), index.split(5), shared)
    add_gradients(lambda some: loss(some, *again), index.split(5), again)
    assert abs(total / whole.item() - 1) < 1e-5
    for one, other, once_more in zip(together, shared, again, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4 * float(one.grad.abs().max()))
        assert torch.equal(other.grad, once_more.grad)
    add_gradients(lambda some: loss(some, *again), index.split(5), again)
    torch.testing.assert_close(again[0].grad, 2 * shared[0].grad)


def test_the_density_is_the_gaussian():
    root = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    population = Population(torch.tensor([1.0, -1.0]), root)
    latent = torch.tensor([[0.0, 0.0], [3.0, 1.0]])
    normal = torch.distributions.MultivariateNormal(population.mean, scale_tril=root)
    difference = normal.log_prob(population.mean) - normal.log_prob(latent)
    torch.testing.assert_close(minus_log_density(latent, population), difference)


def test_a_few_steps_lower_the_loss_and_lead_to_the_truth(hinged):
    """Latents and brightness are learned together, from a base model that is a fifth too bright."""
    model, state = begin(hinged, 14.0)
    structure, particles, _ = hinged
    index = torch.arange(40)
    images = whitened_images(model, state, model.images.disc, index)
    latent, log_amplitude = torch.zeros(40, model.deformation.n_latent), torch.tensor(0.2)
    learned = [latent.requires_grad_(), log_amplitude.requires_grad_()]
    optimizer = torch.optim.Adam(learned, lr=0.4)
    history = []
    for _ in range(60):
        beads = replace(model.beads, amplitude=model.beads.amplitude * log_amplitude.exp())
        loss = minus_log_posterior(latent, images, index, **settings(model, state, beads=beads), restraints=model.restraints,
                                   population=state.population).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0] - 100 and abs(log_amplitude.item()) < 0.1
    atoms = torch.from_numpy(np.load(particles.source.parent / "truth.npz")["conformation"])[:40]
    weight, owner = torch.tensor(structure.element).float(), torch.tensor(model.beads.bead_of_atom)
    truth = torch.zeros(40, len(model.beads), 3).index_add(1, owner, weight[:, None] * atoms)
    truth /= torch.zeros(len(model.beads)).index_add(0, owner, weight)[:, None]

    def rmsd(position):
        return float((position - truth).square().sum(-1).mean(-1).sqrt().mean())

    reached = rmsd(model.deformation.conformation(latent.detach()).position)
    assert reached < 0.7 * rmsd(model.beads.position.expand(40, -1, -1))

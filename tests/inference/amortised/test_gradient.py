"""The route by gradient against the closed form, and a fit by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.inference.amortised.gradient import (
    add_gradients,
    minus_log_density,
    minus_log_posterior,
    whitened_images,
)
from atomdrgn.inference.population.elastic_prior import starting_population
from atomdrgn.inference.population.population import Population
from atomdrgn.likelihood.image_model import ImageModel
from atomdrgn.likelihood.noise import Noise, noise_groups
from atomdrgn.likelihood.normal_equations import image_products
from atomdrgn.likelihood.restraints.restraint_equations import restraint_equations
from atomdrgn.likelihood.restraints.segment_restraints import make_restraints
from atomdrgn.physics.disc import make_disc
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.segment_deformation import SegmentDeformation
from atomdrgn.structure.segmentation import make_segments

CONTRAST_SD = 0.2


class Begun:
    """A fit that knows brightness and noise, and nothing of the conformations."""

    def __init__(self, hinged, resolution, *, composition=False):
        structure, self.stack, _ = hinged
        self.beads = coarse_grain(structure)
        segmentation = make_segments(self.beads, 4)
        self.deformation = SegmentDeformation(self.beads, segmentation, composition=composition)
        self.restraints = make_restraints(self.beads, segmentation)
        self.disc = make_disc(self.stack.grid, resolution)
        # signal to noise is 0.3
        power = self.stack.read().var((-2, -1)).mean() / 1.3
        self.noise = Noise(
            power.expand(1, int(self.disc.shell.max()) + 1),
            noise_groups(self.stack.optics_group, self.stack.tilt),
            self.stack.premultiplied,
        )

    def images(self, count):
        return whitened_images(self.stack, self.noise, self.disc, torch.arange(count))

    def latents(self, count, *, size=1.0):
        return size * torch.randn(
            count, self.deformation.n_latent, generator=torch.Generator().manual_seed(0)
        )

    def settings(self, **more):
        return {
            "deformation": self.deformation,
            "beads": self.beads,
            "disc": self.disc,
            "contrast_sd": CONTRAST_SD,
        } | more

    def beads_of_amplitude(self, log_amplitude):
        return replace(self.beads, amplitude=self.beads.amplitude * log_amplitude.exp())


@pytest.fixture(scope="module")
def begun(hinged):
    return Begun(hinged, 9.0)


@pytest.mark.parametrize("composition", [False, True])
def test_the_gradient_is_that_of_the_normal_equations(hinged, composition):
    """Two routes to one number: pixels and their transform, and sums of waves with their
    derivatives.
    """
    begun = Begun(hinged, 9.0, composition=composition)
    index, latent, images = torch.arange(12), begun.latents(12, size=2.0), begun.images(12)
    place = latent.clone().requires_grad_()
    n = begun.deformation.n_latent
    population = Population(0.5 * latent[0], torch.eye(n) + 0.2 * begun.latents(n))
    loss = minus_log_posterior(
        place, images, index, **begun.settings(), restraints=begun.restraints, population=population
    )
    (gradient,) = torch.autograd.grad(loss.sum(), place)
    transfer, data = begun.noise.whiten(
        begun.disc.parts(begun.stack.read(index)), begun.stack.ctf[index], index, disc=begun.disc
    )
    products = image_products(
        begun.deformation,
        ImageModel(begun.beads),
        latent,
        pose=images.pose,
        disc=begun.disc,
        transfer=transfer,
        data=data,
    )
    seen = products.normal_equations(CONTRAST_SD, torch.zeros(12))
    held = restraint_equations(begun.restraints, begun.deformation, latent)
    believed = (latent - population.mean) @ torch.linalg.inv(population.covariance)
    expected = -seen.gradient - held.gradient + believed
    for part in (seen.gradient, held.gradient, believed):
        assert part.norm() > 0.01 * expected.norm()
    assert (gradient - expected).norm() < 5e-3 * seen.gradient.norm()
    value = 0.5 * (seen.chi2 + held.chi2 + (believed * (latent - population.mean)).sum(1))
    torch.testing.assert_close(loss.detach(), value, rtol=1e-3, atol=0)


def test_images_of_a_particle_are_summed(begun):
    images, latent, owner = begun.images(6), begun.latents(2), torch.tensor([0, 1, 1, 0, 1, 0])
    together = minus_log_posterior(latent, images, owner, **begun.settings())
    apart = minus_log_posterior(latent[owner], images, torch.arange(6), **begun.settings())
    torch.testing.assert_close(together, torch.zeros(2).index_add(0, owner, apart))
    none = minus_log_posterior(latent, images[:0], owner[:0], **begun.settings())
    assert none.tolist() == [0.0, 0.0]


def test_gradients_of_batches_on_threads_are_those_of_all(begun):
    index, images, start = torch.arange(12), begun.images(12), begun.latents(12)

    def learned():
        return start.clone().requires_grad_(), torch.tensor(0.1, requires_grad=True)

    def loss(some, latent, log_amplitude):
        return minus_log_posterior(
            latent[some],
            images[some],
            torch.arange(len(some)),
            restraints=begun.restraints,
            **begun.settings(beads=begun.beads_of_amplitude(log_amplitude)),
        )

    together, shared, again = learned(), learned(), learned()
    whole = loss(index, *together).sum()
    whole.backward()
    total = add_gradients(lambda some: loss(some, *shared), index.split(5), shared)
    add_gradients(lambda some: loss(some, *again), index.split(5), again)
    assert abs(total / whole.item() - 1) < 1e-5
    for one, other, once_more in zip(together, shared, again, strict=True):
        torch.testing.assert_close(
            one.grad, other.grad, rtol=1e-4, atol=1e-4 * float(one.grad.abs().max())
        )
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


@pytest.mark.seconds
def test_a_few_steps_lower_the_loss_and_lead_to_the_truth(hinged):
    """Latents and brightness are learned together, from a base model that is a fifth too bright."""
    begun = Begun(hinged, 14.0)
    index, images = torch.arange(40), begun.images(40)
    latent = torch.zeros(40, begun.deformation.n_latent, requires_grad=True)
    log_amplitude = torch.tensor(0.2, requires_grad=True)
    population = starting_population(begun.deformation, begun.beads)
    optimizer = torch.optim.Adam([latent, log_amplitude], lr=0.4)
    history = []
    for _ in range(60):
        loss = minus_log_posterior(
            latent,
            images,
            index,
            restraints=begun.restraints,
            population=population,
            **begun.settings(beads=begun.beads_of_amplitude(log_amplitude)),
        ).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0] - 100 and abs(log_amplitude.item()) < 0.1
    structure, stack, _ = hinged
    atoms = torch.from_numpy(np.load(stack.source.parent / "truth.npz")["conformation"])[:40]
    weight, owner = torch.tensor(structure.element).float(), torch.tensor(begun.beads.bead_of_atom)
    truth = torch.zeros(40, len(begun.beads), 3).index_add(1, owner, weight[:, None] * atoms)
    truth /= torch.zeros(len(begun.beads)).index_add(0, owner, weight)[:, None]

    def rmsd(position):
        return float((position - truth).square().sum(-1).mean(-1).sqrt().mean())

    reached = rmsd(begun.deformation.conformation(latent.detach()).position)
    assert reached < 0.7 * rmsd(begun.beads.position.expand(40, -1, -1))

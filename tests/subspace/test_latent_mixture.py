"""Densities freed of errors, contrast integrated out, and particles placed in them."""

import numpy as np
import pytest

from atomdrgn.subspace.latent_mixture import population_density, without_contrast
from atomdrgn.subspace.particle_systems import Systems, log_evidence, posterior


def test_contrast_is_integrated_out():
    """Latents have the same posterior as of both together, and evidence the same differences."""
    generator = np.random.default_rng(0)
    root = generator.normal(size=(4, 5, 3))
    systems = Systems(root.transpose(0, 2, 1) @ root, generator.normal(size=(4, 3)))
    covariance = np.array([[0.04, 0.05, -0.03], [0.05, 1, 0], [-0.03, 0, 1]])
    together = posterior(systems, np.eye(3)[0], covariance)
    alone = without_contrast(systems, covariance)
    found = posterior(alone, np.zeros(2), np.eye(2))
    assert np.allclose(found.mean, together.mean[:, 1:])
    assert np.allclose(found.covariance, together.covariance[:, 1:, 1:])
    assert log_evidence(alone, np.zeros(2), np.eye(2)).shape == (4,)


@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_two_states_are_found_through_their_errors(noise):
    generator = np.random.default_rng(1)
    state = generator.random(600) < 0.4
    true = np.where(state, 1.2, -0.8)[:, None] + generator.normal(size=(600, 1)) * 0.05
    measured = true + noise * generator.normal(size=true.shape)
    systems = Systems(np.full((600, 1, 1), noise**-2), measured * noise**-2)
    density = population_density(systems, np.ones(600))
    order = density.mean[:, 0].argsort()
    assert len(density.weight) == 2
    assert density.weight[order] == pytest.approx([0.6, 0.4], abs=0.07)
    assert density.mean[order, 0] == pytest.approx([-0.8, 1.2], abs=0.1)
    placed = density.latents(systems)
    error = placed.mean - true
    assert error.std() < (measured - true).std()
    inside = np.abs(error[:, 0]) < 1.645 * np.sqrt(placed.covariance[:, 0, 0])
    assert inside.mean() > 0.85


def test_few_particles_have_a_normal_density():
    systems = Systems(np.ones((5, 2, 2)) + np.eye(2), np.ones((5, 2)))
    density = population_density(systems, np.ones(5))
    assert len(density.weight) == 1 and np.allclose(density.covariance, np.eye(2))

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.problem.linearisation import (
    linearise,
    linearise_along,
    motions_and_way_to,
)


@pytest.fixture(scope="module")
def fitted(begin):
    """A fit after a pass, with restraints on its particles."""
    model, state = begin(15.0)
    return model, run_pass(model, state, model.images.disc, last=False)[0]


def test_equations_along_steps_are_those_of_the_numbers_turned(fitted):
    """Two directions and the way of each particle to the mean, images and restraints together."""
    model, state = fitted
    model = replace(model, my_particles=torch.arange(0, model.n_particles, 7))
    disc, mean = model.images.disc, state.population.mean
    along = motions_and_way_to(model, state, state.population.root[:, :2], mean)
    whole = torch.cat([found.block.particle for found in _every(model, state, disc)])
    assert torch.equal(whole, model.my_particles)
    of_few = list(
        linearise_along(
            model, state, disc, model.my_particles, along=along, then=lambda found: found
        )
    )
    for few, every in zip(of_few, _every(model, state, disc), strict=True):
        step = along(every.block)
        torch.testing.assert_close(
            step[..., 2], mean - state.latent[every.block.particle], rtol=0, atol=0
        )
        matrix, gradient = every.of_motions(model.deformation, state.latent)
        expected = step.mT @ matrix @ step
        assert (few.matrix - expected).abs().max() < 1e-4 * expected.abs().max()
        slope = (step.mT @ gradient[..., None])[..., 0]
        assert (few.gradient - slope).abs().max() < 1e-3 * slope.abs().max()
        torch.testing.assert_close(few.contrast, every.contrast)


def _every(model, state, disc):
    return linearise(model, state, disc, model.my_particles)

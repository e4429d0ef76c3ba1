"""Axes of latents that follow a motion to its ends."""

import numpy as np

from atomdrgn.subspace.latent_axes import axes_by_neighbours


def test_a_motion_that_folds_back_is_followed():
    generator = np.random.default_rng(0)
    place = generator.uniform(-1, 1, 800)
    folded = np.stack([np.sin(2.2 * place), np.cos(2.2 * place), np.sin(4.4 * place)], 1)
    seen = folded * [1.0, 0.6, 0.4] + 0.02 * generator.normal(size=folded.shape)
    axes = axes_by_neighbours(seen)
    assert np.allclose(axes.T @ axes, np.eye(3))
    before, after = (
        abs(np.corrcoef(each.argsort().argsort(), place.argsort().argsort())[0, 1])
        for each in (seen[:, 0], (seen @ axes)[:, 0])
    )
    assert before < 0.96 and after > 0.97


def test_of_two_latents_and_of_few_particles_nothing_is_turned():
    generator = np.random.default_rng(0)
    assert np.array_equal(axes_by_neighbours(generator.normal(size=(100, 2))), np.eye(2))
    assert np.array_equal(axes_by_neighbours(generator.normal(size=(9, 4))), np.eye(4))

"""Volumes on latents of a file: they show what goes with them, or that nothing does."""

import numpy as np
import pytest
import torch

from atomdrgn import analyze_volumes
from atomdrgn.analysis.volumes.field_volumes import points_at, volumes_at
from atomdrgn.errors import InputError
from atomdrgn.latent_maps.latent_regression import fit_on_latents
from atomdrgn.runs.given_latents import read_latents

pytestmark = pytest.mark.seconds


def test_volumes_go_with_latents(scene, tmp_path):
    """The latent 40 is one state and 10 the other, and another number says nothing."""
    structure, particles, state, away = scene
    noise = np.random.default_rng(0).normal(size=len(state))
    np.save(tmp_path / "z.npy", np.stack([10.0 + 30 * state, noise], 1))
    run = fit_on_latents(particles, read_latents(tmp_path / "z.npy", particles), tmp_path / "run")
    assert run.history["supported"][0] == 1 and run.summary["gain"][0][0] > 1
    assert np.allclose(run.latent[:, 0], 10 + 30 * state)
    here, there = volumes_at(run, points_at(run, np.array([[10.0, 0.0], [40.0, 0.0]])).latent)
    change = there - here
    helix_at = structure.position[structure.residue > 60]
    before, after = (
        change[tuple(((helix_at + off) / 4.0).round().long().flip(1).add(12).clamp(0, 23).T)]
        for off in (torch.zeros(3), away)
    )
    assert after.mean() > 0 > before.mean()
    size = run.components.flatten(1).norm(dim=1).numpy() * run.latent.std(0)
    assert size[1] < 0.3 * size[0]
    found = analyze_volumes(run, tmp_path / "analysed", clusters=2, frames=3, sketch=0)
    assert set(found.centres.latent[:, 0].round()) == {10.0, 40.0}


def test_latents_that_say_nothing_are_told(scene, tmp_path):
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(len(scene[2]), 2)))
    particles = scene[1]
    run = fit_on_latents(particles, read_latents(tmp_path / "z.npy", particles), tmp_path / "run")
    assert run.history["supported"][0] == 0 and run.summary["gain"] == []
    with pytest.raises(InputError, match="at best"):
        fit_on_latents(
            particles,
            read_latents(tmp_path / "z.npy", particles),
            tmp_path / "other",
            resolution=2.0,
        )

"""Volumes of the images near a latent: kernels, and the state that is there."""

import numpy as np
import pytest
import torch

from atomdrgn import ImageGrid
from atomdrgn.analysis.volumes.field_volumes import points_at, write_volumes
from atomdrgn.backprojection.slice_sum import SliceSum, empty_sum
from atomdrgn.errors import InputError
from atomdrgn.io.mrc import read_map
from atomdrgn.latent_maps.latent_regression import fit_on_latents
from atomdrgn.latent_maps.local_volumes import LocalVolumes, best_widths, joined, nearness
from atomdrgn.runs.given_latents import read_latents


def test_nearness_is_the_expected_kernel():
    generator = np.random.default_rng(0)
    mean, latent = generator.normal(size=(50, 2)), np.array([0.3, -0.2])
    root = generator.normal(size=(50, 2, 2)) * 0.3
    covariance = root @ root.transpose(0, 2, 1)
    found = nearness(mean, covariance, latent, 0.5)
    kernel = np.linalg.inv(0.25 * np.cov(mean.T))
    drawn = mean[0] + generator.normal(size=(200_000, 2)) @ root[0].T
    off = drawn - latent
    expected = np.exp(-0.5 * np.einsum("nk,kl,nl->n", off, kernel, off)).mean()
    assert found[0] == pytest.approx(expected, rel=0.02)


def test_shells_are_those_of_the_kernel_that_is_best_there():
    grid = ImageGrid(8, 2.0)
    sums = [SliceSum(grid, torch.full_like(empty_sum(grid).sums, value)) for value in (1.0, 2.0)]
    found = joined(sums, np.array([1, 1, 0, 0, 0])).sums
    middle = found.shape[0] // 2
    assert (found[middle, middle, :3] == 2).all() and (found[middle, middle, 3:] == 1).all()
    assert (best_widths([sums], torch.ones(8, 8, 8)) == 0).all()


@pytest.mark.seconds
def test_a_local_volume_shows_the_state_that_is_there(scene, tmp_path):
    structure, particles, state, away = scene
    wide = np.random.default_rng(0).normal(size=len(state))
    np.save(tmp_path / "z.npy", np.stack([3.0 * state, wide], 1))
    run = fit_on_latents(particles, read_latents(tmp_path / "z.npy", particles), tmp_path / "run")
    points = points_at(run, np.array([[0.0, 0.0], [3.0, 0.0]]))
    out = write_volumes(run, tmp_path / "near", points, images=particles)
    assert {path.name for path in out.iterdir()} == {
        "volumes.csv",
        "mask.mrc",
        *(f"000{k}{end}" for k in "01" for end in (".mrc", "_half1.mrc", "_half2.mrc", "_fsc.csv")),
    }
    here, there = (torch.from_numpy(read_map(out / f"000{k}.mrc")[0]) for k in "01")
    change = there - here
    helix_at = structure.position[structure.residue > 60]
    before, after = (
        change[tuple(((helix_at + off) / 4.0).round().long().flip(1).add(12).clamp(0, 23).T)]
        for off in (torch.zeros(3), away)
    )
    assert after.mean() > 0 > before.mean()
    local = LocalVolumes(run, particles)
    found = local.at(np.array([3.0, 0.0]))
    assert (np.diff(found.width[:6]) <= 0).all() or found.width.min() == found.width.max()
    with pytest.raises(InputError, match="ask where more are"):
        local.at(np.array([300.0, 0.0]))

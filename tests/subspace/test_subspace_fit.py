"""Components from images: two states are told apart, nothing is found where nothing moves, and a
run is whole, repeats, is resumed and refuses what it cannot do.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from atomdrgn import (
    ImageGrid,
    analyze_volumes,
    open_volume_run,
    read_particles,
    read_structure,
    simulate_particles,
)
from atomdrgn.analysis.volumes.field_volumes import points_of_clusters, volumes_at
from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.runs.run import CHECKPOINT, HALVES, PARTICLES, SUMMARY
from atomdrgn.simulate.imaging import image_tilts
from atomdrgn.subspace import subspace_fit
from atomdrgn.subspace.subspace_fit import fit_subspace
from atomdrgn.subspace.whitened_images import whiten_images
from molecules import helix, write_pdb

pytestmark = pytest.mark.seconds

COUNT = 300
AWAY = torch.tensor([-24.0, 34.0, 0.0])  # A, where the third helix is in the second state


@pytest.fixture(scope="module")
def structure(tmp_path_factory):
    lines = sum(
        (
            helix("A", 30, first=1 + 30 * k, start=(12.0 * k - 12, 0, -20), serial=1000 * k)
            for k in range(3)
        ),
        [],
    )
    return read_structure(write_pdb(tmp_path_factory.mktemp("structure") / "base.pdb", lines))


def imaged(folder, structure, state, *, tilts=0, box=24, snr=0.2):
    """Particles of two states: the third of three helices is here or there."""
    moving = torch.as_tensor(structure.residue > 60)[:, None] * AWAY
    atoms = structure.position + state[:, None, None] * moving
    grid, generator = ImageGrid(box, 4.0), torch.Generator().manual_seed(1)
    how = (
        {"imaging": image_tilts(len(state), grid, generator, tilts=tilts)}
        if tilts
        else {"grid": grid}
    )
    return read_particles(
        simulate_particles(structure, atoms, folder, snr=snr, generator=generator, **how)
    )


@pytest.fixture(scope="module")
def states(structure, tmp_path_factory):
    """Particles of two states, and the state of each."""
    state = torch.rand(COUNT, generator=torch.Generator().manual_seed(0)) < 0.5
    return imaged(tmp_path_factory.mktemp("states"), structure, state), state.numpy()


@pytest.fixture(scope="module")
def run(states, tmp_path_factory):
    return fit_subspace(states[0], tmp_path_factory.mktemp("subspace") / "run", latent=3)


def told(run, state):
    """Share of particles on the right side of zero on the first axis."""
    right = ((run.latent[:, 0] > 0) == state).mean()
    return max(right, 1 - right)


def test_two_states_are_told_apart(run, states):
    summary = run.summary
    assert 1 <= summary["latent"] <= 3 and summary["tried"] == 3
    assert all(gain > 0 for each in summary["gain"] for gain in each)
    assert told(run, states[1]) > 0.97
    assert summary["junk"] < 0.02 and summary["contrast_sd"] < 0.15
    latent, covariance = run.latent, run.latent_covariance
    assert covariance.shape == (COUNT, summary["latent"], summary["latent"])
    assert np.allclose(np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)), run.latent_sd, rtol=1e-4)
    assert latent.std(0).max() < 2
    assert set(run.table) >= {"first_row", "z1", "sd1", "contrast", "junk"}


@pytest.mark.parametrize("box, snr", [(24, 0.2), (32, 0.2), (32, 0.05), (48, 0.02)])
def test_nothing_is_found_where_nothing_moves(structure, tmp_path, box, snr):
    stack = imaged(tmp_path / "set", structure, torch.zeros(COUNT), box=box, snr=snr)
    run = fit_subspace(stack, tmp_path / "run", latent=2)
    assert run.summary["latent"] == 0 and run.summary["contrast_sd"] < 0.12


def test_volumes_show_the_states(run, states, structure):
    """Density moves from where the helix is to where it is in the other state."""
    points = points_of_clusters(run, 2)
    first, second = volumes_at(run, points.latent)
    state = states[1][points.particle]
    change = (first - second) * (1 if state[0] else -1)
    helix_at = structure.position[structure.residue > 60]
    here, there = (
        change[tuple(((helix_at + off) / 4.0).round().long().flip(1).add(12).clamp(0, 23).T)]
        for off in (torch.zeros(3), AWAY)
    )
    assert there.mean() > 0 > here.mean()


def test_without_components_there_is_a_map(states, tmp_path, monkeypatch):
    monkeypatch.setattr(subspace_fit, "judged", lambda gains: [])
    run = fit_subspace(states[0], tmp_path / "run", latent=1)
    assert run.summary["latent"] == 0 and run.latent.shape == (COUNT, 0)
    assert (run.folder / "map.mrc").exists()


def test_images_of_a_tilt_series_add_up(structure, tmp_path):
    state = torch.rand(60, generator=torch.Generator().manual_seed(0)) < 0.5
    stack = imaged(tmp_path / "set", structure, state, tilts=5)
    run = fit_subspace(stack, tmp_path / "run", latent=1)
    assert run.n_particles == 60 and run.summary["tilts"] == 5
    assert run.summary["latent"] == 1 and told(run, state.numpy()) > 0.9


def test_it_repeats_with_images_that_are_read_again(run, states, tmp_path, monkeypatch):
    """Images in half precision, and those that are not kept, give the same but for rounding.

    From random numbers on, 34 rounds make more of the last digits.
    """

    def read_again(*args):
        kept, made = whiten_images(*args), whiten_images(*args, memory=0)
        some = torch.arange(50)
        assert made.kept is None
        for name in ("transfer", "data"):
            first, second = (getattr(each.batch(some), name) for each in (kept, made))
            assert np.allclose(first, second, rtol=1e-3, atol=1e-3)
        return made

    monkeypatch.setattr(subspace_fit, "whiten_images", read_again)
    again = fit_subspace(states[0], tmp_path / "run", latent=3)
    assert again.summary["latent"] == run.summary["latent"]
    assert abs(np.corrcoef(again.latent[:, 0], run.latent[:, 0])[0, 1]) > 0.998


def test_it_goes_on_where_it_was_stopped(states, run, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(subspace_fit, "held_out_gains", stop)
        with pytest.raises(KeyboardInterrupt):
            fit_subspace(states[0], folder, latent=3)
    assert (folder / HALVES[1]).exists() and not (folder / SUMMARY).exists()
    with monkeypatch.context() as patched:
        patched.setattr(subspace_fit, "_fit_halves", stop)  # both half-sets are there
        fit_subspace(states[0], folder, latent=3, resume=True)
    assert (folder / PARTICLES).read_bytes() == (run.folder / PARTICLES).read_bytes()
    assert torch.equal(open_volume_run(folder).components, run.components)
    with pytest.raises(InputError, match="latent was 3 and is 2"):
        fit_subspace(states[0], folder, latent=2, resume=True)
    (folder / SUMMARY).unlink()
    (folder / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match="--overwrite"):
        fit_subspace(states[0], folder, latent=3, resume=True)
    fit_subspace(states[0], folder, latent=0, overwrite=True)
    assert not list(folder.glob("component*")) and (folder / "map.mrc").exists()


def test_it_is_analyzed_as_other_runs(run, tmp_path):
    found = analyze_volumes(run, tmp_path / "analysed", clusters=2, frames=3, sketch=4)
    assert found.convergence is None and not found.trained
    assert (found.folder / "axis1" / "0002.mrc").exists()


@pytest.mark.parametrize(
    "options, says", [({"latent": -1}, "expected none or more"), ({"resolution": 2.0}, "at best")]
)
def test_bad_settings(states, tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        fit_subspace(states[0], tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_run_without_a_component_is_named(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "component1.mrc").unlink()
    with pytest.raises(MissingFileError, match="component1.mrc"):
        _ = open_volume_run(tmp_path / "run").components
    assert json.loads((run.folder / "run.json").read_text())["fit"]["latents"] == "subspace"

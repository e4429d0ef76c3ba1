"""Volumes from images: two states are told apart, a run is whole, repeats, is resumed, and refuses what it cannot do."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import ImageGrid, open_run, open_volume_run, read_particles, read_structure, simulate_particles
from atomdrgn.analysis.compare_volumes import map_correlation
from atomdrgn.analysis.latent_space import k_means_on_data
from atomdrgn.errors import FileFormatError, InputError, MissingFileError, OutputExistsError
from atomdrgn.reconstruction import volume_fit
from atomdrgn.reconstruction.field_maps import field_map
from atomdrgn.reconstruction.volume_fit import chosen_precision, conditioned_volumes, fit_volume
from atomdrgn.run import CHECKPOINT, FIELD, SUMMARY
from molecules import helix, write_pdb

SETTINGS = {"latent": 2, "width": 32, "depth": 1, "epochs": 20, "batch": 8, "coefficients": 64, "rate": 2e-3,
            "precision": "float32"}


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Structure, 120 particles of two states, one image each, and the state of each: one of three helices here or there."""
    folder = tmp_path_factory.mktemp("states")
    lines = sum((helix("A", 30, first=1 + 30 * k, start=(12.0 * k - 12, 0, -20), serial=1000 * k) for k in range(3)), [])
    structure = read_structure(write_pdb(folder / "base.pdb", lines))
    generator = torch.Generator().manual_seed(0)
    state = torch.rand(120, generator=generator) < 0.5
    moving = torch.as_tensor(structure.residue > 60)[:, None] * torch.tensor([-12.0, 22.0, 0.0])
    atoms = structure.position + state[:, None, None] * moving
    star = simulate_particles(structure, atoms, folder, grid=ImageGrid(24, 4.0), snr=3.0, generator=generator)
    return structure, read_particles(star), state.numpy()


@pytest.fixture(scope="module")
def run(states, tmp_path_factory):
    return fit_volume(states[1], tmp_path_factory.mktemp("volume") / "run", **SETTINGS)


def accuracy(label, state):
    return max((label == state).mean(), (label != state).mean())


def test_two_states_are_told_apart_by_their_latents_and_their_volumes(run, states):
    structure, stack, state = states
    found = k_means_on_data(run.latent, 2)
    assert accuracy(found.label, state) > 0.8          # by chance 0.5; training is short
    grid = stack.grid
    maps = [field_map(run.field, run.mean.density, torch.from_numpy(run.latent[particle]), grid) for particle in found.on_data]
    truth = [mean_of(structure, here, grid) for here in (False, True)]
    same = [[float(map_correlation(a, b)) for b in truth] for a in maps]
    first = int(state[found.on_data[0]])
    # training is short and what it finds of the difference is faint: both volumes together are judged
    assert same[0][first] + same[1][1 - first] > same[0][1 - first] + same[1][first]


def mean_of(structure, moved, grid):
    """Density of a state: Gaussians of 5 A at its atoms."""
    atoms = structure.position + moved * torch.as_tensor(structure.residue > 60)[:, None] * torch.tensor([-12.0, 22.0, 0.0])
    along = grid.coordinates()
    wave = [torch.exp(-0.5 * ((along - atoms[:, k, None]) / 5) ** 2) for k in range(3)]
    return torch.einsum("az,ay,ax->zyx", wave[2], wave[1], wave[0])


def test_a_run_is_whole_and_opens_again(run, states):
    again = open_volume_run(run.folder)
    assert again.latent.shape == (120, 2) and (again.latent_sd > 0).all()
    assert again.summary["particles"] == 120 and again.summary["epochs"] == 20 == len(again.history["epoch"])
    assert again.summary["error_gain"] > 0 and again.history["error_gain"][-1] > again.history["error_gain"][0]
    assert again.mean.density.shape == (24, 24, 24) and again.mean.voxel_size == 4.0
    rows = (run.folder / "particles.csv").read_text().splitlines()
    assert rows[0] == "particle,first_row,rows,z1,z2" and rows[1].startswith("0,0,1,") and len(rows) == 121
    with pytest.raises(FileFormatError, match="atomdrgn volumes"):
        open_run(run.folder)


def test_a_run_that_was_stopped_ends_as_one_that_was_not(states, run, tmp_path, monkeypatch):
    save, stopped = volume_fit.save_training, []

    def stop_after_five(training, folder):
        save(training, folder)
        if training.epoch == 5 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(volume_fit, "save_training", stop_after_five)
    with pytest.raises(KeyboardInterrupt):
        fit_volume(states[1], tmp_path / "run", **SETTINGS)
    with pytest.raises(MissingFileError, match="--resume"):
        open_volume_run(tmp_path / "run")
    with pytest.raises(InputError, match="rate was"):
        fit_volume(states[1], tmp_path / "run", **SETTINGS | {"rate": 1e-2}, resume=True)
    resumed = fit_volume(states[1], tmp_path / "run", **SETTINGS, resume=True)
    np.testing.assert_array_equal(resumed.latent, run.latent)
    assert (resumed.history["error_gain"] == run.history["error_gain"]).all()
    before = (tmp_path / "run" / SUMMARY).read_bytes()
    fit_volume(states[1], tmp_path / "run", **SETTINGS, resume=True)      # nothing is left to do
    assert (tmp_path / "run" / SUMMARY).read_bytes() == before


def test_one_volume_for_all(states, tmp_path):
    run = fit_volume(states[1], tmp_path / "run", **SETTINGS | {"latent": 0, "epochs": 2})
    assert run.latent.shape == (120, 0) and run.summary["kl"] == 0
    written = open_volume_run(run.folder).folder / "map.mrc"
    assert written.exists()


def test_images_of_a_tilt_series_are_put_together(states, tmp_path):
    _, stack, _ = states
    number = torch.arange(120) // 3
    number[-1] = 38                                         # one particle has four images and one has two
    tilts = replace(stack, particle=number, tilt=torch.arange(120) - 3 * number, half=number % 2 + 1)
    for pooling in ("concatenate", "attention"):
        run = fit_volume(tilts, tmp_path / pooling, **SETTINGS | {"epochs": 1, "pooling": pooling, "encoding": "geometric"})
        assert run.summary["tilts"] == 4 and run.settings["fit"]["tilts"] == 2 and run.latent.shape == (40, 2)
        assert np.isfinite(run.latent).all()


def test_a_field_on_given_latents_has_the_volumes_of_both_half_sets(states):
    structure, stack, state = states
    latent = np.stack([2.0 * state - 1, np.zeros(120)], 1)
    halves = conditioned_volumes(stack, latent, np.array([[-1.0, 0], [1.0, 0]]), width=32, depth=1, epochs=20, batch=8,
                                 coefficients=64, rate=2e-3, precision="float32")
    truth = torch.stack([mean_of(structure, here, stack.grid) for here in (False, True)])
    assert halves.shape == (2, 2, 24, 24, 24)
    difference = [half[1] - half[0] for half in halves]
    for one in difference:
        found = torch.corrcoef(torch.stack([one.flatten(), (truth[1] - truth[0]).flatten()]))[0, 1]
        assert found > 0.15      # by chance 0.02; there are sixty particles in each half-set
    assert not torch.equal(*difference)
    with pytest.raises(InputError, match="119 latents for 120 particles"):
        conditioned_volumes(stack, latent[:-1], latent[:1])
    with pytest.raises(InputError, match="numbers"):
        conditioned_volumes(stack, latent, np.zeros((1, 3)))


@pytest.mark.parametrize("change, says", [
    ({"latent": -1}, "numbers of a latent"), ({"epochs": 0}, "at least one epoch"), ({"resolution": 1.0}, "hold 8 A at best"),
    ({"pooling": "median"}, "choose concatenate"), ({"precision": "int8"}, "choose auto"), ({"encoding": "none"}, "gaussian"),
    ({"beta": -1.0}, "negative"), ({"coefficients": -1}, "negative")])
def test_settings_that_make_no_sense_are_refused_before_anything_is_written(states, tmp_path, change, says):
    with pytest.raises(InputError, match=says):
        fit_volume(states[1], tmp_path / "run", **SETTINGS | change)
    assert not (tmp_path / "run").exists()


def test_no_image_and_a_used_folder_are_refused(states, run):
    stack = states[1]
    with pytest.raises(InputError, match="no image is left"):
        fit_volume(stack[torch.zeros(120, dtype=torch.bool)], run.folder.parent / "none", **SETTINGS)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        fit_volume(stack, run.folder, **SETTINGS)


def test_damaged_runs_are_told(run, tmp_path):
    for name, content, error in ((FIELD, b"x", "damaged"), ("run.json", b'{"format": 99}', "format 99")):
        folder = tmp_path / name
        shutil.copytree(run.folder, folder)
        (folder / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=error):
            open_volume_run(folder).field  # noqa: B018
    settings = json.loads((run.folder / "run.json").read_text())
    settings["fit"]["inference"] = "closed-form"
    other = tmp_path / "fit"
    shutil.copytree(run.folder, other)
    (other / "run.json").write_text(json.dumps(settings))
    with pytest.raises(FileFormatError, match="atomdrgn export"):
        open_volume_run(other)


def test_a_damaged_checkpoint_is_told(states, run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    (folder / SUMMARY).unlink()
    (folder / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(FileFormatError, match="--overwrite"):
        fit_volume(states[1], folder, **SETTINGS, resume=True)


def test_precision_follows_the_processor_where_it_is_not_named():
    assert chosen_precision("float32") is torch.float32
    assert chosen_precision("auto") in (torch.float32, torch.bfloat16)

"""Volumes from images: two states are told apart, a run is whole, repeats, is resumed, and refuses
what it cannot do.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import (
    ImageGrid,
    open_run,
    open_volume_run,
    read_particles,
    read_structure,
    simulate_particles,
)
from atomdrgn.analysis.examination.latent_space import k_means_on_data
from atomdrgn.errors import FileFormatError, InputError, MissingFileError, OutputExistsError
from atomdrgn.inference.amortised import training
from atomdrgn.reporting import Reporter
from atomdrgn.runs.run import CHECKPOINT, FIELD, MAP, MEAN, PARTICLES, SUMMARY
from atomdrgn.structure.density_map import read_density_map
from atomdrgn.volume import volume_fit
from atomdrgn.volume.field_maps import field_map
from atomdrgn.volume.volume_fit import chosen_precision, conditioned_volumes, fit_volume
from hinge import with_pixels
from molecules import helix, write_pdb

pytestmark = pytest.mark.seconds

SETTINGS = {
    "latent": 2,
    "width": 32,
    "depth": 1,
    "epochs": 8,
    "batch": 8,
    "coefficients": 64,
    "rate": 2e-3,
    "precision": "float32",
}
LONGER = SETTINGS | {"epochs": 12}
COUNT, FEW = 400, 40
TIMES = {"seconds", "cpu_seconds"}
AWAY = torch.tensor([-24.0, 34.0, 0.0])  # A, where the third helix is in the second state


def correlation(one, other):
    """Of the voxels of two maps."""
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


def imaged(folder, structure, state, *, snr):
    """Particles of two states: the third of three helices is here or there."""
    moving = torch.as_tensor(structure.residue > 60)[:, None] * AWAY
    atoms = structure.position + state[:, None, None] * moving
    generator = torch.Generator().manual_seed(1)
    star = simulate_particles(
        structure, atoms, folder, grid=ImageGrid(24, 4.0), snr=snr, generator=generator
    )
    return read_particles(star)


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


@pytest.fixture(scope="module")
def states(structure, tmp_path_factory):
    """Structure, 400 particles of two states, one image each, and the state of each."""
    state = torch.rand(COUNT, generator=torch.Generator().manual_seed(0)) < 0.5
    return (
        structure,
        imaged(tmp_path_factory.mktemp("states"), structure, state, snr=3.0),
        state.numpy(),
    )


@pytest.fixture(scope="module")
def run(states, tmp_path_factory):
    return fit_volume(states[1], tmp_path_factory.mktemp("volume") / "run", **LONGER)


@pytest.fixture(scope="module")
def short(states, tmp_path_factory):
    """A run of 40 particles that was not stopped."""
    return fit_volume(states[1][:FEW], tmp_path_factory.mktemp("short") / "run", **SETTINGS)


def accuracy(run, state):
    label = k_means_on_data(run.latent, 2).label
    return max((label == state).mean(), (label != state).mean())


def mean_of(structure, moved, grid):
    """Density of a state: Gaussians of 5 A at its atoms."""
    atoms = structure.position + moved * torch.as_tensor(structure.residue > 60)[:, None] * AWAY
    along = grid.coordinates()
    wave = [torch.exp(-0.5 * ((along - atoms[:, k, None]) / 5) ** 2) for k in range(3)]
    return torch.einsum("az,ay,ax->zyx", wave[2], wave[1], wave[0])


def test_two_states_are_told_apart_by_their_latents_and_their_volumes(run, states):
    structure, stack, state = states
    # by chance 0.50 +- 0.03; 0.91 to 1.00 by seed and by the order of sums
    assert accuracy(run, state) > 0.85
    chosen = k_means_on_data(run.latent, 2).on_data
    chosen = sorted(chosen, key=lambda particle: state[particle])
    assert state[chosen].tolist() == [False, True]
    maps = [
        field_map(run.field, run.mean.density, torch.from_numpy(run.latent[particle]), stack.grid)
        for particle in chosen
    ]
    truth = torch.stack([mean_of(structure, here, stack.grid) for here in (False, True)])
    for one, found in enumerate(maps):
        own, other = (
            correlation(found, truth[one]),
            correlation(found, truth[1 - one]),
        )
        assert own > other + 0.03, (own, other)
    difference = correlation(maps[1] - maps[0], truth[1] - truth[0])
    assert difference > 0.5  # of maps that have nothing of it 0, with a s.d. of 0.01
    both = correlation(run.mean.density, truth.mean(0))
    assert both > max(correlation(run.mean.density, here) for here in truth)


def test_a_run_is_whole_and_opens_again(run):
    again = open_volume_run(run.folder)
    assert again.latent.shape == (COUNT, 2) and (again.latent_sd > 0).all()
    assert again.mean.density.shape == (24, 24, 24) and again.mean.voxel_size == 4.0
    rows = (run.folder / "particles.csv").read_text().splitlines()
    assert (
        rows[0] == "particle,first_row,rows,z1,z2"
        and rows[1].startswith("0,0,1,")
        and len(rows) == COUNT + 1
    )
    np.testing.assert_allclose(
        np.stack([again.table["z1"], again.table["z2"]], 1), again.latent, rtol=1e-4, atol=1e-6
    )
    with pytest.raises(FileFormatError, match="atomdrgn volumes"):
        open_run(run.folder)


def test_the_history_says_of_each_epoch_what_it_found_and_the_summary_how_it_ended(run):
    history, summary = run.history, run.summary
    assert (
        history["epoch"].tolist() == list(range(1, 13))
        and summary["epochs"] == 12
        and summary["particles"] == COUNT
    )
    for name in TIMES:
        assert (np.diff(history[name]) >= 0).all() and (history[name] > 0).all()
    assert history["error_gain"][-1] > max(0, history["error_gain"][0])
    # the rate falls to nothing, and the latents come to rest
    assert (
        history["latent_change"][-1] < 0.1 < history["latent_change"][0]
        and (history["kl"] > 0).all()
    )
    assert {name: summary[name] for name in ("error_gain", "kl", "latent_change")} == {
        name: history[name][-1] for name in ("error_gain", "kl", "latent_change")
    }


class Watching(Reporter):
    """Notes the tasks that it is told of, and how far each came."""

    def __init__(self):
        self.tasks = []

    def start(self, title, total):
        self.tasks.append([title, total, []])

    def advance(self, steps=1):
        self.tasks[-1][2].append(steps)


def stopping(function, when):
    """The same function, but once it has done its work, Ctrl-C comes if `when` says so of its
    arguments.
    """

    def stopped(*arguments):
        result = function(*arguments)
        if when(*arguments):
            raise KeyboardInterrupt
        return result

    return stopped


STOPS = {  # where a run is stopped, and how many epochs of it are kept
    "in its fourth epoch": (volume_fit, "run_epoch", lambda training, *_: training.epoch == 3, 3),
    "behind the history of its fourth epoch": (
        training,
        "write_table",
        lambda _, columns: len(columns["epoch"]) == 4,
        3,
    ),
    "behind the checkpoint of its fourth epoch": (
        training,
        "write_tensors",
        lambda _, held: int(held["epoch"]) == 4,
        4,
    ),
    "before its latents are written": (volume_fit, "write_tensors", lambda *_: True, 8),
}


@pytest.mark.parametrize("where", STOPS)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    states, short, tmp_path, monkeypatch, where
):
    module, name, when, kept = STOPS[where]
    few, folder = states[1][:FEW], tmp_path / "run"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, name, stopping(getattr(module, name), when))
        fit_volume(few, folder, **SETTINGS)
    with pytest.raises(MissingFileError, match="--resume"):
        open_volume_run(folder)
    watching = Watching()
    resumed = fit_volume(few, folder, **SETTINGS, resume=True, reporter=watching)
    assert watching.tasks[-1] == ["training", 8, [kept] + [1] * (8 - kept)]
    for name in (CHECKPOINT, FIELD, PARTICLES):
        assert (folder / name).read_bytes() == (short.folder / name).read_bytes(), name
    assert torch.equal(resumed.mean.density, short.mean.density)
    np.testing.assert_array_equal(resumed.latent, short.latent)
    np.testing.assert_array_equal(resumed.latent_sd, short.latent_sd)
    assert resumed.history.keys() == short.history.keys()
    for name in resumed.history.keys() - TIMES:
        np.testing.assert_array_equal(resumed.history[name], short.history[name])
    for name in TIMES:
        assert (np.diff(resumed.history[name]) >= 0).all()
    assert resumed.summary | {"cpu_seconds": 0} == short.summary | {"cpu_seconds": 0}
    before = (folder / SUMMARY).read_bytes()
    fit_volume(few, folder, **SETTINGS, resume=True)  # nothing is left to do
    assert (folder / SUMMARY).read_bytes() == before


def test_a_run_is_not_gone_on_with_by_other_settings_or_images(states, short):
    for stack, settings, says in (
        (states[1][:FEW], SETTINGS | {"rate": 1e-2}, "rate was 0.002 and is 0.01"),
        (states[1][: FEW - 1], SETTINGS, "images was 40 and is 39"),
    ):
        with pytest.raises(InputError, match=says):
            fit_volume(stack, short.folder, **settings, resume=True)


def test_training_ends_after_the_epoch_in_which_its_time_is_over(states, tmp_path):
    watching = Watching()
    run = fit_volume(states[1][:FEW], tmp_path / "run", **SETTINGS, minutes=0.0, reporter=watching)
    assert run.summary["epochs"] == 1 == len(run.history["epoch"]) and watching.tasks[-1] == [
        "training",
        8,
        [0, 1],
    ]


def test_one_volume_for_all_is_the_mean_where_all_are_the_same(structure, tmp_path):
    """Of one state there is nothing to learn but what regularisation takes from the mean: the map
    becomes no worse.
    """
    stack = imaged(tmp_path, structure, torch.zeros(120, dtype=torch.bool), snr=3.0)
    run = fit_volume(stack, tmp_path / "run", **SETTINGS | {"latent": 0, "epochs": 2})
    assert (
        run.latent.shape == (120, 0)
        and run.summary["kl"] == 0
        and run.summary["latent_change"] == 0
    )
    truth = mean_of(structure, False, stack.grid)
    found, mean = (
        correlation(read_density_map(run.folder / name).density, truth) for name in (MAP, MEAN)
    )
    assert found > mean - 0.01 and mean > 0.6


@pytest.mark.parametrize(
    "pooling, encoding",
    [("mean", "gaussian"), ("attention", "geometric"), ("concatenate", "gaussian")],
)
def test_the_images_of_a_tilt_series_tell_together_what_a_particle_is(
    structure, tmp_path, pooling, encoding
):
    """There is as much noise as signal, and particles have three, four or five images."""
    number = torch.arange(COUNT) // 4
    number[3::16] += 1
    state = torch.rand(COUNT // 4, generator=torch.Generator().manual_seed(0)) < 0.5
    stack = imaged(tmp_path, structure, state[number], snr=1.0)
    count = torch.bincount(number)
    tilts = replace(
        stack,
        particle=number,
        tilt=torch.cat([torch.arange(n) for n in count.tolist()]),
        half=number % 2 + 1,
    )
    run = fit_volume(
        tilts,
        tmp_path / "run",
        **SETTINGS | {"epochs": 10, "pooling": pooling, "encoding": encoding},
    )
    assert (
        run.summary["tilts"] == 5
        and run.settings["fit"]["tilts"] == 3
        and run.latent.shape == (COUNT // 4, 2)
    )
    assert accuracy(run, state.numpy()) > 0.95
    np.testing.assert_array_equal(run.table["rows"], count)
    np.testing.assert_array_equal(run.table["first_row"], count.cumsum(0) - count)


def test_a_field_on_given_latents_has_the_volumes_of_both_half_sets(states):
    structure, stack, state = states
    latent = np.stack([2.0 * state - 1, np.zeros(COUNT)], 1)
    halves = conditioned_volumes(
        stack,
        latent,
        np.array([[-1.0, 0], [1.0, 0]]),
        width=32,
        depth=1,
        epochs=8,
        batch=8,
        coefficients=64,
        rate=3e-3,
        precision="float32",
    )
    truth = torch.stack([mean_of(structure, here, stack.grid) for here in (False, True)])
    assert halves.shape == (2, 2, 24, 24, 24)
    difference = [half[1] - half[0] for half in halves]
    for one in difference:
        # there are two hundred particles in each half-set
        assert correlation(one, truth[1] - truth[0]) > 0.3
    assert not torch.equal(*difference)
    with pytest.raises(InputError, match="399 latents for 400 particles"):
        conditioned_volumes(stack, latent[:-1], latent[:1])
    with pytest.raises(InputError, match="numbers"):
        conditioned_volumes(stack, latent, np.zeros((1, 3)))


@pytest.mark.parametrize(
    "change, says",
    [
        ({"latent": -1}, "numbers of a latent"),
        ({"epochs": 0}, "at least one epoch"),
        ({"resolution": 1.0}, "hold 8 A at best"),
        ({"pooling": "median"}, "choose concatenate"),
        ({"precision": "int8"}, "choose auto"),
        ({"encoding": "none"}, "gaussian"),
        ({"beta": -1.0}, "negative"),
        ({"coefficients": -1}, "negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_written(
    states, tmp_path, change, says
):
    with pytest.raises(InputError, match=says):
        fit_volume(states[1], tmp_path / "run", **SETTINGS | change)
    assert not (tmp_path / "run").exists()


def test_no_image_and_a_used_folder_are_refused(states, short):
    stack = states[1]
    with pytest.raises(InputError, match="no image is left"):
        fit_volume(
            stack[torch.zeros(COUNT, dtype=torch.bool)], short.folder.parent / "none", **SETTINGS
        )
    with pytest.raises(OutputExistsError, match="--overwrite"):
        fit_volume(stack, short.folder, **SETTINGS)


def test_damaged_runs_are_told(run, tmp_path):
    for name, content, error in (
        (FIELD, b"x", "damaged"),
        ("run.json", b'{"format": 99}', "format 99"),
    ):
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
        fit_volume(states[1], folder, **LONGER, resume=True)


def test_precision_follows_the_processor_where_it_is_not_named():
    assert chosen_precision("float32") is torch.float32
    assert chosen_precision("auto") in (torch.float32, torch.bfloat16)


def test_a_spoilt_image_does_not_change_what_is_found_in_the_others(short, states, tmp_path):
    """It has no weight, and its particle stays in every file."""
    _, stack, _ = states

    def spoil(pixels):
        pixels[7, 3, 3] = 1000 * pixels.std()

    with pytest.warns(UserWarning, match="1 of 40 images .row 8. is nothing like the others"):
        spoilt = fit_volume(
            with_pixels(stack, tmp_path / "spoilt", spoil)[:FEW], tmp_path / "run", **SETTINGS
        )
    assert correlation(spoilt.mean.density, short.mean.density) > 0.98
    assert spoilt.summary["error_gain"] == pytest.approx(short.summary["error_gain"], rel=0.2)
    assert np.isfinite(spoilt.latent).all() and np.isfinite(spoilt.latent_sd).all()
    rows = (spoilt.folder / "particles.csv").read_text().splitlines()
    assert rows[0].endswith(",images_left_out") and [int(row[-1]) for row in rows[1:]] == [
        int(i == 7) for i in range(FEW)
    ]
    assert len(spoilt.summary["warnings"]) == 1

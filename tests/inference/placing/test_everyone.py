"""All particles are placed on what was learned on some, whatever shares the work."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import open_run
from atomdrgn.analysis.structure_files.export import export
from atomdrgn.errors import FileFormatError
from atomdrgn.inference.fit import fit
from atomdrgn.inference.placing import everyone as placing
from atomdrgn.inference.placing.coarse_to_fine import landscape_of
from atomdrgn.inference.placing.everyone import join_placements
from atomdrgn.inference.run_writer import write_placed
from atomdrgn.parallel import whole_batches_on_threads
from atomdrgn.reporting import Reporter
from atomdrgn.runs.run import LANDSCAPE, LATENTS, MOTIONS, PARTICLES, PLACED, SUMMARY, placed_file
from atomdrgn.structure.motion.surface import straight_surface
from learned_on_part import CHOICES, CHUNK
from processes import together

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(placing, "CHUNK", CHUNK)


def rows_of(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_all_particles_are_in_all_files_in_their_order(part_run):
    run, n = part_run.run, len(part_run.particles)
    table = rows_of(run.folder / PARTICLES)
    assert [int(row["particle"]) for row in table] == list(range(n))
    assert [int(row["first_row"]) for row in table] == list(range(n))
    assert run.n_particles == n == len(run.latent) == len(run.draws) == len(run.latent_sd)
    assert run.motion.rotation.shape[0] == n
    np.testing.assert_allclose(
        [float(row["motion1"]) for row in table], run.latent[:, 0], atol=1e-3
    )
    assert run.summary["particles"] == n
    assert run.summary["learned_on"]["particles"] == CHOICES["learn_on"]
    assert (run.folder / LANDSCAPE).exists() and not list(run.folder.glob(PLACED))
    assert len(list(part_run.stopped.glob(PLACED))) == -(-n // (CHUNK + CHUNK // 4))


def test_the_hinge_is_found_of_all_particles(part_run):
    latent, angle = part_run.run.latent[:, 0], part_run.angle.numpy()
    assert abs(np.corrcoef(latent, angle)[0, 1]) > 0.97
    learned = np.zeros(len(angle), bool)
    learned[part_run.progress.model.images.stack.row.numpy()] = True
    slope, offset = np.polyfit(latent, angle, 1)
    error = np.square(slope * latent + offset - angle)
    assert error[~learned].mean() < 1.5 * error[learned].mean()


def test_particles_that_were_learned_on_are_where_the_fit_has_them(part_run):
    """Means within a third of a standard deviation, standard deviations within 15 %."""
    ensemble, run = part_run.progress.found_ensemble, part_run.run
    row = part_run.progress.model.images.stack.row.numpy()
    sd = ensemble.sd.numpy()
    apart = (run.latent[row] - ensemble.place.numpy()) / sd
    assert np.sqrt(np.square(apart).mean(0)).max() < 1 / 3
    assert np.abs(np.median(run.latent_sd[row] / sd, axis=0) - 1).max() < 0.15


def test_draws_hold_the_truth_as_often_as_they_say(part_run):
    """Those of the leading motion, scaled to the angle."""
    run, angle = part_run.run, part_run.angle.numpy()
    slope, offset = np.polyfit(run.latent[:, 0], angle, 1)
    low, high = np.quantile(slope * run.draws[:, :, 0] + offset, [0.05, 0.95], axis=1)
    assert 0.8 < np.mean((angle > low) & (angle < high)) < 0.97


def held(folder):
    """Files of placed particles, as they are on disk."""
    return [path.read_bytes() for path in sorted(folder.glob(PLACED))]


def test_processes_place_the_same(part_run, tmp_path):
    """To the last bit: each of them some of the files."""

    def work(processes):
        model = replace(part_run.progress.everyone.learned.model, processes=processes)
        part_run.everyone(tmp_path, model=model).place(Reporter())

    together(2, work)
    assert held(tmp_path) == held(part_run.stopped)


def test_threads_place_the_same(part_run, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with whole_batches_on_threads():
            part_run.everyone(tmp_path).place(Reporter())
    finally:
        torch.set_num_threads(before)
    assert held(tmp_path) == held(part_run.stopped)


def test_files_of_another_size_change_next_to_nothing(part_run, tmp_path, monkeypatch):
    """Images are screened among those of their file, and draws are made file by file; the rest is
    the same but for rounding.
    """
    few = part_run.everyone(part_run.stopped)
    monkeypatch.setattr(placing, "CHUNK", 500)
    all_together = part_run.everyone(tmp_path)
    all_together.place(Reporter())
    assert len(held(tmp_path)) == 1
    whole = next(all_together.placed()).placement
    parts = join_placements(
        [
            placing.load_placed(part_run.stopped, number).placement
            for number in range(len(held(part_run.stopped)))
        ]
    )
    torch.testing.assert_close(whole.centre, parts.centre, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(whole.likelihood, parts.likelihood, atol=0.05, rtol=1e-4)
    one = all_together.totals
    monkeypatch.setattr(placing, "CHUNK", CHUNK)
    several = few.totals
    torch.testing.assert_close(one.sd, several.sd, atol=1e-3, rtol=1e-3)
    assert one.gain == pytest.approx(several.gain, rel=1e-4)
    torch.testing.assert_close(one.junk.probability, several.junk.probability, atol=1e-3, rtol=0)


def test_a_fit_that_was_stopped_in_the_middle_of_placing_ends_the_same(part_run, tmp_path):
    folder = shutil.copytree(part_run.stopped, tmp_path / "again.fit")
    (folder / placed_file(1)).unlink()
    run = fit(part_run.structure, part_run.particles, folder, resume=True, **CHOICES)
    for name in (LATENTS, MOTIONS):
        with np.load(folder / name) as found, np.load(part_run.run.folder / name) as expected:
            for array in expected:
                np.testing.assert_array_equal(found[array], expected[array])
    for name in (PARTICLES, SUMMARY):
        assert (folder / name).read_text() == (part_run.run.folder / name).read_text()
    assert not list(folder.glob(PLACED)) and run.n_particles == len(part_run.particles)


def test_a_damaged_file_is_named(part_run, tmp_path):
    folder = shutil.copytree(part_run.stopped, tmp_path / "again.fit")
    path = folder / placed_file(1)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match=rf"{path.name}.*remove this file.*--resume"):
        part_run.everyone(folder).place(Reporter())
    # whole, but of other particles
    path.write_bytes((folder / placed_file(0)).read_bytes())
    with pytest.raises(FileFormatError, match="of other images"):
        part_run.everyone(folder).place(Reporter())


def test_what_a_stopped_run_has_left_is_removed(part_run, tmp_path):
    """It was stopped after its results were written."""
    folder = shutil.copytree(part_run.run.folder, tmp_path / "whole.fit")
    shutil.copy(part_run.stopped / placed_file(0), folder)
    fit(part_run.structure, part_run.particles, folder, resume=True, **CHOICES)
    assert not list(folder.glob(PLACED))


def test_where_nothing_moves(part_run, tmp_path):
    """No coordinates: junk, gain and oddness are found all the same, and what is written is read."""
    learned = part_run.progress.everyone.learned
    still = straight_surface(
        learned.landscape.surface.coefficient[0],
        torch.zeros(learned.model.deformation.n_latent, 0),
        torch.zeros(0),
    )
    landscape = landscape_of(still, None, learned.model.images.disc, None)
    learned = replace(learned, landscape=landscape).measured_on(part_run.particles)
    folder = shutil.copytree(part_run.run.folder, tmp_path / "still.fit")
    everyone = replace(part_run.everyone(folder), learned=learned)
    everyone.place(Reporter())
    found = write_placed(folder, everyone)
    assert found.density is None and found.states == [] and found.sd.shape[1] == 0
    table = rows_of(folder / PARTICLES)
    assert len(table) == len(part_run.particles) and "motion1" not in table[0]
    assert {row["state"] for row in table} == {"1"}
    with np.load(folder / LATENTS) as held:
        assert held["latent"].shape == (len(table), 0)
    with np.load(folder / MOTIONS) as held:
        assert all(len(held[name]) == len(table) for name in held)


def test_a_run_of_a_part_is_exported(part_run, tmp_path):
    export(open_run(part_run.run.folder), tmp_path / "out", format="pdb", particles=[0, 150])
    assert list((tmp_path / "out").iterdir())

"""Particles of another day are placed by what a run has learned."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import open_run
from atomdrgn.errors import FileFormatError, InputError, OutputExistsError
from atomdrgn.inference import more_particles
from atomdrgn.inference.more_particles import fit_more
from atomdrgn.inference.placing import everyone
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.runs.run import LANDSCAPE, LATENTS, PARTICLES, PLACED, SETTINGS

pytestmark = pytest.mark.slow
COUNT = 60


@pytest.fixture(scope="module")
def more(part_run, tmp_path_factory):
    """The first of the run's own particles, as if they were of another day."""
    return fit_more(
        part_run.run, part_run.particles[:COUNT], tmp_path_factory.mktemp("more") / "more.fit"
    )


def test_the_same_images_are_where_the_run_has_them(more, part_run):
    """But for the density, which is theirs alone."""
    run = part_run.run
    assert more.n_particles == COUNT == len(more.table["particle"]) == more.summary["particles"]
    apart = (more.latent - run.latent[:COUNT]) / run.latent_sd[:COUNT]
    assert np.sqrt(np.square(apart).mean(0)).max() < 0.25
    assert np.abs(np.median(more.latent_sd / run.latent_sd[:COUNT], axis=0) - 1).max() < 0.1
    said = more.summary["learned_on"]
    assert said["run"] == str(run.folder) and said["particles"] == 100
    assert len(more.summary["motions"]) == len(run.summary["motions"])
    assert not list(more.folder.glob(PLACED))
    np.testing.assert_array_equal(more.model["bead"], run.model["bead"])


def test_a_run_of_more_particles_is_one_that_more_are_placed_by(more, part_run, tmp_path):
    again = fit_more(more.folder, part_run.particles[:COUNT], tmp_path / "again.fit")
    np.testing.assert_array_equal(again.latent, more.latent)
    assert again.summary["learned_on"]["run"] == str(more.folder)


def test_images_of_an_unknown_optics_group_have_noise_of_their_own(more, part_run, tmp_path):
    """As strong as it is: the standard deviations are about those with the noise of the run,
    however the images are cut into files.
    """
    some = part_run.particles[:COUNT]
    second = torch.arange(COUNT) % 10 == 0
    other = replace(
        some,
        optics_group=second.long(),
        optics_group_names=(*some.optics_group_names[:1], "new"),
        optics_group_grids=some.optics_group_grids[:1] * 2,
    )
    found = fit_more(part_run.run, other, tmp_path / "one.fit")
    assert np.abs(np.median(found.latent_sd / more.latent_sd, axis=0) - 1).max() < 0.15
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(everyone, "CHUNK", 20)
        parts = fit_more(part_run.run, other, tmp_path / "three.fit")
    np.testing.assert_allclose(parts.latent, found.latent, atol=2e-3)
    np.testing.assert_allclose(parts.latent_sd, found.latent_sd, rtol=2e-3)


def test_one_that_was_stopped_is_gone_on_with(more, part_run, tmp_path):
    some, folder = part_run.particles[:COUNT], tmp_path / "more.fit"

    def stop(run, everyone):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(more_particles, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            fit_more(part_run.run, some, folder)
    assert list(folder.glob(PLACED))
    found = fit_more(part_run.run, some, folder, resume=True)
    for name in (LATENTS, PARTICLES):
        assert (found.folder / name).stat().st_size == (more.folder / name).stat().st_size
    np.testing.assert_array_equal(found.draws, more.draws)
    with pytest.raises(OutputExistsError):
        fit_more(part_run.run, some, folder)


def test_what_cannot_be_placed_is_refused_and_leaves_nothing(part_run, tmp_path):
    run, some, out = part_run.run, part_run.particles[:COUNT], tmp_path / "more.fit"
    with pytest.raises(InputError, match="is the run itself"):
        fit_more(run, some, run.folder, overwrite=True)
    grid = ImageGrid(some.grid.box_size, 1.02 * some.grid.pixel_size)
    with pytest.raises(InputError, match="learned on 48 pixels"):
        fit_more(run, replace(some, grid=grid), out)
    without = shutil.copytree(run.folder, tmp_path / "old.fit")
    (without / LANDSCAPE).unlink()
    with pytest.raises(FileFormatError, match="fit again"):
        fit_more(without, some, out)
    absent = shutil.copytree(run.folder, tmp_path / "absent.fit")
    settings = json.loads((absent / SETTINGS).read_text())
    settings["fit"] |= {"composition": True, "learn_on": None}
    (absent / SETTINGS).write_text(json.dumps(settings))
    with pytest.raises(InputError, match="--composition"):
        fit_more(absent, some, out)
    assert not out.exists() and open_run(run.folder).n_particles == len(part_run.particles)

"""The files of a run are found wherever the run is opened from, and a run of an optimisation set is
read as it was fitted.
"""

import os

import numpy as np
import pytest

from atomdrgn import read_structure
from atomdrgn.cli.setup import settings_of
from atomdrgn.debiasing.run_particles import particles_of_run
from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.runs.run import open_run, write_json
from atomdrgn.runs.run_files import (
    data_folder_of_run,
    find_file_of_run,
    optimisation_set_of_run,
    tomograms_of_run,
)
from atomdrgn.runs.run_folder import hash_of_file
from molecules import helix, write_pdb
from runs import write_run
from tilt_set import tilted  # noqa: F401 - a fixture


@pytest.fixture
def run(tilted, tmp_path):  # noqa: F811
    structure = read_structure(
        write_pdb(tmp_path / "two.pdb", helix("A", 8), helix("B", 8, start=(12, 0, 0)))
    )
    return write_run(
        tmp_path / "particles.fit",
        structure,
        tilted.star,
        part=structure.chain == "B",
        rotation=np.tile([1.0, 0, 0, 0], (3, 1)),
        translation=np.zeros((3, 3)),
    )


def said(run, **more):
    write_json(run.folder / "run.json", run.settings | more)
    return open_run(run.folder)


def test_run_json_says_in_which_folder_the_command_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert settings_of(box=None)["folder"] == os.getcwd()


def test_the_folder_of_the_command_goes_first(run, tmp_path, monkeypatch):
    """A file of the same name may lie where the run is opened."""
    for folder in ("there", "here"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.star").write_text(folder)
    monkeypatch.chdir(tmp_path / "here")

    def found(run):
        return find_file_of_run(run, "a.star", what="file", option="--file").read_text()

    assert found(said(run, folder=str(tmp_path / "there"))) == "there"
    assert found(said(run, folder=str(tmp_path / "gone"))) == "here"
    assert found(run) == "here"
    with pytest.raises(
        FileFormatError, match="does not say which file was fitted; name it with --file"
    ):
        find_file_of_run(run, None, what="file", option="--file")
    with pytest.raises(
        MissingFileError, match=f"tried {tmp_path}/gone/b.star, b.star, {tmp_path}/b.star\\)"
    ):
        find_file_of_run(
            said(run, folder=str(tmp_path / "gone")), "b.star", what="file", option="--file"
        )


def test_files_are_looked_for_beside_the_run_too(run, tilted, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(run.folder)
    for name in ("set/particles.star", "particles.star", str(tilted.star)):
        assert find_file_of_run(
            run, name, what="particle file", option="--particles-file"
        ).samefile(tilted.star)
    with pytest.raises(MissingFileError, match="tried gone.star, .*--particles-file"):
        find_file_of_run(run, "gone.star", what="particle file", option="--particles-file")


def test_images_of_a_run_of_an_optimisation_set(run, tilted, tmp_path, monkeypatch):  # noqa: F811
    """The set names tomograms.star, which particles that are 2D stacks cannot be read without."""
    (tmp_path / "set.star").write_text(
        "data_\n\n_rlnTomoParticlesFile particles.star\n_rlnTomoTomogramsFile tomograms.star\n"
    )
    assert tilted.tomograms.exists()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    of_set = said(
        run,
        reading={"particles": "set.star", "data_folder": ".", "tilt_series": False},
        folder=str(tmp_path),
    )
    assert (
        data_folder_of_run(of_set) == tmp_path
        and tomograms_of_run(of_set) == tmp_path / "tomograms.star"
    )
    stack = particles_of_run(of_set)
    assert len(stack) == 12 and (stack.read() == tilted.read().read()).all()
    assert [table.path for table in optimisation_set_of_run(of_set)] == [tmp_path / "set.star"]


def test_a_run_without_a_set_has_none(run, tilted):  # noqa: F811
    assert (
        optimisation_set_of_run(run) == ()
        and tomograms_of_run(run) is None
        and data_folder_of_run(run) is None
    )
    named = said(run, reading={"particles": str(tilted.star), "tomograms": str(tilted.tomograms)})
    assert optimisation_set_of_run(named) == () and tomograms_of_run(named) == tilted.tomograms


def test_a_set_that_is_none_any_more_is_told(run, tmp_path):
    (tmp_path / "set.star").write_text("data_\n\n_rlnOther 1\n")
    with pytest.warns(UserWarning, match="set.star: no optimisation set any more"):
        assert (
            optimisation_set_of_run(said(run, reading={"particles": str(tmp_path / "set.star")}))
            == ()
        )


def test_other_tomograms_than_those_of_the_fit_are_refused(run, tilted):  # noqa: F811
    """They say where the tilts look from: with others each image would have another pose."""
    of_fit = run.settings["input"] | {
        "tomograms_sha256": hash_of_file(tilted.tomograms),
        "passthrough_sha256": None,
    }
    run = said(run, reading={"tomograms": str(tilted.tomograms)}, input=of_fit)
    assert len(particles_of_run(run)) == 12
    with open(tilted.tomograms, "a") as file:
        file.write("\n# changed\n")
    with pytest.raises(
        InputError,
        match="tomograms.star is what run.json names .* was fitted with a file of another content",
    ):
        particles_of_run(run)
    with pytest.raises(InputError, match="no file is what run.json names as tomograms"):
        particles_of_run(said(run, reading={}, input=of_fit))

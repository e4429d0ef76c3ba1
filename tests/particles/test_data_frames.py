"""Particles that starfile has read are the same as those of the file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from atomdrgn import fit, read_particles, read_structure, select_particles
from atomdrgn.errors import InputError
from atomdrgn.particles.data_frames import frames_of
from cli.conftest import folder, made_set  # noqa: F401 - fixtures

starfile = pytest.importorskip("starfile")


def test_what_starfile_reads_is_what_the_file_says(folder):  # noqa: F811
    frames, of_file = starfile.read("particles.star"), read_particles("particles.star")
    stack = read_particles(frames)
    assert isinstance(frames, dict) and len(stack) == len(of_file) == 12
    torch.testing.assert_close(stack.pose.rotation, of_file.pose.rotation)
    torch.testing.assert_close(stack.ctf.defocus_u, of_file.ctf.defocus_u)
    assert torch.equal(stack.read([0, 5]), of_file.read([0, 5]))
    some = {**frames, "particles": frames["particles"].iloc[[2, 7]]}
    assert torch.equal(read_particles(some).read(), of_file.read([2, 7]))


def test_stacks_are_found_in_the_data_folder(folder, tmp_path, monkeypatch):  # noqa: F811
    frames = starfile.read("particles.star")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(read_particles(frames, data_folder=tmp_path)) == 12


def test_a_fit_wants_a_file(folder):  # noqa: F811
    stack = read_particles(starfile.read("particles.star"))
    with pytest.raises(InputError, match="starfile.write"):
        fit(read_structure("base.pdb"), stack, "particles.fit", segments=2)
    assert not (folder / "particles.fit").exists()


def test_what_is_no_table_is_refused(folder):  # noqa: F811
    with pytest.raises(InputError, match="block particles is a ndarray: expected a DataFrame"):
        read_particles({"particles": np.zeros(3)})


def test_selected_particles_are_frames_that_starfile_writes(folder):  # noqa: F811
    """Numbers as starfile reads them; texts, and then the file is the same, token by token."""
    written = select_particles("particles.star", "some.star", particles=[1, 4])
    for name, frame in written.frames().items():
        np.testing.assert_array_equal(frame, starfile.read("some.star", always_dict=True)[name])
    assert written.frames()["particles"]["rlnDefocusU"].dtype == float
    starfile.write(written.frames(numbers=False), "again.star")
    first, again = (
        [line.split() for line in Path(name).read_text().splitlines() if line.strip()]
        for name in ("some.star", "again.star")
    )
    rows = [words for words in first if words[0][0] not in "_#"]
    assert rows == [words for words in again if words[0][0] not in "_#"] and len(rows) > 4
    torch.testing.assert_close(
        read_particles(written.frames()).pose.rotation, read_particles("some.star").pose.rotation
    )


def test_a_block_of_names_and_values_is_a_dict(tmp_path):
    (tmp_path / "a.star").write_text("data_general\n\n_rlnCount 3\n_rlnName a/b.mrc\n")
    assert frames_of(tmp_path / "a.star") == {"general": {"rlnCount": 3, "rlnName": "a/b.mrc"}}
    assert frames_of(tmp_path / "a.star", numbers=False)["general"]["rlnCount"] == "3"

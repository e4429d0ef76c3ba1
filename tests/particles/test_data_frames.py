"""Particles that starfile has read are the same as those of the file."""

import numpy as np
import pytest
import torch

from atomdrgn import fit, read_particles, read_structure
from atomdrgn.errors import InputError
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

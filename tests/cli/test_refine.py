"""From a particle file to one structure by a command; bad settings and Ctrl-C leave nothing behind."""

import json

import pytest
import torch

from atomdrgn import read_structure


@pytest.fixture(autouse=True)
def one_thread():
    """The matrices are tiny here: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def refine(atomdrgn, folder):
    def call(*more):
        return atomdrgn("refine", "base.pdb", "particles.star", *more)

    return call


@pytest.mark.seconds
def test_refine_writes_a_structure(refine, folder):
    ended = refine("--resolution", 15)
    assert (
        ended.code == 0
        and "12 images, 24 residues" in ended.out
        and "particles.refined/refined.cif" in ended.out
    )
    assert "half-set 2" in ended.err
    summary = json.loads((folder / "particles.refined" / "summary.json").read_text())
    assert summary["command"] == "atomdrgn refine base.pdb particles.star --resolution 15"
    assert summary["reading"]["base"] == "base.pdb"
    assert len(read_structure("particles.refined/refined.pdb")) == len(read_structure("base.pdb"))
    again = refine("--quiet")
    assert again.code == 2 and "--overwrite" in again.err
    again = refine(
        "--quiet",
        "--overwrite",
        "--beads",
        1,
        "--no-bonds",
        "--restraint-weight",
        2,
        "--resolution",
        12,
    )
    assert again.code == 0 and again.out == ""
    chosen = json.loads((folder / "particles.refined" / "summary.json").read_text())["refine"]
    assert (chosen["beads"], chosen["bonds"], chosen["weight"], chosen["resolution"]) == (
        1,
        False,
        2.0,
        12.0,
    )
    assert not (folder / "particles.refined" / "weights.csv").exists()


def test_the_result_stands_in_the_frame_of_the_base(refine, folder):
    base = read_structure("base.pdb").position
    refine("--restraint-weight", 100, "--origin", "1,2,3", "--resolution", 20, "--quiet")
    moved = read_structure("particles.refined/refined.cif").position - base
    assert float(moved.norm(dim=1).median()) < 6


@pytest.mark.parametrize(
    "options, says",
    [
        (["--restraint-weight", "-1"], "restraint weight"),
        (["--beads", "3"], "beads a residue"),
        (["--resolution", "1"], "Nyquist"),
        (["--out", "base.pdb"], "is a file"),
    ],
)
def test_bad_settings_are_one_line(refine, folder, options, says):
    before = sorted(folder.iterdir())
    ended = refine(*options)
    assert ended.code == 2 and says in ended.err and ended.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_ctrl_c_leaves_nothing(refine, folder, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    before = sorted(folder.iterdir())
    # the last file
    monkeypatch.setattr("atomdrgn.inference.base_model.refinement.write_json", stop)
    ended = refine("--restraint-weight", 1, "--resolution", 20)
    assert (
        ended.code == 130
        and "nothing was written" in ended.err
        and sorted(folder.iterdir()) == before
    )

"""``atomdrgn simulate``: sets that the other commands read, and refusals in one line."""

import numpy as np
import pytest

from atomdrgn import read_particles
from atomdrgn.io.trajectories import write_trajectory
from molecules import helix, write_pdb


@pytest.fixture
def molecules(tmp_path, monkeypatch):
    """Two conformations as files, the second in a frame of its own."""
    monkeypatch.chdir(tmp_path)
    one, two = helix("A", 8, start=(0, 0, 0)), helix("A", 8, start=(100, 50, 0))
    write_pdb(tmp_path / "open.pdb", one, helix("B", 8, start=(14, 0, 0)))
    write_pdb(tmp_path / "closed.pdb", two, helix("B", 8, start=(110, 50, 0)))
    return tmp_path


def test_two_states(atomdrgn, molecules):
    ended = atomdrgn(
        "simulate",
        "open.pdb",
        "closed.pdb",
        "--populations",
        "0.7,0.3",
        "--particles",
        40,
        "--box",
        24,
        "--out",
        "set",
        "-q",
    )
    assert ended.code == 0 and ended.out == ""
    truth, stack = np.load("set/truth.npz"), read_particles("set/particles.star")
    assert (
        len(stack) == 40
        and 4 < truth["which"].sum() < 20
        and str(truth["command"]).startswith("atomdrgn simulate open.pdb")
    )
    # one frame: the molecule has not gone 100 A away with the second file
    assert (
        np.abs(np.diff(truth["conformation"], axis=0)).max() < 5
        and np.abs(truth["conformation"].mean((0, 1))).max() < 1
    )


def test_what_was_made_is_inspected_and_made_again(atomdrgn, molecules):
    assert (
        atomdrgn(
            "simulate", "open.pdb", "--particles", 30, "--box", 32, "--snr", 1, "--out", "set"
        ).out
        == "wrote 30 images of 30 particles to set/particles.star; conformations: 1\n"
        "a structure for each of them: atomdrgn fit set/base.pdb set/particles.star\n"
    )
    assert (
        atomdrgn(
            "simulate",
            "set/base.pdb",
            "--like",
            "set/particles.star",
            "--out",
            "like",
            "--snr",
            "inf",
        ).code
        == 0
    )
    made, like = (
        read_particles("set/particles.star").read(),
        read_particles("like/particles.star").read(),
    )
    correlation = (made * like).sum() / (made.norm() * like.norm())
    # signal against as much signal and noise, but for the mean
    assert abs(correlation - 0.5**0.5) < 0.1


def test_a_trajectory_in_order_and_tilts(atomdrgn, molecules):
    from atomdrgn import read_structure

    write_trajectory(
        "path.dcd", [read_structure("open.pdb").position.numpy() + i for i in range(3)]
    )
    ended = atomdrgn(
        "simulate",
        "open.pdb",
        "path.dcd",
        "--in-order",
        "--particles",
        4,
        "--tilts",
        3,
        "--box",
        16,
        "--out",
        "tilts",
        "--detail",
        "residues",
        "--contrast-error",
        0.1,
        "--rotation-error",
        1,
        "--shift-error",
        1,
    )
    assert ended.code == 0 and np.load("tilts/truth.npz")["which"].tolist() == [0, 1, 2, 0]
    assert read_particles("tilts/particles.star").n_tilts == 3


@pytest.mark.parametrize(
    "words, says",
    [
        (["none.pdb"], "none.pdb: no such file"),
        (["open.pdb", "--snr", "0"], "ratio of 0"),
        (["open.pdb", "--particles", "0"], "0 particles"),
        (["open.pdb", "--defocus", "1"], "expected two numbers"),
        (["open.pdb", "--defocus", "a,b"], "expected numbers"),
        (["open.pdb", "--populations", "1,1"], "for 1 conformations"),
        (["open.pdb", "--like", "none.star", "--box", "32"], "--box: --like"),
        (["open.pdb", "--dose", "10"], "give --tilts"),
        (["open.pdb", "--tomograms", "open.pdb"], "give --like"),
        (["open.pdb", "--like", "none.star"], "none.star: no such file"),
        (["open.pdb", "--box", "1"], "at least 2"),
        (["open.pdb", "--origin", "1,2"], "expected three numbers"),
        (["none.fit.d"], "none.fit.d"),
    ],
)
def test_what_is_refused(atomdrgn, molecules, words, says):
    ended = atomdrgn("simulate", *words, "--out", "set")
    assert (
        ended.code == 2
        and says in ended.err
        and ended.err.startswith("error: ")
        and ended.err.count("\n") == 1
    ), ended
    assert not (molecules / "set").exists()


def test_particles_are_replaced_only_when_asked(atomdrgn, molecules):
    words = ("simulate", "open.pdb", "--particles", 2, "--box", 16, "--out", "set")
    assert atomdrgn(*words).code == 0 and atomdrgn(*words).code == 2
    assert atomdrgn(*words, "--overwrite").code == 0
    ended = atomdrgn("simulate", "open.pdb", "--out", "open.pdb")
    assert ended.code == 2 and "is a file" in ended.err

"""From a particle file to volumes by commands; bad settings, Ctrl-C and runs of the other kind."""

import json

import numpy as np
import pytest
import torch

from atomdrgn.io.mrc import read_map
from atomdrgn.volume import volume_fit

SMALL = (
    "--latents",
    "encoder",
    "--latent",
    2,
    "--width",
    16,
    "--depth",
    1,
    "--epochs",
    2,
    "--coefficients",
    16,
    "--batch",
    4,
)


@pytest.fixture(autouse=True)
def one_thread():
    """The matrices are tiny here: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def volume(atomdrgn, folder):
    def call(*more):
        return atomdrgn("volume", "particles.star", *SMALL, *more)

    return call


def test_volume_writes_a_run_and_volumes_show_it(atomdrgn, volume, folder):
    ended = volume("--box", 16)
    assert ended.code == 0 and "12 images of 12 particles, box 16, 6 A a voxel" in ended.out
    assert "atomdrgn volumes particles.volume" in ended.out
    said = json.loads((folder / "particles.volume" / "run.json").read_text())
    assert (
        said["fit"]["inference"] == "volume"
        and said["reading"]["box"] == 16
        and said["command"].startswith("atomdrgn volume")
    )
    for number, where in enumerate(
        (
            ["--clusters", 3],
            ["--axis", 1, "--points", 4],
            ["--at", "0,1;-1,0.5"],
            ["--particles", "0:2,7"],
            ["--particles", "0:"],
            ["--path", "0,5"],
        )
    ):
        ended = atomdrgn("volumes", "particles.volume", *where, "--out", f"v{number}", "--quiet")
        assert (ended.code, ended.out, ended.err) == (0, "", ""), where
    counts = [len(list((folder / f"v{number}").glob("*.mrc"))) for number in range(6)]
    assert counts[:5] == [3, 4, 2, 3, 12] and counts[5] >= 2
    assert len((folder / "v0" / "clusters.csv").read_text().splitlines()) == 13
    assert (folder / "v2" / "volumes.csv").read_text().splitlines()[2].endswith(",-1,0.5")
    density, header = read_map(folder / "v0" / "0000.mrc")
    assert density.shape == (16, 16, 16) and header.voxel_size == pytest.approx((6.0,) * 3)
    assert header.origin == pytest.approx((-48.0,) * 3)
    assert atomdrgn("volumes", "particles.volume", "--clusters", 2, "--out", "v0").code == 2
    assert (
        atomdrgn("volumes", "particles.volume", "--clusters", 2, "--out", "v0", "--overwrite").code
        == 0
    )
    assert len(list((folder / "v0").glob("*.mrc"))) == 2


def test_one_volume_for_all_is_a_map(atomdrgn, folder):
    ended = atomdrgn("volume", "particles.star", *SMALL, "--latent", 0, "--box", 16, "--out", "one")
    assert ended.code == 0 and "one/map.mrc" in ended.out
    assert read_map(folder / "one" / "map.mrc")[0].shape == (16, 16, 16)
    ended = atomdrgn("volumes", "one", "--clusters", 2, "--out", "v")
    assert ended.code == 2 and "one/map.mrc" in ended.err and not (folder / "v").exists()


@pytest.mark.parametrize(
    "options, says",
    [
        (["--box", 64], "cannot be cropped to 64"),
        (["--latent", -1], "latent"),
        (["--resolution", 1], "at best"),
        (["--resume", "--overwrite"], "one of them"),
        (["--out", "base.pdb"], "is a file"),
        (["--tilts", 0], "at least one image"),
    ],
)
def test_bad_settings_are_one_line(volume, folder, options, says):
    before = sorted(folder.iterdir())
    ended = volume(*options)
    assert ended.code == 2 and says in ended.err and ended.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "options, says",
    [
        ([], "nothing says which volumes"),
        (["--clusters", 2, "--axis", 1], "--clusters and --axis say which volumes: give one of"),
        (["--at", "1,2,3"], "has 2 to a"),
        (["--at", "one"], "numbers with commas"),
        (["--at", "1,2;3"], "as many numbers"),
        (["--particles", "12"], "outside"),
        (["--axis", 3], "axes 1 to 2"),
        (["--clusters", 13], "from 1 to 12"),
        (["--path", "3"], "at least two"),
    ],
)
def test_volumes_that_cannot_be_shown_are_one_line(atomdrgn, volume, folder, options, says):
    volume("--box", 16, "--quiet")
    ended = atomdrgn("volumes", "particles.volume", *options, "--out", "v")
    assert (
        ended.code == 2
        and says in ended.err
        and ended.err.count("\n") == 1
        and not (folder / "v").exists()
    )


def test_runs_of_the_other_kind_are_told_apart(atomdrgn, volume, folder):
    volume("--box", 16, "--quiet")
    ended = atomdrgn("export", "particles.volume", "--out", "e")
    assert ended.code == 2 and "atomdrgn volumes" in ended.err
    ended = atomdrgn("volumes", "nowhere", "--clusters", 2, "--out", "v")
    assert ended.code == 2 and "no such folder" in ended.err


def test_particles_of_a_cluster_become_a_file_and_a_map(atomdrgn, volume, folder):
    volume("--box", 16, "--quiet")
    atomdrgn("volumes", "particles.volume", "--clusters", 2, "--out", "v", "--quiet")
    label = [
        int(line.split(",")[1])
        for line in (folder / "v" / "clusters.csv").read_text().splitlines()[1:]
    ]
    where = ["--table", "v/clusters.csv"]
    ended = atomdrgn(
        "select", "particles.volume", *where, "--where", "cluster == 0", "--out", "cluster.star"
    )
    assert f"wrote {label.count(0)} of 12 particles" in ended.out and ended.code == 0
    run = ["--run", "particles.volume", "--select", "cluster >= 0 and z1 < 1e9", *where]
    assert (
        "12 images of 12 particles"
        in atomdrgn("backproject", "particles.star", *run, "--out", "map").out
    )
    ended = atomdrgn("select", "particles.volume", "--follow", "A:1-12", "--out", "followed.star")
    assert (
        ended.code == 2
        and "a run of volumes" in ended.err
        and not (folder / "followed.star").exists()
    )


def test_ctrl_c_says_how_to_go_on(volume, folder, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(volume_fit, "run_epoch", stop)
        ended = volume("--box", 16)
    assert ended.code == 130 and ended.err.strip().splitlines()[-1].endswith("--resume")
    assert volume("--box", 16, "--resume").code == 0


def test_a_tilt_series_without_its_doses_is_refused(atomdrgn, folder):
    ended = atomdrgn("volume", "particles.star", *SMALL, "--tilt-series")
    assert ended.code == 2 and "rlnCtfBfactor" in ended.err and ended.err.count("\n") == 1


def test_the_closed_form_is_the_default(atomdrgn, folder):
    ended = atomdrgn("volume", "particles.star", "--latent", 2, "--out", "varied")
    assert ended.code == 0 and "contrast of particles varies by" in ended.out
    said = json.loads((folder / "varied" / "summary.json").read_text())
    found = "nothing varies" if not said["latent"] else f"{said['latent']} of 2 components make"
    assert found in ended.out and said["tried"] == 2
    ended = atomdrgn("volume", "particles.star", "--epochs", 2, "--out", "trained")
    assert ended.code == 2 and "--latents encoder" in ended.err and ended.err.count("\n") == 1
    assert not (folder / "trained").exists()


def test_latents_of_a_file(atomdrgn, folder):
    """A run with volumes that go with them; local ones are refused where few particles are near."""
    np.save(folder / "z.npy", np.arange(24.0).reshape(12, 2) ** 2)
    ended = atomdrgn("volume", "particles.star", "--latents", "z.npy", "--out", "theirs")
    assert ended.code == 0 and "volumes that go with these latents" in ended.out
    assert json.loads((folder / "theirs" / "run.json").read_text())["latents_file"] == "z.npy"
    ended = atomdrgn("volumes", "theirs", "--at", "4,9", "--out", "one")
    assert ended.code == 0 and (folder / "one" / "0000.mrc").exists()
    ended = atomdrgn("volumes", "theirs", "--at", "4,9", "--local", "--out", "near")
    assert ended.code == 2 and "particles of each half-set are near" in ended.err
    assert not (folder / "near").exists()
    ended = atomdrgn("volumes", "theirs", "--at", "4,9", "--particles-file", "a", "--out", "b")
    assert ended.code == 2 and "--local" in ended.err
    (folder / "z.pkl").write_bytes(b"\x80\x04.")
    for options, says in (
        (["--latents", "z.pkl"], "a pickle"),
        (["--latents", "z.npy", "--latent", 2], "leave out --latent"),
        (["--latents", "none.npy"], "no such file"),
        (["--latents", "z.npy", "--epochs", 2], "--latents encoder"),
    ):
        ended = atomdrgn("volume", "particles.star", *options, "--out", "refused")
        assert ended.code == 2 and says in ended.err and ended.err.count("\n") == 1
        assert not (folder / "refused").exists()

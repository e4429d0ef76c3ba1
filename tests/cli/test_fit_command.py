"""From a particle file to structures by commands alone; runs are kept, stopped and gone on with as
the options say.
"""

import json
import re
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from biotite.structure.io.dcd import DCDFile

from atomdrgn import open_run, read_structure, write_structure
from atomdrgn.cli.summary import summary_lines
from atomdrgn.errors import InputError
from atomdrgn.inference.problem.fit_state import save_state


@pytest.fixture(autouse=True)
def one_thread():
    """The matrices are tiny here: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fit(atomdrgn, folder):
    def call(*more):
        return atomdrgn("fit", "base.pdb", "particles.star", "--segments", 2, *more)

    return call


@contextmanager
def ctrl_c_after(passes):
    """Ctrl-C when so many passes have been kept."""

    def save_and_stop(state, path):
        save_state(state, path)
        if state.step == passes:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("atomdrgn.inference.fit.save_state", save_and_stop)
        yield


def test_fit_then_export(fit, atomdrgn, folder):
    ended = fit()
    assert (
        ended.code == 0
        and "12 particles" in ended.out
        and "atomdrgn export particles.fit" in ended.out
    )
    assert ended.err == "" or all(
        line.startswith(("warning: ", "compiling loops ")) for line in ended.err.splitlines()
    )
    run = open_run("particles.fit")
    assert (
        run.n_particles == 12
        and run.settings["command"] == "atomdrgn fit base.pdb particles.star --segments 2"
    )
    assert run.settings["reading"]["base"] == "base.pdb" and run.settings["reading"]["box"] is None
    ended = atomdrgn("export", "particles.fit", "--out", "ensemble", "--particles", "2,5:8")
    assert ended.code == 0 and ended.out.startswith("wrote 4 structures to ensemble/ensemble.dcd")
    frames = DCDFile.read("ensemble/ensemble.dcd").get_coord()
    np.testing.assert_allclose(frames, run.atoms([2, 5, 6, 7]).numpy(), atol=1e-4)
    assert (
        len(read_structure("ensemble/reference.pdb"))
        == frames.shape[1]
        == len(read_structure("base.pdb"))
    )
    arguments = (
        "export",
        "particles.fit",
        "--out",
        "relaxed",
        "--format",
        "pdb",
        "--particles",
        "2,5",
        "--threads",
        1,
        "--relax",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "openmm", None)
        ended = atomdrgn(*arguments)
    assert (
        ended.code == 2
        and ended.err.count("\n") == 1
        and "pip install 'atomdrgn[relax]'" in ended.err
    )
    pytest.importorskip("openmm")
    ended = atomdrgn(*arguments)
    assert (
        ended.code == 0
        and "geometry of 2 structures" in ended.out
        and "every structure: relaxed/geometry.csv" in ended.out
    )
    assert {path.name for path in (folder / "relaxed").iterdir()} == {
        "000002.pdb",
        "000005.pdb",
        "geometry.csv",
        "geometry.json",
    }


def test_inverted_contrast_is_refused_before_there_is_a_run(fit, folder):
    ended = fit("--invert-contrast", "--out", "dark")
    assert ended.code == 2 and not (folder / "dark").exists()
    assert re.search(
        "error: particles.star: the contrast is inverted .*pass --keep-contrast", ended.err
    )


def test_the_closing_summary_as_json(fit, folder):
    ended = fit("--json")
    said = json.loads(ended.out)
    assert ended.code == 0 and said == {"run": "particles.fit", **open_run("particles.fit").summary}


def test_quiet_prints_nothing(fit, folder):
    ended = fit("--quiet", "--out", "elsewhere")
    assert ended.code == 0 and ended.out == "" and (folder / "elsewhere" / "summary.json").exists()
    json.loads((folder / "elsewhere" / "run.json").read_text())


def test_a_model_is_placed_and_its_structures_can_be_put_back(fit, atomdrgn, folder):
    base = read_structure("base.pdb")
    write_structure(base, "corner.pdb", position=base.position + torch.tensor([48.0, 40.0, -30.0]))
    assert (
        atomdrgn(
            "fit", "corner.pdb", "particles.star", "--segments", "2", "--origin", "48,40,-30"
        ).code
        == 0
    )
    run = open_run("particles.fit")
    torch.testing.assert_close(run.structure.position, base.position, atol=2e-3, rtol=0)
    for frame, origin in (("poses", [0.0, 0.0, 0.0]), ("base", [48.0, 40.0, -30.0])):
        assert atomdrgn("export", "particles.fit", "--out", frame, "--frame", frame).code == 0
        expected = torch.tensor(origin)
        frames = DCDFile.read(f"{frame}/ensemble.dcd").get_coord()
        np.testing.assert_allclose(frames, run.atoms(range(12)) + expected, atol=1e-4)
        reference = read_structure(f"{frame}/reference.pdb")
        torch.testing.assert_close(
            reference.position, run.structure.position + expected, atol=2e-3, rtol=0
        )


def test_a_run_is_not_overwritten_unasked(fit, folder):
    assert fit().code == 0
    before = {path.name: path.read_bytes() for path in (folder / "particles.fit").iterdir()}
    ended = fit("--seed", 5)
    assert (
        ended.code == 2
        and "--overwrite" in ended.err
        and "--resume" in ended.err
        and ended.err.count("\n") == 1
    )
    assert before == {path.name: path.read_bytes() for path in (folder / "particles.fit").iterdir()}
    assert (
        fit("--seed", 5, "--overwrite").code == 0
        and open_run("particles.fit").settings["fit"]["seed"] == 5
    )


def test_a_folder_that_is_no_run_is_left_alone(fit, folder):
    (folder / "particles.fit").mkdir()
    (folder / "particles.fit" / "thesis.txt").write_text("the only copy")
    for more in ([], ["--overwrite"], ["--resume"]):
        ended = fit(*more)
        assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert [path.name for path in (folder / "particles.fit").iterdir()] == ["thesis.txt"]


@pytest.mark.seconds
def test_what_ctrl_c_stopped_goes_on_to_the_same_result(fit, atomdrgn, folder):
    with ctrl_c_after(2):
        ended = fit()
    assert ended.code == 130 and ended.err.endswith(
        "to go on: atomdrgn fit base.pdb particles.star --segments 2 --resume\n"
    )
    refused = atomdrgn("export", "particles.fit", "--out", "ensemble")
    assert refused.code == 2 and "--resume" in refused.err
    assert fit("--resume").code == 0 and fit("--out", "whole").code == 0
    stopped, whole = open_run("particles.fit"), open_run("whole")
    np.testing.assert_array_equal(stopped.latent, whole.latent)
    np.testing.assert_array_equal(stopped.atoms(range(12)), whole.atoms(range(12)))


def test_resume_refuses_other_settings(fit):
    with ctrl_c_after(1):
        assert fit().code == 130
    ended = fit("--resume", "--seed", 3)
    assert ended.code == 2 and "seed" in ended.err


def test_resume_of_what_is_complete_changes_nothing(fit, folder):
    assert fit().code == 0
    before = (folder / "particles.fit" / "latents.npz").read_bytes()
    assert (
        fit("--resume").code == 0
        and (folder / "particles.fit" / "latents.npz").read_bytes() == before
    )


def test_resume_of_nothing_starts_and_says_so(fit):
    ended = fit("--resume")
    assert (
        ended.code == 0
        and "particles.fit holds no run to go on with: a new one is begun" in ended.err
    )
    again = fit("--resume")
    assert "a new one" not in again.err and "complete" in again.err


@pytest.mark.parametrize("more", [(), ("--inference", "vae")])
def test_no_image_is_read_for_a_base_that_a_run_cannot_keep(fit, monkeypatch, more):
    def refuse(structure):
        raise InputError("residues cannot be told apart")

    def read(*_):
        raise AssertionError("an image is read")

    monkeypatch.setattr("atomdrgn.runs.run_folder.require_base_survives", refuse)
    monkeypatch.setattr("atomdrgn.particles.stack.stack.ParticleStack.read", read)
    for again in ((), ("--resume",)):
        ended = fit(*more, *again)
        assert ended.code == 2 and "cannot be told apart" in ended.err, ended


@pytest.fixture
def another_fit():
    """A process of this machine that has a folder locked as a fit has: a function of the folder."""
    with ExitStack() as ends:

        def lock(path):
            hold = (
                "import sys, time; from pathlib import Path; from atomdrgn.io.folder_lock import "
                "locked_folder\n"
                "with locked_folder(Path(sys.argv[1])): print(flush=True); time.sleep(1000)"
            )
            process = subprocess.Popen(
                [sys.executable, "-c", hold, str(path)], stdout=subprocess.PIPE
            )
            ends.callback(process.wait)
            ends.callback(process.kill)
            process.stdout.readline()
            return process

        yield lock


@pytest.mark.parametrize("begun", [False, True])
def test_a_run_whose_fit_is_at_it_is_no_stopped_one(fit, atomdrgn, folder, another_fit, begun):
    """Whoever would read it waits; so does another fit, before it reads anything."""
    if begun:
        with ctrl_c_after(1):
            fit()
    process = another_fit(folder / "particles.fit")
    says = f"another command is writing there (process {process.pid} on {socket.gethostname()}); wait until it has ended"
    for words in (
        ("export", "particles.fit", "--out", "e"),
        ("analyze", "particles.fit"),
        ("debias", "particles.fit", "--out", "d"),
        ("simulate", "particles.fit", "--out", "v"),
        ("select", "particles.fit", "--where", "motion1 > 0", "--out", "s.star"),
    ):
        ended = atomdrgn(*words)
        assert (
            ended.code == 2
            and says in ended.err
            and ended.err.count("\n") == 1
            and "--resume" not in ended.err
        ), ended.err
    for more in ((), ("--overwrite",), ("--resume",)):
        ended = fit(*more)
        assert ended.code == 2 and says in ended.err and "reading images" not in ended.err, (
            ended.err
        )
    process.kill()
    process.wait()
    ended = atomdrgn("export", "particles.fit", "--out", "e")
    assert (
        ended.code == 2
        and (
            "go on with it: the same command with --resume"
            if begun
            else "was stopped before its first file was written; give the command"
        )
        in ended.err
    )


def test_parts_are_repeated_or_put_in_one_string(fit):
    assert fit("--parts", "A:1-8; A:9-12", "--segments", 3, "--out", "one").code == 0
    assert fit("--parts", "A:1-8", "--parts", "A:9-12", "--segments", 3, "--out", "two").code == 0
    np.testing.assert_array_equal(open_run("one").latent, open_run("two").latent)
    assert open_run("one").settings["fit"]["parts"] == ["A:1-8", "A:9-12"]


def test_inspect_says_what_is_there_and_whether_it_fits(atomdrgn, folder):
    ended = atomdrgn("inspect", "particles.star", "--against", "base.pdb")
    assert ended.code == 0 and "12" in ended.out and "RELION 3.1" in ended.out
    alone = atomdrgn("inspect", "particles.star")
    assert alone.code == 0 and len(alone.out) < len(ended.out)


def test_the_autoencoder_writes_a_run_as_well(fit, atomdrgn, folder):
    ended = fit(
        "--inference",
        "vae",
        "--loss",
        "likelihood",
        "--epochs",
        2,
        "--rate",
        "1e-3",
    )
    assert ended.code == 0 and "12 particles" in ended.out
    assert open_run("particles.fit").settings["fit"]["loss"] == "likelihood"
    assert atomdrgn("export", "particles.fit", "--out", "ensemble").code == 0


@pytest.mark.parametrize(
    "options, says",
    [
        (["--epochs", 2, "--loss", "likelihood"], "--loss and --epochs belong"),
        (["--deformation", "beads"], "--deformation beads needs --inference vae"),
        (["--inference", "vae", "--deformation", "beads"], "--segments with --deformation beads"),
        (["--inference", "vae", "--memory", 1], "--memory belongs to the closed form"),
        (["--inference", "vae", "--refine-poses"], "--refine-poses belongs to the closed form"),
        (["--inference", "vae", "--composition"], "--composition belongs to the closed form"),
        (["--inference", "vae", "--keep-base"], "--keep-base belongs to the closed form"),
        (["--inference", "vae", "--learn-on", 200], "--learn-on belongs to the closed form"),
        (["--learn-on", "many"], "--learn-on many: expected a number of particles, or all"),
        (["--learn-on", "²"], "--learn-on ²: expected a number of particles, or all"),
        (["--learn-on", "1e4"], "--learn-on 1e4: expected a number of particles, or all"),
        (["--learn-on", ""], "expected a number of particles, or all"),
        (["--learn-on", 0], "learn_on 0: expected 100 particles or more"),
        (["--learn-on", -3], "learn_on -3: expected 100 particles or more"),
        (["--learn-on", 5], "learn_on 5: expected 100 particles or more"),
        (["--learn-on", 100, "--composition"], "learn_on with composition"),
        (["--inference", "vae", "--loss", "other"], "likelihood"),
    ],
)
def test_options_of_the_other_inference_are_refused(fit, folder, options, says):
    ended = fit(*options)
    assert ended.code == 2 and says in ended.err and not (folder / "particles.fit").exists()


def test_every_bead_may_move_by_itself(fit, atomdrgn, folder):
    ended = fit_beads(atomdrgn)
    assert ended.code == 0 and "each of" in ended.out and "beads free" in ended.out
    run = open_run("particles.fit")
    assert run.settings["fit"]["deformation"] == "beads" and run.settings["fit"]["rate"] == 1e-4
    assert (
        atomdrgn(
            "export", "particles.fit", "--out", "ensemble", "--format", "pdb", "--particles", "0:2"
        ).code
        == 0
    )
    np.testing.assert_allclose(
        read_structure("ensemble/000001.pdb").position, run.atoms([1])[0], atol=1e-3
    )
    for command, *more in (
        ["analyze"],
        ["debias", "--out", "maps"],
        ["select", "--follow", "segment:1", "--out", "some.star"],
    ):
        refused = atomdrgn(command, "particles.fit", *more)
        assert (
            refused.code == 2
            and "every bead moves by itself" in refused.err
            and not Path("maps").exists()
        )
    assert not Path("some.star").exists() and not Path("particles.fit/report.html").exists()


def fit_beads(atomdrgn, *more):
    return atomdrgn(
        "fit",
        "base.pdb",
        "particles.star",
        "--inference",
        "vae",
        "--deformation",
        "beads",
        "--epochs",
        2,
        *more,
    )


def test_a_base_model_is_kept_on_request(fit):
    ended = fit("--keep-base")
    assert ended.code == 0 and "base model" not in ended.out
    assert open_run("particles.fit").settings["fit"]["keep_base"] is True
    assert fit("--resume").code == 2  # another fit: with its base model corrected


def test_a_corrected_base_model_is_told_of(fit):
    assert fit().code == 0
    run = open_run("particles.fit")
    said = {"supported": True, "rms": 0.5, "largest": 2.0, "held_out_gain": 1.0}
    lines = summary_lines(replace(run, summary=run.summary | {"base_correction": said}))
    assert any(
        "the base model has an error common to all particles, 0.50 A" in line for line in lines
    )


@pytest.mark.seconds
def test_composition_is_said_and_kept(fit):
    ended = fit("--composition")
    assert ended.code == 0 and (
        "no part is absent" in ended.out or "of the particles: A:" in ended.out
    )
    run = open_run("particles.fit")
    assert {"occupancy_1", "occupancy_sd_2"} <= set(run.table) and run.occupancy([0]) is not None
    assert fit("--resume").code == 2  # another fit: without

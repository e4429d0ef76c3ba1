"""A full disk ends a command in one line, and leaves nothing that passes for a result."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "models" / "adk"
PAGE = 4096


@pytest.fixture
def on_a_small_disk(tmp_path, monkeypatch):
    """A function: how a command ends whose current folder has so many pages, and what is there
    then.
    """
    small, probe = tmp_path / "small", "mount -t tmpfs tmpfs ."
    small.mkdir()
    possible = ["unshare", "-rm", "sh", "-c", probe]
    if (
        not shutil.which("unshare")
        or subprocess.run(possible, cwd=small, capture_output=True).returncode
    ):
        pytest.skip("a small disk cannot be made here")

    def call(pages, *words):
        command = [sys.executable, "-m", "atomdrgn", *map(str, words), "--quiet"]
        script = (
            f'mount -t tmpfs -o size={pages * PAGE} tmpfs "$0" && cd "$0" && "$@"; code=$?; find '
            ". -type f | sort >&2; exit $code"
        )
        ended = subprocess.run(
            ["unshare", "-rm", "sh", "-c", script, str(small), *command],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        line, *files = ended.stderr.splitlines()
        return ended.returncode, line, files

    return call


@pytest.mark.seconds
def test_images_are_not_made_in_silence(on_a_small_disk):
    code, line, files = on_a_small_disk(
        100, "simulate", MODEL / "base.cif", "--particles", 50, "--box", 48, "--out", "set"
    )
    assert code == 1 and line == "error: set/particles.mrcs: No space left on device", line
    assert files == ["./set/base.pdb"]


@pytest.mark.seconds
def test_the_last_frame_of_a_trajectory_is_not_lost_in_silence(on_a_small_disk, tmp_path):
    from atomdrgn import open_run
    from atomdrgn.analysis.structure_files.export import export

    made = export(open_run(MODEL), tmp_path / "whole", format="xtc", particles=range(6))
    pages = sum(-(-path.stat().st_size // PAGE) for path in (made.path, made.reference))
    for too_few in (1, 2):
        code, line, files = on_a_small_disk(
            pages - too_few, "export", MODEL, "--format", "xtc", "--particles", "0:6", "--out", "e"
        )
        assert code == 1 and line.startswith("error: e/ensemble.xtc: ") and "disk full" in line, (
            line
        )
        assert files == ["./e/reference.pdb", "./e/unfinished.lock"]


@pytest.mark.seconds
def test_a_folder_of_results_appears_whole_or_not_at_all(on_a_small_disk, folder):
    code, line, files = on_a_small_disk(
        80, "backproject", folder / "particles.star", "--out", "maps"
    )
    assert (
        code == 1 and line.startswith("error: ") and line.endswith(".mrc: No space left on device")
    ), line
    assert "/maps/" in line and files == []

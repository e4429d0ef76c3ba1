"""The wheel holds all that the program needs: installed where the source is not, it goes through
the first commands of the README.
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FITTED = ["--segments", "4", "--resolution", "15", "--no-residual", "--poses", "exact"]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """An environment of its own with the wheel; libraries are those of this one."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT),
        ],
        check=True,
    )
    (wheel,) = folder.glob("atomdrgn-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    (site,) = environment.glob("lib/python*/site-packages")
    libraries = folder / "libraries"  # all of this environment but the package itself
    libraries.mkdir()
    here = Path(pytest.__file__).parents[1]
    for path in here.iterdir():
        if "atomdrgn" not in path.name and path.suffix != ".pth":
            (libraries / path.name).symlink_to(path)
    (site / "libraries.pth").write_text(f"{libraries}\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
            *("--disable-pip-version-check", "--no-deps", "--no-index", wheel),
        ],
        check=True,
    )

    def run(*words):
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [environment / "bin" / "atomdrgn", *words],
            cwd=folder,
            env=clean,
            capture_output=True,
            text=True,
        )

    run.folder, run.python = folder, python
    return run


@pytest.mark.seconds
def test_it_is_this_package_and_answers(command):
    assert re.fullmatch(r"atomdrgn \S+\n", command("--version").stdout)
    where = subprocess.run(
        [command.python, "-c", "import atomdrgn; print(atomdrgn.__file__)"],
        env={"PATH": os.environ["PATH"]},
        cwd=command.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(command.folder) in where and "site-packages" in where


@pytest.mark.slow
def test_the_first_commands_go_through(command):
    simulated = ["--populations", "0.7,0.3", "--particles", "120", "--box", "32"]
    for words in (
        ["example", "example"],
        [
            *("simulate", "example/1ake.pdb", "example/4ake.pdb", *simulated),
            *("--pixel-size", "3.5", "--snr", "0.3", "--out", "set"),
        ],
        ["inspect", "set/particles.star"],
        ["fit", "set/base.pdb", "set/particles.star", *FITTED, "--out", "particles.fit"],
        ["analyze", "particles.fit", "--frames", "3"],
        ["export", "particles.fit", "--out", "two", "--format", "pdb", "--particles", "0:2"],
    ):
        ended = command(*words)
        assert ended.returncode == 0, (words, ended.stderr)
    assert (command.folder / "particles.fit" / "report.html").stat().st_size > 500_000
    assert (command.folder / "two" / "000001.pdb").exists()

"""The commands in pages of the documentation run as they stand, one after the other."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from atomdrgn import open_run, read_particles, read_structure
from atomdrgn.io.trajectories import write_trajectory
from cli.conftest import atomdrgn, folder, made_set  # noqa: F401 - fixtures
from molecules import helix, write_pdb
from runs import write_run

DOCS = Path(__file__).parents[1] / "docs"


def commands(page):
    """The commands of a page's shell blocks, as words."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", (DOCS / page).read_text())
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


@pytest.fixture
def run(folder):      # noqa: F811
    structure = read_structure(folder / "base.pdb")
    write_run(folder / "particles.fit", structure, folder / "particles.star", part=structure.residue > 12,
              rotation=np.tile([1.0, 0, 0, 0], (12, 1)), translation=np.tile([3.0, 0, 0], (12, 1)),
              columns={"motion1": range(12), "sd1": [1, 2] * 6, "state": [1, 2, 3] * 4, "outlier_score": [0.5] * 12})
    (folder / "clusters.csv").write_text("particle,cluster\n3,3\n4,2\n")
    (folder / "lasso.txt").write_text("1\n7\n")


def test_the_commands_that_select(atomdrgn, run):      # noqa: F811
    for words in commands("select.md"):
        ended = atomdrgn(*words)
        assert ended.code == 0, (words, ended.err)
        assert 0 < len(read_particles(words[words.index("--out") + 1])) <= 12


def test_the_commands_that_simulate(atomdrgn, tmp_path, monkeypatch):      # noqa: F811
    monkeypatch.chdir(tmp_path)
    first = helix("A", 12, start=(0, 0, -9))
    opened = read_structure(write_pdb(tmp_path / "open.pdb", first, helix("B", 12, start=(16, 0, -9))))
    write_pdb(tmp_path / "closed.pdb", first, helix("B", 12, start=(11, 0, -9)))
    write_trajectory(tmp_path / "path.dcd", [opened.position.numpy() * scale for scale in (1.0, 1.02)])
    for words in commands("simulate.md"):
        ended = atomdrgn(*words)
        assert ended.code == 0, (words, ended.err)
        if words[0] == "simulate":
            assert len(read_particles(Path(words[words.index("--out") + 1]) / "particles.star")) >= 30


def steps(page):
    """Each command of a page's shell blocks, as words, with the lines of output that the page shows right below it."""
    for block, shown in re.findall(r"(?ms)^```sh\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", (DOCS / page).read_text()):
        *before, last = (shlex.split(line)[1:] for line in block.splitlines())
        yield from ((words, []) for words in before)
        yield last, [wording(line) for line in shown.splitlines()]


def wording(line):
    """A line of output without its numbers, whose last digits differ between machines, and without its spacing."""
    return " ".join(re.sub(r"[-+]?\d[\d.,]*", "#", line).split())


@pytest.mark.slow
def test_the_tutorial(atomdrgn, tmp_path, monkeypatch):      # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(DOCS.parent / "examples")
    for words, shown in steps("tutorial.md"):
        ended = atomdrgn(*words)
        assert ended.code == 0, (words, ended.err)
        printed = {wording(line) for line in ended.out.splitlines()}
        assert not set(shown) - printed, (words, ended.out)
    which = np.load("set/truth.npz")["which"] == 1
    along = open_run("particles.fit").latent[:, 0]
    assert abs(np.corrcoef(along, which)[0, 1]) > 0.8, "the first motion is the one that was simulated"
    assert Path("particles.fit/report.html").exists() and Path("particles.fit/analysis/show.cxc").exists()
    _, moved = json.loads(Path("debiased/summary.json").read_text())["verdict"]
    assert moved.startswith("following the motion gains beyond the frequencies of the fit")

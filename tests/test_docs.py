"""The commands in pages of the documentation run as they stand, one after the other."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from atomdrgn import read_particles, read_structure
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

"""The commands in pages of the documentation run as they stand, one after the other."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from atomdrgn import read_particles, read_structure
from cli.conftest import atomdrgn, folder, made_set  # noqa: F401 - fixtures
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

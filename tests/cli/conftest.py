"""The command line called in this process, and a tiny particle set for it."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from atomdrgn import ImageGrid, read_structure, simulate_particles
from atomdrgn.cli import main
from molecules import helix, write_pdb


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def atomdrgn(capsys, monkeypatch):
    """Call the command line: ``atomdrgn("fit", "base.pdb", ...)``."""

    def call(*arguments):
        words = [str(word) for word in arguments]
        monkeypatch.setattr("sys.argv", ["atomdrgn", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(words)
        return Ended(end.value.code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def made_set(tmp_path_factory) -> Path:
    """A folder with 12 particles of two helices that hinge, box 32, 3 A a pixel; not to be changed."""
    folder = tmp_path_factory.mktemp("particles")
    lines = helix("A", 12, start=(0, 0, -9)) + helix("A", 12, first=13, start=(12, 0, -9))
    structure = read_structure(write_pdb(folder / "two.pdb", lines))
    moves = torch.as_tensor(structure.residue > 12)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    conformations = structure.position + torch.linspace(-3, 3, 12)[:, None, None] * moves
    simulate_particles(structure, conformations, folder, grid=ImageGrid(32, 3.0), snr=0.5)
    return folder


@pytest.fixture
def folder(made_set, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, made the current one, for a test to spoil."""
    for path in made_set.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path

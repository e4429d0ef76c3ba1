"""The README's Python runs as it stands, its commands exist, and the reference of the commands is
up to date.
"""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch
import typer

from atomdrgn import ImageGrid, open_run, read_structure, simulate_particles
from atomdrgn.cli import app
from molecules import helix, write_pdb

ROOT = Path(__file__).parents[1]


def blocks(language):
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", (ROOT / "README.md").read_text())


@pytest.fixture
def particles(tmp_path, monkeypatch):
    """A folder with base.pdb and particles.star as the README wants it."""
    helices = helix("A", 14, start=(0, 0, -9)), helix("B", 14, start=(12, 0, -9))
    structure = read_structure(write_pdb(tmp_path / "model.pdb", *helices))
    moves = torch.as_tensor(structure.chain == "B")[:, None] * torch.tensor([1.0, 0.0, 0.0])
    conformations = structure.position + torch.linspace(-4, 4, 24)[:, None, None] * moves
    simulate_particles(structure, conformations, tmp_path, grid=ImageGrid(32, 3.0), snr=1.0)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the matrices are tiny: threads would only wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_the_python_of_the_readme_runs(particles, capsys):
    assert len(blocks("python")) == 2
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    correlation = float(
        re.fullmatch(
            r"tensor\(\[(.*)\]\)\n", capsys.readouterr().out.splitlines(keepends=True)[-1]
        )[1]
    )
    assert correlation > 0.4 and Path("2.pdb").exists()


def test_a_run_draws_itself(monkeypatch):
    for package in ("matplotlib", "pandas", "py3Dmol"):
        pytest.importorskip(package)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    names = {"run": open_run(ROOT / "models" / "adk")}
    exec(compile(blocks("python")[1], "README.md", "exec"), names)
    assert 0 < names["opened"].sum() < 1000


def test_the_commands_of_the_readme_exist():
    group = typer.main.get_command(app)
    lines = [
        shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()
    ]
    # without the program that starts several
    lines = [line[line.index("atomdrgn") :] for line in lines]
    for _, name, *words in lines:
        options = {option for parameter in group.commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
    assert set(group.commands) == {line[1] for line in lines}, "each command is shown"


def test_the_reference_of_the_commands_is_up_to_date():
    made = runpy.run_path(ROOT / "docs" / "make_commands.py")["reference"]()
    assert made == (ROOT / "docs" / "commands.md").read_text(), "run: python docs/make_commands.py"


def test_links_of_the_readme_lead_to_files():
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link

"""The commands in pages of the documentation run as they stand, one after the other."""

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from atomdrgn import ImageGrid, open_run, read_particles, read_structure, simulate_particles
from atomdrgn.cli import app
from atomdrgn.io.trajectories import write_trajectory
from atomdrgn.likelihood.restraints import segment_restraints as restraints
from atomdrgn.networks import pooling
from atomdrgn.particles.formats import format_table
from atomdrgn.structure.motion import kinds
from cli.conftest import atomdrgn, folder, made_set  # noqa: F401 - fixtures
from molecules import helix, write_pdb
from runs import write_run
from test_imports import ROOMS

DOCS = Path(__file__).parents[1] / "docs"
ROOT = DOCS.parent
PACKAGE = ROOT / "src" / "atomdrgn"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def commands(page):
    """The commands of a page's shell blocks, as words."""
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", (DOCS / page).read_text())
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


@pytest.fixture
def run(folder):  # noqa: F811
    structure = read_structure(folder / "base.pdb")
    write_run(
        folder / "particles.fit",
        structure,
        folder / "particles.star",
        part=structure.residue > 12,
        rotation=np.tile([1.0, 0, 0, 0], (12, 1)),
        translation=np.tile([3.0, 0, 0], (12, 1)),
        columns={
            "motion1": range(12),
            "sd1": [1, 2] * 6,
            "state": [1, 2, 3] * 4,
            "state_probability_1": [0.95, 0.1, 0.05] * 4,
            "outlier_score": [0.5] * 12,
            "signal": [9.0] * 11 + [2.0],
            "junk": [0.01] * 11 + [0.98],
        },
    )
    (folder / "clusters.csv").write_text("particle,cluster\n3,3\n4,2\n")
    (folder / "lasso.txt").write_text("1\n7\n")


def test_the_commands_that_select(atomdrgn, run):  # noqa: F811
    for words in commands("select.md"):
        ended = atomdrgn(*words)
        assert ended.code == 0, (words, ended.err)
        assert 0 < len(read_particles(words[words.index("--out") + 1])) <= 12


@pytest.mark.seconds
def test_the_commands_that_simulate(atomdrgn, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    first = helix("A", 12, start=(0, 0, -9))
    opened = read_structure(
        write_pdb(tmp_path / "open.pdb", first, helix("B", 12, start=(16, 0, -9)))
    )
    write_pdb(tmp_path / "closed.pdb", first, helix("B", 12, start=(11, 0, -9)))
    write_trajectory(
        tmp_path / "path.dcd", [opened.position.numpy() * scale for scale in (1.0, 1.02)]
    )
    for words in commands("simulate.md"):
        ended = atomdrgn(*words)
        assert ended.code == 0, (words, ended.err)
        if words[0] == "simulate":
            assert (
                len(read_particles(Path(words[words.index("--out") + 1]) / "particles.star")) >= 30
            )


def steps(page):
    """Each command of a page's shell blocks, as words, with the lines of output that the page shows
    right below it.
    """
    for block, shown in re.findall(
        r"(?ms)^```sh\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", (DOCS / page).read_text()
    ):
        *before, last = (shlex.split(line)[1:] for line in block.splitlines())
        yield from ((words, []) for words in before)
        yield last, [wording(line) for line in shown.splitlines()]


def wording(line):
    """A line of output without its numbers, whose last digits differ between machines, and without
    its spacing.
    """
    return " ".join(re.sub(r"[-+]?\d[\d.,]*", "#", line).split())


@pytest.mark.slow
def test_the_commands_of_a_whole_analysis(atomdrgn, tmp_path, monkeypatch):  # noqa: F811
    """Page after page on one set, and every file that a page's table names is there."""
    monkeypatch.chdir(tmp_path)
    structure = read_structure(
        write_pdb(
            tmp_path / "model.pdb",
            helix("A", 12, start=(0, 0, -9)),
            helix("A", 12, first=13, start=(12, 0, -9)),
        )
    )
    moves = torch.as_tensor(structure.residue > 12)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    conformations = structure.position + torch.linspace(-4, 4, 40)[:, None, None] * moves
    simulate_particles(structure, conformations, tmp_path, grid=ImageGrid(32, 3.0), snr=1.0)
    (tmp_path / "base.pdb").rename("true.pdb")
    (tmp_path / "consensus.mrc").symlink_to("map/map.mrc")
    (tmp_path / "more.star").symlink_to("particles.star")
    np.save("z.npy", np.linspace(-1, 1, 40)[:, None])
    (tmp_path / "lasso.txt").write_text("3\n7\n")
    for page in (
        "backproject",
        "dock",
        "inspect",
        "refine",
        "fit",
        "analyze",
        "export",
        "debias",
        "volume",
    ):
        for words in commands(f"{page}.md"):
            ended = atomdrgn(*words, *QUICKER.get(words[0], ()))
            assert ended.code == 0, (words, ended.err)
        if page == "dock":  # two helices look alike from many sides
            Path("true.pdb").replace("base.pdb")
        written = {path.name for path in tmp_path.rglob("*")}
        assert not set(names_of_files(page)) - written, page


# the last word on an option counts
QUICKER = {
    "dock": ["--local"],
    "refine": ["--beads", "1", "--restraint-weight", "1"],
    "fit": ["--segments", "2", "--resolution", "15"],
    "debias": ["--centres", "2"],
}
# what only other options or molecules write
NOT_HERE = {
    "poses.csv",
    "weights.csv",
    "component1.mrc",
    "blobs.csv",
    "part.json",
    "0000_fsc.csv",
    "0000_half1.mrc",
    "0000_half2.mrc",
    "residual.mrc",
    "residual_half1.mrc",
    "residual_half2.mrc",
    "residual_mask.mrc",
}
NAME = re.compile(r"[\w-]+\.(?:mrc|csv|json|cif|pdb|npz|html|cxc|dcd)")


def names_of_files(page):
    """Files of the first column of a page's tables; where K stands for a number, the first."""
    cells = re.findall(r"(?m)^\| ([^|]+?) \|", (DOCS / f"{page}.md").read_text())
    return {name.replace("K.", "1.") for cell in cells for name in NAME.findall(cell)} - NOT_HERE


def test_every_command_has_a_page():
    made = runpy.run_path(DOCS / "make_commands.py")["reference"]()
    links = re.findall(r"(?m)^- \[([\w-]+)\]\((.*)\)$", made)
    assert {name for name, _ in links} == set(typer.main.get_command(app).commands)
    for name, page in links:
        assert f"atomdrgn {name}" in (DOCS / page).read_text(), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_pages_lead_to_files(page):
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.slow
def test_the_tutorial(atomdrgn, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    for words, shown in steps("tutorial.md"):
        ended = atomdrgn(*words)
        assert ended.code == 0, (words, ended.err)
        printed = {wording(line) for line in ended.out.splitlines()}
        assert not set(shown) - printed, (words, ended.out)
    which = np.load("set/truth.npz")["which"] == 1
    along = open_run("particles.fit").latent[:, 0]
    assert abs(np.corrcoef(along, which)[0, 1]) > 0.8, (
        "the first motion is the one that was simulated"
    )
    assert (
        Path("particles.fit/report.html").exists()
        and Path("particles.fit/analysis/show.cxc").exists()
    )
    _, moved = json.loads(Path("debiased/summary.json").read_text())["verdict"]
    assert moved.startswith("following the motion gains beyond the frequencies of the fit")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_code_that_pages_name_exist(page):
    """As they stand in the repository, or inside the package."""
    named = set(re.findall(r"`([a-z_]+/[\w/-]+\.(?:py|md|slurm))`", page.read_text()))
    assert not {name for name in named if not ((ROOT / name).exists() or (PACKAGE / name).exists())}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_sections_lead_to_headings(page):
    for link, section in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", page.read_text()):
        headings = re.findall(r"(?m)^#+ (.*)$", (page.parent / (link or page.name)).read_text())
        anchors = {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
        }
        assert section in anchors, f"{link}#{section}"


def test_the_map_of_the_house_names_every_file():
    text = (DOCS / "architecture.md").read_text()
    rooms = re.findall(r"(?ms)^### `(.*?)/?`\n(.*?)(?=^##)", text)
    named = {
        (PACKAGE / room / name).relative_to(PACKAGE).as_posix()
        for room, table in rooms
        for row in re.findall(r"(?m)^\| (`[^|]*`) \|", table)
        for name in re.findall(r"`([^`]+)`", row)
    }
    there = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if not path.stem.startswith("__")
    }
    assert named == there


def test_the_order_of_imports_is_that_of_the_rooms():
    block = re.search(r"(?ms)^```rooms\n(.*?)^```", (DOCS / "architecture.md").read_text())[1]
    assert [tuple(line.split()) for line in block.splitlines()] == ROOMS


def test_the_way_through_the_code_is_short():
    """From a STAR file to a PDB file, at most thirty files."""
    section = (DOCS / "architecture.md").read_text().split("\n## ")[1]
    assert section.startswith("From a STAR file to a PDB file")
    numbers = [int(number) for number in re.findall(r"(?m)^\| (\d+) \|", section)]
    assert numbers == list(range(1, len(numbers) + 1)) and 20 <= len(numbers) <= 30


def sections_with_python():
    """Each section of the page on extensions that has code, by its heading."""
    text = (DOCS / "extending.md").read_text()
    sections = [section.split("\n", 1) for section in text.split("\n## ")[1:]]
    code = {
        heading: "".join(re.findall(r"(?ms)^```python\n(.*?)^```", rest))
        for heading, rest in sections
    }
    return {heading: each for heading, each in code.items() if each}


@pytest.fixture
def tables():
    """The tables that examples add to, which are as before afterwards."""
    held = [getattr(module, table) for module, table in TABLES.items()]
    before = [table.copy() for table in held]
    yield
    for table, was in zip(held, before, strict=True):
        table.clear()
        (table.update if isinstance(table, dict) else table.extend)(was)


def headings():
    """Of these sections; a fit takes seconds."""
    for heading, code in sections_with_python().items():
        yield pytest.param(heading, marks=[pytest.mark.seconds] if "\nfit(" in code else [])


@pytest.mark.parametrize("heading", list(headings()))
def test_examples_of_extensions_run(heading, folder, tables, capsys):  # noqa: F811
    """They print what the comment behind a print says."""
    code = sections_with_python()[heading]
    exec(compile(code, heading, "exec"), {"__name__": "extension"})
    said = re.findall(r"(?m)^print\(.*\)  # (.*)$", code)
    assert said and capsys.readouterr().out.splitlines() == said


TABLES = {
    restraints: "OF_SEGMENTS",
    format_table: "FORMATS",
    kinds: "KINDS",
    pooling: "POOLINGS",
}

"""The notebook of examples/ runs from its first cell to its last, and the documentation shows it."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
nbformat = pytest.importorskip("nbformat")


@pytest.fixture(scope="module")
def made():
    pytest.importorskip("nbclient")
    return runpy.run_path(ROOT / "docs" / "make_notebook.py")


@pytest.fixture(scope="module")
def kept():
    return nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)


def test_it_was_run_and_the_page_is_its_own(made, kept):
    assert all(cell.execution_count for cell in kept.cells if cell.cell_type == "code")
    text, pictures = made["page"](kept)
    assert text == (ROOT / "docs" / "notebook.md").read_text(), "run: python docs/make_notebook.py"
    for name, data in pictures.items():
        assert (ROOT / "docs" / "images" / name).read_bytes() == data
    assert len(pictures) == 3 and not re.search(r"/(?:home|root|tmp)/", text)


@pytest.mark.seconds
def test_it_runs(made, kept):
    """And prints what it printed, but for last digits."""
    pytest.importorskip("ipykernel")
    for package in ("matplotlib", "pandas"):
        pytest.importorskip(package)
    text, pictures = made["page"](made["executed"]())

    def words(page):
        return re.sub(r"-?\d[\d.,]*", "#", page).split()

    assert words(text) == words((ROOT / "docs" / "notebook.md").read_text()) and len(pictures) == 3

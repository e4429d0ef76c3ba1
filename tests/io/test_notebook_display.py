"""What notebooks show of an object is short, and no name in it is HTML."""

import sys

import pytest
import torch

from atomdrgn import DensityMap, open_run, read_particles, read_structure
from atomdrgn.errors import MissingPackageError
from atomdrgn.io.notebook_display import data_frame, facts_as_html
from cli.conftest import folder, made_set  # noqa: F401 - fixtures


def test_names_are_text():
    assert "<b>" not in facts_as_html("<b>", {"<i>": "<u>"}).replace("<th", "").replace("<td", "")


def test_each_object_says_in_a_line_what_it_is(folder):  # noqa: F811
    stack, structure = read_particles("particles.star"), read_structure("base.pdb")
    density_map = DensityMap(torch.zeros(8, 8, 8), voxel_size=2.0, name="a.mrc")
    assert repr(stack) == (
        "<ParticleStack 'particles.star': images 12, particles 12, box 32 pixels of 3 A, "
        "format RELION 3.1 or later>"
    )
    assert repr(structure) == "<Structure 'base.pdb': atoms 120, residues 24, chains A>"
    assert repr(density_map) == "<DensityMap 'a.mrc': voxels 8 x 8 x 8 of 2 A, density 0 +- 0>"
    for each in (stack, structure, density_map):
        assert each._repr_html_().startswith("<table>")


def test_a_run_too():
    run = open_run("models/adk") if (__import__("pathlib").Path("models/adk")).exists() else None
    if run is None:
        pytest.skip("not in the folder of the project")
    assert repr(run).startswith("<Run 'models/adk': particles 1,000, residues 214, ")
    assert len(repr(run)) < 200 and "1 supported" in run._repr_html_()


def test_tables_are_data_frames(folder):  # noqa: F811
    pytest.importorskip("pandas")
    table = read_particles("particles.star").table
    assert table["particle"].tolist() == list(range(12)) and set(table["half_set"]) == {1, 2}
    assert table["defocus_u"].between(5000, 40000).all()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match=r"pandas is needed.*atomdrgn\[notebook\]"):
        data_frame({})

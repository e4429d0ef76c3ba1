"""The examples in docstrings run as they stand, and the public names have one.

They run in a folder that holds `model.pdb` (two helices of twelve residues, chains A and B),
`map.mrc` (its density), `particles.star` (eight images of it) and `base.pdb` (the model, placed);
`models` with its runs, as the project ships them; `field` (a run of volumes of eight particles);
and `tilts/particles.fit` (a run of three particles of a tomogram).
"""

import doctest
import functools
import importlib
import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import atomdrgn
from atomdrgn import (
    DensityMap,
    ImageGrid,
    coarse_grain,
    read_structure,
    simulate_particles,
    write_density_map,
)
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.runs.run import SETTINGS, write_json
from molecules import helix, write_pdb
from runs import write_run
from tilt_set import tilt_set
from volume_runs import write_volume_run

PACKAGE = Path(atomdrgn.__file__).parent
EXAMPLE = re.compile(r"^\s*>>> ", re.MULTILINE)
MODELS = Path(__file__).parents[1] / "models"


def modules_with_examples():
    return sorted(path for path in PACKAGE.rglob("*.py") if EXAMPLE.search(path.read_text()))


class Finder(doctest.DocTestFinder):
    """Finds the examples of functions that are wrapped in checks of their shapes, too."""

    def _from_module(self, module, object):
        if isinstance(object, functools.cached_property):
            object = object.func
        return super()._from_module(module, inspect.unwrap(object))


def write_files(folder):
    """The files that examples read."""
    model = write_pdb(folder / "model.pdb", helix("A", 12), helix("B", 12, start=(10.0, 0.0, 0.0)))
    structure = read_structure(model)
    middle = structure.position.mean(0)
    structure = structure.moved(structure.position - middle)
    beads = coarse_grain(structure)
    density = density_of_atoms(
        beads.position, beads.amplitude, beads.sigma, box_size=24, voxel_size=2.0
    )
    write_density_map(folder / "map.mrc", DensityMap(density, 2.0))
    simulate_particles(
        structure, structure.position.expand(8, -1, -1), folder, snr=1.0, grid=ImageGrid(24, 2.0)
    )
    (folder / "models").symlink_to(MODELS)
    write_volume_run(folder / "field", np.random.default_rng(0).normal(size=(8, 2)))
    write_tomogram_run(folder / "tilts", structure)


def write_tomogram_run(folder, structure):
    folder.mkdir()
    tilts = tilt_set(folder)
    run = write_run(
        folder / "particles.fit",
        structure,
        tilts.star,
        part=structure.chain == "B",
        rotation=np.tile([1.0, 0, 0, 0], (3, 1)),
        translation=np.arange(3)[:, None] * [1.0, 0, 0],
        columns={"motion1": range(3)},
    )
    read = {"reading": {"tomograms": str(tilts.tomograms)}}
    write_json(run.folder / SETTINGS, run.settings | read)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("examples")
    write_files(path)
    return path


@pytest.mark.parametrize(
    "path", modules_with_examples(), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_examples_run(path, files, tmp_path, monkeypatch):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True, symlinks=True)
    monkeypatch.chdir(tmp_path)
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    module = importlib.import_module(name.removesuffix(".__init__"))
    runner, said, tried = doctest.DocTestRunner(), [], 0
    for test in Finder().find(module):
        tried += runner.run(test, out=said.append).attempted
    assert runner.failures == 0, "".join(said)
    assert tried == len(EXAMPLE.findall(path.read_text()))


def test_public_names_have_an_example():
    public = {name: getattr(atomdrgn, name) for name in atomdrgn.__all__}
    without = {
        name
        for name, value in public.items()
        if callable(value)
        and not EXAMPLE.search(inspect.getdoc(value).partition("Examples\n--------\n")[2])
    }
    assert without == set()

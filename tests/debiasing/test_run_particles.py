"""The particles of a run are found where it was fitted or beside it, and are refused where their
images are others.
"""

import json
import shutil

import numpy as np
import pytest

from atomdrgn import ImageGrid, read_particles, read_structure, simulate_particles
from atomdrgn.debiasing.run_particles import half_latents, has_halves, particles_of_run
from atomdrgn.errors import InputError, MissingFileError
from atomdrgn.runs.run import HALVES, SETTINGS, SUMMARY, open_run, write_json
from atomdrgn.runs.run_folder import run_settings
from molecules import helix, write_pdb
from runs import write_bead_run


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    """A run of set/particles.star that was fitted from the folder above the set: set/particles.fit."""
    monkeypatch.chdir(tmp_path)
    structure = read_structure(write_pdb(tmp_path / "helix.pdb", helix("A", 12, start=(0, 0, -9))))
    star = simulate_particles(
        structure, structure.position.expand(20, -1, -1), "set", grid=ImageGrid(16, 4.0), snr=0.5
    )
    (tmp_path / "tomograms.star").write_text("")
    still = {"mode": np.zeros((1, 12, 3)), "feature": np.zeros((20, 1))}
    run = write_bead_run(tmp_path / "set" / "particles.fit", structure, star, **still)
    settings = run_settings(
        structure,
        read_particles(star),
        choices={"beads": 1},
        more={"reading": {"data_folder": "set"}},
    )
    write_json(run.folder / SETTINGS, settings)
    return tmp_path


def test_they_are_found_beside_the_run(fitted, monkeypatch):
    assert len(particles_of_run(open_run("set/particles.fit"))) == 20
    monkeypatch.chdir(fitted / "set")
    assert len(particles_of_run(open_run("particles.fit"))) == 20
    monkeypatch.chdir(fitted)
    shutil.move("set", "moved")
    assert len(particles_of_run(open_run("moved/particles.fit"))) == 20
    (fitted / "moved" / "particles.star").rename(fitted / "elsewhere.star")
    with pytest.raises(MissingFileError, match="--particles-file"):
        particles_of_run(open_run("moved/particles.fit"))


def test_other_images_under_the_same_name_are_refused(fitted):
    stack = fitted / "set" / "particles.mrcs"
    content = bytearray(stack.read_bytes())
    content[1024:] = np.random.default_rng(0).normal(size=20 * 16 * 16).astype("<f4").tobytes()
    stack.write_bytes(content)
    with pytest.raises(InputError, match="are not those that .*particles.fit was fitted to"):
        particles_of_run(open_run("set/particles.fit"))


def test_a_run_of_an_earlier_version_does_not_say_what_its_images_were(fitted):
    run = open_run("set/particles.fit")
    said = dict(run.settings["input"])
    del said["images_sha256"]
    write_json(run.folder / SETTINGS, run.settings | {"input": said})
    (fitted / "set" / "particles.mrcs").write_bytes(
        (fitted / "set" / "particles.mrcs").read_bytes()[:-4] + bytes(4)
    )
    assert len(particles_of_run(open_run("set/particles.fit"))) == 20


def test_half_sets_of_a_part_are_not_those_of_all_particles(fitted):
    """Particles that were not learned on are placed by what both half-sets have found."""
    run = open_run("set/particles.fit")
    for name in HALVES:
        (run.folder / name).write_bytes(b"")
    assert has_halves(run)
    summary = json.loads((run.folder / SUMMARY).read_text())
    write_json(run.folder / SUMMARY, summary | {"learned_on": {"particles": 100}})
    part = open_run("set/particles.fit")
    assert not has_halves(part)
    with pytest.raises(MissingFileError, match="--learn-on"):
        half_latents(part, particles_of_run(part))

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.debiasing.debias import DEFAULT_METHODS, debias
from atomdrgn.debiasing.run_particles import (
    half_latents,
    half_of_particle,
    motion_of,
    particle_numbers,
    particles_of_run,
)
from atomdrgn.errors import InputError, MissingFileError, OutputExistsError
from atomdrgn.inference.fit import fit
from atomdrgn.inference.problem.fit_state import load_state, save_state
from atomdrgn.runs.run import HALVES, open_run
from atomdrgn.structure.atoms import read_structure
from hinge import with_pixels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(hinged, tmp_path_factory):
    """A fit of the hinged set to 25 A, so that finer frequencies are left to judge it by."""
    structure, particles, _ = hinged
    return fit(
        structure,
        particles,
        tmp_path_factory.mktemp("fits") / "run",
        segments=2,
        resolution=25.0,
        settings={"reading": {"particles": str(particles.source)}},
    )


@pytest.fixture(scope="module")
def found(run, hinged, tmp_path_factory):
    return debias(run, hinged[1], tmp_path_factory.mktemp("debiased") / "out", centres=2)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_part_that_moves_gains_beyond_the_fit(found):
    """Of 150 images; the part that stands still loses by the noise of its places (the tutorial has
    a molecule that gains).
    """
    whole, still, moving = found.summary["gains"][:3]
    assert (
        whole["part"] == "whole"
        and still["part"].startswith("group 1 (A")
        and moving["part"].startswith("group 2 (B")
    )
    assert moving["gain"] > 2 * moving["gain_error"] > 0 and moving["gain"] > still["gain"]
    clear = [row["gain"] > 3 * row["gain_error"] for row in (whole, moving)]
    assert found.summary["follows"] == clear[0]
    assert any(clear) == ("following the motion gains beyond" in found.summary["verdict"][1])


def test_motions_fitted_to_noise_are_no_gain(run, hinged, tmp_path):
    """Particles of each half-set with motions of others: as far, and of nothing that their images
    show.
    """
    folder = tmp_path / "run"
    folder.mkdir()
    for path in run.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name in HALVES:
        state = load_state(folder / name)
        save_state(replace(state, latent=state.latent.roll(7, 0)), folder / name)
    lost = debias(open_run(folder), hinged[1], tmp_path / "out", methods=["following"])
    assert not lost.summary["follows"] and lost.summary["gains"][0]["gain"] < 0
    assert "gains nothing beyond" in lost.summary["verdict"][1]


def test_each_half_is_moved_by_its_own_fit(run, hinged):
    stack = hinged[1]
    latent, half = half_latents(run, stack), half_of_particle(stack)
    for number, name in enumerate(HALVES, 1):
        assert torch.equal(latent[half == number], load_state(run.folder / name).latent)
    assert particle_numbers(stack).tolist() == list(range(150))
    still = motion_of(run, torch.zeros(1, latent.shape[1]))
    assert still.rotation[..., 0].min() == 1 and not still.translation.any()


def test_everything_is_written(found, run):
    names = {path.name for path in found.folder.iterdir()}
    maps = {
        f"{name}{end}.mrc"
        for name in ("static", "following", "around1", "around2")
        for end in ("", "_half1", "_half2")
    }
    assert names == maps | {"support.csv", "support.cif", "fsc.csv", "summary.json"}
    rows = table(found.folder / "support.csv")
    assert (
        list(rows[0])[:4] == ["chain", "residue", "icode", "support"]
        and len(rows) == run.summary["residues"]
    )
    assert {row["map"] for row in table(found.folder / "fsc.csv")} == {
        "static",
        "following",
        "around1",
        "around2",
    }
    summary = json.loads((found.folder / "summary.json").read_text())
    assert set(summary["methods"]) == set(DEFAULT_METHODS) and summary == found.summary


def test_the_b_factor_is_the_support(found, run):
    written = read_structure(found.folder / "support.cif")
    rows = {
        (row["chain"], row["residue"]): float(row["support"])
        for row in table(found.folder / "support.csv")
    }
    for chain, residue, value in zip(written.chain, written.residue, written.b_factor, strict=True):
        assert value == pytest.approx(100 * min(max(rows[chain, str(residue)], 0), 1), abs=0.02)


def test_a_base_model_that_is_all_there_is_supported(found):
    values = np.array([float(row["support"]) for row in table(found.folder / "support.csv")])
    assert found.summary["unsupported"] == [] and np.median(values) == pytest.approx(1, abs=0.15)


def test_maps_around_latents_show_different_angles(found):
    first, second = (row["at"][0] for row in found.summary["methods"]["around"])
    assert first < second
    assert all(10 < row["effective_particles"] < 150 for row in found.summary["methods"]["around"])


def test_a_run_without_half_sets_is_not_judged(run, hinged, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in run.folder.iterdir():
        if path.name not in HALVES:
            (folder / path.name).write_bytes(path.read_bytes())
    without = open_run(folder)
    with pytest.raises(MissingFileError, match="no fits of half-sets"):
        half_latents(without, hinged[1])
    told = debias(without, hinged[1], tmp_path / "out", methods=["following"])
    assert not told.summary["follows"] and "not fitted apart" in told.summary["verdict"][1]


def test_the_particles_are_those_of_the_run(run, hinged, tmp_path):
    assert len(particles_of_run(run)) == 150
    star = hinged[1].source
    moved = tmp_path / "particles.star"
    moved.write_text(star.read_text() + "\n")
    with pytest.raises(InputError, match="is not the file"):
        particles_of_run(run, moved)
    with pytest.raises(MissingFileError, match="--particles-file"):
        particles_of_run(run, tmp_path / "gone.star")
    with pytest.raises(InputError, match="100 particles .* fitted to 150"):
        debias(run, hinged[1][torch.arange(100)], tmp_path / "out")


def test_what_cannot_be_done_is_refused(run, hinged, found, tmp_path):
    with pytest.raises(InputError, match="method 'guess'.*following, around"):
        debias(run, hinged[1], tmp_path / "out", methods=["guess"])
    with pytest.raises(InputError, match="no method"):
        debias(run, hinged[1], tmp_path / "out", methods=[])
    with pytest.raises(InputError, match="200 centres for 150"):
        debias(run, hinged[1], tmp_path / "out", methods=["around"], centres=200)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        debias(run, hinged[1], found.folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "map.mrc").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="map.mrc"):
        debias(run, hinged[1], tmp_path / "other", overwrite=True)


def test_a_spoilt_image_has_no_weight(run, found, hinged, tmp_path):
    def spoil(pixels):
        pixels[7, 3, 3] = 3000 * pixels.std()

    spoilt = with_pixels(hinged[1], tmp_path / "spoilt", spoil)
    with pytest.warns(UserWarning, match="1 of 150 images .row 8. is nothing like the others"):
        again = debias(run, spoilt, tmp_path / "out", centres=2)
    for one, other in zip(again.summary["gains"], found.summary["gains"], strict=True):
        assert one["gain"] == pytest.approx(other["gain"], abs=other["gain_error"])
    assert len(again.summary["warnings"]) == 1

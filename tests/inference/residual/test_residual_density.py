"""What images show and the beads do not is found, and is part of what images are compared with."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import ImageGrid, fit, read_particles, read_structure, simulate_particles
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.problem.calibration import calibrate
from atomdrgn.inference.problem.half_sets import half_sets
from atomdrgn.inference.problem.misfit import misfits
from atomdrgn.inference.residual.found_residual import find_residual
from atomdrgn.inference.residual.residual_density import (
    ImageSums,
    halves_of,
    residual_maps,
    sum_images,
    with_first_residual,
    with_residual,
)
from atomdrgn.io.mrc import read_map
from atomdrgn.physics.rotations import matrix_from_vector
from molecules import atom_line, helix, write_pdb

GRID = ImageGrid(32, 4.0)
GUEST = (34.0, 0.0, 0.0)  # where the helix is that the base model lacks, A
COUNT = 300


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """Images of three helices, and a base model of two of them."""
    folder = tmp_path_factory.mktemp("lacking")
    two = helix("A", 30, start=(-8.0, 0.0, -22.0)) + helix("B", 30, start=(6.0, 3.0, -22.0))
    guest = helix("C", 30, start=(GUEST[0], GUEST[1], -22.0))
    whole = read_structure(write_pdb(folder / "whole.pdb", two + guest))
    write_pdb(folder / "two.pdb", two)
    conformations = whole.position.expand(COUNT, -1, -1)
    simulate_particles(
        whole,
        conformations,
        folder,
        grid=GRID,
        snr=0.3,
        generator=torch.Generator().manual_seed(301),
    )
    return folder


def begun(folder, base="two.pdb"):
    """A fit of the set, its scales measured where it begins."""
    structure = read_structure(folder / base)
    particles = read_particles(folder / "particles.star")
    model = assemble(structure, particles, FitOptions(segments=2, resolution=12.0))
    state = replace(first_state(model), uncertainty=torch.zeros_like(model.start.root))
    state = replace(state, latent=torch.zeros_like(state.latent), step=1)
    disc = model.images.disc
    for _ in range(2):
        state = calibrate(model, state, disc, torch.Generator().manual_seed(0))
    return model, state, disc


@pytest.fixture(scope="module")
def found(lacking):
    """And what it shows besides the base model."""
    model, state, disc = begun(lacking)
    return model, state, with_residual(model, state, disc), disc


def test_the_density_is_where_the_base_model_lacks_it(found):
    model, _, state, _ = found
    residual = find_residual(model, state, torch.tensor([0] * 30 + [1] * 30))
    blob, *others = residual.blobs
    assert not others
    assert torch.dist(torch.tensor(blob.centre), torch.tensor([*GUEST[:2], 0.0])) < 5
    assert 0.4 < blob.share < 0.7  # half of what the two others are
    assert 25 < blob.across < 60 and blob.significance > 10
    # helix B is the nearer one
    assert blob.near.startswith("B:") and "A:" not in blob.near and blob.group == 2
    said = residual.summary("two.pdb")
    assert "% of the density is not in two.pdb: near B:" in said["said"]
    assert said["blobs"] == 1 and 0.1 < said["share_of_power"] < 0.5


def test_images_are_likelier_with_it(found):
    model, before, after, disc = found
    here = [replace(before, spectrum=after.spectrum).latent]
    without = misfits(model, before, disc, here)[0].sum()
    assert misfits(model, after, disc, here)[0].sum() < without - 20 * COUNT


def test_the_right_base_model_lacks_nothing(lacking):
    model, state, disc = begun(lacking, "whole.pdb")
    assert with_residual(model, state, disc).residual is None
    residual = find_residual(model, state, torch.zeros(90, dtype=torch.long))
    assert residual.maps is None and not residual.blobs
    assert residual.summary("whole.pdb") == {
        "said": "no density beyond whole.pdb is clear",
        "share_of_density": 0.0,
        "share_of_power": 0.0,
        "blobs": 0,
    }


def test_what_one_half_alone_shows_is_noise(found):
    """Halves that differ have no density in common."""
    model, _, state, disc = found
    sums = sum_images(model, state, disc)
    noise = replace(sums.left[1], sums=-sums.left[0].sums * torch.tensor([1.0, 1.0, -1.0]))
    assert residual_maps(ImageSums((sums.left[0], noise), sums.beads)) is None


def test_each_half_set_has_two_halves_of_its_own(lacking):
    model, *_ = begun(lacking)
    assert torch.equal(halves_of(model)[model.particle], model.images.stack.half == 2)
    for half in half_sets(model):
        assert 0.4 < float(halves_of(half.model).float().mean()) < 0.6


def test_voxels_are_as_coarse_as_the_frequencies_allow(found):
    *_, disc = found
    grid = disc.coarse_grid()
    assert grid.extent == pytest.approx(disc.grid.extent)
    assert disc.reach < grid.box_size / 2 - 1


def test_a_fit_writes_it_and_stays_where_it_was(lacking, tmp_path):
    base, particles = (
        read_structure(lacking / "two.pdb"),
        read_particles(lacking / "particles.star"),
    )
    run = fit(base, particles, tmp_path / "run", segments=2, resolution=12.0)
    density, header = read_map(tmp_path / "run" / "residual.mrc")
    n, voxel = len(density), float(header.voxel_size[0])
    z, y, x = ((torch.tensor(density.nonzero(), dtype=torch.float) - n // 2) * voxel).mean(1)
    assert abs(float(x) - GUEST[0]) < 8 and abs(float(y)) < 8 and abs(float(z)) < 8
    assert run.summary["residual"]["blobs"] == 1
    assert (tmp_path / "run" / "blobs.csv").read_text().count("\n") == 2
    assert run.summary["motions"] == []
    plain = fit(base, particles, tmp_path / "plain", segments=2, resolution=12.0, no_residual=True)
    assert "residual" not in plain.summary and not (tmp_path / "plain" / "residual.mrc").exists()


# ---- before the first pass


BELT, RADIUS, THICK = 2200, 32.0, 12.0  # carbons, A


def bundle(chain, z):
    """Three helices of 60 A beside each other."""
    places = ((-6.0, -8.0), (6.0, -8.0), (0.0, 4.0))
    rows = [
        helix(chain, 40, first=1 + 40 * k, start=(x, y, z), serial=500 * k + (chain == "B") * 2000)
        for k, (x, y) in enumerate(places)
    ]
    return sum(rows, [])


def belted(folder, count, snr, seed):
    """Two bundles, of which one turns by up to 25 degrees, in a belt of points drawn anew.

    The base model has no belt. Returned is the angle of each particle, rad.
    """
    base = bundle("A", -45.0) + bundle("B", 16.0)
    points = [
        atom_line(20000 + i, "C1", "LIG", "Z", 1 + i, (0, 0, 0), record="HETATM")
        for i in range(BELT)
    ]
    whole = read_structure(write_pdb(folder / "whole.pdb", base + points))
    random = torch.Generator().manual_seed(seed)
    angle = math.radians(25) * (2 * torch.rand(count, generator=random) - 1)
    turn = matrix_from_vector(angle[:, None] * torch.tensor([1.0, 0, 0]))
    foot, up = torch.tensor([0.0, -4.0, 15.0]), torch.from_numpy(whole.chain == "B")
    atoms = whole.position.expand(count, -1, -1)
    moved = torch.einsum("pij,aj->pai", turn, whole.position - foot) + foot
    atoms = torch.where(up[:, None], moved, atoms)
    around, about = 2 * math.pi * torch.rand(2, count, BELT, generator=random)
    out = THICK * torch.rand(count, BELT, generator=random).sqrt()
    far = RADIUS + out * about.cos()
    atoms[:, torch.from_numpy(whole.chain == "Z")] = torch.stack(
        [far * around.cos(), far * around.sin() - 2, out * about.sin() - 25], -1
    )
    simulate_particles(whole, atoms, folder, grid=ImageGrid(56, 3.5), snr=snr, generator=random)
    write_pdb(folder / "base.pdb", base)
    return angle


def not_begun(folder, base):
    model = assemble(
        read_structure(folder / base), read_particles(folder / "particles.star"), FitOptions()
    )
    return model, first_state(model)


def test_a_belt_is_found_before_anything_follows_it(tmp_path):
    belted(tmp_path, 150, snr=0.2, seed=302)
    model, start = not_begun(tmp_path, "base.pdb")
    state = with_first_residual(model, start)
    assert state.amplitude == pytest.approx(1, abs=0.15)  # electrons, as they were drawn
    residual = state.residual
    electrons = float(residual.density.sum()) * residual.voxel_size**3
    assert electrons == pytest.approx(6 * BELT, rel=0.15)
    assert state.width2 == 0 and torch.equal(state.latent, start.latent)
    # nothing is measured, and nothing said, where it is not asked for
    assert with_first_residual(replace(model, finds_residual=False), start) is start


def test_a_base_model_that_lacks_nothing_begins_with_none(lacking):
    for base, there in (("whole.pdb", False), ("two.pdb", True)):
        state = with_first_residual(*not_begun(lacking, base))
        assert (state.residual is not None) == there


def test_coarse_passes_keep_what_there_is(found):
    model, _, state, disc = found
    assert with_residual(model, state, disc.coarser(40.0)) is state


@pytest.mark.slow
def test_a_domain_outside_a_belt_is_followed_as_without(tmp_path):
    angle = belted(tmp_path, 400, snr=0.1, seed=303).numpy()
    base, particles = (
        read_structure(tmp_path / "base.pdb"),
        read_particles(tmp_path / "particles.star"),
    )
    run = fit(base, particles, tmp_path / "run", segments=6, resolution=9.0)
    assert run.summary["motions_supported"] >= 1 and not run.summary["warnings"]
    assert abs(np.corrcoef(run.latent[:, 0], angle)[0, 1]) > 0.97
    share = 6 * BELT / (6 * BELT + 7920)
    assert run.summary["residual"]["share_of_density"] == pytest.approx(share, abs=0.05)

"""A fit about a part of the molecule: what lies outside of a mask is residual density alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import (
    DensityMap,
    ImageGrid,
    coarse_grain,
    fit,
    read_particles,
    read_structure,
    simulate_particles,
    write_density_map,
)
from atomdrgn.errors import InputError
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.residual.focus import inside_mask, near_residues_named
from atomdrgn.inference.residual.residual_density import with_first_residual
from atomdrgn.physics.rotations import matrix_from_vector
from molecules import helix, write_pdb

GRID = ImageGrid(40, 4.0)
COUNT = 240
WIDEST = math.radians(30)


@pytest.fixture(scope="module")
def two_turn(tmp_path_factory):
    """Images of three helices, of which the first and the last turn at their feet, each by itself.

    Returned are the folder and the angles of both, rad.
    """
    folder = tmp_path_factory.mktemp("two")
    rows = [
        line
        for number, (chain, x) in enumerate((("A", -24.0), ("B", 0.0), ("C", 24.0)))
        for line in helix(chain, 40, start=(x, 0.0, -28.0), serial=1 + 500 * number)
    ]
    whole = read_structure(write_pdb(folder / "base.pdb", rows))
    random = torch.Generator().manual_seed(331)
    angle = WIDEST * (2 * torch.rand(2, COUNT, generator=random) - 1)
    atoms = whole.position.expand(COUNT, -1, -1)
    for number, (chain, x) in enumerate((("A", -24.0), ("C", 24.0))):
        turn = matrix_from_vector(angle[number][:, None] * torch.tensor([1.0, 0, 0]))
        foot, of = torch.tensor([x, 0.0, -28.0]), torch.from_numpy(whole.chain == chain)
        moved = torch.einsum("pij,aj->pai", turn, whole.position - foot) + foot
        atoms = torch.where(of[:, None], moved, atoms)
    simulate_particles(whole, atoms, folder, grid=GRID, snr=0.3, generator=random)
    return folder, angle


def opened(folder):
    return read_structure(folder / "base.pdb"), read_particles(folder / "particles.star")


def test_residues_and_what_is_around_them(two_turn):
    beads = coarse_grain(opened(two_turn[0])[0])
    number = np.where(beads.chain == "C", beads.residue, 0)
    assert (near_residues_named("C:10-40+0", beads) == (number >= 10)).all()
    wider = near_residues_named("C:10-40+6", beads)
    assert wider[number >= 10].all() and not wider[(number < 5)].any() and wider[number == 8].all()
    # 8 A where it is not said
    assert (near_residues_named("C", beads) == near_residues_named("C+8", beads)).all()


@pytest.mark.parametrize("text", ["C+", "C+wide", "C+-3", "C+inf", "C+8+8"])
def test_a_width_that_is_none_is_refused(two_turn, text):
    with pytest.raises(InputError, match="how many A around them"):
        near_residues_named(text, coarse_grain(opened(two_turn[0])[0]))


def test_residues_inside_a_mask(two_turn):
    beads = coarse_grain(opened(two_turn[0])[0])
    # x from 8 to 40, in the frame of the poses whatever frame the file is in
    values = torch.zeros(20, 20, 20)
    values[:, :, 11:16] = 1
    mask = DensityMap(values, 8.0, (100.0, 0.0, 0.0), "right.mrc")
    assert (inside_mask(mask, beads) == (beads.chain == "C")).all()
    for wrong in (2 * values, values - 0.5, 0.2 * values):
        with pytest.raises(InputError, match="1 where the fit shall look"):
            inside_mask(mask.with_density(wrong), beads)
    corner = torch.zeros(20, 20, 20)
    corner[:2, :2, :2] = 1
    with pytest.raises(InputError, match="no residue of the base model is inside"):
        inside_mask(mask.with_density(corner), beads)


def test_what_is_outside_is_fixed_and_not_in_the_prediction(two_turn):
    structure, particles = opened(two_turn[0])
    model = assemble(structure, particles, FitOptions(segments=12, parts_mask="C"))
    beads = model.beads
    weight = model.bright_beads(first_state(model)).amplitude / beads.amplitude
    assert (weight[torch.from_numpy(beads.chain == "A")] == 0).all()
    assert (weight[torch.from_numpy(beads.chain == "C")] == 1).all()
    # the segments are of what is inside, none shorter than 6 residues; the last is fixed
    segment = model.segment_of_trace.numpy()
    trace = beads.chain[beads.trace]
    fixed = int(torch.nonzero(model.segmentation.fixed)[0])
    assert (segment[trace != "C"] == fixed).all() and (segment[trace == "C"] != fixed).all()
    assert model.n_segments == 1 + 40 // 6
    # parts of one's own move, wherever they are
    own = assemble(structure, particles, FitOptions(segments=3, parts_mask="C", parts=["A:30-40"]))
    there = (trace == "A") & (beads.residue[beads.trace] >= 30)
    assert (own.segment_of_trace.numpy()[there] == 0).all()
    with pytest.raises(InputError, match="nothing that is inside of the mask is free"):
        assemble(structure, particles, FitOptions(segments=3, parts_mask="C", fixed="C"))


def test_the_residual_has_what_is_outside(two_turn):
    structure, particles = opened(two_turn[0])
    whole, about = (
        assemble(structure, particles, FitOptions(segments=3, parts_mask=mask))
        for mask in (None, "C")
    )
    assert with_first_residual(whole, first_state(whole)).residual is None
    found = with_first_residual(about, first_state(about)).residual
    density, n = found.density, len(found.density)
    along = (torch.arange(n) - n // 2) * found.voxel_size
    at_a, at_c = (float(density[:, :, (along - x).abs() < 6].sum()) for x in (-24.0, 24.0))
    # what is left there is where C swings to
    assert abs(at_c) < 0.4 * at_a
    third = float(about.beads.amplitude.sum() / 3)
    electrons = float(density.sum()) * found.voxel_size**3
    assert electrons == pytest.approx(2 * third, rel=0.25)


def test_two_masks_or_none_to_explain_the_rest_are_refused():
    with pytest.raises(InputError, match="the map or the residues"):
        FitOptions(mask="mask.mrc", parts_mask="A")
    with pytest.raises(InputError, match="what explains what lies outside"):
        FitOptions(parts_mask="A", no_residual=True)


def test_run_json_knows_the_mask_again(tmp_path):
    mask = torch.zeros(8, 8, 8)
    mask[4, 4, 4] = 1
    write_density_map(tmp_path / "mask.mrc", DensityMap(mask, 8.0))
    options = FitOptions(mask=tmp_path / "mask.mrc")
    said = options.as_settings(10.0)
    assert said["mask"] == str(tmp_path / "mask.mrc") and len(said["mask_sha256"]) == 64
    assert FitOptions.from_settings({"fit": said}) == replace(
        options, mask=said["mask"], resolution=10.0
    )
    assert not (options.learns_borders or options.corrects_base)


@pytest.mark.slow
def test_a_fit_finds_the_motion_inside_alone(two_turn, tmp_path):
    folder, angle = two_turn
    structure, particles = opened(folder)
    run = fit(structure, particles, tmp_path / "run", segments=2, resolution=9.0, parts_mask="C+10")
    assert run.summary["motions_supported"] == 1
    with_a, with_c = (abs(np.corrcoef(run.latent[:, 0], each)[0, 1]) for each in angle.numpy())
    assert with_c > 0.95 and with_a < 0.2
    moved = run.beads(range(COUNT)) - run.bead_model.position
    chain = torch.from_numpy(run.bead_model.chain == "C")
    assert float(moved[:, ~chain].abs().max()) < 1 < float(moved[:, chain].abs().max())
    assert (tmp_path / "run" / "residual.mrc").exists()

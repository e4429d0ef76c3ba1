"""A base model that is wrong in all particles alike is put right, and one of which images say
nothing stays.
"""

from dataclasses import replace

import pytest
import torch

from atomdrgn.debiasing.run_particles import half_latents, half_of_particle, motion_of
from atomdrgn.inference.base_model.base_correction import correct_base
from atomdrgn.inference.fit import fit
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.problem.fit_state import load_state
from atomdrgn.inference.problem.half_sets import half_sets
from atomdrgn.inference.problem.resegmentation import carried_over, with_base
from atomdrgn.particles.reading import read_particles
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.runs.run import CHECKPOINT, CORRECTION, HALVES, SUMMARY
from atomdrgn.simulate import simulate_particles
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.motion.motion import screw_motion, twists
from atomdrgn.structure.motion.segment_deformation import centres
from hinge import bow, make_hinged

pytestmark = pytest.mark.slow


def bent(structure):
    """The structure with each bundle bent by up to 3 A."""
    return structure.moved(structure.position + 3.0 * bow(structure.position))


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """Structure and 300 particles of the molecule with a hinge."""
    return make_hinged(tmp_path_factory.mktemp("hinged"), count=300)[:2]


def assembled(structure, particles, resolution):
    model = assemble(structure, particles, FitOptions(segments=2, resolution=resolution))
    model.images.load()
    return model


def passed(half, resolutions):
    state = first_state(half.model)
    for number, resolution in enumerate(resolutions):
        disc = half.model.images.disc.coarser(resolution)
        state, _ = run_pass(
            half.model,
            state,
            disc,
            last=number + 1 == len(resolutions),
        )
    return state


def off(beads, position, truth):
    """R.m.s. distance of trace beads from the truth when each bundle is superposed on it, A: what
    is wrong with their shapes.
    """
    square = 0.0
    for chain in "AB":
        own = torch.from_numpy((beads.chain == chain) & beads.trace)
        x, y = (each[own] - each[own].mean(0) for each in (position, truth))
        left, _, right = torch.linalg.svd(x.T @ y)
        square += float((x @ left @ right - y).square().sum())
    return (square / int(beads.trace.sum())) ** 0.5


def test_a_bent_base_model_is_made_straight(particles):
    structure, stack = particles
    model = assembled(bent(structure), stack, 9.0)
    halves = half_sets(model)
    states = [passed(half, (40.0, 25.0, 15.0, 9.0)) for half in halves]
    found = correct_base(bent(structure), halves, states)
    truth = coarse_grain(structure).position
    before, after = (
        off(model.beads, x, truth)
        for x in (model.beads.position, model.beads.position + found.shift)
    )
    assert found.supported and found.gain > 0
    assert before > 0.9 and after < 0.7 * before
    # half-sets agree on shapes; where whole bundles stand is shared out among correction and
    # motions, in each as it comes
    first, second = model.beads.position + found.shifts
    assert 0 < off(model.beads, first, second) < 0.7 * before
    torch.testing.assert_close(found.error, 0.5 * torch.linalg.vector_norm(second - first, dim=1))


def test_noise_corrects_nothing(particles, tmp_path):
    structure = particles[0]
    star = simulate_particles(
        structure,
        structure.position.expand(60, -1, -1).clone(),
        tmp_path,
        grid=ImageGrid(48, 3.5),
        snr=1e-5,
        generator=torch.Generator().manual_seed(1),
    )
    model = assembled(structure, read_particles(star), 15.0)
    halves = half_sets(model)
    found = correct_base(
        structure,
        halves,
        [passed(half, (40.0, 15.0)) for half in halves],
    )
    assert not found.supported
    assert not found.shift.any() and not found.error.any()


def test_segments_of_another_base_model_move_as_they_did(particles):
    model = assembled(*particles, 20.0)
    shift = torch.randn(model.beads.position.shape, generator=torch.Generator().manual_seed(0))
    new = with_base(model, model.beads.position + shift)
    torch.testing.assert_close(
        new.deformation.conformation(new.start.mean[None]).position[0], model.beads.position + shift
    )
    latent = 3 * torch.randn(
        model.n_particles, model.deformation.n_latent, generator=torch.Generator().manual_seed(1)
    )
    carried = carried_over(replace(first_state(model), latent=latent), model, new)
    point = torch.randn(5, 1, 3)  # wherever it is, a segment takes it to the same place
    for old_segment, new_segment in ((0, 0), (1, 1)):
        before, after = (
            each.deformation.motion(z).apply(
                point.expand(5, 1, 3)[0], each.deformation.centroid, weight=torch.eye(2)[[number]]
            )
            for each, z, number in (
                (model, latent[:5], old_segment),
                (new, carried.latent[:5], new_segment),
            )
        )
        torch.testing.assert_close(before, after, atol=2e-3, rtol=0)


@pytest.fixture(scope="module")
def run(particles, tmp_path_factory):
    structure, stack = particles
    return fit(
        bent(structure), stack, tmp_path_factory.mktemp("fits") / "run", segments=2, resolution=9.0
    )


def test_a_fit_puts_its_base_model_right_and_says_so(run, particles):
    said, truth = run.summary["base_correction"], coarse_grain(particles[0])
    assert said["supported"] and 0.5 < said["rms"] < said["largest"] < 6
    base = coarse_grain(run.structure)
    bead, moved = torch.from_numpy(run.model["bead"]), torch.from_numpy(run.model["base_shift"])
    # base.cif has three decimals
    torch.testing.assert_close(bead, base.position + moved, atol=2e-3, rtol=0)
    assert off(base, bead, truth.position) < 0.7 * off(base, base.position, truth.position)
    residues = (run.folder / "residues.csv").read_text().splitlines()
    assert residues[0].split(",")[-1] == "base_correction" and float(residues[1].split(",")[-1]) > 0


def test_atoms_stand_about_their_corrected_beads(run):
    """The centre of a residue's atoms is its bead, in every particle, whatever the base model's
    correction.
    """
    beads = run.bead_model
    number = torch.from_numpy(beads.bead_of_atom)
    base = run.structure.position
    mass = torch.from_numpy(run.structure.element).float()
    weight = mass / torch.zeros(len(beads)).index_add_(0, number, mass)[number]
    for conformation, bead in (
        (base, beads.position),
        *zip(run.atoms([0, 7]), run.beads([0, 7]), strict=True),
    ):
        centre = torch.zeros(len(beads), 3).index_add_(0, number, weight[:, None] * conformation)
        torch.testing.assert_close(centre, bead, atol=0.01, rtol=0)


def test_half_sets_motions_are_read_as_they_were(run, particles):
    """They were fitted before the base model was corrected: every point of a segment goes where
    they took it.
    """
    model = {name: torch.from_numpy(array) for name, array in run.model.items()}
    latent, half = half_latents(run, particles[1]), half_of_particle(particles[1])
    point = torch.tensor([[10.0, -20.0, 30.0]])
    centroid, radius = centres(model["bead"] - model["base_shift"], model["weight"])
    for number, name in enumerate(HALVES, 1):
        own = screw_motion(
            *twists(load_state(run.folder / name).latent, free=model["free"], radius=radius)
        )
        for alone in torch.eye(2).split(1):
            torch.testing.assert_close(
                motion_of(run, latent[half == number]).apply(
                    point, model["centroid"], weight=alone
                ),
                own.apply(point, centroid, weight=alone),
                atol=2e-3,
                rtol=0,
            )


def test_a_stopped_fit_goes_on_with_the_same_base_model(run, particles, tmp_path):
    structure, stack = particles
    settings = {"segments": 2, "resolution": 9.0}
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (path.name for path in run.folder.iterdir()):
        if name not in (CHECKPOINT, SUMMARY):
            (folder / name).write_bytes((run.folder / name).read_bytes())
    before = (folder / CORRECTION).stat().st_mtime_ns
    again = fit(bent(structure), stack, folder, resume=True, **settings)
    assert (folder / CORRECTION).stat().st_mtime_ns == before
    assert (again.latent == run.latent).all() and (again.model["bead"] == run.model["bead"]).all()


def test_a_base_model_is_kept_on_request(run, particles, tmp_path):
    structure, stack = particles
    kept = fit(bent(structure), stack, tmp_path / "run", segments=2, resolution=9.0, keep_base=True)
    assert "base_correction" not in kept.summary and "base_shift" not in kept.model
    assert not (kept.folder / CORRECTION).exists()
    truth = coarse_grain(structure)
    assert off(truth, torch.from_numpy(kept.model["bead"]), truth.position) > 0.9

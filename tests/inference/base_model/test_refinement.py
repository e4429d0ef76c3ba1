"""One structure for all images: what is right stays, what is wrong comes nearer, and half-sets tell
how firmly to hold.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn import read_particles, read_structure, simulate_particles
from atomdrgn.errors import InputError, OutputExistsError
from atomdrgn.inference.base_model.bead_error import bead_error, evidence_left
from atomdrgn.inference.base_model.curvature import image_curvature
from atomdrgn.inference.base_model.refinement import Trial, choose, cross_validate, refine
from atomdrgn.inference.base_model.shared_beads import (
    Look,
    SharedBeads,
    calibrate,
    refine_shared_beads,
    still,
)
from atomdrgn.inference.images.fourier_images import FourierImages
from atomdrgn.likelihood.restraints.chain_restraints import make_chain_restraints
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.projection.bead_transform import bead_transform
from atomdrgn.physics.rotations import matrix_from_quaternion
from atomdrgn.structure.beads import coarse_grain
from molecules import helix, write_pdb

GRID = ImageGrid(32, 3.0)


def generator():
    return torch.Generator().manual_seed(0)


class Set:
    """Images of four short helices at one signal-to-noise ratio."""

    def __init__(self, folder, *, snr, count=120):
        helices = [
            helix("A", 14, first=14 * k + 1, start=(11.0 * (k % 2), 11.0 * (k // 2), -10))
            for k in range(4)
        ]
        structure = read_structure(write_pdb(folder / "model.pdb", sum(helices, [])))
        self.structure = structure.moved(structure.position - structure.position.mean(0))
        star = simulate_particles(
            self.structure,
            self.structure.position.expand(count, -1, -1),
            folder,
            grid=GRID,
            snr=snr,
            generator=generator(),
        )
        self.stack = read_particles(star)

    def bent(self, size):
        """A smooth error of about `size` A at the ends, none in the middle."""
        x = self.structure.position
        wave = torch.stack(
            [torch.sin(x[:, 2] / 8), torch.cos(x[:, 0] / 8), torch.sin(x[:, 1] / 8)], 1
        )
        return self.structure.moved(x + size * (wave - wave.mean(0)))

    def problem(self, structure, *, resolution=8.0):
        images = FourierImages(self.stack, resolution)
        images.load()
        return SharedBeads(
            images, torch.arange(len(self.stack)), coarse_grain(structure, beads=2), still(images)
        )

    def off(self, structure):
        trace = torch.from_numpy(structure.atom_name == "CA")
        return float(
            (structure.position - self.structure.position)[trace].square().sum(1).mean().sqrt()
        )


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The matrices are tiny here: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    return Set(tmp_path_factory.mktemp("clear"), snr=20.0)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return Set(tmp_path_factory.mktemp("noisy"), snr=0.01)


def test_what_is_right_stays(clear, tmp_path):
    found = refine(clear.structure, clear.stack, tmp_path / "refined", weight=1.0, resolution=8.0)
    assert clear.off(found.structure) < 0.4 and found.summary["displacement_rms"] < 0.4
    assert found.summary["amplitude"] == pytest.approx(1.0, abs=0.03)


def test_a_smooth_error_shrinks_and_the_likelihood_grows(clear, tmp_path):
    bent = clear.bent(3.0)
    found = refine(bent, clear.stack, tmp_path / "refined", weight=1.0, resolution=8.0)
    assert clear.off(found.structure) < 0.35 * clear.off(bent)
    assert found.summary["log_likelihood_after"] > found.summary["log_likelihood_before"]


def test_width_and_amplitude_are_found_where_positions_are_right(clear):
    problem = clear.problem(clear.structure)
    truth = calibrate(problem, problem.beads.position, Look(), problem.images.disc, generator())
    wrong = replace(
        problem,
        beads=replace(
            problem.beads,
            amplitude=3 * problem.beads.amplitude,
            sigma=(problem.beads.sigma**2 + 6.0).sqrt(),
        ),
    )
    found = calibrate(wrong, problem.beads.position, Look(), problem.images.disc, generator())
    assert 3 * found.amplitude == pytest.approx(truth.amplitude, rel=0.01)
    assert found.width2 + 6.0 == pytest.approx(truth.width2, abs=0.2)


@pytest.mark.seconds
def test_the_same_seed_gives_the_same_bits(clear):
    bent = clear.bent(2.0)
    problem = clear.problem(bent, resolution=20.0)
    restraints, error = (
        make_chain_restraints(problem.beads),
        torch.zeros(len(problem.images.disc.shell.unique())),
    )
    first, second = (
        refine_shared_beads(problem, restraints=restraints, weight=1.0, error=error, seed=3)
        for _ in range(2)
    )
    assert torch.equal(first.position, second.position) and first.look.width2 == second.look.width2


@pytest.mark.seconds
def test_shared_positions_under_known_motion_are_those_without(clear):
    """Each image's beads turned about x by an angle of its own and its pose turned back: the same
    images, the same base.
    """
    problem = clear.problem(clear.bent(2.0), resolution=20.0)
    angle = torch.rand(len(clear.stack), generator=generator())
    turn = matrix_from_quaternion(
        torch.stack([(angle / 2).cos(), (angle / 2).sin(), *torch.zeros(2, len(angle))], 1)
    )
    stack = clear.stack
    images = FourierImages(
        replace(
            stack, pose=replace(stack.pose, rotation=stack.pose.rotation @ turn.transpose(1, 2))
        ),
        20.0,
    )
    images.load()
    pose = images.stack.pose
    moving = replace(
        problem,
        images=images,
        place=lambda position, image: pose[image].apply(position @ turn[image].transpose(1, 2)),
    )
    restraints, error = (
        make_chain_restraints(problem.beads),
        torch.zeros(len(problem.images.disc.shell.unique())),
    )
    unmoved, moved = (
        refine_shared_beads(each, restraints=restraints, weight=1.0, error=error)
        for each in (problem, moving)
    )
    torch.testing.assert_close(unmoved.position, moved.position, atol=0.05, rtol=0)


@pytest.mark.seconds
def test_cross_validation_prefers_restraints_where_images_are_noisy(noisy):
    problem = noisy.problem(noisy.bent(1.0), resolution=12.0)
    halves = [torch.nonzero(noisy.stack.half == half)[:, 0] for half in (1, 2)]
    error = torch.zeros(int(problem.images.disc.shell.max()) + 1)
    trials = cross_validate(
        problem,
        *halves,
        restraints=make_chain_restraints(problem.beads),
        error=error,
        weights=(0.001, 1.0),
    )
    assert trials[1].total > trials[0].total and choose(trials).weight == 1.0


def test_the_firmest_weight_that_is_no_worse_is_chosen():
    best, same, worse = (
        Trial(weight, torch.tensor(values))
        for weight, values in (
            (1.0, [3.0, 1.0, 2.0, 4.0]),
            (10.0, [2.0, 2.0, 3.0, 2.5]),
            (100.0, [1.0, -1.0, 0.0, 2.0]),
        )
    )
    assert choose([best, same, worse]).weight == 10.0


def test_curvature_is_the_mean_over_directions():
    position, amplitude = 4 * torch.randn(5, 3, generator=generator()), torch.full((5,), 50.0)
    sigma, disc = torch.full((5,), 2.0), make_disc(GRID, 9.0)
    turns = matrix_from_quaternion(torch.randn(1500, 4, generator=generator()))

    def image(place):
        seen = place @ turns.transpose(1, 2)
        return bead_transform(
            seen, sigma, disc, weight=amplitude.expand(len(turns), -1)[..., None]
        ).double()

    step, slopes = 0.02, []
    for bead, axis in ((0, 0), (0, 1), (3, 0)):
        shift = torch.zeros(5, 3)
        shift[bead, axis] = step
        slopes.append((image(position + shift) - image(position - shift)) / (2 * step))
    slope = torch.stack(slopes).flatten(1)
    power = torch.bincount(disc.shell).float() * len(turns)
    made = image_curvature(position, amplitude, sigma, weight=power, grid=GRID)[[0, 1, 9]][
        :, [0, 1, 9]
    ]
    expected = slope @ slope.T
    torch.testing.assert_close(made, expected, rtol=0, atol=0.08 * float(expected.max()))


def test_what_beads_cannot_show_is_counted_once(clear):
    beads, disc = coarse_grain(clear.structure, beads=2), make_disc(GRID, 8.0)
    error = bead_error(clear.structure, beads, disc, generator())
    assert (error[1:] > error[0]).all()  # at low resolution beads and atoms are the same
    few, many = (
        evidence_left(error, torch.full_like(error, images), beads=beads, grid=GRID)
        for images in (1e-6, 1e9)
    )
    assert (few > 0.999).all() and (many < 0.01).all()


@pytest.mark.seconds
def test_the_folder_holds_what_it_says(clear, tmp_path):
    out = tmp_path / "made" / "refined"
    found = refine(clear.bent(1.0), clear.stack, out, resolution=20.0, origin=(10.0, 0.0, -5.0))
    assert {path.name for path in out.iterdir()} == {
        "refined.cif",
        "refined.pdb",
        "residues.csv",
        "weights.csv",
        "summary.json",
    }
    summary = json.loads((out / "summary.json").read_text())
    assert (
        summary == json.loads(json.dumps(found.summary))
        and summary["refine"]["weight_chosen_by"] == "cross-validation"
    )
    assert [row["weight"] for row in summary["cross_validation"]] == [1.0, 10.0, 100.0]
    written = read_structure(out / "refined.pdb").position
    np.testing.assert_allclose(written, read_structure(out / "refined.cif").position, atol=2e-3)
    assert (
        float(
            (written - clear.structure.position - torch.tensor([10.0, 0.0, -5.0]))
            .norm(dim=1)
            .mean()
        )
        < 3
    )
    header, *rows = (out / "residues.csv").read_text().splitlines()
    assert header == "chain,residue,icode,name,dx,dy,dz,displacement" and len(rows) == 56
    with pytest.raises(OutputExistsError, match="--overwrite"):
        refine(clear.structure, clear.stack, out, weight=1.0)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="notes.txt"):
        refine(clear.structure, clear.stack, out, weight=1.0, overwrite=True)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_bad_weight_is_refused(clear, tmp_path, weight):
    with pytest.raises(InputError, match="restraint weight"):
        refine(clear.structure, clear.stack, tmp_path / "refined", weight=weight)
    assert not (tmp_path / "refined").exists()


def test_one_half_set_chooses_no_weight(clear, tmp_path):
    with pytest.raises(InputError, match="--restraint-weight"):
        refine(clear.structure, clear.stack[clear.stack.half == 1], tmp_path / "refined")

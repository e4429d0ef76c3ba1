"""Corrections of poses: what they are, that they are found, kept and put together, and that nothing
is different without them.
"""

import csv
import math
from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.fit import fit
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.pose_corrections import (
    COARSEST,
    PoseCorrections,
    no_corrections,
    prior_sd,
)
from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.problem.fit_state import load_state, save_state
from atomdrgn.inference.problem.half_sets import half_sets, join
from atomdrgn.inference.problem.misfit import misfits
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_euler, matrix_from_vector, vector_from_matrix
from atomdrgn.runs.run import POSES

pytestmark = pytest.mark.seconds

UNIT = torch.tensor([1.0, 1.0] + [math.radians(1)] * 3)  # A and degrees


def errors_between(pose, true):
    """(image, 5): shift (A) and rotation vector (degrees) from the one to the other in the camera's
    frame.
    """
    return torch.cat(
        [pose.shift - true.shift, vector_from_matrix(pose.rotation @ true.rotation.mT) / UNIT[2:]],
        1,
    )


@pytest.fixture(scope="module")
def disturbed(hinged):
    """The small set with poses that are off by a degree and an A about each axis."""
    structure, particles, _ = hinged
    error = UNIT * torch.randn(150, 5, generator=torch.Generator().manual_seed(1))
    pose = PoseCorrections(error, error).correct(particles.pose, torch.arange(150))
    return structure, replace(particles, pose=pose), particles.pose


def assembled(structure, particles, **more):
    model = assemble(structure, particles, FitOptions(segments=2, resolution=14.0, **more))
    model.images.load()
    return model, first_state(model)


@pytest.fixture(scope="module")
def corrected(disturbed):
    """Model and state after some passes; the motion is found before poses are touched."""
    model, state = assembled(*disturbed[:2], refine_poses=True)
    for resolution in (50.0, 40.0, 30.0, 24.0, 14.0, 14.0):
        assert (state.poses is None) == (resolution > COARSEST or state.step == 4)
        state, _ = run_pass(
            model,
            state,
            model.images.disc.coarser(resolution),
            last=False,
        )
    return model, state


def test_a_correction_is_a_turn_and_a_shift_after_the_pose_of_the_file():
    pose = Pose(
        matrix_from_vector(torch.randn(4, 3, generator=torch.Generator().manual_seed(0))),
        torch.ones(4, 2),
    )
    same = no_corrections(4, prior_sd(unknown=False)).correct(pose, torch.arange(4))
    assert torch.equal(same.shift, pose.shift)
    torch.testing.assert_close(same.rotation, pose.rotation)
    value = torch.zeros(4, 5)
    value[:, 1], value[:, 4] = 3.0, math.pi / 2
    moved = PoseCorrections(value, value).correct(pose[:2], torch.arange(2))
    before, after = (
        each.turned(torch.tensor([1.0, 2.0, 3.0])[None])[:, 0] for each in (pose[:2], moved)
    )
    torch.testing.assert_close(after, torch.stack([-before[:, 1], before[:, 0], before[:, 2]], 1))
    torch.testing.assert_close(moved.shift, torch.tensor([[1.0, 4.0]] * 2))


def test_what_an_image_determines_is_between_none_and_five_numbers():
    known = prior_sd(unknown=False)
    blank = no_corrections(3, known)
    assert (blank.freedom(known).abs() < 1e-5).all()
    assert (replace(blank, sd=torch.zeros(3, 5)).freedom(known) == 5).all()


def test_corrections_lead_to_the_true_poses_as_well_as_they_say(corrected, disturbed):
    model, state = corrected
    _, particles, true = disturbed
    before, after = (
        errors_between(particles.pose, true),
        errors_between(model.pose(state, torch.arange(150)), true),
    )
    for part in (slice(0, 2), slice(2, 5)):
        assert after[:, part].square().mean() < 0.8 * before[:, part].square().mean()
    standardised = after / (state.poses.sd / UNIT)
    assert 0.6 < standardised[:, :2].std() < 1.7 and 0.6 < standardised[:, 2:].std() < 1.7


def test_the_motion_is_found_with_the_poses(corrected, hinged):
    _, state = corrected
    angle = hinged[2]
    place = state.latent @ torch.linalg.svd(state.latent - state.latent.mean(0)).Vh[0]
    assert torch.corrcoef(torch.stack([place, angle]))[0, 1].abs() > 0.97


def test_a_misfit_is_at_the_likeliest_pose(corrected):
    """The pose of the file, where the prior has nothing against it, does worse; and it matters
    little where the step starts.
    """
    model, state = corrected
    disc = model.images.disc
    least, of_file, again = (
        misfits(model, replace(state, poses=poses), disc, [state.latent])[0][0]
        for poses in (state.poses, None, replace(state.poses, value=0.5 * state.poses.value))
    )
    assert (least < of_file).float().mean() > 0.95 and (of_file - least).mean() > 5
    assert (again - least).abs().median() < 0.1 * (of_file - least).mean()


def test_without_corrections_the_state_holds_none_and_poses_are_those_of_the_file(hinged, tmp_path):
    model, state = assembled(*hinged[:2])
    assert state.poses is None and torch.equal(
        model.pose(state, torch.arange(150)).rotation, hinged[1].pose.rotation
    )
    save_state(state, tmp_path / "state")
    assert load_state(tmp_path / "state").poses is None


def test_corrections_are_kept_in_the_checkpoint(corrected, tmp_path):
    state = corrected[1]
    save_state(state, tmp_path / "state")
    poses = load_state(tmp_path / "state").poses
    assert torch.equal(poses.value, state.poses.value) and torch.equal(poses.sd, state.poses.sd)


def test_half_sets_are_put_together_with_their_corrections(disturbed):
    model, _ = assembled(*disturbed[:2], refine_poses=True)
    halves = half_sets(model)
    states = []
    for number, half in enumerate(halves):
        value = torch.randn(len(half.image), 5, generator=torch.Generator().manual_seed(number))
        states.append(replace(first_state(half.model), poses=PoseCorrections(value, value.abs())))
    poses = join(model, halves, states, step=3).poses
    for half, state in zip(halves, states, strict=True):
        assert torch.equal(poses.value[half.image], state.poses.value) and torch.equal(
            poses.sd[half.image], state.poses.sd
        )


def test_a_run_says_what_it_has_corrected(disturbed, tmp_path):
    """On disk, image by image."""
    structure, particles, _ = disturbed
    some = particles.of_particles(range(40))
    run = fit(structure, some, tmp_path / "run", segments=2, resolution=20.0, refine_poses=True)
    with open(run.folder / POSES) as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == some.row.tolist()
    poses = load_state(run.folder / "checkpoint.safetensors").poses

    def columns(*names):
        return torch.tensor([[float(row[name]) for name in names] for row in rows])

    axes = ("shift_x", "shift_y", "turn_x", "turn_y", "turn_z")
    torch.testing.assert_close(columns(*axes) * UNIT, poses.value, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        columns(*(f"sd_{axis}" for axis in axes)) * UNIT, poses.sd, atol=1e-3, rtol=1e-3
    )
    written = Pose(
        matrix_from_euler(torch.deg2rad(columns("rot", "tilt", "psi"))),
        -columns("origin_x", "origin_y"),
    )
    expected = poses.correct(some.pose, torch.arange(40))
    torch.testing.assert_close(written.rotation, expected.rotation, atol=1e-4, rtol=0)
    torch.testing.assert_close(written.shift, expected.shift, atol=1e-3, rtol=0)
    said = run.summary["pose_correction"]
    assert said["shift"] == pytest.approx(
        float(poses.value[:, :2].square().mean().sqrt()), abs=1e-3
    )

"""Errors of the poses are told from motion, and what they take from the images' information widens
what is believed.
"""

import math
from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.posterior.pose_errors import MOST_LOST, Play, play_of_poses
from atomdrgn.inference.problem.principal_motions import motions_of
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.motion.surface import straight_surface


def test_what_errors_of_poses_take_widens_what_is_believed():
    """One motion: precision 4, of which 3 is lost, leaves 1. However much is lost, some is left."""
    loss = torch.tensor([0.0, 3.0, 100.0]).view(3, 1, 1)
    wide = Play(0.0, 0.0, torch.zeros(3, 6), loss).widened(torch.full((3, 1, 1), 0.5))
    torch.testing.assert_close(
        wide.flatten(), torch.tensor([0.5, 1.0, 0.5 / (1 - MOST_LOST) ** 0.5])
    )


def test_widening_takes_precision_away_in_several_directions():
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(torch.eye(3) + 0.5)[None]
    some = torch.randn(1, 3, 2, generator=generator)
    loss = 0.02 * some @ some.mT
    wide = Play(0.0, 0.0, torch.zeros(1, 6), loss).widened(root)
    torch.testing.assert_close(
        torch.linalg.inv(wide @ wide.mT),
        torch.linalg.inv(root @ root.mT) - loss,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.fixture(scope="module")
def moved(hinged):
    """A function: a fit by linear steps of the particles of the hinge, whose poses are off by so
    much, by shift (A) and turn (degrees); the poses; and how far in the camera's x and y each bead
    stands from where its pose puts it (A).
    """

    def call(shift, turn):
        structure, particles, _ = hinged
        generator, n = torch.Generator().manual_seed(0), len(particles)
        true = particles.pose
        turned = true.rotation @ matrix_from_vector(
            math.radians(turn) * torch.randn(n, 3, generator=generator)
        )
        pose = Pose(turned, true.shift + shift * torch.randn(n, 2, generator=generator))
        model = assemble(
            structure, replace(particles, pose=pose), FitOptions(segments=2, resolution=9.0)
        )
        model.images.load()
        state = first_state(model)
        for number, resolution in enumerate((40.0, 25.0, 15.0, 9.0)):
            state, _ = run_pass(
                model,
                state,
                model.images.disc.coarser(resolution),
                last=number == 3,
            )
        off = true.apply(model.beads.position) - pose.apply(model.beads.position)
        return model, state, pose, off[..., :2]

    return call


def play_of(model, state):
    motions = motions_of(model, state.population).first(1)
    surface = straight_surface(motions.mean, motions.direction, motions.variance.sqrt())
    place = motions.place(state.latent)
    return play_of_poses(
        model, state, surface, place, state.latent - surface(place), model.images.disc
    )


def test_poses_that_are_right_cost_nothing(moved):
    model, state, *_ = moved(0.0, 0.0)
    play = play_of(model, state)
    assert play.shift == play.turn == 0 and not play.loss.any() and not play.offset.any()


@pytest.mark.seconds
@pytest.mark.parametrize(("shift", "turn"), [(2.0, 0.0), (0.0, 3.0), (2.0, 3.0)])
def test_errors_of_poses_are_told_from_motion(moved, shift, turn):
    model, state, pose, off = moved(shift, turn)
    play = play_of(model, state)
    assert abs(play.shift - shift) < 0.5 and abs(math.degrees(play.turn) - turn) < 1.5
    assert (play.loss > 0).all()
    moves = model.deformation.bead_jacobian(state.population.mean, torch.arange(len(model.beads)))
    found = pose.turned(torch.einsum("bxl,pl->pbx", moves, play.offset))[..., :2]
    assert (found - off).square().mean() < 0.25 * off.square().mean()


def test_a_part_that_is_fixed_leaves_no_play(hinged):
    model = assemble(*hinged[:2], FitOptions(segments=2, fixed="A", resolution=25.0))
    model.images.load()
    play = play_of(model, first_state(model))
    assert (
        not play.loss.any() and not play.offset.any() and len(play.loss) == len(play.offset) == 150
    )

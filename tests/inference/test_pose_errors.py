"""Errors of the poses are told from motion, and what they take from the images' information widens what is believed."""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.calibration import calibrate
from atomdrgn.inference.motions import motions_of
from atomdrgn.inference.population import Population
from atomdrgn.inference.pose_errors import MOST_LOST, Play, play_of_poses
from atomdrgn.reporting import Reporter


def test_what_errors_of_poses_take_widens_what_is_believed():
    """One motion: precision 4, of which 3 is lost, leaves 1. However much is lost, some is left."""
    loss = torch.tensor([0.0, 3.0, 100.0]).view(3, 1, 1)
    wide = Play(torch.zeros(3, 6), loss).widened(torch.full((3, 1, 1), 0.5))
    torch.testing.assert_close(wide.flatten(), torch.tensor([0.5, 1.0, 0.5 / (1 - MOST_LOST) ** 0.5]))


def test_widening_takes_precision_away_in_several_directions():
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(torch.eye(3) + 0.5)[None]
    some = torch.randn(1, 3, 2, generator=generator)
    loss = 0.02 * some @ some.mT
    wide = Play(torch.zeros(1, 6), loss).widened(root)
    torch.testing.assert_close(torch.linalg.inv(wide @ wide.mT), torch.linalg.inv(root @ root.mT) - loss, rtol=1e-4, atol=1e-5)


@pytest.fixture
def astray(begin):
    """A function: a model and a state whose particles are turned and shifted as wholes by so much (A), besides a motion."""
    def call(whole_sd):
        model, state = begin(20.0)
        state = calibrate(model, state, model.images.disc, torch.Generator().manual_seed(0))
        n = model.n_particles
        motion = motions_of(model, state.population).first(1)
        _, whole, _ = model.deformation.whole_and_shape(model.beads.trace_index, torch.zeros(model.deformation.n_latent))
        generator = torch.Generator().manual_seed(0)
        step = whole_sd * torch.randn(n, 6, generator=generator) * torch.tensor([1, 1, 1, 0.02, 0.02, 0.02])
        root = torch.cat([3 * motion.direction, whole_sd * whole.float() * torch.tensor([1, 1, 1, 0.02, 0.02, 0.02])], 1)
        square = torch.zeros_like(state.population.root)
        square[:, :root.shape[1]] = root
        state = replace(state, population=Population(state.population.mean, square + 1e-4 * torch.eye(len(square))))
        along = motions_of(model, state.population).first(1)
        place = 3 * torch.randn(n, 1, generator=generator)
        offset = step @ whole.float().T
        return model, replace(state, latent=place @ along.direction.T + offset), along, offset

    return call


def test_errors_of_poses_are_told_from_motion(astray):
    model, state, motions, offset = astray(1.0)
    play = play_of_poses(model, state, motions, model.images.disc, Reporter())
    moved = model.deformation.bead_jacobian(torch.zeros(offset.shape[1]), model.beads.trace_index)
    found, made = (torch.einsum("bxl,pl->pbx", moved, each) for each in (play.offset, offset))
    assert (found - made).square().mean().sqrt() < 0.02 * made.square().mean().sqrt()


def test_poses_that_are_right_cost_nothing(astray):
    """What is lost grows with the errors of the poses, from next to nothing."""
    lost = []
    for whole_sd in (0.001, 1.0, 3.0):
        model, state, motions, _ = astray(whole_sd)
        lost.append(play_of_poses(model, state, motions, model.images.disc, Reporter()).loss.flatten())
    assert (lost[0] >= 0).all() and lost[0].mean() < 1e-3 * lost[1].mean() < 1e-3 * lost[2].mean()

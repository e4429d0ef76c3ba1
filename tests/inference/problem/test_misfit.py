"""Poses follow the conformations that are looked at, where nothing is known of them."""

from dataclasses import replace

import torch

from atomdrgn.inference.population.pose_corrections import no_corrections
from atomdrgn.inference.problem.calibration import calibrate
from atomdrgn.inference.problem.misfit import misfits, with_poses_at


def test_poses_are_those_of_the_conformations_where_they_are_integrated_out(begin):
    model, state = begin(12.0)
    disc = model.images.disc
    state = calibrate(model, state, disc, torch.Generator().manual_seed(0))
    elsewhere = state.latent + torch.randn(
        state.latent.shape, generator=torch.Generator().manual_seed(1)
    )
    assert with_poses_at(model, state, elsewhere) is state
    model = replace(model, unknown_poses=True)
    assert with_poses_at(model, state, elsewhere) is state  # none have been looked for
    poses = no_corrections(len(model.images), model.pose_prior_sd)
    begun = replace(state, poses=poses)
    found = with_poses_at(model, begun, elsewhere)
    assert torch.equal(found.latent, begun.latent)
    fixed = replace(model, unknown_poses=False, refine_poses=True)
    before, after = (misfits(fixed, each, disc, [elsewhere])[0][0] for each in (begun, found))
    assert float((after < before + 1e-2 * before.abs()).float().mean()) > 0.9
    assert float(after.sum()) < float(before.sum())

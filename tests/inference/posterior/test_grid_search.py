from dataclasses import replace

import torch

from atomdrgn.inference.posterior.gauss_newton_pass import run_pass
from atomdrgn.inference.posterior.grid_search import look_widely
from atomdrgn.inference.problem.calibration import calibrate


def test_particles_that_went_astray_are_brought_back(begin):
    """A fit is half done; some particles are put at the far end of the leading motion; the search
    finds their places again.
    """
    model, state = begin(15.0)
    disc = model.images.disc
    for resolution in (40.0, 30.0, 20.0, 15.0):
        state, _ = run_pass(
            model,
            state,
            disc.coarser(resolution),
            last=resolution == 15.0,
        )
    state = calibrate(model, state, disc, torch.Generator().manual_seed(0))
    value, vector = torch.linalg.eigh(state.population.covariance)
    lost = torch.zeros(150, dtype=torch.bool)
    lost[::10] = True
    along = (state.latent - state.population.mean) @ vector[:, -1]
    # to the other side, by more than a standard deviation
    elsewhere = state.latent - (along + along.sign() * value[-1].sqrt())[:, None] * vector[:, -1]
    astray = replace(state, latent=torch.where(lost[:, None], elsewhere, state.latent))
    found, moved = look_widely(model, astray, disc)
    distance = (found.latent - state.latent) @ vector[:, -1]
    before = (astray.latent - state.latent) @ vector[:, -1]
    assert distance[lost].abs().mean() < 0.35 * before[lost].abs().mean()
    assert moved >= 0.8 * lost.sum()
    assert (distance[~lost].abs() < 1e-6).float().mean() > 0.9

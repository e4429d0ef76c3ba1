"""The decoder gives particles their own conformations back, whether the run has one or it is laid
through them.
"""

import numpy as np
import pytest
import torch

from atomdrgn import open_run
from atomdrgn.analysis.examination.decoder import decoder_of, draws_of
from atomdrgn.runs.run import write_arrays
from hinged import hinged_run


def positions(run, motion):
    return run.atoms_of(motion).numpy()


@pytest.mark.parametrize("which", ["hinge_run", "flexed_run"])
def test_the_runs_own_decoder_gives_the_particles(which, request):
    run = request.getfixturevalue(which)
    decoder = decoder_of(run)
    assert decoder.fitted
    found = positions(run, decoder(torch.from_numpy(run.latent[:20])))
    np.testing.assert_allclose(found, run.atoms(range(20)).numpy(), atol=1e-3)


def test_latents_in_double_precision_are_taken_as_well(tmp_path, hinge_structure):
    """As amortised fits write them, beside motions in single precision."""
    run = hinged_run(tmp_path, hinge_structure, np.random.default_rng(0).normal(0, 4, 50))
    kept = {
        name: value
        for name, value in run.model.items()
        if not name.startswith("surface") and name not in ("free", "radius")
    }
    write_arrays(run.folder / "model.npz", **kept)
    write_arrays(
        run.folder / "latents.npz",
        latent=run.latent.astype(np.float64),
        latent_sd=run.latent_sd.astype(np.float64),
    )
    double = open_run(run.folder)
    assert double.latent.dtype == np.float64
    found = positions(double, decoder_of(double)(torch.from_numpy(double.latent)))
    np.testing.assert_allclose(found, double.atoms(range(50)).numpy(), atol=0.1)


def test_a_run_without_one_gets_a_surface_through_its_particles(tmp_path, hinge_structure):
    run = hinged_run(tmp_path, hinge_structure, np.random.default_rng(0).normal(0, 4, 200))
    kept = {
        name: value
        for name, value in run.model.items()
        if not name.startswith("surface") and name not in ("free", "radius")
    }
    write_arrays(run.folder / "model.npz", **kept)
    write_arrays(run.folder / "latents.npz", latent=run.latent, latent_sd=run.latent_sd)
    old = open_run(run.folder)
    decoder = decoder_of(old)
    assert not decoder.fitted
    np.testing.assert_allclose(
        positions(old, decoder(torch.from_numpy(old.latent))),
        old.atoms(range(200)).numpy(),
        atol=0.05,
    )
    draws = draws_of(old)
    assert draws.shape[:1] + draws.shape[2:] == (200, 1)
    np.testing.assert_allclose(draws.std(1).mean(), old.latent_sd.mean(), rtol=0.1)


def test_a_run_in_which_nothing_moves_decodes_to_its_structure(still_run):
    motion = decoder_of(still_run)(torch.zeros(3, 0))
    np.testing.assert_allclose(
        positions(still_run, motion), still_run.structure.position.expand(3, -1, -1), atol=1e-4
    )
    assert draws_of(still_run).shape[2] == 0

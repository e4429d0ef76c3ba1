"""A fit is held against the base model that it was given, which stays where it is better."""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference import fit as fit_module
from atomdrgn.inference.findings.base_comparison import (
    AgainstBase,
    against_base,
    at_base,
    conformations_over_base,
    population_over_base,
)
from atomdrgn.inference.fit import fit
from atomdrgn.inference.population.population import Population
from atomdrgn.inference.problem.half_sets import half_sets


@pytest.mark.parametrize(
    ("held_out", "fitted", "worse"), [(2.0, 3.0, False), (-0.1, 3.0, True), (2.0, -4.4, True)]
)
def test_a_fit_is_worse_where_unseen_images_or_its_own_say_so(held_out, fitted, worse):
    assert AgainstBase(held_out, 0.1, fitted).worse is worse


def test_gains_are_means_over_particles():
    found = against_base(torch.tensor([1.0, 3.0, 2.0, 2.0]), torch.tensor([4.0, 6.0]))
    assert (found.held_out, found.fitted) == (2.0, 5.0)
    assert found.error == pytest.approx((2 / 3) ** 0.5 / 2)


@pytest.fixture(scope="module")
def start(begin):
    """A model, and its first state with noise as the images have it."""
    model, state = begin(20.0)
    disc = model.images.disc
    power = model.images.coefficients(torch.arange(len(model.images)), disc).square().mean((0, 1))
    spectrum = power.mean().expand(1, int(disc.shell.max()) + 1).clone()
    root = 1e-3 * torch.eye(model.deformation.n_latent)
    still = Population(torch.zeros(model.deformation.n_latent), root)
    return model, replace(state, spectrum=spectrum, population=still)


def gains_at(start, mean, motions=0):
    """Over the base, of particles at what the other half-set has found: one conformation."""
    model, state = start
    half, _ = half_sets(model)
    own = half.state(replace(state, latent=mean.expand(model.n_particles, -1).contiguous()))
    other = replace(own, population=Population(mean, state.population.root))
    return population_over_base(half, own, other, start=half, begun=other, motions=motions)


def test_the_base_model_is_as_good_as_itself(start):
    gain = gains_at(start, torch.zeros(start[0].deformation.n_latent))
    assert len(gain) == 75 and gain.abs().max() < 1e-3


def test_a_conformation_that_images_do_not_show_is_worse_than_the_base(start):
    """The upper bundle has turned to both sides, and stands 12 A off for none."""
    model = start[0]
    off = torch.zeros(model.deformation.n_latent)
    off[7] = 12.0
    gain = gains_at(start, off)
    assert gain.mean() < 0 and against_base(gain, gain).worse
    latent = off.expand(model.n_particles, -1)
    fitted = conformations_over_base(model, start[1], latent, start=model)
    assert fitted.mean() < 0 and len(fitted) == 150


def test_the_base_has_the_populations_spread_and_no_motion(start):
    model, state = start
    moved = replace(state, latent=torch.ones_like(state.latent))
    found = at_base(model, moved)
    assert not found.latent.any() and not found.population.mean.any()
    assert torch.equal(found.population.root, state.population.root)


@pytest.mark.slow
def test_a_fit_that_is_worse_than_its_base_model_keeps_it(hinged, tmp_path, monkeypatch):
    structure, particles, _ = hinged
    some = particles.of_particles(range(60))
    options = {"segments": 2, "resolution": 20.0}
    found = fit(structure, some, tmp_path / "better", **options)
    said = found.summary["against_base"]
    assert not said["kept_base"] and said["held_out_gain"] > 3 * said["held_out_gain_error"]
    assert said["fitted_gain"] == pytest.approx(found.summary["mean_log_likelihood_gain"], rel=0.3)
    monkeypatch.setattr(fit_module, "against_base", lambda *_: AgainstBase(-1.0, 0.1, -4.4))
    with pytest.warns(UserWarning, match="base.pdb: the fit explains images worse than this base"):
        kept = fit(structure, some, tmp_path / "worse", **options)
    assert kept.summary["motions_supported"] == 0 and kept.latent.shape == (60, 0)
    torch.testing.assert_close(kept.atoms([7])[0], structure.position, atol=1e-3, rtol=0)
    assert kept.summary["against_base"]["kept_base"] and len(kept.summary["warnings"]) == 1
    first = kept.summary["motions_tested"][0]
    assert first["verdict"] == "not supported" and "worse than the base model" in first["why"]
    assert "base_correction" not in kept.summary

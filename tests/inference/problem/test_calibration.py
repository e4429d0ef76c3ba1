import math
from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.problem.calibration import (
    ShellSums,
    calibrate,
    fit_gain,
    fit_gain_by_shell,
)


@pytest.fixture(scope="module")
def begun(begin):
    return begin(9.0)


def generator():
    return torch.Generator().manual_seed(0)


def test_gain_is_found():
    k2 = (torch.arange(1, 21) / 150) ** 2
    power = torch.full((1, 20), 50.0)
    gain = 0.3 * torch.exp(-2 * math.pi**2 * 4.0 * k2)
    one, zero = torch.ones(1, 20), torch.zeros(1, 20)
    sums = ShellSums(
        count=100 * one,
        data2=100 * one,
        prediction_data=gain * power,
        prediction2=power,
        spread=zero,
        spread_count=zero,
    )
    amplitude, width2 = fit_gain(sums, one, k2, smallest_width2=-2.0)
    assert abs(amplitude - 0.3) < 1e-3 and abs(width2 - 4.0) < 0.05


@pytest.mark.parametrize("seen", [-0.3, -0.01, 0.0, 0.01])
def test_where_images_show_nothing_the_amplitude_is_its_own_error(seen):
    """Sums over 20 rings of 50 each: the standard error is 1 / sqrt(1000), whatever the data say
    below that.
    """
    k2, one, zero = (torch.arange(1, 21) / 150) ** 2, torch.ones(1, 20), torch.zeros(1, 20)
    sums = ShellSums(
        count=100 * one,
        data2=100 * one,
        prediction_data=seen * 50 * one,
        prediction2=50 * one,
        spread=zero,
        spread_count=zero,
    )
    amplitude, width2 = fit_gain(sums, one, k2, smallest_width2=-2.0)
    assert math.isclose(amplitude, 1000**-0.5, rel_tol=1e-6) and width2 == 0.0


def test_images_of_no_molecule_leave_scales_that_are_finite(begun):
    """Noise alone, once and again: the amplitude neither vanishes nor runs away."""
    model, state = begun
    kept, scale = model.images.kept, model.images.scale
    try:
        model.images.kept = torch.randn(kept.shape, generator=generator()).half()
        model.images.scale = torch.ones_like(scale)
        for _ in range(6):
            state = calibrate(model, state, model.images.disc, generator())
    finally:
        model.images.kept, model.images.scale = kept, scale
    bright = calibrate(model, begun[1], model.images.disc, generator())
    assert 0 < state.amplitude < 0.2 * bright.amplitude
    assert abs(state.width2) < 60 and torch.isfinite(state.spectrum).all()


def test_images_that_are_brighter_are_brighter_and_nothing_else(begun):
    """Twice the images: twice the amplitude, four times the noise, the same width."""
    model, state = begun
    once = calibrate(
        model,
        calibrate(model, state, model.images.disc, generator()),
        model.images.disc,
        generator(),
    )
    kept = model.images.kept
    try:
        model.images.kept = 2 * kept
        twice = calibrate(
            model,
            calibrate(model, state, model.images.disc, generator()),
            model.images.disc,
            generator(),
        )
    finally:
        model.images.kept = kept
    assert math.isclose(twice.amplitude, 2 * once.amplitude, rel_tol=0.01)
    assert math.isclose(twice.width2, once.width2, abs_tol=0.1)
    torch.testing.assert_close(twice.spectrum, 4 * once.spectrum, rtol=0.01, atol=1e-3)


def test_an_uncertain_conformation_is_not_taken_for_a_brighter_one(begun):
    """The power of what might be there as well counts against the amplitude."""
    model, state = begun
    state = replace(calibrate(model, state, model.images.disc, generator()), step=1)
    n = model.deformation.n_latent
    sure, unsure = (
        calibrate(
            model, replace(state, uncertainty=sd * torch.eye(n)), model.images.disc, generator()
        )
        for sd in (1e-3, 3.0)
    )
    assert unsure.amplitude < sure.amplitude


def test_rings_that_a_filter_has_emptied_say_nothing():
    """Zero but for rounding: the others decide, as if these were not there.

    Without noise rings may be faint and count.
    """
    k2, one = (torch.arange(1, 21) / 150) ** 2, torch.ones(1, 20)
    held = torch.where(torch.arange(20) < 3, 1e-14, 1.0)[None]
    sums = ShellSums(
        count=100 * one,
        data2=100 * held,
        prediction_data=0.3 * 50 * held.sqrt(),
        prediction2=50 * one,
        spread=0 * one,
        spread_count=0 * one,
    )
    noise = sums.noise(sums.gain)
    assert (noise[0, :3] > 1e6 * noise[0, 3:].max()).all()
    amplitude, width2 = fit_gain(sums, noise, k2, smallest_width2=-2.0)
    assert abs(amplitude - 0.3) < 1e-3 and abs(width2) < 0.05
    faint = replace(sums, data2=100 * held.clamp_min(1e-8))
    assert (faint.noise(faint.gain) < 2).all()


def ring_sums(true, *, seed=0):
    """Sums of rings in which images show so much of the beads."""
    n = len(true)
    power = 3e4 * torch.exp(-torch.arange(n) / 5.0)[None]
    noise = torch.randn(1, n, generator=torch.Generator().manual_seed(seed))
    count, none = torch.full((1, n), 1e5), torch.zeros(1, n)
    return ShellSums(count, count, power * true + power.sqrt() * noise, power, none, count)


def test_a_gain_that_one_width_makes_is_left_alone():
    for seed in range(10):
        sums = ring_sums(torch.ones(20), seed=seed)
        assert fit_gain_by_shell(sums, torch.ones(1, 20), torch.ones(20), shells=3.0) is None


@pytest.mark.parametrize("lowest", [0.7, -0.5], ids=["waves", "reversed where it is coarse"])
def test_a_gain_that_no_width_makes_is_found_with_its_error(lowest):
    ring = torch.arange(20.0)
    true = 1 + (lowest - 1) * torch.exp(-((ring / 4) ** 2))
    errors = []
    for seed in range(10):
        sums = ring_sums(true, seed=seed)
        found = fit_gain_by_shell(sums, torch.ones(1, 20), torch.ones(20), shells=3.0)
        errors.append((found.value - true) / found.sd)
        assert (found.value - true).abs().max() < 0.1
    assert 0.6 < float(torch.stack(errors).square().mean().sqrt()) < 1.4

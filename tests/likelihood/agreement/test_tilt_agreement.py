"""A tilt is blamed where its images lack the signal that harder tilts have, and is not where signal
fades or noise hides it.
"""

import pytest
import torch

from atomdrgn.likelihood.agreement.tilt_agreement import ROWS, Fit, by_tilt, standard_errors

ANGLES = torch.tensor([0.0, 3, -3, 6, -6, 9, -9])
DOSE = torch.arange(7.0) * 3


def measured(gain, *, noise=0.1, particles=40, angle=ANGLES, dose=DOSE, expected=1.0, seed=0):
    """Tilts with so much of the expected signal, one image of each particle a tilt."""
    gain = torch.as_tensor(gain, dtype=torch.float)
    generator = torch.Generator().manual_seed(seed)
    signal = expected * (gain + noise * torch.randn(particles, len(gain), generator=generator))
    particle = torch.arange(particles).repeat_interleave(len(gain))
    return by_tilt(
        signal.flatten(),
        torch.full((len(particle),), expected),
        particle=particle,
        angle=angle.repeat(particles),
        dose=dose.repeat(particles),
    )


def test_tilts_are_sorted_by_angle_and_gains_are_those_that_were_put_in():
    gain = [1.0, 0.9, 0.8, 0.7, 0.6, 0.6, 0.5]
    tilts = measured(gain)
    assert len(tilts) == 7 and tilts.least.tolist() == tilts.most.tolist() == [
        -9,
        -6,
        -3,
        0,
        3,
        6,
        9,
    ]
    assert tilts.count.tolist() == [40] * 7 and tilts.dose.tolist() == [18, 12, 6, 0, 3, 9, 15]
    value, error = tilts.gain
    torch.testing.assert_close(
        value,
        torch.tensor([0.5, 0.6, 0.8, 1.0, 0.9, 0.7, 0.6], dtype=torch.float64),
        atol=0.05,
        rtol=0,
    )
    torch.testing.assert_close(
        error, torch.full((7,), 0.1 / 40**0.5, dtype=torch.float64), rtol=0.4, atol=0
    )
    assert tilts.name(0) == "-9" and tilts.name(0, 1) == "-9 to -6"


def test_all_tilts_fit():
    tilts = measured([1.0] * 7)
    assert tilts.fits == [Fit.YES] * 7 and tilts.misfits == []


@pytest.mark.parametrize(
    "bad, says",
    [
        ([0], ["0 deg (dose 0)"]),
        ([1], ["3 deg (dose 3)"]),
        ([0, 1], ["0 to 3 deg (dose 0 to 3)"]),
        ([2, 3], ["-3 deg (dose 6)", "6 deg (dose 9)"]),
    ],
)
def test_tilts_without_signal_are_named(bad, says):
    gain = torch.ones(7)
    gain[bad] = 0
    assert measured(gain).misfits == says


def test_signal_that_fades_with_tilt_and_dose_is_no_fault():
    tilts = measured([1.0, 0.8, 0.8, 0.2, 0.2, 0, 0])
    assert tilts.misfits == [] and Fit.LITTLE in tilts.fits


def test_a_tilt_is_not_blamed_for_less_than_it_can_show():
    """Far out or late by itself: there is no tilt that says what it should have."""
    last = torch.tensor([1.0, 1, 1, 1, 1, 1, 0])
    assert measured(last).misfits == []


def test_noise_hides_everything():
    tilts = measured([0.0] * 7, noise=1.0)
    assert tilts.misfits == [] and Fit.YES not in tilts.fits


@pytest.mark.seconds
def test_false_alarms_are_rare():
    """A thousandth at most, in sets where all tilts are alike and each is barely told."""
    angle = torch.linspace(-60, 60, 41)
    alarms = sum(
        bool(
            measured(
                torch.ones(41), noise=1.0, particles=20, angle=angle, dose=angle.abs(), seed=seed
            ).misfits
        )
        for seed in range(200)
    )
    assert alarms <= 1


@pytest.mark.seconds
def test_false_alarms_are_rare_where_a_tilt_has_few_images():
    """Angles that differ between particles part into tilts of one or two images, whose spread says
    nothing.
    """
    alarms = 0
    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        particle = torch.arange(12).repeat_interleave(21)
        angle = torch.linspace(-54, 54, 21).repeat(12) + torch.randn(252, generator=generator)
        signal = 1 + torch.randn(252, generator=generator)
        tilts = by_tilt(signal, torch.ones(252), particle=particle, angle=angle, dose=angle.abs())
        alarms += bool(tilts.misfits) + bool(tilts.in_groups().misfits)
        single = (tilts.expected != 0).sum(0) == 1
        assert all(
            fit == Fit.UNKNOWN for fit, alone in zip(tilts.fits, single, strict=True) if alone
        )
    assert alarms <= 1


def test_groups_hold_what_their_tilts_hold():
    angle = torch.linspace(-60, 60, 41)
    tilts = measured(torch.ones(41), angle=angle, dose=angle.abs())
    groups = tilts.in_groups()
    assert len(tilts) == 41 and len(groups) == ROWS
    assert groups.count.sum() == tilts.count.sum() and groups.count.max() <= 2 * groups.count.min()
    torch.testing.assert_close(groups.signal.sum(1), tilts.signal.sum(1))
    assert (
        groups.least[0] == -60
        and groups.most[-1] == 60
        and (groups.most[:-1] < groups.least[1:]).all()
    )
    torch.testing.assert_close(
        groups.dose @ groups.count.double(), tilts.dose @ tilts.count.double()
    )


def test_angles_without_a_gap_are_cut():
    angle = torch.linspace(-10, 10, 100)
    tilts = measured(torch.ones(100), particles=3, angle=angle, dose=angle.abs())
    assert 6 <= len(tilts) <= 8 and (tilts.most - tilts.least).max() <= 3


def test_few_particles_need_more():
    assert standard_errors(10**6) == pytest.approx(3, abs=1e-3) and standard_errors(
        10**6, tests=40
    ) == pytest.approx(4, abs=0.1)
    assert standard_errors(5) > 6 and standard_errors(1) == float("inf")

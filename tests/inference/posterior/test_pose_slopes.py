"""Slopes of the likelihood by poses tell poses that were refined on their images from others."""

import math
from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.posterior.pose_slopes import pose_slopes
from atomdrgn.particles.stack.corrections import Corrections
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_vector
from refined_poses import moved


def slopes_of(stack, *, finest=10.0):
    return pose_slopes(stack, torch.unique(stack.particle, return_inverse=True)[1], finest=finest)


def test_of_exact_poses_slopes_are_those_of_noise(still):
    found = slopes_of(still[1])
    for slope in (found.turns, found.shifts, found.turns_in_plane, found.turns_out_of_plane):
        assert abs(slope.ratio - 1) < 4 * slope.ratio_error
        assert abs(slope.agreement) < 4 * slope.agreement_error
    assert 0.5 < found.map_share <= 1
    assert found.particles == len(still[1])


def test_of_refined_poses_they_cancel_between_bands(still_refined):
    """Turns about the long axis of this molecule are hardly told."""
    found = slopes_of(still_refined)
    for slope in (found.turns_out_of_plane, found.shifts):
        assert slope.agreement < -4 * slope.agreement_error
        assert slope.ratio < 1 - 4 * slope.ratio_error


def test_errors_that_do_not_know_the_images_are_seen_in_all_bands(still):
    found = slopes_of(moved(still[1], shift=2.0, turn=4.0))
    for slope in (found.turns, found.shifts):
        assert slope.agreement > 4 * slope.agreement_error


def test_shifts_that_are_off_do_not_hide_that_turns_were_refined(still_refined):
    found = slopes_of(moved(still_refined, shift=1.0, turn=0.0))
    assert found.turns_out_of_plane.agreement < -3 * found.turns_out_of_plane.agreement_error
    assert found.shifts.agreement > 4 * found.shifts.agreement_error


def test_images_of_a_series_share_a_pose(still):
    """What moves a molecule in all its images is seen in all of them; noise is not."""
    particles = still[1]
    row = torch.arange(len(particles)) // 4
    series = replace(particles, particle=row, tilt=torch.arange(len(particles)) % 4)
    exact = slopes_of(series)
    assert exact.turns_in_plane is None
    assert exact.particles == len(particles) // 4
    assert abs(exact.turns.agreement) < 4 * exact.turns.agreement_error
    generator = torch.Generator().manual_seed(1)
    turn = matrix_from_vector(math.radians(4) * torch.randn(len(particles), 3, generator=generator))
    turned = Pose(particles.pose.rotation @ turn[row], particles.pose.shift)
    off = slopes_of(replace(series, pose=turned))
    assert off.turns.agreement > 4 * off.turns.agreement_error


def test_bands_end_at_the_resolution_that_is_asked(still):
    found = slopes_of(still[1], finest=20.0)
    assert [band.finest for band in found.bands] == [40.0, 28.0, 20.0]
    assert slopes_of(still[1], finest=45.0) is None


def test_faulty_pixels_are_filled_in_before_pixels_are_made_larger(still):
    particles = still[1]
    corrections = replace(Corrections.none(len(particles)), faulty=(5,))
    found = slopes_of(replace(particles, corrections=corrections), finest=20.0)
    assert found.turns.ratio == pytest.approx(
        slopes_of(particles, finest=20.0).turns.ratio, rel=0.1
    )


def test_what_a_summary_says_is_rounded_and_whole(still):
    said = slopes_of(still[1]).as_rounded()
    assert set(said) == {
        "particles",
        "map_share",
        "turns",
        "shifts",
        "turns_out_of_plane",
        "turns_in_plane",
        "bands",
    }
    assert said["turns"]["ratio"] == round(said["turns"]["ratio"], 3)

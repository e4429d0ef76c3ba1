"""Tilts are known from poses and cosines, turn to the other side exactly, and images are put in
other orders.
"""

import pytest
import torch

from atomdrgn.likelihood.agreement.tilt_geometry import (
    BY_ANGLE,
    BY_DOSE,
    BY_FALLING_ANGLE,
    REVERSED,
    other_orders,
    shift_along,
    specimen_normal,
    tilt_angles,
    with_other_sign,
    without_tilt,
)
from atomdrgn.particles.stack.image_files import ImageFiles
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_quaternion, matrix_from_vector

ANGLES = [0.0, 3, -3, 20, -20, 41, -50]  # in the order of dose, and not alike to both sides


def tilts(angles, axis=(0.0, 1, 0)):
    return matrix_from_vector(torch.deg2rad(torch.tensor(angles))[:, None] * torch.tensor(axis))


def series(angles=ANGLES, *, particles=3, in_plane=85.0, offset=(0.0, 0, 0)):
    """Rotations of particles (particle, tilt), flattened; of the stage, and of the particles."""
    generator = torch.Generator().manual_seed(2)
    plane = tilts([in_plane], (0.0, 0, 1))[0]
    molecule = matrix_from_quaternion(torch.randn(particles, 4, generator=generator))
    stage = plane @ tilts(angles) @ matrix_from_vector(torch.tensor(offset))
    return (stage @ molecule[:, None]).flatten(0, 1), stage, molecule


def cosines(angles, particles=3):
    return torch.deg2rad(torch.tensor(angles)).cos().repeat(particles)


def whose(count, particles=3):
    return torch.arange(particles).repeat_interleave(count)


def normals(rotation, angles=ANGLES, scale=None):
    zero = torch.zeros(len(rotation), 2)
    return specimen_normal(
        Pose(rotation, zero), cosines(angles) if scale is None else scale, whose(len(angles))
    )


def test_angles_come_back():
    rotation, *_ = series()
    angle = tilt_angles(normals(rotation))
    torch.testing.assert_close(angle, torch.tensor(ANGLES).repeat(3), atol=0.02, rtol=0)
    # the side that is positive is the camera's, whatever program counted it
    back, *_ = series(in_plane=-95.0)
    torch.testing.assert_close(tilt_angles(normals(back)), -angle, atol=0.02, rtol=0)


@pytest.mark.parametrize("angles", [[10.0, 20, 30, 40], [-17.0, -14, 30], [12.0, 50]])
def test_no_image_has_to_be_at_zero_tilt(angles):
    """The cosines say where zero is."""
    rotation, *_ = series(angles)
    angle = tilt_angles(normals(rotation, angles))
    torch.testing.assert_close(angle.abs(), torch.tensor(angles).abs().repeat(3), atol=0.05, rtol=0)


def test_without_cosines_zero_is_in_the_middle():
    angles = [-40.0, -20, 0, 20, 40]
    rotation, *_ = series(angles)
    torch.testing.assert_close(
        tilt_angles(normals(rotation, angles, torch.ones(15))),
        torch.tensor(angles).repeat(3),
        atol=0.02,
        rtol=0,
    )


def test_the_other_sign_and_no_tilt_are_those_of_the_stage():
    rotation, _, molecule = series()
    normal = normals(rotation)
    opposite, *_ = series([-angle for angle in ANGLES])
    torch.testing.assert_close(with_other_sign(rotation, normal), opposite, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        with_other_sign(opposite, normals(opposite)), rotation, atol=1e-3, rtol=0
    )
    level, *_ = series([0.0] * len(ANGLES))
    torch.testing.assert_close(without_tilt(rotation, normal), level, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        torch.linalg.det(with_other_sign(rotation, normal)), torch.ones(21), atol=1e-4, rtol=0
    )


def test_a_small_tilt_about_the_other_axis_stays():
    """RELION 5 has rlnTomoXTilt, the same for all tilts: the other sign is that of rlnTomoYTilt
    alone.
    """
    rotation, *_ = series(offset=(0.05, 0, 0))
    opposite, *_ = series([-angle for angle in ANGLES], offset=(0.05, 0, 0))
    torch.testing.assert_close(
        with_other_sign(rotation, normals(rotation)), opposite, atol=0.01, rtol=0
    )


def test_images_that_are_alike_do_not_change():
    rotation, *_ = series([0.0, 0, 0])
    normal = normals(rotation, [0.0, 0, 0])
    torch.testing.assert_close(with_other_sign(rotation, normal), rotation, atol=1e-5, rtol=0)


def test_shifts_turn_with_the_displacement_that_they_come_of():
    rotation, stage, _ = series()
    opposite, other_stage, _ = series([-angle for angle in ANGLES])
    place = torch.tensor([[3.0, -2, 5], [0, 0, -8], [1, 1, 1]])
    seen, expected = (
        (matrix @ place[:, None, :, None]).flatten(0, 1)[:, :2, 0]
        for matrix in (stage, other_stage)
    )
    torch.testing.assert_close(
        shift_along(Pose(rotation, seen), opposite, whose(7)), expected, atol=1e-3, rtol=0
    )
    assert (seen - expected).abs().max() > 5
    own = torch.zeros(21, 2)
    own[3] = torch.tensor([4.0, -4])  # what one image has alone stays for the most part
    moved = shift_along(Pose(rotation, seen + own), opposite, whose(7)) - expected
    assert (moved[3] - own[3]).norm() < 0.5 * own[3].norm() and moved[7:].abs().max() < 1e-2


def orders(section, particle, *, angle, place):
    section, particle = torch.tensor(section), torch.tensor(particle)
    images = ImageFiles(torch.zeros_like(section), section, torch.ones(len(section)), ())
    found = other_orders(images, particle, angle=torch.tensor(angle), place=torch.tensor(place))
    return {name: image.tolist() for name, image in found.items()}


def test_orders_are_told_within_each_particle():
    """Entries in the order of dose, images in the file likewise."""
    assert orders(
        [10, 11, 12, 4, 5, 6],
        [0, 0, 0, 1, 1, 1],
        angle=[0.0, 3, -3, 0, 3, -3],
        place=[0, 1, 2, 0, 1, 2],
    ) == {
        REVERSED: [2, 1, 0, 5, 4, 3],
        # the first image of the file is that of -3 degrees, which is the third entry
        BY_ANGLE: [1, 2, 0, 4, 5, 3],
        BY_FALLING_ANGLE: [1, 0, 2, 4, 3, 5],
    }


def test_orders_that_are_that_of_the_file_or_alike_are_left_out():
    assert orders([0, 1, 2], [0, 0, 0], angle=[-3.0, 0, 3], place=[2, 0, 1]) == {
        REVERSED: [2, 1, 0],
        BY_DOSE: [2, 0, 1],
    }

import math

import pytest
import torch
from torch.testing import assert_close

from atomdrgn.debiasing.following import (
    HalfMaps,
    follow_motion,
    half_sums,
    make_parts,
    pose_of_segment,
    static_maps,
)
from atomdrgn.debiasing.gain import SECTORS, compare, sectors
from atomdrgn.physics.correlation import fourier_shell_correlation
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.atom_density import density_of_atoms
from atomdrgn.physics.maps.masks import mask_around
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_quaternion, quaternion_from_vector
from atomdrgn.structure.motion.motion import RigidMotion

GRID = ImageGrid(32, 4.0)


def test_the_pose_of_a_segment_shows_it_where_the_base_model_has_it():
    """The camera sees a moved segment as the segment's own pose sees the base model."""
    generator = torch.Generator().manual_seed(1)
    bead, centroid = (
        10 * torch.randn(7, 3, generator=generator),
        5 * torch.randn(2, 3, generator=generator),
    )
    motion = RigidMotion(
        quaternion_from_vector(torch.randn(4, 2, 3, generator=generator)),
        3 * torch.randn(4, 2, 3, generator=generator),
    )
    pose = Pose(
        matrix_from_quaternion(torch.randn(4, 4, generator=generator)),
        torch.randn(4, 2, generator=generator),
    )
    weight = torch.zeros(7, 2)
    weight[:, 1] = 1
    moved = pose.apply(motion.apply(bead, centroid, weight=weight))
    own = pose_of_segment(pose, motion, centroid[1], 1)
    assert_close(own.apply(bead.expand(4, -1, -1))[..., :2], moved[..., :2], atol=1e-4, rtol=1e-4)


def test_shares_add_up_and_each_bead_is_its_segments():
    bead = torch.tensor([[-30.0, 0, 0], [-20, 0, 0], [20, 0, 0], [30, 0, 0]])
    weight = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    parts = make_parts(bead, weight, torch.zeros(2, 3), GRID)
    assert_close(parts.share.sum(0), torch.ones(32, 32, 32))
    assert parts.share[0, 16, 16, 16 - 6] > 0.95 and parts.share[1, 16, 16, 16 + 6] > 0.95
    assert parts.share[0, 16, 16, 16] == pytest.approx(float(parts.share[1, 16, 16, 16]), abs=1e-4)
    assert parts.share[2, 0, 0, 0] > 0.99


@pytest.fixture(scope="module")
def followed(hinged):
    """Static maps and maps that follow the true motion of the hinged set, and the base model's
    density.
    """
    structure, stack, angle = hinged
    upper = torch.from_numpy(structure.chain == "B")
    weight = torch.stack([~upper, upper], 1).float()
    centroid = torch.stack([structure.position[~upper].mean(0), structure.position[upper].mean(0)])
    vector = torch.zeros(150, 2, 3)
    vector[:, 1, 0] = angle
    turn = matrix_from_quaternion(quaternion_from_vector(vector[:, 1]))
    foot = torch.tensor([0.0, -4.0, 15.0])
    shift = torch.zeros(150, 2, 3)
    shift[:, 1] = (turn @ (centroid[1] - foot)) + foot - centroid[1]
    motion = RigidMotion(quaternion_from_vector(vector), shift)
    parts = make_parts(structure.position, weight, centroid, stack.grid)
    spectrum = torch.ones(1, 25)
    truth = density_of_atoms(
        structure.position,
        torch.as_tensor(structure.element).float(),
        1.5,
        box_size=48,
        voxel_size=3.5,
    )
    mask = mask_around(
        structure.position[upper], shape=(48,) * 3, voxel_size=3.5, radius=8.0, edge=10.0
    )
    maps = (
        static_maps(stack, spectrum=spectrum),
        follow_motion(stack, motion[stack.particle], parts, spectrum=spectrum),
    )
    return *maps, truth, mask


def test_the_map_that_follows_shows_the_moving_part(followed):
    static, following, truth, mask = followed
    blurred, sharp = (
        fourier_shell_correlation(maps.whole * mask, truth * mask)[4:16].mean()
        for maps in (static, following)
    )
    assert sharp > blurred + 0.1


def test_the_gain_is_told_beyond_the_resolution(followed):
    static, following, _, mask = followed
    gain = compare("upper", static, following, mask, voxel_size=3.5, resolution=30.0)
    assert gain.significant and gain.gain > 0.05
    nothing = compare("upper", static, static, mask, voxel_size=3.5, resolution=30.0)
    assert nothing.gain == 0 and not nothing.significant
    none_left = compare("upper", static, following, mask, voxel_size=3.5, resolution=7.0)
    assert (
        math.isnan(none_left.gain) and not none_left.significant and none_left.row()["gain"] is None
    )


def test_wrong_motions_are_no_gain(hinged, followed):
    _, stack, _ = hinged
    static, _, _, mask = followed
    generator = torch.Generator().manual_seed(9)
    motion = RigidMotion(
        quaternion_from_vector(0.3 * torch.randn(150, 1, 3, generator=generator)),
        3 * torch.randn(150, 1, 3, generator=generator),
    )
    parts = make_parts(torch.zeros(1, 3), torch.ones(1, 1), torch.zeros(1, 3), stack.grid)
    lost = follow_motion(stack, motion[stack.particle], parts, spectrum=torch.ones(1, 25))
    gain = compare("upper", static, lost, mask, voxel_size=3.5, resolution=30.0)
    assert not gain.significant and gain.gain < 0


def test_no_motion_is_the_static_map(hinged, followed):
    structure, stack, _ = hinged
    still = RigidMotion(torch.tensor([1.0, 0, 0, 0]).expand(150, 1, 4), torch.zeros(150, 1, 3))
    parts = make_parts(
        structure.position,
        torch.ones(len(structure), 1),
        structure.position.mean(0)[None],
        stack.grid,
    )
    same = follow_motion(stack, still[stack.particle], parts, spectrum=torch.ones(1, 25))
    assert_close(same.first, followed[0].first, atol=1e-3 * float(followed[0].first.max()), rtol=0)


def test_sums_in_several_passes_are_those_of_one(hinged, monkeypatch):
    _, stack, _ = hinged
    stack = stack[torch.arange(20)]
    given = {"spectrum": torch.ones(1, 25), "strength": torch.ones(20)}
    together = dict(half_sums(stack, [stack.pose] * 2, **given))
    monkeypatch.setattr("atomdrgn.debiasing.following.SUMS_BYTES", 1)
    for number, sums in half_sums(stack, [stack.pose] * 2, **given):
        assert (sums[0].sums == together[number][0].sums).all()


def test_sectors_are_alike_and_of_both_ends_of_an_axis():
    number = sectors(24)
    counts = torch.bincount(number.flatten(), minlength=SECTORS).double()
    assert counts.min() > 0.5 * counts.mean() and counts.max() < 1.6 * counts.mean()
    assert number[3, 5, 0] == number[-3, -5, 0]


def test_gains_of_independent_noise_scatter_as_their_errors_say():
    generator = torch.Generator().manual_seed(3)
    mask, ratio = torch.ones(24, 24, 24), []
    for _ in range(30):
        maps = [
            HalfMaps(*(torch.randn(24, 24, 24, generator=generator) for _ in range(3)))
            for _ in range(2)
        ]
        gain = compare("noise", *maps, mask, voxel_size=2.0, resolution=12.0)
        ratio.append(gain.gain / gain.error)
    assert 0.6 < torch.tensor(ratio).std() < 1.6

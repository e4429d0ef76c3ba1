"""Images of a density that stands still, against beads that are the same density."""

import math

import pytest
import torch
from torch import Tensor

from atomdrgn.devices import moved
from atomdrgn.errors import InputError
from atomdrgn.physics.disc import make_disc
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.still_density import StillDensity
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.projection.bead_transform import bead_transform
from atomdrgn.physics.rotations import matrix_from_vector
from pretended_device import pretended_device

GRID = ImageGrid(48, 2.0)
DISC = make_disc(GRID, 8.0)
SIGMA = 4.0  # A, of the beads
BEADS = torch.tensor([[0.0, 0.0, 0.0], [12.0, -5.0, 3.0], [-9.0, 14.0, -11.0]])
WEIGHT = torch.tensor([1.0, 2.0, 0.5])


def density(box: int) -> StillDensity:
    """The beads on voxels of the grid's extent."""
    voxel = GRID.extent / box
    along = (torch.arange(box) - box // 2) * voxel
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    distance = (torch.stack([x, y, z], -1)[..., None, :] - BEADS).square().sum(-1)
    bead = WEIGHT * torch.exp(-distance / (2 * SIGMA**2)) / (2 * math.pi * SIGMA**2) ** 1.5
    return StillDensity(bead.sum(-1), voxel)


def poses() -> Pose:
    """Some that are turned and shifted."""
    vector = torch.tensor([[0.0, 0.0, 0.0], [0.3, -1.1, 2.0], [2.5, 0.4, -0.2]])
    return Pose(matrix_from_vector(vector), torch.tensor([[0.0, 0.0], [3.0, -2.0], [-5.5, 1.0]]))


def of_beads(pose: Pose, weight: Tensor | None = None) -> Tensor:
    """Coefficients of the same beads, exactly."""
    plane = pose.apply(BEADS.expand(3, -1, -1))[..., :2]
    weight = WEIGHT.expand(3, -1)[..., None] if weight is None else weight
    return bead_transform(plane, torch.full((3,), SIGMA), DISC, weight=weight)[:, 0]


@pytest.mark.parametrize("box", [48, 30])
def test_images_are_those_of_the_same_beads(box: int) -> None:
    expected = of_beads(poses())[:, 0]
    found = density(box).images(poses(), DISC)
    assert (found - expected).norm() < 2e-2 * expected.norm()


def test_arms_are_those_of_the_same_beads() -> None:
    pose = poses()
    arm = pose.turned(BEADS.expand(3, -1, -1))
    weight = torch.cat([WEIGHT.expand(3, -1)[..., None], WEIGHT[:, None] * arm], 2)
    # products with the arm of a Gaussian are those of its centre, and its own slope
    found, expected = density(48).arms(pose, DISC), of_beads(pose, weight)
    assert (found[:, 0] - expected[:, 0]).norm() < 2e-2 * expected[:, 0].norm()
    slope = 2 * math.pi * SIGMA**2 * torch.stack([expected[:, 0, 1], -expected[:, 0, 0]], 1)
    for axis, k in ((1, DISC.kx), (2, DISC.ky), (3, 0 * DISC.kx)):
        whole = expected[:, axis] + k * slope
        assert (found[:, axis] - whole).norm() < 3e-2 * expected[:, axis].norm()


def test_nothing_beyond_its_own_nyquist_frequency() -> None:
    found = density(12).images(poses(), DISC)
    radius = torch.hypot(DISC.x_index.float(), DISC.y_index.float())
    assert found[..., radius > 6].abs().max() == 0
    assert found[..., radius < 5].abs().min() > 0


def test_times_is_so_much_brighter() -> None:
    still = density(24)
    torch.testing.assert_close(
        still.times(3.0).images(poses(), DISC), 3 * still.images(poses(), DISC)
    )


def test_images_of_another_extent_are_refused() -> None:
    with pytest.raises(InputError, match=r"96\.00 A.*both have to be the same"):
        StillDensity(torch.zeros(16, 16, 16), 6.0).images(
            poses(), make_disc(ImageGrid(48, 3.0), 9.0)
        )


def test_images_on_another_device_are_the_same() -> None:
    still = density(30)
    expected = still.images(poses(), DISC), still.arms(poses(), DISC)
    with pretended_device() as device:
        there, pose, disc = moved((still, poses(), DISC), device)
        found = there.images(pose, disc).cpu(), there.arms(pose, disc).cpu()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))

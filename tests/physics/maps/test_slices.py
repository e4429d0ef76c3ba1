import math

import mrcfile
import numpy as np
import pytest
import starfile
import torch
from torch.testing import assert_close

from atomdrgn.errors import InputError
from atomdrgn.physics.correlation import normalized_cross_correlation
from atomdrgn.physics.grid import ImageGrid
from atomdrgn.physics.maps.slices import project_volume
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.projection.project import project_beads
from atomdrgn.physics.rotations import matrix_from_euler, matrix_from_vector

PIXEL = 1.7


def density(position, grid, sigma):
    """Map of Gaussian beads of unit integral, axes z, y, x."""
    line = grid.coordinates().double()
    x, y, z = (
        torch.exp(-0.5 * ((position[:, axis, None] - line) / sigma) ** 2) for axis in range(3)
    )
    return torch.einsum("nz,ny,nx->zyx", z, y, x) / (2 * math.pi * sigma**2) ** 1.5


def scene(box_size, *, poses=4):
    """Beads, their map, and poses."""
    generator = torch.Generator().manual_seed(4)
    grid = ImageGrid(box_size, PIXEL)
    position = (
        0.1
        * grid.extent
        * torch.randn(30, 3, generator=generator, dtype=torch.float64).clamp(-2, 2)
    )
    rotation = matrix_from_vector(
        2 * torch.randn(poses, 3, generator=generator, dtype=torch.float64)
    )
    pose = Pose(rotation, 4 * torch.randn(poses, 2, generator=generator, dtype=torch.float64))
    return position, density(position, grid, 2 * PIXEL), pose, grid


@pytest.mark.parametrize("box_size", [32, 33])
@pytest.mark.parametrize(("padding", "tolerance"), [(2, 0.02), (3, 0.006)])
def test_a_maps_slice_is_its_beads_projection(box_size, padding, tolerance):
    position, volume, pose, grid = scene(box_size)
    expected = project_beads(
        pose.apply(position), torch.ones(30).double(), torch.full((30,), 2 * PIXEL).double(), grid
    )
    images = project_volume(volume, pose, grid, padding=padding)
    assert_close(images, expected, atol=tolerance * expected.max().item(), rtol=0)
    assert normalized_cross_correlation(images, expected).min() > 0.9999


@pytest.mark.parametrize("box_size", [32, 33])
def test_seen_straight_on_the_image_is_the_sum_along_z(box_size):
    _, volume, _, grid = scene(box_size)
    pose = Pose(torch.eye(3).double(), torch.zeros(2).double())
    expected = PIXEL * volume.sum(0)
    assert_close(
        project_volume(volume, pose, grid), expected, atol=0.02 * expected.max().item(), rtol=0
    )


def test_a_shift_of_whole_pixels_moves_the_image_and_nothing_wraps():
    _, volume, pose, grid = scene(32, poses=1)
    moved = Pose(pose.rotation, pose.shift + PIXEL * torch.tensor([20.0, -3.0]))
    before, after = project_volume(volume, pose, grid), project_volume(volume, moved, grid)
    assert_close(after[:, :-3, 20:], before[:, 3:, :-20], atol=1e-6, rtol=0)
    # the half that the molecule has left stays empty
    assert after[:, :, :10].abs().max() < 0.01 * before.max()


def test_gradients_reach_the_map_and_the_pose():
    _, volume, pose, _ = scene(8, poses=2)
    grid = ImageGrid(8, PIXEL)
    inputs = [tensor.clone().requires_grad_() for tensor in (volume, pose.rotation, pose.shift)]
    assert torch.autograd.gradcheck(
        lambda v, r, s: project_volume(v, Pose(r, s), grid), inputs, fast_mode=True
    )


def test_images_keep_the_poses_batch():
    _, volume, pose, grid = scene(16, poses=6)
    batched = Pose(pose.rotation.reshape(2, 3, 3, 3), pose.shift.reshape(2, 3, 2))
    assert_close(
        project_volume(volume, batched, grid).flatten(0, 1), project_volume(volume, pose, grid)
    )
    assert project_volume(volume, pose[0], grid).shape == (16, 16)
    assert project_volume(volume, pose[:0], grid).shape == (0, 16, 16)


def test_a_map_of_another_box_is_refused():
    _, volume, pose, _ = scene(16)
    with pytest.raises(InputError, match="box of 18"):
        project_volume(volume, pose, ImageGrid(18, PIXEL))


def test_too_little_padding_is_refused():
    _, volume, pose, grid = scene(16)
    with pytest.raises(InputError, match="padding 1"):
        project_volume(volume, pose, grid, padding=1)


class TestRelion:
    """relion_project's images of a 70S ribosome with known poses.

    Its 64-pixel images are of the 65-voxel map cropped in Fourier space to 64 (the same extent):
    the correlation is 0.9996 so, and 0.993 with the first 64 voxels instead.
    """

    @pytest.fixture
    def folder(self, shared):
        return shared / "data" / "particles" / "relion_project_70S"

    @pytest.fixture
    def ribosome(self, folder):
        with mrcfile.open(folder / "clean70SRibosome_vol_65p.mrc", permissive=True) as file:
            return file.data.astype(np.float64)

    @pytest.fixture
    def ribosome_64(self, ribosome):
        coefficient = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(ribosome)))[:64, :64, :64]
        return torch.from_numpy(
            np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(coefficient))).real.copy()
        )

    @staticmethod
    def images_and_pose(folder, name):
        """The images, and their poses from the columns of RELION's table: angles in degrees,
        origins in pixels of 1 A.
        """
        table = starfile.read(folder / f"{name}.star")["particles"]
        angles = table[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)
        origin = table.filter(regex="^rlnOrigin[XY](Angst)?$").iloc[:, :2].to_numpy(float)
        pose = Pose(
            matrix_from_euler(torch.from_numpy(angles).deg2rad()), -torch.from_numpy(origin)
        )
        with mrcfile.open(folder / f"{name}.mrcs") as file:
            return torch.from_numpy(file.data.astype(np.float64)), pose

    def test_slices_are_relions_images(self, folder, ribosome_64):
        images, pose = self.images_and_pose(folder, "rln_proj_64_centered")
        assert not pose.shift.any()
        slices = project_volume(ribosome_64, pose, ImageGrid(64, 1.0))
        assert normalized_cross_correlation(slices, images).min() > 0.999

    def test_shifts_are_minus_relions_origins(self, folder, ribosome_64):
        images, pose = self.images_and_pose(folder, "rln_proj_64_shifted")
        slices = project_volume(ribosome_64, pose, ImageGrid(64, 1.0))
        # RELION moves an image round the box; here the background that leaves it is lost, which
        # costs up to 0.013
        assert normalized_cross_correlation(slices, images).min() > 0.98

    def test_relions_shifts_go_round_the_box(self, folder, ribosome_64):
        images, pose = self.images_and_pose(folder, "rln_proj_64_shifted")
        centered = project_volume(
            ribosome_64, Pose(pose.rotation, torch.zeros_like(pose.shift)), ImageGrid(64, 1.0)
        )
        rolled = torch.stack(
            [
                image.roll((int(y), int(x)), (-2, -1))
                for image, (x, y) in zip(centered, pose.shift, strict=True)
            ]
        )
        assert normalized_cross_correlation(rolled, images).min() > 0.999

    def test_the_mirror_image_is_not(self, folder, ribosome_64):
        images, pose = self.images_and_pose(folder, "rln_proj_64_shifted")
        # about the origin, voxel 32 of 64
        mirrored = project_volume(ribosome_64.flip(0).roll(1, 0), pose, ImageGrid(64, 1.0))
        assert normalized_cross_correlation(mirrored, images).max() < 0.6

    def test_the_transposed_pose_is_not(self, folder, ribosome_64):
        images, pose = self.images_and_pose(folder, "rln_proj_64_shifted")
        transposed = Pose(pose.rotation.transpose(-1, -2), pose.shift)
        slices = project_volume(ribosome_64, transposed, ImageGrid(64, 1.0))
        assert normalized_cross_correlation(slices, images).max() < 0.6

    @pytest.mark.parametrize("sign", [(1, 1), (1, -1), (-1, 1)])
    def test_shifts_of_another_sign_are_not(self, folder, ribosome_64, sign):
        images, pose = self.images_and_pose(folder, "rln_proj_64_shifted")
        wrong = Pose(pose.rotation, -pose.shift * torch.tensor(sign))
        slices = project_volume(ribosome_64, wrong, ImageGrid(64, 1.0))
        assert normalized_cross_correlation(slices, images).max() < 0.6

    def test_odd_boxes_have_their_origin_one_pixel_further(self, folder, ribosome):
        """RELION's 65-pixel images agree only when ours are moved by a pixel in x and y: odd boxes
        have no common convention.
        """
        images, pose = self.images_and_pose(folder, "rln_proj_65_centered")
        slices = project_volume(torch.from_numpy(ribosome), pose, ImageGrid(65, 1.0))
        assert normalized_cross_correlation(slices, images).max() < 0.95
        assert normalized_cross_correlation(slices.roll((1, 1), (-2, -1)), images).min() > 0.99

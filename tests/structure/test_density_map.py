import warnings

import mrcfile
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.io.mrc import read_header
from atomdrgn.structure.density_map import (
    DensityMap,
    read_density_map,
    require_same_voxels,
    write_density_map,
)
from atomdrgn.structure.placement import centre_of_map


def example(shape=(6, 8, 10), **changes):
    density = torch.arange(float(np.prod(shape))).reshape(shape)
    return DensityMap(**{"density": density, "voxel_size": 2.5, **changes})


def written(path, *, voxel=(2.0, 2.0, 2.0), density=None, **header):
    with mrcfile.new(
        path, np.arange(64, dtype=np.float32).reshape(4, 4, 4) if density is None else density
    ) as file:
        file.voxel_size = voxel
        for name, value in header.items():
            file.header[name] = value
    return path


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (12.5, 10.0, 7.5), (101.0, 3.0, -7.0)])
def test_what_is_written_is_read_again(tmp_path, centre):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_density_map(tmp_path / "a.mrc", example(centre=centre))
        again = read_density_map(tmp_path / "a.mrc")
    assert_close(again.density, example().density)
    assert again.voxel_size == 2.5 and again.centre == pytest.approx(centre)


def test_the_header_is_whole(tmp_path):
    write_density_map(tmp_path / "a.mrc", example())
    assert mrcfile.validate(tmp_path / "a.mrc")
    with mrcfile.open(tmp_path / "a.mrc") as file:
        head, values = file.header, example().density.numpy()
        assert (head.ispg, head.mode, head.mapc, head.mapr, head.maps) == (1, 2, 1, 2, 3)
        assert head.dmean == pytest.approx(values.mean()) and head.rms == pytest.approx(
            values.std(), rel=1e-5
        )
        assert head.cella.tolist() == (25.0, 20.0, 15.0)
        assert head.origin.tolist() == (-12.5, -10.0, -7.5)
        assert (head.nxstart, head.nystart, head.nzstart) == (-5, -4, -3)


def test_the_frame_of_the_poses_has_its_origin_at_the_box_centre(tmp_path):
    write_density_map(tmp_path / "a.mrc", example())
    assert centre_of_map(read_header(tmp_path / "a.mrc")).tolist() == [0, 0, 0]


def test_plain_maps_and_centred_ones_are_read_without_a_word(tmp_path, recwarn):
    assert read_density_map(written(tmp_path / "corner.mrc")).centre == (4, 4, 4)
    assert read_density_map(
        written(tmp_path / "centred.mrc", origin=(-4.0, -4.0, -4.0))
    ).centre == (0, 0, 0)
    assert not recwarn.list


def test_a_shifted_origin_is_said(tmp_path):
    with pytest.warns(
        UserWarning,
        match=r"first voxel at \(30.0, 0.0, 0.0\) A and the box centre at \(34.0, 4.0, 4.0\)",
    ):
        shifted = read_density_map(written(tmp_path / "a.mrc", origin=(30.0, 0.0, 0.0)))
    assert shifted.centre == (34, 4, 4) and shifted.in_pose_frame().centre == (0, 0, 0)


def test_voxels_that_are_no_cubes_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="2 x 2 x 2.5 A; expected cubes"):
        read_density_map(written(tmp_path / "a.mrc", voxel=(2.0, 2.0, 2.5)))


def test_a_map_without_a_voxel_size_needs_one(tmp_path):
    path = written(tmp_path / "a.mrc", voxel=(0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="no voxel size"):
        read_density_map(path)
    assert read_density_map(path, voxel_size=3.0).voxel_size == 3


@pytest.mark.parametrize(
    ("density", "message"),
    [
        (np.ones((4, 4, 4), np.float32), "every voxel is 1"),
        (np.full((4, 4, 4), np.nan, np.float32), "not finite"),
        (np.ones((4, 4, 4), np.complex64), "mode 4"),
    ],
)
def test_what_is_no_density_is_refused(tmp_path, density, message):
    with pytest.raises(FileFormatError, match=message):
        read_density_map(written(tmp_path / "a.mrc", density=density))


def test_a_missing_map_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="none.mrc"):
        read_density_map(tmp_path / "none.mrc")


def test_a_box_needs_a_cube():
    assert example((6, 6, 6)).box_size == 6
    with pytest.raises(InputError, match="10 x 8 x 6 voxels; a cube is needed"):
        example().box_size  # noqa: B018


def test_unlike_maps_cannot_be_compared():
    require_same_voxels(example(), example(name="other"))
    with pytest.raises(InputError, match="resample"):
        require_same_voxels(example(), example(voxel_size=2.6))
    with pytest.raises(InputError, match="resample"):
        require_same_voxels(example(), example((6, 8, 9)))
    with pytest.raises(InputError, match="different places"):
        require_same_voxels(example(), example(centre=(2.5, 0.0, 0.0)))


def test_the_density_at_places_is_interpolated_and_none_beyond():
    values = torch.zeros(4, 6, 8)
    values[2, 3, 4], values[2, 3, 5] = 1.0, 3.0
    density_map = DensityMap(values, 2.0, (10.0, 20.0, 30.0))
    places = torch.tensor(
        [[10.0, 20.0, 30.0], [12.0, 20.0, 30.0], [11.0, 20.0, 30.0], [12.0, 21.0, 30.0], [99.0] * 3]
    )
    assert density_map.at(places).tolist() == pytest.approx([1.0, 3.0, 2.0, 1.5, 0.0])

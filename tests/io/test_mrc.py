import warnings

import mrcfile
import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.io.mrc import read_header, read_map, read_sections


def values(dtype, shape=(5, 4, 6)):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def write(path, data, **header):
    with mrcfile.new(path, data) as file:
        for name, value in header.items():
            file.header[name] = value
    return path


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.float32, np.uint16, np.float16])
def test_every_mode_reads_as_float32(tmp_path, dtype):
    header = read_header(write(tmp_path / "x.mrcs", values(dtype)))
    assert header.shape == (5, 4, 6) and header.available == 5
    sections = read_sections(header, [3, 1])
    assert sections.dtype == np.float32
    assert (sections == values(np.float32)[[3, 1]]).all()
    assert (read_sections(header, range(1, 4)) == values(np.float32)[1:4]).all()
    assert read_sections(header, []).shape == (0, 4, 6)


def test_a_single_image_is_a_stack_of_one(tmp_path):
    header = read_header(write(tmp_path / "one.mrc", values(np.float32, (4, 4))))
    assert header.shape == (1, 4, 4)
    assert (read_sections(header, [0])[0] == values(np.float32, (4, 4))).all()


def test_big_endian_and_extended_header(tmp_path):
    path = write(tmp_path / "x.mrc", values(np.int16))
    raw = path.read_bytes()
    header = np.frombuffer(raw[:1024], mrcfile.dtypes.HEADER_DTYPE).copy()
    header["nsymbt"] = 80
    header = header.astype(mrcfile.dtypes.HEADER_DTYPE.newbyteorder(">"))
    header["machst"] = np.array([0x11, 0x11, 0, 0], np.uint8)
    path.write_bytes(header.tobytes() + b"\0" * 80 + values(">i2").tobytes())
    assert (read_sections(read_header(path), range(5)) == values(np.float32)).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_header_without_magic_and_stamp_is_read_with_a_warning(tmp_path, order):
    path = write(tmp_path / "x.mrc", values(np.float32))
    header = np.frombuffer(path.read_bytes()[:1024], mrcfile.dtypes.HEADER_DTYPE)
    header = header.astype(mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order))
    header["map"], header["machst"] = b"", 0
    path.write_bytes(header.tobytes() + values(order + "f4").tobytes())
    with pytest.warns(UserWarning, match="no MAP magic and no machine stamp"):
        read = read_header(path)
    assert (read_sections(read, range(5)) == values(np.float32)).all()


def test_a_stack_that_was_cut_short_gives_what_it_holds(tmp_path):
    path = write(tmp_path / "x.mrcs", values(np.float32))
    path.write_bytes(path.read_bytes()[:-100])             # one image of 96 bytes and a bit
    header = read_header(path)
    assert header.shape[0] == 5 and header.available == 3
    assert (read_sections(header, [2]) == values(np.float32)[2]).all()
    with pytest.raises(FileFormatError, match="no image 4, 5: the header promises 5 and the file holds 3"):
        read_sections(header, [0, 3, 4])
    with pytest.raises(FileFormatError, match="promises 5 sections and the file holds 3"):
        read_map(path)


@pytest.mark.parametrize("content", [b"", b"short", b"\1" * 2000, b"\0" * 2000])
def test_what_is_no_mrc_file_is_refused(tmp_path, content):
    (tmp_path / "x.mrc").write_bytes(content)
    with pytest.raises(FileFormatError, match="x.mrc"):
        read_header(tmp_path / "x.mrc")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="nowhere.mrc"):
        read_header(tmp_path / "nowhere.mrc")
    with pytest.raises(FileFormatError, match="a folder"):
        read_header(tmp_path)


def test_a_map_says_where_it_stands(tmp_path):
    path = tmp_path / "map.mrc"
    with mrcfile.new(path, values(np.float32)) as file:
        file.voxel_size = 1.5
        file.nstart = (-3, -2, 7)
        file.header.origin = (10, 20, 30)
    density, header = read_map(path)
    assert (density == values(np.float32)).all()
    assert header.voxel_size == (1.5, 1.5, 1.5) and header.nstart == (-3, -2, 7) and header.origin == (10, 20, 30)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_a_map_comes_as_zyx_whatever_its_order(tmp_path, order):
    zyx = values(np.float32, (3, 4, 5))
    axes = {1: 2, 2: 1, 3: 0}                              # MRC's number of an axis to its place in zyx
    columns, rows, sections = order
    path = write(tmp_path / "x.mrc", zyx.transpose(axes[sections], axes[rows], axes[columns]).copy(),
                 mapc=columns, mapr=rows, maps=sections)
    assert (read_map(path)[0] == zyx).all()


def test_real_files_read_as_mrcfile_reads_them(shared):
    for path in [*(shared / "data" / "maps").rglob("*.mrc"), *(shared / "data" / "particles").rglob("*0000[12].mrcs")]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                # several lack the magic or the stamp
            density, _ = read_map(path)
            with mrcfile.open(path, permissive=True) as theirs:
                assert (density == theirs.data).all()

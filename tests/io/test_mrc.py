import gzip
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


@pytest.mark.parametrize("order, stamp", [("<", [0x11, 0x11]), (">", [0x44, 0x44])])
def test_a_stamp_of_the_other_byte_order_is_not_believed(tmp_path, order, stamp):
    path = write(tmp_path / "x.mrc", values(np.float32))
    header = np.frombuffer(path.read_bytes()[:1024], mrcfile.dtypes.HEADER_DTYPE)
    header = header.astype(mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order))
    header["machst"] = [*stamp, 0, 0]
    path.write_bytes(header.tobytes() + values(order + "f4").tobytes())
    with pytest.warns(UserWarning, match="no machine stamp of its byte order"):
        read = read_header(path)
    assert (read_sections(read, range(5)) == values(np.float32)).all()


def test_a_stack_that_was_cut_short_gives_what_it_holds(tmp_path):
    path = write(tmp_path / "x.mrcs", values(np.float32))
    path.write_bytes(path.read_bytes()[:-100])  # one image of 96 bytes and a bit
    header = read_header(path)
    assert header.shape[0] == 5 and header.available == 3
    assert (read_sections(header, [2]) == values(np.float32)[2]).all()
    with pytest.raises(
        FileFormatError, match="no image 4, 5: the header promises 5 and the file holds 3"
    ):
        read_sections(header, [0, 3, 4])
    with pytest.raises(FileFormatError, match="promises 5 sections and the file holds 3"):
        read_map(path)


@pytest.mark.parametrize("content", [b"", b"short", b"\1" * 2000, b"\0" * 2000])
def test_what_is_no_mrc_file_is_refused(tmp_path, content):
    (tmp_path / "x.mrc").write_bytes(content)
    with pytest.raises(FileFormatError, match="x.mrc"):
        read_header(tmp_path / "x.mrc")


def packed(path, raw):
    path.write_bytes(gzip.compress(raw))
    return path


@pytest.mark.parametrize("name", ["x.map.gz", "x.mrc"])
def test_a_compressed_map_is_the_plain_one(tmp_path, name):
    plain = write(tmp_path / "plain.mrc", values(np.int16), nxstart=-3)
    density, header = read_map(packed(tmp_path / name, plain.read_bytes()))
    assert (density == values(np.float32)).all() and density.dtype == np.float32
    assert header.nstart == (-3, 0, 0) and header.compressed and header.shape == (5, 4, 6)


@pytest.mark.parametrize(
    "change, says",
    [
        (
            lambda raw: gzip.compress(raw[:-1]),
            "unpacks to 1,503 bytes, where its header promises 1,504",
        ),
        (lambda raw: gzip.compress(raw + bytes(10**8)), "unpacks to more than 1,504 bytes"),
        (lambda raw: gzip.compress(raw)[:-30], "damaged or cut short"),
        (lambda raw: gzip.compress(raw[:500]), "500 bytes"),
        (lambda raw: b"\x1f\x8b" + raw, "damaged or cut short"),
        (
            lambda raw: gzip.compress(np.array([2**30, 2**30, 2**30], "<i4").tobytes() + raw[12:]),
            "a compressed map of this size",
        ),
    ],
)
def test_a_compressed_map_that_is_not_what_its_header_says_is_refused(tmp_path, change, says):
    plain = write(tmp_path / "plain.mrc", values(np.float32)).read_bytes()
    path = tmp_path / "x.map.gz"
    path.write_bytes(change(plain))
    with pytest.raises(FileFormatError, match=f"x.map.gz: .*{says}"):
        read_map(path)


def test_images_of_a_compressed_stack_are_refused(tmp_path):
    path = packed(
        tmp_path / "x.mrcs.gz", write(tmp_path / "plain.mrcs", values(np.float32)).read_bytes()
    )
    with pytest.raises(
        FileFormatError, match="x.mrcs.gz: a stack that is compressed by gzip: gunzip it first"
    ):
        read_sections(read_header(path), [0])


@pytest.mark.parametrize(
    "start, kind",
    [
        (b"BZh91AY&SY", "compressed by bzip2"),
        (b"\xfd7zXZ\0", "compressed by xz"),
        (b"PK\x03\x04", "zip archive"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"II*\0", "TIFF or EER"),
        (b"MM\0*", "TIFF"),
        (b"II+\0", "BigTIFF"),
        (b"\x89PNG\r\n", "PNG"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1",
            "begins with 'version https://git-lfs' .a pointer of Git LFS",
        ),
        (b"<!DOCTYPE html>", "a web page"),
    ],
)
@pytest.mark.parametrize("length", [0, 3000])
def test_another_kind_of_file_is_named(tmp_path, start, kind, length):
    (tmp_path / "x.mrc").write_bytes(start + bytes(length))
    with pytest.raises(FileFormatError, match=f"x.mrc: not an MRC file: .*{kind}"):
        read_header(tmp_path / "x.mrc")


@pytest.mark.parametrize("columns", [640, 896, 1152, 1408])
def test_sizes_that_look_like_a_pickle_are_sizes(tmp_path, columns):
    assert read_header(write(tmp_path / "x.mrc", np.zeros((1, 2, columns), np.int8))).shape == (
        1,
        2,
        columns,
    )


def test_a_stack_is_read_whatever_its_header_says_of_its_place(tmp_path):
    """The particle file says how large pixels are."""
    header = read_header(
        write(tmp_path / "x.mrcs", values(np.float32), cella=np.nan, origin=np.inf)
    )
    assert (read_sections(header, range(5)) == values(np.float32)).all()


@pytest.mark.parametrize("header", [{"nx": -4}, {"mode": 77}, {"nz": 0}])
def test_sizes_and_modes_that_make_no_sense_are_named(tmp_path, header):
    with pytest.raises(FileFormatError, match="x.mrc: .* expected an MRC file with positive sizes"):
        read_header(write(tmp_path / "x.mrc", values(np.float32), **header))


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
    assert (
        header.voxel_size == (1.5, 1.5, 1.5)
        and header.nstart == (-3, -2, 7)
        and header.origin == (10, 20, 30)
    )


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_a_map_comes_as_zyx_whatever_its_order(tmp_path, order):
    zyx = values(np.float32, (3, 4, 5))
    # MRC's number of an axis to its place in zyx
    axes = {1: 2, 2: 1, 3: 0}
    columns, rows, sections = order
    path = write(
        tmp_path / "x.mrc",
        zyx.transpose(axes[sections], axes[rows], axes[columns]).copy(),
        mapc=columns,
        mapr=rows,
        maps=sections,
    )
    assert (read_map(path)[0] == zyx).all()


def test_real_files_read_as_mrcfile_reads_them(shared):
    for path in [
        *(shared / "data" / "maps").rglob("*.mrc"),
        *(shared / "data" / "particles").rglob("*0000[12].mrcs"),
    ]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several lack the magic or the stamp
            density, _ = read_map(path)
            with mrcfile.open(path, permissive=True) as theirs:
                assert (density == theirs.data).all()

"""Arrays of .npz files: those of good files come back, and nothing that a file says takes memory or
leaves another error.
"""

import struct
import zipfile

import numpy as np
import pytest

from atomdrgn.errors import FileFormatError
from atomdrgn.io.run_formats.arrays import read_npz


@pytest.fixture
def path(tmp_path):
    np.savez_compressed(
        tmp_path / "a.npz",
        number=np.arange(5000.0).reshape(50, 100),
        none=np.zeros((0, 3)),
        flag=np.array(True),
        turned=np.asfortranarray(np.arange(6).reshape(2, 3)),
    )
    return tmp_path / "a.npz"


def member(path, name, header, content, *, written=None):
    """Another array in a file whose header says what it likes."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        text = header.encode() + b"\n"
        archive.writestr(
            f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content
        )


def test_good_arrays_come_back(path):
    found = read_npz(path)
    assert (
        list(found) == ["number", "none", "flag", "turned"]
        and found["none"].shape == (0, 3)
        and found["flag"]
    )
    np.testing.assert_array_equal(found["number"], np.arange(5000.0).reshape(50, 100))
    np.testing.assert_array_equal(found["turned"], np.arange(6).reshape(2, 3))


def test_arrays_are_checked_before_they_are_read(path):
    seen = {}

    def check(name, shape, dtype):
        seen[name] = shape, dtype
        if name == "turned":
            raise FileFormatError("not this one")

    with pytest.raises(FileFormatError, match="not this one"):
        read_npz(path, check=check)
    assert seen["number"] == ((50, 100), np.dtype(float))


@pytest.mark.parametrize(
    "header, says",
    [
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }",
            "promises 4,000,000,000,000 bytes",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "promises 12 bytes"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "objects"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "promises|shape"),
        ("{'descr': 'nonsense', 'fortran_order': False, 'shape': (2,), }", "descr|dtype"),
        ("{'descr': '<f4'}", "keys"),
        ("[" * 3000, "EOF|header|nest|memory"),
        ("__import__('os').getcwd()", "malformed|header"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(path, header, says):
    member(path, "more", header, b"\0" * 8)
    with pytest.raises(FileFormatError, match=says):
        read_npz(path)


def test_what_unpacks_beyond_measure_is_refused_before_it_is_unpacked(path, monkeypatch):
    member(
        path,
        "zeros",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4096,), }",
        bytes(4 * 4096),
    )
    content = path.read_bytes()
    info = zipfile.ZipFile(path).getinfo("zeros.npy")
    lie = info.file_size * 1000  # as the directory of the file has it
    path.write_bytes(content.replace(struct.pack("<I", info.file_size), struct.pack("<I", lie)))
    with pytest.raises(FileFormatError, match="promises"):
        read_npz(path)


def test_two_arrays_of_one_name_are_refused(path):
    with pytest.warns(UserWarning, match="Duplicate"):
        member(path, "flag", "{'descr': '|b1', 'fortran_order': False, 'shape': (), }", b"\0")
    with pytest.raises(FileFormatError, match="one name"):
        read_npz(path)


def test_every_cut_and_many_flips_are_one_kind_of_error(path):
    """Whatever is cut or flipped: the arrays as they were, or a FileFormatError."""
    good, whole = read_npz(path), path.read_bytes()
    random = np.random.default_rng(0)
    spoiled = [whole[:length] for length in range(0, len(whole), 97)]
    for _ in range(300):
        content = bytearray(whole)
        for position in random.integers(len(whole), size=random.integers(1, 4)):
            content[position] = random.integers(256)
        spoiled.append(bytes(content))
    read = 0
    for content in spoiled:
        path.write_bytes(content)
        try:
            found = read_npz(path)
        except FileFormatError:
            continue
        read += 1
        assert all(np.array_equal(found[name], good[name]) for name in found if name in good)
    assert read < len(spoiled) / 2


def test_what_the_system_says_is_left_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")

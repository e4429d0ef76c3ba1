import numpy as np
import pytest

from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.io.cs import read_cs, read_cs_rows, rows_of_uid


def test_fields_come_by_name_and_bytes_as_text(tmp_path):
    rows = np.zeros(
        3, dtype=[("uid", "<u8"), ("blob/path", "S20"), ("alignments3D/pose", "<f4", (3,))]
    )
    rows["blob/path"] = [b">J1/a.mrc", b"J1/b.mrc", b""]
    rows["alignments3D/pose"][1] = 1, 2, 3
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, rows)
    table = read_cs(tmp_path / "x.cs")
    assert table["blob/path"].tolist() == [">J1/a.mrc", "J1/b.mrc", ""]
    assert table["alignments3D/pose"].tolist() == [[0, 0, 0], [1, 2, 3], [0, 0, 0]]
    assert table["uid"].dtype == np.uint64


def test_nothing_is_unpickled(tmp_path):
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object))
    with pytest.raises(FileFormatError, match="x.cs: not a .cs file"):
        read_cs(tmp_path / "x.cs")


class Trap:
    """What runs a program when it is unpickled."""

    def __reduce__(self):
        import os

        return os.mkdir, ("sprung",)


def test_objects_in_a_field_are_refused_without_a_word_of_unpickling(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = np.array([(1, Trap())], dtype=[("uid", "<u8"), ("blob/path", object)])
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, rows, allow_pickle=True)
    with pytest.raises(FileFormatError, match="x.cs: blob/path hold Python objects") as found:
        read_cs(tmp_path / "x.cs")
    assert "allow_pickle" not in str(found.value) and not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("classes", [15, 120])
def test_a_header_of_any_length_is_read(tmp_path, classes):
    names = [
        "alpha",
        "alpha_min",
        "class_posterior",
        "cross_cor",
        "error",
        "image_pow",
        "pose",
        "psize_A",
        "shift",
        "split",
    ]
    fields = [(f"alignments_class_{k}/{name}", "<f4") for k in range(classes) for name in names]
    rows = np.zeros(3, dtype=[("uid", "<u8"), *fields])
    rows["uid"] = [5, 6, 7]
    rows[f"alignments_class_{classes - 1}/split"] = [1, 2, 3]
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, rows)
    read = read_cs(tmp_path / "x.cs")
    assert read["uid"].tolist() == [5, 6, 7] and read[
        f"alignments_class_{classes - 1}/split"
    ].tolist() == [1, 2, 3]


def npy(header, data=b"", version=1):
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


PLAIN = b"{'descr': [('uid', '<u8')], 'fortran_order': False, 'shape': (%s,), }\n"


@pytest.mark.parametrize(
    "content, says",
    [
        (b"", "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "begins with 'version https://git-lfs' .a pointer",
        ),
        (b"<!DOCTYPE html><html>", "begins with '<!DOCTYPE html><html>' .a web page"),
        (b"\n <html>", "a web page"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x80\x04\x95rest", "a pickle"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x94CSDAT", "NumPy format"),
        (b"data_particles", "begins with 'data_particles'"),
        (b"\x01\x02\x03", r"begins with '\\x01"),
        (b"\x93NUMPY", "header is damaged"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "header is damaged"),
        (
            npy(b"{'descr': [('uid','<u8')], 'fortran_order': False, 'shape': (1,, }\n"),
            "header is damaged",
        ),
        (npy(b"(" * 5000), "header is damaged"),
        (npy(b"{'descr': [('a'"), "header is damaged"),
        (npy(b"__import__('os').mkdir('sprung')"), "header is damaged"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 90, "header is damaged"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 90, "header is damaged"),
        (
            npy(PLAIN % b"1000000000000"),
            "promises 1,000,000,000,000 rows of 8 bytes, and 0 bytes follow",
        ),
        (npy(PLAIN % (b"9" * 60)), "cut short"),
        (npy(PLAIN % b"-1"), "x.cs"),
        (npy(PLAIN % b"3", b"\0" * 23), "promises 3 rows of 8 bytes, and 23 bytes follow"),
    ],
)
def test_a_wrong_or_hostile_file_is_one_clear_line(tmp_path, monkeypatch, content, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.cs").write_bytes(content)
    with pytest.raises(FileFormatError, match=says) as found:
        read_cs(tmp_path / "x.cs")
    assert (
        "pickle=" not in str(found.value)
        and "\n" not in str(found.value)
        and not (tmp_path / "sprung").exists()
    )


def test_text_that_is_no_utf8_is_read(tmp_path):
    rows = np.array([("stra\xdfe".encode("latin-1"),)], dtype=[("blob/path", "S10")])
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, rows)
    (name,) = read_cs(tmp_path / "x.cs")["blob/path"].tolist()
    assert name.encode("utf-8", "surrogateescape") == b"stra\xdfe"


def test_passthrough_rows_are_found_by_uid():
    through = np.array([(7,), (5,), (9,), (5,)], dtype=[("uid", "<u8")])
    found = rows_of_uid(through, np.array([9, 7, 9], np.uint64), path="t.cs", joined_to="p.cs")
    assert found.tolist() == [2, 0, 2]
    with pytest.raises(
        InputError, match="t.cs: 1 of the 2 particles of p.cs are not in it .uid 8."
    ):
        rows_of_uid(through, np.array([9, 8], np.uint64), path="t.cs", joined_to="p.cs")
    with pytest.raises(FileFormatError, match="t.cs: uid 5 stands in several rows"):
        rows_of_uid(through, np.array([9, 5], np.uint64), path="t.cs", joined_to="p.cs")
    with pytest.raises(FileFormatError, match="t.cs: no field uid"):
        rows_of_uid(
            np.zeros(3, [("a", "<u8")]), np.array([9], np.uint64), path="t.cs", joined_to="p.cs"
        )


def test_rows_come_as_they_are_in_the_file(tmp_path):
    rows = np.zeros(2, dtype=[("uid", ">u8"), ("alignments3D/pose", "<f4", (3,))])
    rows["uid"] = [1, 2]
    with open(tmp_path / "x.cs", "wb") as file:
        np.save(file, rows)
    read = read_cs_rows(tmp_path / "x.cs")
    assert read.dtype == rows.dtype and (read == rows).all()


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_what_is_no_structured_array_is_refused(tmp_path, content):
    if content is None:
        with open(tmp_path / "x.cs", "wb") as file:
            np.save(file, np.zeros(3))
    else:
        (tmp_path / "x.cs").write_bytes(content)
    with pytest.raises(FileFormatError, match="x.cs"):
        read_cs(tmp_path / "x.cs")
    with pytest.raises(MissingFileError, match="nowhere.cs"):
        read_cs(tmp_path / "nowhere.cs")

import pytest

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.io.numbers import read_numbers


def test_numbers_are_read_without_comments_and_empty_lines(tmp_path):
    (tmp_path / "a.txt").write_text("# mine\n3\n\n 10  # ten\n0.5\n")
    assert read_numbers(tmp_path / "a.txt").tolist() == [3, 10, 0.5]
    (tmp_path / "b.txt").write_text("3\n10\n")
    assert read_numbers(tmp_path / "b.txt", whole=True).dtype == "int64"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "holds no number"),
        ("# none\n", "holds no number"),
        ("1\ntwo\n", "line 2 is 'two'"),
        ("1\n2.5\n", "line 2 is '2.5'.*whole"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused(tmp_path, content, says):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(FileFormatError, match=says):
        read_numbers(tmp_path / "a.txt", whole=True)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf5\r\n\r\n6\r\n",
        b"# mine\n5\r6\r",
        "5\n6\n".encode("utf-16"),
        b"5 # Stra\xdfe\n 6\t\n",
        "\N{BYTE ORDER MARK}# é\n5\n6".encode(),
    ],
)
def test_lists_of_other_systems_read_the_same(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    assert read_numbers(tmp_path / "a.txt", whole=True).tolist() == [5, 6]
    assert read_numbers(tmp_path / "a.txt").tolist() == [5, 6]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"1" * 30, "line 1 is '1111"),
        (b"1\n-2", "line 2 is '-2'"),
        (b"1_000", "'1_000'"),
        (b"3,7", "'3,7'"),
        ("\N{ARABIC-INDIC DIGIT ONE}".encode(), "line 1"),
        (b"\x1f\x8b\0\0", "gzip"),
        (b"1\0", "no text file; expected one number"),
    ],
)
def test_what_is_no_whole_number_is_named(tmp_path, content, says):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(FileFormatError, match=says):
        read_numbers(tmp_path / "a.txt", whole=True)


@pytest.mark.parametrize("content", ["nan", "inf", "-inf", "1_0"])
def test_what_is_no_finite_number_is_named(tmp_path, content):
    (tmp_path / "a.txt").write_text("1\n" + content)
    with pytest.raises(FileFormatError, match=f"line 2 is '{content}'"):
        read_numbers(tmp_path / "a.txt")


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="none.txt"):
        read_numbers(tmp_path / "none.txt")

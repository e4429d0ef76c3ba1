import pytest

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.io.text import describe_beginning, file_name, foreign_kind, read_text, readable

LATIN = b"stra\xdfe"


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        (b"\xef\xbb\xbfa", "a"),
        ("\N{BYTE ORDER MARK}a\n".encode("utf-16-le"), "a\n"),
        ("\N{BYTE ORDER MARK}a\n".encode("utf-16-be"), "a\n"),
        (b"", ""),
    ],
)
def test_text_of_every_system_is_one(tmp_path, raw, text):
    (tmp_path / "a").write_bytes(raw)
    assert read_text(tmp_path / "a", expected="a text") == text


def test_bytes_that_are_no_utf8_are_kept_and_shown_as_latin1(tmp_path):
    (tmp_path / "a").write_bytes(LATIN)
    text = read_text(tmp_path / "a", expected="a text")
    assert text.encode("utf-8", "surrogateescape") == LATIN
    assert readable(text) == LATIN.decode("latin-1") == readable(LATIN.decode("latin-1"))
    assert file_name("plain") == "plain"


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"PK\x03\x04\0\0")
    with pytest.raises(FileFormatError, match="a: not a list: it begins with .*a zip archive"):
        read_text(tmp_path / "a", expected="a list")
    with pytest.raises(FileFormatError, match="a folder, where a list was expected"):
        read_text(tmp_path, expected="a list")
    with pytest.raises(MissingFileError, match="none: no such file; expected a list"):
        read_text(tmp_path / "none", expected="a list")


def test_beginnings_are_named():
    assert describe_beginning(b"") == "it is empty"
    assert describe_beginning(b"data_particles\nloop_") == "it begins with 'data_particles'"
    assert describe_beginning(b"\x00\x01") == r"it begins with '\x00\x01'"
    assert foreign_kind(b"data_") is None

import pytest

from atomdrgn.errors import FileFormatError, MissingFileError
from atomdrgn.io.numbers import read_numbers


def test_numbers_are_read_without_comments_and_empty_lines(tmp_path):
    (tmp_path / "a.txt").write_text("# mine\n3\n\n 10  # ten\n0.5\n")
    assert read_numbers(tmp_path / "a.txt").tolist() == [3, 10, 0.5]
    (tmp_path / "b.txt").write_text("3\n10\n")
    assert read_numbers(tmp_path / "b.txt", whole=True).dtype == "int64"


@pytest.mark.parametrize(("content", "says"), [("", "holds no number"), ("# none\n", "holds no number"),
                                               ("1\ntwo\n", "line 2 is 'two'"), ("1\n2.5\n", "line 2 is '2.5'.*whole")])
def test_what_is_no_list_of_numbers_is_refused(tmp_path, content, says):
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(FileFormatError, match=says):
        read_numbers(tmp_path / "a.txt", whole=True)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="none.txt"):
        read_numbers(tmp_path / "none.txt")

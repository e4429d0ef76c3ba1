"""Folders appear complete or not at all."""

import pytest

from atomdrgn.errors import MissingFileError
from atomdrgn.io.whole_file import whole_folder


def test_a_folder_takes_the_place_of_another_when_it_is_complete(tmp_path):
    target = tmp_path / "in" / "made"
    for text in ("first", "second"):
        with whole_folder(target) as temporary:
            (temporary / text).write_text(text)
            assert not (target / text).exists()
        assert [path.name for path in target.iterdir()] == [text] and list(target.parent.iterdir()) == [target]


def test_what_was_there_stays_when_the_block_fails(tmp_path):
    target = tmp_path / "made"
    target.mkdir()
    (target / "before").write_text("")
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as temporary:
        (temporary / "half").write_text("")
        raise KeyboardInterrupt
    assert [path.name for path in target.iterdir()] == ["before"] and list(tmp_path.iterdir()) == [target]


def test_a_file_holds_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingFileError, match="no folder"), whole_folder(tmp_path / "file" / "made"):
        pass

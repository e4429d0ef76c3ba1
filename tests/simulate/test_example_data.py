"""The structures of the tutorial come with the program."""

import pytest

from atomdrgn import read_structure
from atomdrgn.errors import OutputExistsError
from atomdrgn.simulate.example_data import NAMES, copy_example, example_file


def test_they_are_copied_and_nothing_is_replaced(tmp_path):
    closed, opened = copy_example(tmp_path / "new" / "example")
    assert (closed.name, opened.name) == NAMES
    assert closed.read_bytes() == example_file("1ake.pdb").read_bytes()
    assert len(read_structure(closed)) == len(read_structure(opened)) == 1656
    opened.write_text("mine")
    closed.unlink()
    with pytest.raises(OutputExistsError, match="holds 4ake.pdb.*--overwrite"):
        copy_example(opened.parent)
    assert opened.read_text() == "mine" and not closed.exists()
    copy_example(opened.parent, overwrite=True)
    assert opened.read_bytes() == example_file("4ake.pdb").read_bytes()
    with pytest.raises(OutputExistsError, match="is a file"):
        copy_example(opened)

"""The export command chooses particles as it says."""

import pytest

from atomdrgn.cli.export import parse_particles
from atomdrgn.errors import InputError


@pytest.mark.parametrize("text, numbers", [
    ("0:3", [0, 1, 2]), ("7", [7]), ("3,7,4:6", [3, 7, 4, 5]), (":2", [0, 1]), ("8:", [8, 9]), (" 1 , 2 ", [1, 2])])
def test_lists_of_particles(text, numbers):
    assert parse_particles(text, 10) == numbers


@pytest.mark.parametrize("text", ["", "a", "1-3", "3:1", "10", "0:11", "-1", "1:2:3", "4:4"])
def test_lists_that_are_refused(text):
    with pytest.raises(InputError, match="--particles"):
        parse_particles(text, 10)


def test_what_is_no_run_is_refused(atomdrgn, folder):
    for name in ("absent.fit", ".", "base.pdb"):
        ended = atomdrgn("export", name, "--out", "ensemble")
        assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1, ended
    assert not (folder / "ensemble").exists()

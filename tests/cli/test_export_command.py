"""The export command chooses particles as it says."""

import pytest

from atomdrgn.cli.export import parse_particles
from atomdrgn.errors import FileFormatError, InputError


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("0:3", [0, 1, 2]),
        ("7", [7]),
        ("3,7,4:6", [3, 7, 4, 5]),
        (":2", [0, 1]),
        ("8:", [8, 9]),
        (" 1 , 2 ", [1, 2]),
    ],
)
def test_lists_of_particles(text, numbers):
    assert parse_particles(text, 10) == numbers


@pytest.mark.parametrize("text", ["", "a", "1-3", "3:1", "10", "0:11", "-1", "1:2:3", "4:4"])
def test_lists_that_are_refused(text):
    with pytest.raises(InputError, match="--particles"):
        parse_particles(text, 10)


def test_what_is_no_run_is_refused(atomdrgn, folder):
    for name in ("absent.fit", ".", "base.pdb"):
        ended = atomdrgn("export", name, "--out", "ensemble")
        assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1, (
            ended
        )
    assert not (folder / "ensemble").exists()


def test_a_list_in_a_file(tmp_path, monkeypatch):
    """Where a name reads as numbers it is a list of numbers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lasso.txt").write_text("# from the report\n7\n3\n\n0\n")
    assert (
        parse_particles("lasso.txt", 10)
        == parse_particles(str(tmp_path / "lasso.txt"), 8)
        == [7, 3, 0]
    )
    (tmp_path / "5").write_text("1\n")
    assert parse_particles("5", 10) == [5]
    # longer than names of files may be
    assert len(parse_particles(",".join(map(str, range(300))), 300)) == 300
    with pytest.raises(
        InputError, match="--particles lasso.txt: 7 is outside of the particles 0 to 6"
    ):
        parse_particles("lasso.txt", 7)
    (tmp_path / "empty.txt").write_text("# none\n")
    with pytest.raises(FileFormatError, match="empty.txt: holds no number"):
        parse_particles("empty.txt", 7)
    (tmp_path / "lasso.txt").write_text("3.5\n")
    with pytest.raises(FileFormatError, match="lasso.txt: line 1"):
        parse_particles("lasso.txt", 7)

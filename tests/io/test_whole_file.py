"""Files and folders appear complete or not at all, whatever happens."""

import errno
import os
import subprocess
import sys

import pytest

from atomdrgn.errors import MissingFileError
from atomdrgn.io.whole_file import clear_leftovers, synced_together, whole_file, whole_folder


def test_a_folder_takes_the_place_of_another_when_it_is_complete(tmp_path):
    target = tmp_path / "in" / "made"
    for text in ("first", "second"):
        with whole_folder(target) as temporary:
            (temporary / text).write_text(text)
            assert not (target / text).exists()
        assert [path.name for path in target.iterdir()] == [text] and list(
            target.parent.iterdir()
        ) == [target]


def test_what_was_there_stays_when_the_block_fails(tmp_path):
    target = tmp_path / "made"
    target.mkdir()
    (target / "before").write_text("")
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as temporary:
        (temporary / "half").write_text("")
        raise KeyboardInterrupt
    assert [path.name for path in target.iterdir()] == ["before"] and list(tmp_path.iterdir()) == [
        target
    ]


def test_a_file_holds_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MissingFileError, match="no folder"),
        whole_folder(tmp_path / "file" / "made"),
    ):
        pass


# ---- power cuts and killed processes ------------------------------------------------------------


@pytest.fixture
def watched(monkeypatch):
    """What is synced and renamed, in order: (what is done, name of the file or folder)."""
    done, fsync, replace = [], os.fsync, os.replace

    def sync(number):
        done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{number}"))))
        fsync(number)

    def rename(source, target):
        done.append(("rename", os.path.basename(source)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    return done


linux = pytest.mark.skipif(
    not os.path.exists("/proc/self/fd"), reason="names of open files are asked of Linux"
)


@linux
def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, watched):
    with whole_file(tmp_path / "made.txt") as temporary:
        temporary.write_text("all of it")
    (first, part), (second, renamed), (third, folder) = watched
    assert (
        (first, second, third) == ("sync", "rename", "sync")
        and part == renamed
        and folder == tmp_path.name
    )


@linux
def test_a_folder_is_on_the_disk_before_it_has_its_name(tmp_path, watched):
    with whole_folder(tmp_path / "made") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "a").write_text("a")
        with whole_file(temporary / "b") as path:
            path.write_text("b")
    renamed = [name for what, name in watched if what == "rename"]
    before = watched[: watched.index(("rename", renamed[-1]))]
    assert {("sync", "a"), ("sync", "b"), ("sync", "deep"), ("sync", renamed[-1])} <= set(before)
    assert watched[-1] == ("sync", tmp_path.name)


@linux
def test_many_files_go_to_the_disk_together(tmp_path, watched):
    with synced_together():
        for name in "abc":
            with whole_file(tmp_path / name) as path:
                path.write_text(name)
        assert not [what for what, _ in watched if what == "sync"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    assert [name for what, name in watched if what == "sync"] == ["a", "b", "c", tmp_path.name]


def test_a_file_that_cannot_be_put_on_the_disk_is_not_there_and_is_named(tmp_path, monkeypatch):
    (tmp_path / "made").write_text("before")

    def full(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(OSError, match="No space left") as raised,
        whole_file(tmp_path / "made") as temporary,
    ):
        temporary.write_text("after")
    assert raised.value.filename == str(tmp_path / "made")
    assert (tmp_path / "made").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_file_that_is_not_written_is_named_as_it_would_be(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, whole_folder(tmp_path / "made") as temporary:
        (temporary / "nowhere" / "file").write_text("")
    assert raised.value.filename == str(tmp_path / "made" / "nowhere" / "file")


def ended_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    gone, alive = ended_process(), os.getpid()
    (tmp_path / f".a.txt.{gone}.part").write_text("as earlier versions name them")
    (tmp_path / f".b.{gone}.part").mkdir()
    (tmp_path / f".b.{gone}.part" / "half").write_text("")
    kept = [
        f".c.{alive}.part",
        f".d.00000000-{gone}.part",
        ".hidden",
        f"e.{gone}.part",
        f".f.{gone}.partial",
    ]
    for name in kept:
        (tmp_path / name).write_text("")
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_folder_that_was_about_to_be_replaced_is_put_back(tmp_path):
    gone = ended_process()
    for name in (f".lost.{gone}.old", f".lost.{gone}.part", f".there.{gone}.old", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "says").write_text(name)
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lost", "there"]
    assert (tmp_path / "lost" / "says").read_text() == f".lost.{gone}.old"
    assert (tmp_path / "there" / "says").read_text() == "there"


def test_the_next_file_in_a_folder_clears_it(tmp_path):
    left = tmp_path / f".old.star.{ended_process()}.part"
    left.write_text("half")
    with whole_file(tmp_path / "new.star") as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["new.star"]

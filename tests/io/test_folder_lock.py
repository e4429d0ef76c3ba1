"""One command at a time writes to a folder, and one that was killed does not shut it for ever."""

import json
import os
import socket
import subprocess
import sys

import pytest

from atomdrgn.errors import OutputExistsError
from atomdrgn.io.folder_lock import LOCK, locked_folder, writing_in
from atomdrgn.reporting import Reporter


class Told(Reporter):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


HOLD = """
import os, sys
from pathlib import Path
from atomdrgn.io.folder_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
    os._exit(9)
"""


def holder(folder):
    """Another process that holds the folder until it is told to end, and then ends without a word."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_command_is_refused_while_the_first_lives(tmp_path):
    first = holder(tmp_path / "run")
    try:
        with (
            pytest.raises(OutputExistsError, match=f"process {first.pid} on") as refused,
            locked_folder(tmp_path / "run"),
        ):
            pass
        assert (
            "wait until it has ended" in str(refused.value) and (tmp_path / "run" / LOCK).exists()
        )
    finally:
        first.kill()
        first.wait()


def test_what_a_killed_command_left_is_taken_over_and_told(tmp_path):
    first = holder(tmp_path / "run")
    first.kill()
    first.wait()
    assert (tmp_path / "run" / LOCK).exists()  # which says that the folder is unfinished
    told = Told()
    with locked_folder(tmp_path / "run", told):
        assert json.loads((tmp_path / "run" / LOCK).read_text()) == {
            "pid": os.getpid(),
            "host": socket.gethostname(),
        }
    assert len(told.lines) == 1 and f"left by process {first.pid}" in told.lines[0]
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_number_that_another_process_has_now_does_not_make_a_lock_live(tmp_path):
    (tmp_path / LOCK).write_text(json.dumps({"pid": os.getppid(), "host": socket.gethostname()}))
    told = Told()
    with locked_folder(tmp_path, told):
        pass
    assert len(told.lines) == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "text",
    ['{"pid": 1, "host": "another.machine"}', "{", '{"pid": "x"}', "[" * 5000, "\0\0\0", "[]"],
)
def test_what_cannot_be_judged_from_here_is_refused_with_advice(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    with (
        pytest.raises(OutputExistsError, match=f"if it has ended, remove .*{LOCK}"),
        locked_folder(tmp_path),
    ):
        pass
    assert (tmp_path / LOCK).read_text() == text
    (tmp_path / LOCK).unlink()
    with locked_folder(tmp_path):
        pass


def test_an_empty_lock_is_one_that_lost_its_text(tmp_path):
    (tmp_path / LOCK).write_text("")
    with locked_folder(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_made_for_nothing_goes_again_and_one_with_something_stays(tmp_path):
    with pytest.raises(ValueError), locked_folder(tmp_path / "new"):
        raise ValueError
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError), locked_folder(tmp_path / "new"):
        (tmp_path / "new" / "result").write_text("")
        raise ValueError
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["result"]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(OutputExistsError, match="is a file"), locked_folder(path):
            pass


def test_where_the_file_system_has_no_locks_the_process_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("atomdrgn.io.folder_lock._lock", lambda file: None)
    (tmp_path / LOCK).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
    with (
        pytest.raises(OutputExistsError, match="another command is writing there"),
        locked_folder(tmp_path),
    ):
        pass
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    (tmp_path / LOCK).write_text(json.dumps({"pid": child.pid, "host": socket.gethostname()}))
    with locked_folder(tmp_path):
        pass


def test_an_error_in_the_middle_of_the_work_leaves_a_mark_that_any_machine_may_take_over(
    tmp_path, monkeypatch
):
    with pytest.raises(ValueError), locked_folder(tmp_path / "out") as unfinished:
        unfinished.begin()
        (tmp_path / "out" / "000000.pdb").write_text("")
        raise ValueError
    assert (tmp_path / "out" / LOCK).exists() and writing_in(tmp_path / "out") is None
    # refused: it stays unfinished
    with pytest.raises(ValueError), locked_folder(tmp_path / "out"):
        raise ValueError
    assert (tmp_path / "out" / LOCK).exists()
    monkeypatch.setattr("socket.gethostname", lambda: "another.machine")
    told = Told()
    with locked_folder(tmp_path / "out", told) as unfinished:
        unfinished.begin()
    assert "ended in an error" in told.lines[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["000000.pdb"]


def test_an_error_before_anything_is_changed_leaves_no_mark(tmp_path):
    (tmp_path / "000000.pdb").write_text("of another command")
    with pytest.raises(ValueError), locked_folder(tmp_path):
        raise ValueError
    with pytest.raises(ValueError), locked_folder(tmp_path / "new") as unfinished:
        unfinished.begin()
        raise ValueError
    assert [path.name for path in tmp_path.iterdir()] == ["000000.pdb"]


def test_who_writes_is_told_and_who_has_ended_is_not(tmp_path):
    assert writing_in(tmp_path) is None and writing_in(tmp_path / "absent") is None
    with locked_folder(tmp_path):
        assert writing_in(tmp_path) is None  # this process
    first = holder(tmp_path)
    try:
        for _ in range(2):  # a look takes nothing
            assert writing_in(tmp_path) == (
                f"another command is writing there (process {first.pid} on "
                f"{socket.gethostname()}); wait until it has ended"
            )
    finally:
        first.kill()
        first.wait()
    assert (tmp_path / LOCK).exists() and writing_in(tmp_path) is None
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "another.machine"}))
    assert (
        "or was killed there (process 1 on another.machine), which cannot be seen from this machine"
        in writing_in(tmp_path)
    )


def test_a_shorter_line_over_a_longer_one_is_read_alone(tmp_path):
    (tmp_path / LOCK).write_text(
        json.dumps({"pid": 1, "host": socket.gethostname()}) + '\nme.machine"}\n'
    )
    assert writing_in(tmp_path) is None

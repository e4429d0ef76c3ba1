"""The structures of the tutorial, from any folder."""

import shlex
from pathlib import Path


def test_the_next_command_is_ready_to_be_typed(atomdrgn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = atomdrgn("example", "my example")
    *_, following = ended.out.splitlines()
    words = shlex.split(following.removeprefix("next: "))
    assert ended.code == 0 and words[:2] == ["atomdrgn", "simulate"]
    assert all(Path(word).is_file() for word in words[2:4])
    ended = atomdrgn("example", "my example")
    assert ended.code == 2 and "--overwrite" in ended.err

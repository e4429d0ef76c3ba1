"""Odd particle sets end in a finite answer or in an error of ours (see odd_sets.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from odd_sets import COMMANDS, KINDS


def used(seeds, *words):
    script = Path(__file__).with_name("odd_sets.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(seeds), *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.seconds
def test_a_handful_of_sets():
    kinds = [
        "noise alone",
        "one NaN",
        "the largest number",
        "one image again and again",
        "two optics groups of other scales",
    ]
    found = used(1, *kinds)
    assert found["wrong"] == {} and set(found["counts"]) == set(COMMANDS)
    for command, count in found["counts"].items():
        assert sum(count.values()) == len(kinds) and count["refused"] >= 1, command


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_every_kind(command):
    found = used(3, command)
    assert found["wrong"] == {} and sum(found["counts"][command].values()) == 3 * len(KINDS)

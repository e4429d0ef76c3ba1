"""Commands that are killed at any moment are gone on with, or started over, as they say (see
kills.py).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kills import COMMANDS

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="the command is killed in a child of the process"
)


# commands that are killed by one process, which makes what they need once
TOGETHER = [
    ("analyze", "debias", "export-dcd", "select"),
    ("backproject", "refine", "simulate", "volume", "volume-encoder"),
    ("fit-pair", "fit-vae"),
]


def killed(commands, moments=None, *words):
    """What is found of each command, by its name."""
    script = Path(__file__).with_name("kills.py")
    counted = [] if moments is None else [str(moments)]
    ended = subprocess.run(
        [sys.executable, str(script), *words, ",".join(commands), *counted],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.seconds
def test_at_some_operations():
    found = killed(["fit", "export"], 4)
    for command in ("fit", "export"):
        assert found[command]["killed"] == 4 and found[command]["wrong"] == {}, command
    assert {"half1.safetensors", "borders.npz", "base_correction.npz"} <= set(found["fit"]["files"])


@pytest.mark.seconds
def test_at_chosen_operations():
    found = killed(["select"], "2:100:2")["select"]
    assert found["killed"] == found["operations"] // 2 and found["wrong"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("commands", TOGETHER)
def test_others_at_some_operations(commands):
    for command, found in killed(commands, 2).items():
        assert found["killed"] == 2 and found["wrong"] == {}, command


def test_each_command_is_killed():
    assert {"fit", "export"} | set(sum(TOGETHER, ())) == set(COMMANDS)


@pytest.mark.slow
def test_at_some_random_times():
    for command, found in killed(["fit", "fit-pair"], 4, "--moments").items():
        assert found["killed"] == 4 and found["wrong"] == {}, command


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_at_every_file_operation(command):
    found = killed([command])[command]
    assert found["killed"] == found["operations"] > 3 and found["wrong"] == {}


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_at_forty_random_times(command):
    found = killed([command], 40, "--moments")[command]
    assert found["killed"] == 40 and found["wrong"] == {}

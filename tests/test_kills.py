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


def killed(command, *moments):
    script = Path(__file__).with_name("kills.py")
    ended = subprocess.run(
        [sys.executable, str(script), command, *map(str, moments)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.seconds
@pytest.mark.parametrize("command", ["fit", "export"])
def test_at_some_operations(command):
    found = killed(command, 4)
    assert found["killed"] == 4 and found["wrong"] == {}
    assert command != "fit" or {"half1.safetensors", "borders.npz", "base_correction.npz"} <= set(
        found["files"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"fit", "export"}))
def test_others_at_some_operations(command):
    found = killed(command, 2)
    assert found["killed"] == 2 and found["wrong"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "fit-pair"])
def test_at_some_random_times(command):
    found = killed("--moments", command, 4)
    assert found["killed"] == 4 and found["wrong"] == {}


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_at_every_file_operation(command):
    found = killed(command)
    assert found["killed"] == found["operations"] > 3 and found["wrong"] == {}


@pytest.mark.long
@pytest.mark.parametrize("command", COMMANDS)
def test_at_forty_random_times(command):
    found = killed("--moments", command, 40)
    assert found["killed"] == 40 and found["wrong"] == {}

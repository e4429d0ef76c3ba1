"""Shapes are checked in tests, whichever of them are chosen and however they are named."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atomdrgn.physics.rotations import matrix_from_quaternion

TESTS = Path(__file__).parent
# Collects tests as words say, and prints which functions of the package are left unchecked
COLLECT = """
import sys
from importlib import import_module
import pytest

class Look:
    def pytest_collection_finish(self, session):
        for module, name in NAMED:
            if not hasattr(getattr(import_module("atomdrgn." + module), name), "__wrapped__"):
                print("unchecked:", name)

NAMED = [("particles.reading", "read_particles"), ("physics.rotations", "matrix_from_quaternion")]
sys.exit(pytest.main(["--collect-only", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[Look()]))
"""


def test_a_wrong_shape_is_refused():
    with pytest.raises(TypeError, match="quaternion"):
        matrix_from_quaternion(torch.zeros(5, 3))


@pytest.mark.seconds
def test_a_room_that_is_named_by_its_path_is_checked():
    words = [sys.executable, "-c", COLLECT, "tests/particles/test_new_poses.py"]
    ended = subprocess.run(words, cwd=TESTS.parent, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "unchecked" not in ended.stdout

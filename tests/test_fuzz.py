"""Mutants are used or refused, and nothing else (see fuzz.py)."""

import pytest

from fuzz import KINDS, main, read_here

MANY = {
    "words": 3000,
    "tables": 2500,
    "bcif": 2500,
    "mmcif": 2000,
    "pdb": 2000,
    "star": 1500,
    "tilts": 1500,
    "cs": 2000,
    "mrc": 1500,
    "runs": 1500,
    "volume_runs": 1000,
    "trajectories": 300,
}


@pytest.mark.seconds
@pytest.mark.parametrize("kind", KINDS)
def test_some_mutants(kind, tmp_path):
    assert set(read_here(kind, 6 if kind == "trajectories" else 30, tmp_path)) <= {
        "used",
        "refused",
    }


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutants(kind):
    assert set(main([kind], MANY[kind], seed=1)[kind]) <= {"used", "refused", "MB"}

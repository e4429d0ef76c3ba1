"""Mutants are used or refused, and nothing else (see fuzz.py)."""

import pytest

from fuzz import main


@pytest.mark.parametrize("kind, mutants", [("runs", 150), ("trajectories", 6)])
def test_some_mutants(kind, mutants):
    assert set(main(kind, mutants)) <= {"used", "refused"}


@pytest.mark.long
@pytest.mark.parametrize("kind, mutants", [("runs", 5000), ("trajectories", 300)])
def test_many_mutants(kind, mutants):
    assert set(main(kind, mutants, seed=1)) <= {"used", "refused"}

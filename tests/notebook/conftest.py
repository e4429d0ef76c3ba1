"""A run whose particles are known, and one in which they are in two states."""

import numpy as np
import pytest

from hinged import hinged_run, two_helices


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """100 particles along one motion; not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    place = np.random.default_rng(301).normal(0, 4, 100)
    return hinged_run(folder, two_helices(folder), place)


@pytest.fixture(scope="session")
def still(tmp_path_factory):
    """20 particles in which nothing moves; not to be changed."""
    folder = tmp_path_factory.mktemp("still")
    return hinged_run(folder, two_helices(folder), np.zeros(20), supported=0)

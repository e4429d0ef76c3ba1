"""A run whose particles are known: turned about a hinge, most of them by less than 40 degrees."""

import numpy as np
import pytest

from hinged import hinged_run, two_helices


@pytest.fixture(scope="session")
def hinge_structure(tmp_path_factory):
    return two_helices(tmp_path_factory.mktemp("structure"))


@pytest.fixture(scope="session")
def hinge_run(tmp_path_factory, hinge_structure):
    """400 particles, s.d. 4 along the motion, which is 16 degrees; not to be changed."""
    place = np.random.default_rng(1).normal(0, 4, 400)
    return hinged_run(tmp_path_factory.mktemp("run"), hinge_structure, place)


@pytest.fixture(scope="session")
def flexed_run(tmp_path_factory, hinge_structure):
    """50 particles of the same, in which residues move within their segments; not to be changed."""
    place, flexing = (
        np.random.default_rng(1).normal(0, 4, 50),
        np.random.default_rng(2).normal(0, 0.05, (3, 40, 3)),
    )
    return hinged_run(tmp_path_factory.mktemp("flexed"), hinge_structure, place, flexing=flexing)


@pytest.fixture(scope="session")
def still_run(tmp_path_factory, hinge_structure):
    """100 particles in which nothing moves; not to be changed."""
    return hinged_run(tmp_path_factory.mktemp("still"), hinge_structure, np.zeros(100), supported=0)

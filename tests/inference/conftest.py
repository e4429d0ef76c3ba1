"""A small set of particles of a molecule with a hinge, made once."""

import pytest

from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from hinge import make_hinged
from learned_on_part import learn_on_part
from refined_poses import refined


@pytest.fixture(scope="session")
def hinged(tmp_path_factory):
    """Structure, particles and the angle of each (rad)."""
    return make_hinged(tmp_path_factory.mktemp("hinged"))


@pytest.fixture(scope="session")
def still(tmp_path_factory):
    """Structure and particles of which nothing moves."""
    structure, particles, _ = make_hinged(
        tmp_path_factory.mktemp("still"), count=360, largest=0.0, snr=0.1
    )
    return structure, particles


@pytest.fixture(scope="session")
def still_refined(still):
    """The same particles with poses that were refined on them."""
    return refined(*still)


@pytest.fixture(scope="session")
def begin(hinged):
    """A function: the model of a fit of these particles to a resolution, its images in memory, and
    the state it starts from.
    """
    structure, particles, _ = hinged

    def call(resolution):
        model = assemble(structure, particles, FitOptions(segments=2, resolution=resolution))
        model.images.load()
        return model, first_state(model)

    return call


@pytest.fixture(scope="session")
def part_run(tmp_path_factory):
    """A fit that was learned on about half of its particles."""
    return learn_on_part(tmp_path_factory.mktemp("part"))

"""A small set of particles of a molecule with a hinge, made once."""

import pytest

from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from hinge import make_hinged


@pytest.fixture(scope="session")
def hinged(tmp_path_factory):
    """Structure, particles and the angle of each (rad)."""
    return make_hinged(tmp_path_factory.mktemp("hinged"))


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

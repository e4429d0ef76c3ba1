"""A small set of particles of a molecule with a hinge, made once."""

import pytest

from atomdrgn.inference.fit import _assemble, _start
from atomdrgn.parallel import Processes
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
        model = _assemble(
            structure,
            particles,
            segments=2,
            beads=1,
            temperature=None,
            parts=None,
            fixed=None,
            resolution=resolution,
            memory=None,
            processes=Processes(),
        )
        model.images.load()
        return model, _start(model)

    return call

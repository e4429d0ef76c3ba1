"""Fixtures of tests of particles."""

from tilt_set import tilted  # noqa: F401
from tiny_particles import tiny  # noqa: F401

"""Particles that tests of runs share."""

from density_scenes import hinged  # noqa: F401

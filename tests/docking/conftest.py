"""Scenes that tests of densities share."""

from density_scenes import *  # noqa: F403

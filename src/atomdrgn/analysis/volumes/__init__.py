"""Volumes of a run as files, compared and analyzed."""

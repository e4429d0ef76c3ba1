"""Reads a run: its ensemble of structures."""

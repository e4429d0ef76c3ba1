"""Density from images, and models in density."""

"""Density from images with known poses: sums of central slices, noise, half-maps, filters."""

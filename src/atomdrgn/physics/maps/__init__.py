"""Density maps: filters, masks, half-maps, slices, atoms on voxels."""

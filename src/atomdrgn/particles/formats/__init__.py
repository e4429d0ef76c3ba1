"""Formats of particle files, each in a file of its own: RELION, Warp, WarpTools, cryoSPARC."""

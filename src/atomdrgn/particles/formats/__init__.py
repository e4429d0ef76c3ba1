"""Particle files of other programs: RELION, cryoSPARC, Warp and M, WarpTools."""

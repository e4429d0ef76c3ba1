"""Particle images in our conventions: the only place where those of RELION, cryoSPARC and Warp
exist.
"""

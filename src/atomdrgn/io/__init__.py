"""Bytes on disk to plain tables and arrays, and back: STAR, .cs, MRC, structures, trajectories.

Nothing here knows a convention of cryo-EM.
"""

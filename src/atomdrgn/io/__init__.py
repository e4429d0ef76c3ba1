"""Bytes on disk to plain tables and arrays, and back: STAR, .cs, MRC, structures, trajectories.

Knows no cryo-EM convention.
"""

"""Image formation: pure functions and frozen records.

Angstrom and radians, axes xyz, images [..., y, x].
"""

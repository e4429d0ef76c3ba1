"""Image formation: pure functions and frozen records.

Units are angstrom and radians, axes are xyz, images are [..., y, x].
"""

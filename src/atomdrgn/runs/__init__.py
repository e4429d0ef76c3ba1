"""The folders that `fit` and `volume` leave.

Begun, written, opened, and what they were fitted to.
"""

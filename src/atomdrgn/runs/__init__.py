"""The folders that `fit` and `volume` leave.

It says how they are begun, written and opened, and what they were fitted to.
"""

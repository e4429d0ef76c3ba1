"""Particles on a landscape that was learned on others: each by a few images, in one reading."""

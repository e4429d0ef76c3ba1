"""Particle images of known conformations, through the same physics that a fit inverts."""

from .particles import simulate_particles

__all__ = ["simulate_particles"]

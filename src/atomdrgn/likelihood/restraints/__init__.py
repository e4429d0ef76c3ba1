"""Restraints: bonds, clashes and tethers, their energies and normal equations."""

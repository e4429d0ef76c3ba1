"""The molecule: atoms, beads, segments, motions, restraints' geometry, and back to atoms."""

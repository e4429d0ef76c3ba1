"""How molecules move: segments, rigid motions, deformations, and the atoms that follow the beads."""

"""How molecules move: segments, rigid motions, deformations, atoms that follow the beads."""

"""The base model corrected or refined: positions of beads that all particles share."""

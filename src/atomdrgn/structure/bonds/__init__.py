"""Which atoms are bonded, internal coordinates, and the relaxation of geometry."""

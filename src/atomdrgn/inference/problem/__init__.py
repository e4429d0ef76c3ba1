"""A fit's problem and its state, and what is measured at the conformations found so far."""

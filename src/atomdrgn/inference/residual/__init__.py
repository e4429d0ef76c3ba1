"""What images show that the beads are not."""

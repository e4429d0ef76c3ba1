"""What is found in a run: numbers only, nothing written yet."""

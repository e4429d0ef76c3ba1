"""What runs are made of: arrays, tensors, JSON and CSV, read with bounds and written whole."""

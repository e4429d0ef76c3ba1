"""The base model brought to its place in a consensus map."""

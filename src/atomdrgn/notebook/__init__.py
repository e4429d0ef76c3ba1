"""What notebooks draw of a run: plots, and structures to be turned."""

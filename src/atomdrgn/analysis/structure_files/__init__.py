"""Structures of a run as files, how good their geometry is, and scripts that show them."""

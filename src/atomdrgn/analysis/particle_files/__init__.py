"""Chosen particles as particle files of the programs that they came from."""

"""Structures written as PDB, mmCIF and BinaryCIF, with what readers of these want."""

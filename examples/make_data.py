"""Write 1ake.pdb and 4ake.pdb: the heavy polymer atoms of chain A of adenylate kinase, closed and
open.

make_data.py CLOSED OPEN        structure files of PDB entries 1AKE (closed, with an inhibitor) and
4AKE (open)
"""

import sys
from pathlib import Path

import gemmi

from atomdrgn import read_structure, write_structure
from atomdrgn.structure.atoms import structure_from_gemmi

FOLDER = Path(__file__).parents[1] / "src" / "atomdrgn" / "simulate" / "example"


def heavy_polymer_atoms(path, name):
    """Chain A of a structure file without ligands, water, hydrogens, second conformers, and without
    what its header says.
    """
    source = read_structure(path).source
    plain = gemmi.Structure()
    plain.add_model(gemmi.Model(1))
    plain[0].add_chain(source[0]["A"])
    plain.remove_ligands_and_waters()
    plain.remove_hydrogens()
    plain.remove_alternative_conformations()
    plain.setup_entities()
    plain.name = name
    return structure_from_gemmi(plain, name=name)


def main():
    for path, name in zip(sys.argv[1:], ("1ake", "4ake"), strict=True):
        structure = heavy_polymer_atoms(path, name)
        write_structure(structure, FOLDER / f"{name}.pdb")
        print(f"{name}.pdb: {len(structure)} atoms")


if __name__ == "__main__":
    main()

"""PDB, mmCIF and BinaryCIF files (each also .gz) to one ``gemmi.Structure``; :mod:`.structure_writing` is the way back."""

import gzip
from pathlib import Path

import gemmi
import numpy as np

from ..errors import FileFormatError, MissingFileError
from .declared_bonds import keep_declared_bonds

FORMATS = {".pdb": "pdb", ".ent": "pdb", ".cif": "mmcif", ".mmcif": "mmcif", ".bcif": "bcif"}

# Ions as CHARMM names them, where residue and atom bear the same name.
ION_NAMES = {"SOD": "Na", "POT": "K", "CLA": "Cl", "CAL": "Ca", "CES": "Cs", "ZN2": "Zn"}

# Elements of two letters that ligands hold; gemmi's reading of a column-aligned name is believed for these alone, because a
# name that starts one column early ("HE1", "CD", "HG") reads as helium, cadmium, mercury.
LIGAND_ELEMENTS = {"Cl", "Br", "Fe", "Zn", "Mg", "Mn", "Ni", "Cu", "Co", "Na", "Se", "Si", "Li", "Al", "Be", "Mo"}

ORGANIC_ELEMENTS = tuple("HCNOPSFDBIK")

def structure_format(path) -> str:
    """The format that a file's name promises: "pdb", "mmcif" or "bcif".

    Raises
    ------
    FileFormatError
        The name ends otherwise.
    """
    name = Path(path).name.lower().removesuffix(".gz")
    for ending, name_of_format in FORMATS.items():
        if name.endswith(ending):
            return name_of_format
    raise FileFormatError(f"{path}: the name of a structure file has to end in {', '.join(FORMATS)}, or in one of these and .gz")


def read_gemmi(path) -> gemmi.Structure:
    """All models of a structure file, atoms in file order, elements mended where the file leaves them out.

    Parameters
    ----------
    path : path
        A .pdb, .ent, .cif, .mmcif or .bcif file, or one of these and .gz. Numbers and chain names are the author's.

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        It cannot be read as its name promises, or holds no atom.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; give the path of a PDB, mmCIF or BinaryCIF file")
    kind, document = structure_format(path), gemmi.cif.Document()
    try:
        # chains stay in parts as the file has them (polymer, ligands, water), so that the atoms stay in file order
        if kind == "bcif":
            document = _document_of_binary(path)
            structure = gemmi.make_structure_from_block(document[0])
        else:
            expected = gemmi.CoorFormat.Pdb if kind == "pdb" else gemmi.CoorFormat.Mmcif
            structure = gemmi.read_structure(str(path), merge_chain_parts=False, format=expected, save_doc=document)
    except Exception as error:      # gemmi, biotite and zlib raise many kinds; to the user they are one
        raise FileFormatError(f"{path}: cannot be read as {kind}: {error}") from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        wanted = "ATOM records" if kind == "pdb" else "an _atom_site category (with type_symbol)"
        raise FileFormatError(f"{path}: holds no atom; a {kind} file with {wanted} was expected")
    _mend_elements(structure, stated=_element_column(path) if kind == "pdb" else None)
    structure.setup_entities()
    keep_declared_bonds(structure, path=path, lines=_lines(path), block=document[0] if len(document) else None)
    return structure


def _open(path, mode="rb"):
    return gzip.open(path, mode) if path.name.lower().endswith(".gz") else open(path, mode)


def _lines(path):
    with _open(path, "rt") as file:
        yield from file


# ---- elements -------------------------------------------------------------------------------------------------------------


def _mend_elements(structure, *, stated):
    """Elements that a file leaves out follow from names and residue, not from the column in which a name starts.

    `stated` is the element column of a PDB file, None for other formats, where gemmi knows what it was told.
    """
    atoms = [(residue, atom) for model in structure for chain in model for residue in chain for atom in residue]
    if stated is None or len(stated) != len(atoms):
        # where gemmi skipped records the lines cannot be told apart; but a file has the column or has it not
        stated = [""] * len(atoms) if stated and not any(stated) else [atom.element.name for _, atom in atoms]
    for (residue, atom), symbol in zip(atoms, stated, strict=True):
        if gemmi.Element(symbol).atomic_number == 0:
            atom.element = gemmi.Element(_element_from_names(residue, atom))


def _element_column(path):
    with _open(path, "rt") as file:
        return [line[76:78].strip() for line in file if line.startswith(("ATOM  ", "HETATM"))]


def _element_from_names(residue, atom):
    letters = "".join(c for c in atom.name if c.isalpha()).upper()
    if residue.name == "MSE" and letters == "SE":
        return "Se"
    if len(residue) == 1 and residue.name.strip() in (atom.name, *ION_NAMES):
        return ION_NAMES.get(residue.name, letters.capitalize())
    info = gemmi.find_tabulated_residue(residue.name)
    names = {a.name for a in residue}
    biopolymer = info.is_amino_acid() or info.is_nucleic_acid() or info.is_water() or {"N", "CA", "C"} <= names
    if not biopolymer and atom.element.name in LIGAND_ELEMENTS:
        return atom.element.name
    return letters[:1] if letters[:1] in ORGANIC_ELEMENTS else "X"


# ---- BinaryCIF --------------------------------------------------------------------------------------------------------------


def _document_of_binary(path):
    from biotite.structure.io.pdbx import BinaryCIFFile

    with _open(path) as file:
        binary = BinaryCIFFile.read(file)
    source = binary.block
    document = gemmi.cif.Document()
    block = document.add_new_block(next(iter(binary.keys())))
    for name, category in source.items():
        columns = {tag: _tokens(column) for tag, column in category.items()}
        block.set_mmcif_category(f"_{name}.", columns, raw=True)
    return document


def _tokens(column):
    """The values of a BinaryCIF column as CIF tokens."""
    values = column.as_array(str)
    if column.data.array.dtype.kind not in "iuf":
        unique, index = np.unique(values, return_inverse=True)
        values = np.array([gemmi.cif.quote(v) for v in unique.tolist()], dtype=object)[index]
    tokens = values.astype(object)
    if column.mask is not None:
        tokens[column.mask.array == 1] = "."
        tokens[column.mask.array == 2] = "?"
    return tokens.tolist()

"""PDB, mmCIF and BinaryCIF files (each also .gz) to one ``gemmi.Structure`` of one model, and back."""

import gzip
from pathlib import Path

import gemmi
import numpy as np

from ..errors import FileFormatError, InputError, MissingFileError
from .whole_file import whole_file

FORMATS = {".pdb": "pdb", ".ent": "pdb", ".cif": "mmcif", ".mmcif": "mmcif", ".bcif": "bcif"}

# Ions as CHARMM names them, where residue and atom bear the same name.
ION_NAMES = {"SOD": "Na", "POT": "K", "CLA": "Cl", "CAL": "Ca", "CES": "Cs", "ZN2": "Zn"}

# Elements of two letters that ligands hold; gemmi's reading of a column-aligned name is believed for these alone, because a
# name that starts one column early ("HE1", "CD", "HG") reads as helium, cadmium, mercury.
LIGAND_ELEMENTS = {"Cl", "Br", "Fe", "Zn", "Mg", "Mn", "Ni", "Cu", "Co", "Na", "Se", "Si", "Li", "Al", "Be", "Mo"}

ORGANIC_ELEMENTS = tuple("HCNOPSFDBIK")

# Columns of _atom_site that a BinaryCIF file holds as numbers; every other token stays text, so that "001" remains "001".
FLOAT_COLUMNS = ("Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv")
INTEGER_COLUMNS = ("id", "label_seq_id", "auth_seq_id", "pdbx_PDB_model_num")


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
    kind = structure_format(path)
    try:
        # chains stay in parts as the file has them (polymer, ligands, water), so that the atoms stay in file order
        if kind == "bcif":
            structure = gemmi.make_structure_from_block(_block_of_binary(path))
        else:
            expected = gemmi.CoorFormat.Pdb if kind == "pdb" else gemmi.CoorFormat.Mmcif
            structure = gemmi.read_structure(str(path), merge_chain_parts=False, format=expected)
    except Exception as error:      # gemmi, biotite and zlib raise many kinds; to the user they are one
        raise FileFormatError(f"{path}: cannot be read as {kind}: {error}") from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        wanted = "ATOM records" if kind == "pdb" else "an _atom_site category (with type_symbol)"
        raise FileFormatError(f"{path}: holds no atom; a {kind} file with {wanted} was expected")
    _mend_elements(structure, stated=_element_column(path) if kind == "pdb" else None)
    structure.setup_entities()
    return structure


def write_gemmi(structure: gemmi.Structure, path, *, format: str | None = None) -> None:
    """Write a structure: to a temporary file first, which then takes the name of `path`.

    Parameters
    ----------
    structure : gemmi.Structure
        What to write.
    path : path
        Ends in .gz: the file is compressed.
    format : str, optional
        "pdb", "mmcif" or "bcif"; what the name promises by default.

    Raises
    ------
    InputError
        The structure does not fit into a PDB file.
    """
    kind = format or structure_format(path)
    if kind == "pdb":
        _require_pdb_fits(structure, path)
        content = structure.make_pdb_string().encode()
    elif kind == "mmcif":
        content = _document(structure).as_string().encode()
    elif kind == "bcif":
        content = _binary_of_document(_document(structure))
    else:
        raise InputError(f"{path}: a structure is written as pdb, mmcif or bcif, not as {kind!r}")
    if Path(path).name.lower().endswith(".gz"):
        content = gzip.compress(content, 6, mtime=0)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def _open(path, mode="rb"):
    return gzip.open(path, mode) if path.name.lower().endswith(".gz") else open(path, mode)


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


# ---- what each format can hold ----------------------------------------------------------------------------------------------


def _require_pdb_fits(structure, path):
    advice = "write mmCIF instead (a name that ends in .cif)"
    long = sorted({chain.name for model in structure for chain in model if len(chain.name) > 2})
    if long:
        raise InputError(f"{path}: a PDB file holds chain names of at most 2 characters, not {', '.join(long[:5])}: {advice}")
    long = sorted({r.name for model in structure for chain in model for r in chain if len(r.name) > 3})
    if long and structure.input_format != gemmi.CoorFormat.Pdb:
        raise InputError(f"{path}: a PDB file holds residue names of at most 3 characters, not {', '.join(long[:5])}: {advice}")
    largest = max((max(atom.atom.pos.tolist(), key=abs) for model in structure for atom in model.all()), key=abs)
    if not -999.9995 < largest < 9999.9995:
        raise InputError(f"{path}: a PDB file holds coordinates from -999.999 to 9999.999 A, not {largest:.3f}: {advice}")


def _document(structure):
    structure = structure.clone()
    structure.assign_label_seq_id()
    document = structure.make_mmcif_document()
    if not document[0].name:
        document[0].name = "model"
    return document


def _block_of_binary(path):
    from biotite.structure.io.pdbx import BinaryCIFFile

    with _open(path) as file:
        binary = BinaryCIFFile.read(file)
    source = binary.block
    document = gemmi.cif.Document()
    block = document.add_new_block(next(iter(binary.keys())))
    for name, category in source.items():
        columns = {tag: _tokens(column) for tag, column in category.items()}
        block.set_mmcif_category(f"_{name}.", columns, raw=True)
    return block


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


def _binary_of_document(document):
    from io import BytesIO

    from biotite.structure.io.pdbx import BinaryCIFBlock, BinaryCIFCategory, BinaryCIFFile, compress

    source = document[0]
    block = BinaryCIFBlock()
    for name in source.get_mmcif_category_names():
        name = name.strip("_.")
        table = source.get_mmcif_category(f"_{name}.", raw=True)
        if all(table.values()):      # a loop without rows has no place in the format
            block[name] = BinaryCIFCategory({tag: _column(name, tag, tokens) for tag, tokens in table.items()})
    file = BinaryCIFFile({source.name: compress(block)})
    content = BytesIO()
    file.write(content)
    return content.getvalue()


def _column(category, tag, tokens):
    from biotite.structure.io.pdbx import BinaryCIFColumn, BinaryCIFData

    tokens = np.array(tokens, dtype=str)
    mask = np.where(tokens == ".", 1, np.where(tokens == "?", 2, 0)).astype(np.uint8)
    kind = float if tag in FLOAT_COLUMNS else int if tag in INTEGER_COLUMNS else str
    if category != "atom_site" or kind is str:
        unique, index = np.unique(tokens, return_inverse=True)
        # what is masked keeps its sign as its value: the encodings cannot hold a column of empty strings
        values = np.array([t if t in ".?" else gemmi.cif.as_string(t) for t in unique.tolist()], dtype=str)[index]
    else:
        values = np.where(mask == 0, tokens, "0").astype(kind)
    return BinaryCIFColumn(BinaryCIFData(values), BinaryCIFData(mask) if mask.any() else None)

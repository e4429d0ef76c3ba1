"""One ``gemmi.Structure`` to PDB, mmCIF and BinaryCIF files, each also .gz."""

import gzip
from pathlib import Path

import gemmi
import numpy as np

from ..errors import InputError
from .structures import structure_format
from .whole_file import whole_file

# Columns of _atom_site that a BinaryCIF file holds as numbers; every other token stays text, so that "001" remains "001".
FLOAT_COLUMNS = ("Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv")
INTEGER_COLUMNS = ("id", "label_seq_id", "auth_seq_id", "pdbx_PDB_model_num")


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

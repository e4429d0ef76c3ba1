"""PDB, mmCIF and BinaryCIF files (each also .gz) to one ``gemmi.Structure``.

The way back is :mod:`atomdrgn.io.structure_writing.structure_writing`.
"""

import codecs
import os
import warnings
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import gemmi

from ...errors import FileFormatError, MissingFileError, UnmodelledWarning
from ..compressed import GZIP, unpack_text
from .atom_site import atom_block, tidy_atom_site
from .binary_cif import read_binary_cif
from .declared_bonds import keep_declared_bonds
from .gemmi_refusals import refusing
from .pdb_text import make_structure, parse_pdb
from .repeated_chains import ToldApart, keep_links

FORMATS = {".pdb": "pdb", ".ent": "pdb", ".cif": "mmcif", ".mmcif": "mmcif", ".bcif": "bcif"}

# Ions as CHARMM names them, where residue and atom bear the same name.
ION_NAMES = {"SOD": "Na", "POT": "K", "CLA": "Cl", "CAL": "Ca", "CES": "Cs", "ZN2": "Zn"}

# Elements of two letters that ligands hold; gemmi's reading of a column-aligned name is
# believed for these alone, because a name that starts one column early ("HE1", "CD", "HG")
# reads as helium, cadmium, mercury.
LIGAND_ELEMENTS = {
    "Cl",
    "Br",
    "Fe",
    "Zn",
    "Mg",
    "Mn",
    "Ni",
    "Cu",
    "Co",
    "Na",
    "Se",
    "Si",
    "Li",
    "Al",
    "Be",
    "Mo",
}

# Of amino acids and nucleotides, with selenium and what is bound to them where
# a residue keeps its name.
STANDARD_ELEMENTS = {"H", "D", "C", "N", "O", "S", "P", "Se", "F", "Cl", "Br", "I", "X"}

ORGANIC_ELEMENTS = tuple("HCNOPSFDBIK")

PDB_RECORDS = {"HEADER", "TITLE", "REMARK", "CRYST1", "MODEL", "ATOM", "HETATM"}

# Names under which a gemmi.Structure, and every copy of it, keeps what happened on reading; they
# are in no file.
LEFT_OUT, REORDERED = "_atomdrgn.left_out", "_atomdrgn.reordered"


def structure_format(path: str | PathLike[str]) -> str:
    """The format that a file's name promises: "pdb", "mmcif" or "bcif".

    Parameters
    ----------
    path : path
        Of a file that need not be there.

    Returns
    -------
    str

    Raises
    ------
    FileFormatError
        The name ends otherwise.

    Examples
    --------
    >>> structure_format("model.pdb"), structure_format("model.cif.gz")
    ('pdb', 'mmcif')
    """
    name = Path(path).name.lower().removesuffix(".gz")
    for ending, name_of_format in FORMATS.items():
        if name.endswith(ending):
            return name_of_format
    raise FileFormatError(
        f"{path}: the name of a structure file has to end in {', '.join(FORMATS)}, or in one of "
        "these and .gz"
    )


def read_gemmi(path: str | PathLike[str]) -> gemmi.Structure:
    """All models of a structure file, atoms in file order.

    Elements are mended where the file leaves them out.

    Parameters
    ----------
    path : path
        A .pdb, .ent, .cif, .mmcif or .bcif file, or one of these and .gz. Numbers and chain names
        are the author's.

    Returns
    -------
    gemmi.Structure

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        It cannot be read as its name promises, holds no atom, or says a number that is none.
    InputError
        More chains share one name than there are names for.

    Warns
    -----
    UserWarning
        Chains of one name were given names of their own, atoms of one residue were put together,
        occupancies are above 1.
    UnmodelledWarning
        Pseudo-atoms are left out.

    Examples
    --------
    >>> structure = read_gemmi("model.pdb")
    >>> len(structure), structure[0].count_atom_sites()
    (1, 120)
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file; give the path of a PDB, mmCIF or BinaryCIF file"
        )
    kind = structure_format(path)
    content = _content(path)
    read = (
        _of_pdb(content, path) if kind == "pdb" else _of_cif(content, path, binary=kind == "bcif")
    )
    structure = read.structure
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        wanted = "ATOM records" if kind == "pdb" else "an _atom_site category"
        raise FileFormatError(f"{path}: holds no atom; a {kind} file with {wanted} was expected")
    _tell(read, path)
    _mend_elements(structure, stated=read.elements, path=path)
    keep_links(structure, read.told.copies)
    structure.setup_entities()
    keep_declared_bonds(structure, path=path, lines=read.lines, block=read.block)
    return structure


def left_out(structure: gemmi.Structure) -> list[str]:
    """What :func:`read_gemmi` has left out of a file, in words and with counts.

    Parameters
    ----------
    structure : gemmi.Structure
        As :func:`read_gemmi` gave it, or a copy.

    Returns
    -------
    list of str

    Examples
    --------
    >>> left_out(read_gemmi("model.pdb"))
    []
    """
    said = dict(structure.info).get(LEFT_OUT)
    return said.split("\n") if said else []


def is_in_file_order(structure: gemmi.Structure) -> bool:
    """Whether the atoms are in the order of their file.

    Those of a residue in pieces are put together.

    Parameters
    ----------
    structure : gemmi.Structure
        As :func:`read_gemmi` gave it, or a copy.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_in_file_order(read_gemmi("model.pdb"))
    True
    """
    return REORDERED not in dict(structure.info)


# ---- from bytes to atoms ------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    # browsers and programs unpack files, or pack them, and leave their names
    return unpack_text(path) if content.startswith(GZIP) else content


def _text(content: bytes, path: Path) -> str:
    """Text in UTF-8 or UTF-16, with or without a byte order mark, or else in Latin-1.

    The locale does not matter.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        text = _text_of_bytes(content)
    if "\0" in text:  # gemmi takes it for the end of a line, or of a name
        raise FileFormatError(f"{path}: no text: it holds bytes that are 0; copy or write it again")
    return text


def _text_of_bytes(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@dataclass
class _Read:
    """What stands in a file, with the names that the structure has.

    `lines` are those of a PDB file, `block` is that of an mmCIF file.

    `elements` is the column of a PDB file, None for other formats, where gemmi knows what it was
    told.
    """

    structure: gemmi.Structure
    told: ToldApart
    said: list[str]
    left_out: list[str]
    elements: list[str] | None = None
    lines: list[str] = field(default_factory=list)
    block: gemmi.cif.Block | None = None


def _of_pdb(content: bytes, path: Path) -> _Read:
    text = _text(content, path)
    if text.lstrip().startswith("data_"):
        raise FileFormatError(
            f"{path}: begins with data_, as mmCIF files do: give it a name that ends in .cif"
        )
    pdb = parse_pdb(text, path=path)
    structure, told = make_structure(pdb, name=_entry(path), path=path)
    return _Read(
        structure,
        told,
        [*pdb.said, *told.said],
        pdb.left_out,
        elements=pdb.elements,
        lines=pdb.lines,
    )


def _of_cif(content: bytes, path: Path, *, binary: bool) -> _Read:
    block = atom_block(
        _of_binary(content, path) if binary else _document(_text(content, path), path), path=path
    )
    told, said, dummies = tidy_atom_site(block, path=path)
    # chains stay in parts as the file has them (polymer, ligands, water), so that
    # the atoms stay in file order
    with refusing(path, "mmcif"):
        structure = gemmi.make_structure_from_block(block)
    return _Read(structure, told, [*said, *told.said], dummies, block=block)


def _document(text: str, path: Path) -> gemmi.cif.Document:
    if text.lstrip()[:6].rstrip() in PDB_RECORDS:
        raise FileFormatError(f"{path}: begins as PDB files do: give it a name that ends in .pdb")
    if not text.isascii():
        # outside of quotes the format allows ASCII only, and files do not keep to it
        try:
            return gemmi.cif.read_string(text)
        except ValueError:
            text = text.encode("ascii", "replace").decode()
    with refusing(path, "mmcif"):
        return gemmi.cif.read_string(text)


def _of_binary(content: bytes, path: Path) -> gemmi.cif.Document:
    try:
        blocks = read_binary_cif(content)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: cannot be read as bcif: {error}") from error
    document = gemmi.cif.Document()
    for name, categories in blocks:
        with refusing(path, "bcif"):
            block = document.add_new_block(name)
            for category, columns in categories.items():
                block.set_mmcif_category(f"_{category.lstrip('_')}.", columns, raw=True)
    return document


def _tell(read: _Read, path: Path) -> None:
    """Say what was done on reading, and keep with the structure what its atoms do not say."""
    for sentence in read.said:
        warnings.warn(sentence, stacklevel=4)
    if read.left_out:
        warnings.warn(f"{path}: {'; '.join(read.left_out)}", UnmodelledWarning, stacklevel=4)
        read.structure.info[LEFT_OUT] = "\n".join(read.left_out)
    if read.told.order:
        read.structure.info[REORDERED] = "yes"


def _entry(path: Path) -> str:
    """What gemmi calls the entry of a PDB file."""
    # under an ASCII locale other letters are surrogates, which no file can hold
    name = os.fsencode(path.name).decode("utf-8", "replace").removesuffix(".gz")
    return name.rpartition(".")[0] or name


# ---- elements -----------------------------------------------------------------------------------


def _mend_elements(structure: gemmi.Structure, *, stated: list[str] | None, path: Path) -> None:
    """Give atoms the elements that a file leaves out.

    They follow from names and residue, not from the column in which a name starts.

    So do those that a standard residue does not hold: calcium for CA, cadmium for CD. `stated` is
    the element column of a PDB file, None for other formats, where gemmi knows what it was told.
    """
    wrong, standard = [], {}
    atoms = [
        (chain, residue, atom)
        for model in structure
        for chain in model
        for residue in chain
        for atom in residue
    ]
    if stated is None:
        stated = [atom.element.name for _, _, atom in atoms]
    for (chain, residue, atom), symbol in zip(atoms, stated, strict=True):
        if gemmi.Element(symbol).atomic_number == 0:
            atom.element = gemmi.Element(_element_from_names(residue, atom))
        elif atom.element.name not in STANDARD_ELEMENTS:
            if residue.name not in standard:
                info = gemmi.find_tabulated_residue(residue.name)
                standard[residue.name] = info.is_standard() and (
                    info.is_amino_acid() or info.is_nucleic_acid()
                )
            if standard[residue.name]:
                wrong.append(
                    f"{atom.name} of {chain.name}:{residue.seqid} {residue.name}: "
                    f"{atom.element.name}"
                )
                atom.element = gemmi.Element(_element_from_names(residue, atom))
    if wrong:
        warnings.warn(
            f"{path}: {len(wrong)} atoms of standard residues have elements that these do not hold "
            f"({wrong[0]}): they are read by their names",
            stacklevel=4,
        )


def _element_from_names(residue: gemmi.Residue, atom: gemmi.Atom) -> str:
    letters = "".join(c for c in atom.name if c.isalpha()).upper()
    if residue.name == "MSE" and letters == "SE":
        return "Se"
    if len(residue) == 1 and residue.name.strip() in (atom.name, *ION_NAMES):
        return ION_NAMES.get(residue.name, letters.capitalize())
    info = gemmi.find_tabulated_residue(residue.name)
    names = {a.name for a in residue}
    biopolymer = (
        info.is_amino_acid()
        or info.is_nucleic_acid()
        or info.is_water()
        or {"N", "CA", "C"} <= names
    )
    if not biopolymer and atom.element.name in LIGAND_ELEMENTS:
        return atom.element.name
    return letters[:1] if letters[:1] in ORGANIC_ELEMENTS else "X"

"""One ``gemmi.Structure`` to PDB, mmCIF and BinaryCIF files, each also .gz."""

import gzip
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gemmi
import numpy as np

from ...errors import InputError
from ..structure_files.structures import structure_format
from ..whole_file import whole_file
from .components import DeclaredBonds, component_types, connected_serials
from .polymers import describe_polymers

# Columns of _atom_site that a BinaryCIF file holds as numbers; every other token stays text, so
# that "001" remains "001".
FLOAT_COLUMNS = ("Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv")
INTEGER_COLUMNS = ("id", "label_seq_id", "auth_seq_id", "pdbx_PDB_model_num")

# What a PDB file holds so that gemmi, biotite, MDAnalysis, OpenMM and Mol* read the same. More is
# written by some programs and read by some: names of two letters in columns 21-22, hybrid-36
# numbers, residue names in column 21.
LONGEST_CHAIN, LONGEST_RESIDUE, LONGEST_ATOM = 1, 3, 4
SMALLEST_NUMBER, LARGEST_NUMBER, LARGEST_SERIAL = -999, 9999, 99_999
# of residue numbers in the file: MDAnalysis takes a larger one for numbers that began again at 0
LARGEST_FALL = 5000
SMALLEST_COORDINATE, LARGEST_COORDINATE = -999.9995, 9999.9995

UNKNOWN = "?"


def write_gemmi(
    structure: gemmi.Structure, path: str | PathLike[str], *, format: str | None = None
) -> None:
    """Write a structure: to a temporary file first, which then takes the name of `path`.

    Parameters
    ----------
    structure : gemmi.Structure
        What to write. Serial numbers of atoms in `conect_map` are those of its first model.
    path : path
        Ends in .gz: the file is compressed.
    format : str, optional
        "pdb", "mmcif" or "bcif"; what the name promises by default.

    Raises
    ------
    InputError
        The structure does not fit into a PDB file.

    Examples
    --------
    >>> structure = gemmi.read_structure("model.pdb")
    >>> structure.setup_entities()
    >>> write_gemmi(structure, "written.cif.gz")
    """
    kind = format or structure_format(path)
    if kind == "pdb":
        reason = why_no_pdb(structure) or why_no_coordinates(
            [
                atom.pos.tolist()
                for model in structure
                for chain in model
                for residue in chain
                for atom in residue
            ]
        )
        if reason:
            raise InputError(f"{path}: {reason}: write mmCIF instead (a name that ends in .cif)")
        content = _pdb_text(structure).encode()
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


# ---- PDB ----------------------------------------------------------------------------------------


def why_no_pdb(structure: gemmi.Structure) -> str | None:
    """Why common programs would not agree on what a PDB file of this structure holds.

    Coordinates are left to :func:`why_no_coordinates`.

    Parameters
    ----------
    structure : gemmi.Structure
        What would be written.

    Returns
    -------
    str or None
        The reason in words; None where they would agree.

    Examples
    --------
    >>> why_no_pdb(gemmi.read_structure("model.pdb")) is None
    True
    """
    residues = [
        (chain.name, residue) for model in structure for chain in model for residue in chain
    ]
    names = _unfit({chain for chain, _ in residues}, LONGEST_CHAIN)
    if names:
        return f"a PDB file holds chain names of one character, not {names}"
    names = _unfit({residue.name for _, residue in residues}, LONGEST_RESIDUE)
    if names:
        return (
            f"a PDB file holds residue names of at most {LONGEST_RESIDUE} characters, not {names}"
        )
    names = _unfit({atom.name for _, residue in residues for atom in residue}, LONGEST_ATOM)
    if names:
        return f"a PDB file holds atom names of at most {LONGEST_ATOM} characters, not {names}"
    numbers = (residue.seqid.num for _, residue in residues)
    return _why_no_numbers([number for number in numbers if number is not None]) or _why_no_serials(
        structure[0]
    )


def why_no_coordinates(position: list | np.ndarray) -> str | None:
    """Why a PDB file does not hold coordinates, in words; None where it does.

    Parameters
    ----------
    position : (atom, 3)
        A.

    Returns
    -------
    str or None

    Examples
    --------
    >>> why_no_coordinates([[0.0, 0.0, 12345.0]])
    'a PDB file holds coordinates from -999.999 to 9999.999 A, not 12345.000'
    """
    largest = max(np.ravel(position).tolist(), key=abs, default=0.0)
    if SMALLEST_COORDINATE < largest < LARGEST_COORDINATE:
        return None
    return f"a PDB file holds coordinates from -999.999 to 9999.999 A, not {largest:.3f}"


def _unfit(names: set[str], longest: int) -> str:
    unfit = sorted(
        name
        for name in names
        if len(name) > longest or not (name.isascii() and (name.isprintable() or not name))
    )
    return ", ".join(map(repr, unfit[:5])) + (
        f" and {len(unfit) - 5} more" if len(unfit) > 5 else ""
    )


def _why_no_numbers(numbers: list[int]) -> str | None:
    outside = [number for number in numbers if not SMALLEST_NUMBER <= number <= LARGEST_NUMBER]
    if outside:
        return (
            f"a PDB file holds residue numbers from {SMALLEST_NUMBER} to {LARGEST_NUMBER}, not "
            f"{outside[0]}"
        )
    for before, number in zip(numbers, numbers[1:], strict=False):
        if before - number > LARGEST_FALL:
            return (
                f"residue {number} follows {before} in the file, and some programs take a fall of "
                f"more than {LARGEST_FALL} in a PDB file for numbers that go on"
            )
    return None


def _why_no_serials(model: gemmi.Model) -> str | None:
    # the end of a chain has a number, too
    count = model.count_atom_sites() + sum(bool(len(chain)) for chain in model)
    return (
        f"a PDB file holds {LARGEST_SERIAL:,} atoms and ends of chains, not {count:,}"
        if count > LARGEST_SERIAL
        else None
    )


def _pdb_text(structure: gemmi.Structure) -> str:
    bonds = DeclaredBonds(structure)
    orders = bonds.within | bonds.between
    connected = ((min(pair), max(pair)) for pair in connected_serials(structure))
    orders |= {pair: 1 for pair in connected if pair not in orders}
    structure = structure.clone()
    if orders:
        before = [place.atom.serial for place in structure[0].all()]
        structure.assign_serial_numbers(numbered_ter=True)
        after = [place.atom.serial for place in structure[0].all()]
        number = dict(zip(reversed(before), reversed(after), strict=True))
        structure.clear_conect()
        for pair in sorted(orders):
            structure.add_conect(number[pair[0]], number[pair[1]], orders[pair])
    options = gemmi.PdbWriteOptions(conect_records=bool(orders))
    try:
        return structure.make_pdb_string(options)
    # gemmi counts bytes and may cut a title within a letter, of which nothing is kept
    except UnicodeDecodeError:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "structure.pdb"
            structure.write_pdb(str(path), options)
            return path.read_bytes().decode("utf-8", errors="ignore")


# ---- mmCIF --------------------------------------------------------------------------------------


def _document(structure: gemmi.Structure) -> gemmi.cif.Document:
    structure = structure.clone()
    describe_polymers(structure)
    bonds = DeclaredBonds(structure)
    templates, exceptions = bonds.templates()
    _add_connections(structure, bonds, sorted([*bonds.between, *exceptions]))
    document = structure.make_mmcif_document()
    block = document[0]
    block.name = block.name or "model"
    types = component_types(structure)
    for row in block.find("_chem_comp.", ["id", "type"]):
        row[1] = gemmi.cif.quote(types.get(row.str(0), "."))
    _say_once(block, structure)
    _quote_letters(block)
    _add_category(block, "chem_comp_bond", _bond_columns(templates))
    _add_category(block, "pdbx_poly_seq_scheme", _sequence_columns(structure))
    return document


def _add_connections(
    structure: gemmi.Structure, bonds: DeclaredBonds, pairs: list[tuple[int, int]]
) -> None:
    """Add bonds as connections that a table of components cannot say.

    They are between residues, or of one copy of a residue alone.
    """
    known = set(map(frozenset, connected_serials(structure))) if pairs else set()
    names = {connection.name for connection in structure.connections}
    for pair in pairs:
        if frozenset(pair) in known:
            continue
        ends = bonds.atoms(pair)
        connection = gemmi.Connection()
        connection.type, word = _kind_of_bond(ends)
        connection.name = next(
            name for i in range(1, len(names) + 2) if (name := f"{word}{i}") not in names
        )
        names.add(connection.name)
        connection.asu = gemmi.Asu.Same
        connection.partner1, connection.partner2 = (
            gemmi.AtomAddress(
                end.chain.name, end.residue.seqid, end.residue.name, end.atom.name, end.atom.altloc
            )
            for end in ends
        )
        structure.connections.append(connection)


def _kind_of_bond(ends: tuple[gemmi.CRA, gemmi.CRA]) -> tuple[gemmi.ConnectionType, str]:
    elements = [end.atom.element for end in ends]
    if any(element.is_metal for element in elements):
        return gemmi.ConnectionType.MetalC, "metalc"
    if all(element.name == "S" for element in elements) and ends[0].residue is not ends[1].residue:
        return gemmi.ConnectionType.Disulf, "disulf"
    return gemmi.ConnectionType.Covale, "covale"


def _bond_columns(templates: dict[str, dict[tuple[str, str], tuple[str, str]]]) -> dict[str, tuple]:
    rows = [
        (name, *atoms, *kind)
        for name, template in sorted(templates.items())
        for atoms, kind in sorted(template.items())
    ]
    columns = ("comp_id", "atom_id_1", "atom_id_2", "value_order", "pdbx_aromatic_flag")
    return dict(zip(columns, zip(*rows, strict=True), strict=True)) if rows else {}


def _say_once(block: gemmi.cif.Block, structure: gemmi.Structure) -> None:
    """Name a chain once in _struct_asym and _entity_poly: gemmi repeats one that a ligand parts."""
    asym = block.find("_struct_asym.", ["id", "entity_id"])
    rows = [tuple(row) for row in asym]
    if len(set(rows)) < len(rows):
        columns = zip(*dict.fromkeys(rows), strict=True)
        block.find_loop("_struct_asym.id").get_loop().set_all_values(
            [list(column) for column in columns]
        )
    strands = _strands(structure)
    for row in block.find("_entity_poly.", ["entity_id", "pdbx_strand_id"]):
        row[1] = gemmi.cif.quote(",".join(strands.get(row.str(0), [""])))


def _quote_letters(block: gemmi.cif.Block) -> None:
    """Put quotes round insertion codes and alternative locations such as "'" and "#".

    gemmi writes them as they are.
    """
    for tag in (
        "_atom_site.label_alt_id",
        "_atom_site.pdbx_PDB_ins_code",
        "_struct_conn.pdbx_ptnr1_label_alt_id",
        "_struct_conn.pdbx_ptnr2_label_alt_id",
        "_struct_conn.pdbx_ptnr1_PDB_ins_code",
        "_struct_conn.pdbx_ptnr2_PDB_ins_code",
    ):
        column = block.find_values(tag)
        odd = {
            letter
            for letter in set(column)
            if len(letter) == 1 and letter not in ".?" and gemmi.cif.quote(letter) != letter
        }
        for row, letter in enumerate(column) if odd else ():
            if letter in odd:
                column[row] = gemmi.cif.quote(letter)


def _strands(structure: gemmi.Structure) -> dict[str | None, list[str]]:
    """The author's names of the chains of each entity."""
    entities = {
        subchain: entity.name for entity in structure.entities for subchain in entity.subchains
    }
    strands: dict[str | None, list[str]] = {}
    for chain in structure[0]:
        for span in chain.subchains():
            names = strands.setdefault(entities.get(span.subchain_id()), [])
            names += [chain.name] if chain.name not in names else []
    return strands


def _sequence_columns(structure: gemmi.Structure) -> dict[str, tuple]:
    """Which residue stands at each place of each polymer's sequence, with the author's numbers."""
    there, chains = {}, {}
    for chain in structure[0]:
        for residue in chain:
            if residue.entity_type == gemmi.EntityType.Polymer:
                there[residue.subchain, residue.label_seq, residue.name] = residue.seqid
                chains[residue.subchain] = chain.name
    rows = []
    for entity in structure.entities:
        for subchain in entity.subchains if entity.entity_type == gemmi.EntityType.Polymer else ():
            for place, together in enumerate(entity.full_sequence, start=1):
                names = together.split(",")
                for name in names:
                    seqid = there.get((subchain, place, name))
                    number = seqid.num if seqid else None
                    rows.append(
                        (
                            subchain,
                            entity.name,
                            place,
                            name,
                            place,
                            number,
                            number,
                            name if seqid else None,
                            name if seqid else None,
                            chains.get(subchain, ""),
                            (seqid.icode.strip() if seqid else "") or ".",
                            "y" if len(names) > 1 else "n",
                        )
                    )
    columns = (
        "asym_id",
        "entity_id",
        "seq_id",
        "mon_id",
        "ndb_seq_num",
        "pdb_seq_num",
        "auth_seq_num",
        "pdb_mon_id",
        "auth_mon_id",
        "pdb_strand_id",
        "pdb_ins_code",
        "hetero",
    )
    return dict(zip(columns, zip(*rows, strict=True), strict=True)) if rows else {}


def _add_category(block: gemmi.cif.Block, name: str, columns: dict[str, tuple]) -> None:
    """Add a category before the atoms, whose values are quoted where they have to be."""
    if not columns:
        return
    loop = block.init_mmcif_loop(f"_{name}.", list(columns))
    loop.set_all_values([[_token(value) for value in values] for values in columns.values()])
    block.move_item(-1, block.get_index("_atom_site.id"))


def _token(value: str | int | None) -> str:
    return UNKNOWN if value is None else value if value == "." else gemmi.cif.quote(str(value))


# ---- BinaryCIF ----------------------------------------------------------------------------------


def _binary_of_document(document: gemmi.cif.Document) -> bytes:
    from io import BytesIO

    from biotite.structure.io.pdbx import BinaryCIFBlock, BinaryCIFCategory, BinaryCIFFile, compress

    source = document[0]
    block = BinaryCIFBlock()
    for name in source.get_mmcif_category_names():
        name = name.strip("_.")
        table = source.get_mmcif_category(f"_{name}.", raw=True)
        if all(table.values()):  # a loop without rows has no place in the format
            block[name] = BinaryCIFCategory(
                {tag: _column(name, tag, tokens) for tag, tokens in table.items()}
            )
    file = BinaryCIFFile({source.name: compress(block)})
    content = BytesIO()
    file.write(content)
    return content.getvalue()


def _column(category: str, tag: str, tokens: list[str]) -> Any:
    from biotite.structure.io.pdbx import BinaryCIFColumn, BinaryCIFData

    said = np.array(tokens, dtype=str)
    mask = np.where(said == ".", 1, np.where(said == "?", 2, 0)).astype(np.uint8)
    kind = float if tag in FLOAT_COLUMNS else int if tag in INTEGER_COLUMNS else str
    if category != "atom_site" or kind is str:
        unique, index = np.unique(said, return_inverse=True)
        # what is masked is empty: programs that do not look at the mask (Mol*) would take "?" for
        # an insertion code
        values = np.array([gemmi.cif.as_string(t) for t in unique.tolist()], dtype=str)[index]
    else:
        values = np.where(mask == 0, said, "0").astype(kind)
    return BinaryCIFColumn(BinaryCIFData(values), BinaryCIFData(mask) if mask.any() else None)

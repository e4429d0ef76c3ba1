"""The _atom_site category of an mmCIF or BinaryCIF file, made whole and checked.

Every residue is told from every other.
"""

from os import PathLike

import gemmi
import numpy as np

from ...errors import FileFormatError
from .pdb_text import LARGEST_COORDINATE
from .repeated_chains import AtomNames, ToldApart, tell_apart
from .residue_names import describe_pseudo_atoms, is_pseudo_atom
from .struct_conn import NULL, complete_links, plain_value

CATEGORY = "_atom_site."
# What one column says is what another says too, where the one is missing; the
# author's names are meant.
COUNTERPARTS = {
    "auth_atom_id": "label_atom_id",
    "label_atom_id": "auth_atom_id",
    "auth_comp_id": "label_comp_id",
    "label_comp_id": "auth_comp_id",
    "auth_asym_id": "label_asym_id",
    "label_asym_id": "auth_asym_id",
}
NEEDED = ("Cartn_x", "Cartn_y", "Cartn_z", "label_atom_id", "label_comp_id", "label_asym_id")
DEFAULTS = {"label_alt_id": ".", "type_symbol": "?", "occupancy": "1", "B_iso_or_equiv": "0"}


def atom_block(document: gemmi.cif.Document, *, path: str | PathLike[str]) -> gemmi.cif.Block:
    """The block of a file that holds its atoms.

    Parameters
    ----------
    document : gemmi.cif.Document
        Of the file.
    path : path
        For messages.

    Returns
    -------
    gemmi.cif.Block

    Raises
    ------
    FileFormatError
        None does, or several do, or a loop in it has columns of several categories.
    """
    blocks = [block for block in document if CATEGORY in block.get_mmcif_category_names()]
    if not blocks:
        raise FileFormatError(
            f"{path}: holds no atom; a mmcif file with an _atom_site category was expected"
        )
    if len(blocks) > 1:
        names = ", ".join(block.name for block in blocks[:5])
        raise FileFormatError(
            f"{path}: {len(blocks)} of its data blocks hold atoms ({names}): write one structure "
            "to a file"
        )
    for item in blocks[0]:
        categories = (
            {tag.rpartition(".")[0] for tag in item.loop.tags} if item.loop is not None else ()
        )
        if len(categories) > 1:
            raise FileFormatError(
                f"{path} line {item.line_number}: a loop has columns of several categories "
                f"({', '.join(sorted(categories)[:3])}); each category stands in a loop of its own"
            )
    return blocks[0]


def tidy_atom_site(
    block: gemmi.cif.Block, *, path: str | PathLike[str]
) -> tuple[ToldApart, list[str], list[str]]:
    """Fill in, check and rename the atoms of a block in place.

    Parameters
    ----------
    block : gemmi.cif.Block
        It is changed.
    path : path
        For messages.

    Returns
    -------
    apart : ToldApart
        What was done.
    said : list of str
        What users have to know.
    left_out : list of str
        What is left out.

    Raises
    ------
    FileFormatError
        A column is missing that no other stands for, or a coordinate, an occupancy or a residue's
        number is no number or out of range; the message says the row.
    InputError
        There are more copies of chains than names for them.

    Examples
    --------
    >>> document = gemmi.read_structure("model.pdb").make_mmcif_document()
    >>> apart, said, left_out = tidy_atom_site(document[0], path="model.cif")
    >>> sorted(set(apart.chain)), said, left_out
    (['A', 'B'], [], [])
    """
    before = block.get_mmcif_category(CATEGORY, raw=True)
    columns = _without_pseudo_atoms(_by_model(_filled(before, path=path)))
    dummies = columns.pop("", [])
    said = _check(columns, path=path)
    authors = not any(
        NULL.issuperset(before.get(tag, ".")) for tag in ("auth_asym_id", "auth_seq_id")
    )
    said += complete_links(block, columns, authors=authors, path=path)
    names = _names(columns)
    apart = tell_apart(names, path=path, segment_word="label_asym_id")
    if apart.copies:
        columns["auth_asym_id"] = [gemmi.cif.quote(name) for name in apart.chain]
    if apart.segment != names.segment:
        columns["label_asym_id"] = [gemmi.cif.quote(name) for name in apart.segment]
    if apart.order:
        columns = {tag: [column[atom] for atom in apart.order] for tag, column in columns.items()}
    if columns != before:
        block.set_mmcif_category(CATEGORY, columns, raw=True)
    return apart, said, describe_pseudo_atoms(dummies)


def _filled(columns: dict[str, list[str]], *, path: str | PathLike[str]) -> dict[str, list[str]]:
    """All columns that a reader needs."""
    columns = dict(columns)
    missing = [tag for tag in NEEDED if tag not in columns and COUNTERPARTS.get(tag) not in columns]
    if missing:
        tags = [
            f"{tag} (or {COUNTERPARTS[tag]})" if tag in COUNTERPARTS else tag for tag in missing
        ]
        raise FileFormatError(
            f"{path}: its _atom_site category has no {', '.join(tags)}: write the file anew with "
            "all columns"
        )
    rows = len(columns["Cartn_x"])
    for tag, other in COUNTERPARTS.items():
        if tag not in columns and other in columns and tag in (*NEEDED, "auth_asym_id"):
            columns[tag] = columns[other]
    for tag, value in DEFAULTS.items():
        columns.setdefault(tag, [value] * rows)
    columns.setdefault("id", [str(row) for row in range(1, rows + 1)])
    if NULL.issuperset(columns.get("auth_seq_id", ".")):
        columns["auth_seq_id"] = _numbered(columns.get("label_seq_id", ["."] * rows), columns)
    return columns


def _by_model(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """The columns with the rows of each model side by side, in the order in which models begin."""
    models = columns.get("pdbx_PDB_model_num", [])
    places = {model: place for place, model in enumerate(dict.fromkeys(models))}
    order = sorted(range(len(models)), key=lambda row: places[models[row]])
    if order == list(range(len(models))):
        return columns
    return {tag: [column[row] for row in order] for tag, column in columns.items()}


def _numbered(numbers: list[str], columns: dict[str, list[str]]) -> list[str]:
    """The label numbers, and free ones along each chain for what has none.

    That is needed for water and ligands, say.
    """
    numbers, last = list(numbers), None
    count: dict[str, int] = {}
    inside: set[tuple[str, str]] = set()
    taken = {
        (chain, number) for chain, number in zip(columns["auth_asym_id"], numbers, strict=True)
    }
    keys = zip(
        columns["auth_asym_id"], columns["label_asym_id"], columns["label_comp_id"], strict=True
    )
    for row, key in enumerate(keys):
        if numbers[row] not in NULL:
            last = None
            continue
        atom = columns["label_atom_id"][row], columns["label_alt_id"][row]
        if key != last or atom in inside:
            last, inside, chain = key, set(), key[0]
            count[chain] = count.get(chain, 0) + 1
            while (chain, str(count[chain])) in taken:
                count[chain] += 1
        inside.add(atom)
        numbers[row] = str(count[key[0]])
    return numbers


def _without_pseudo_atoms(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """The columns without the rows of pseudo-atoms.

    The names of their residues are the column "".
    """
    comp, atom = (_plain(columns[tag]) for tag in ("label_comp_id", "label_atom_id"))
    dummy = [is_pseudo_atom(*names) for names in zip(comp, atom, strict=True)]
    if not any(dummy):
        return columns
    kept = [row for row, each in enumerate(dummy) if not each]
    return {tag: [column[row] for row in kept] for tag, column in columns.items()} | {
        "": [comp[row] for row, each in enumerate(dummy) if each]
    }


def _check(columns: dict[str, list[str]], *, path: str | PathLike[str]) -> list[str]:
    def where(row: int | np.integer) -> str:
        return f"{path}: row {row + 1} of _atom_site (id {columns['id'][row]})"

    for tag in ("Cartn_x", "Cartn_y", "Cartn_z"):
        value = _values(columns[tag])
        wrong = np.flatnonzero(~(np.abs(value) <= LARGEST_COORDINATE))
        if len(wrong):
            raise FileFormatError(
                f"{where(wrong[0])}: {tag} is {columns[tag][wrong[0]]!r}; expected a number, in A"
            )
    for row, number in enumerate(columns["auth_seq_id"]):
        if not number.removeprefix("-").isdecimal():
            raise FileFormatError(
                f"{where(row)}: auth_seq_id is {number!r}; expected a whole number"
            )
    said = []
    for tag, expected in (
        ("occupancy", "a number from 0 to 1"),
        ("B_iso_or_equiv", "a number, in A^2"),
    ):
        value = _values(columns[tag])
        null = np.isin(columns[tag], list(NULL))
        wrong = np.flatnonzero(
            ~null & ~(np.isfinite(value) & ((value >= 0) | (tag != "occupancy")))
        )
        if len(wrong):
            raise FileFormatError(
                f"{where(wrong[0])}: {tag} is {columns[tag][wrong[0]]!r}; expected {expected}"
            )
        high = np.flatnonzero(value > 1)
        if tag == "occupancy" and len(high):
            said.append(
                f"{path}: {len(high)} atoms have occupancies above 1 (row {high[0] + 1} of "
                f"_atom_site: {value[high[0]]:g}): they count as 1"
            )
    return said


def _values(column: list[str]) -> np.ndarray:
    """(row,) the numbers of a column, NaN where it holds none."""
    unique, index = np.unique(np.array(column, dtype=str), return_inverse=True)
    return np.array([gemmi.cif.as_number(token) for token in unique.tolist()], dtype=float)[index]


def _plain(column: list[str]) -> list[str]:
    """The values of a column without their quotes, "" where there is none."""
    plain = {token: plain_value(token) for token in set(column)}
    return [plain[token] for token in column]


def _names(columns: dict[str, list[str]]) -> AtomNames:
    rows = len(columns["id"])
    missing = ["."] * rows
    return AtomNames(
        model=columns.get("pdbx_PDB_model_num", missing),
        chain=_plain(columns["auth_asym_id"]),
        number=[int(number) for number in columns["auth_seq_id"]],
        icode=_plain(columns.get("pdbx_PDB_ins_code", missing)),
        residue_name=_plain(columns.get("auth_comp_id", columns["label_comp_id"])),
        atom_name=_plain(columns.get("auth_atom_id", columns["label_atom_id"])),
        altloc=_plain(columns["label_alt_id"]),
        segment=_plain(columns["label_asym_id"]),
        ended=[0] * rows,
        foreign=[group == "HETATM" for group in columns.get("group_PDB", missing)],
    )

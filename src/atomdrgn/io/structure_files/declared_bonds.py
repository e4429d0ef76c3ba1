"""Bonds that a file declares, kept in its ``gemmi.Structure``.

None is misread and none is lost.

``connections`` are the links between residues (LINK, SSBOND, _struct_conn). ``conect_map`` holds
every other declared bond: CONECT records, and what ``_chem_comp_bond`` says of ligands and modified
residues. Its keys are serial numbers of atoms, which are made unique here: 1, 2, ... in file order.
"""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from os import PathLike
from pathlib import Path

import gemmi

# an atom and up to four partners
CONECT_FIELDS = [slice(first, first + 5) for first in range(6, 31, 5)]
FIRST_HYBRID = 10 * 36**4 - 10**5  # "A0000" in base 36 follows 99999
MOST_DIGITS = 7
ORDERS = {"sing": 1, "doub": 2, "trip": 3, "quad": 4}
# gemmi knows these in small letters and without what follows
# them ("covale_base", "covale_sugar", ...)
CONNECTION_TYPES = {
    "covale": gemmi.ConnectionType.Covale,
    "disulf": gemmi.ConnectionType.Disulf,
    "metalc": gemmi.ConnectionType.MetalC,
}


def keep_declared_bonds(
    structure: gemmi.Structure,
    *,
    path: str | PathLike[str],
    lines: Iterable[str] = (),
    block: gemmi.cif.Block | None = None,
) -> None:
    """Say in ``conect_map`` which atoms of the first model a file declares as bonded.

    The atoms of each model are numbered 1, 2, ... in file order.

    Parameters
    ----------
    structure : gemmi.Structure
        As read; it is changed in place. Its serial numbers are still those of the file.
    path : path
        For messages.
    lines : iterable of str
        Of the PDB file that it was read from; looked at only where gemmi has found CONECT records.
    block : gemmi.cif.Block, optional
        The block of an mmCIF or BinaryCIF file that it was read from.

    Warns
    -----
    UserWarning
        CONECT records cannot be read, or name a serial number that several atoms have. They are
        left out.

    Examples
    --------
    >>> structure = gemmi.read_structure("model.pdb")
    >>> keep_declared_bonds(structure, path="model.pdb")
    >>> len(structure.conect_map), structure[0]["B"][0][0].serial
    (0, 61)
    """
    orders: dict[tuple[int, int], int] = {}
    if structure.conect_map:
        orders = _orders_of_conect(structure, lines, path=path)
    elif block is not None:
        _name_connection_types(structure, block)
        orders = _orders_of_components(structure, block)
    structure.assign_serial_numbers()
    structure.clear_conect()
    for (i, j), order in sorted(orders.items()):
        structure.add_conect(i, j, order)


# ---- PDB ----------------------------------------------------------------------------------------


def _orders_of_conect(
    structure: gemmi.Structure, lines: Iterable[str], *, path: str | PathLike[str]
) -> dict[tuple[int, int], int]:
    """{(i, j): order}: places of bonded atoms in the first model, from 1.

    A partner that is named twice has a double bond.
    """
    serials = [atom.atom.serial for atom in structure[0].all()]
    repeated = {serial for serial, count in Counter(serials).items() if count > 1}
    place = {serial: number for number, serial in enumerate(serials, 1)}
    orders: dict[tuple[int, int], int] = defaultdict(int)
    unread, ambiguous = [], []
    for row, line in enumerate(lines, 1):
        if line[:6].upper() != "CONECT":
            continue
        read = _serials(line)
        if read is None:
            unread.append((row, line.rstrip()))
            continue
        first, *partners = read
        if repeated & set(read):
            ambiguous.append((row, line.rstrip()))
        for partner, order in Counter(partners).items():
            if (
                first in place
                and partner in place
                and first != partner
                and not {first, partner} & repeated
            ):
                i, j = sorted((place[first], place[partner]))
                orders[i, j] = max(orders[i, j], order)
    _warn(path, unread, "hold no serial numbers in their columns (7 to 11, 12 to 16, ...)")
    _warn(path, ambiguous, "name a serial number that several atoms have")
    return orders


def _serials(line: str) -> list[int] | None:
    """The serial numbers of a CONECT record, None where it cannot be read.

    What stands behind column 31 is no bond.
    """
    if not line[CONECT_FIELDS[0]].strip():  # partners of nothing
        return None
    fields = [field for field in (line.rstrip()[part] for part in CONECT_FIELDS) if field.strip()]
    if all(len(field) == 5 and field == field.strip().rjust(5) for field in fields):
        words = [field.strip() for field in fields]
    else:  # written by hand, with a space between numbers
        words = line[6:].split()
    numbers = [number for number in map(_serial, words) if number is not None]
    return numbers if numbers and len(numbers) == len(words) else None


def _serial(word: str) -> int | None:
    if word.isascii() and word.isdecimal():
        # of a number wider than its column, or two in one
        part = len(word) > 1 and word[0] == "0" or len(word) > MOST_DIGITS
        return None if part else int(word)
    if len(word) == 5 and word[0].isalpha() and word.isalnum() and word.isascii():
        return int(word, 36) - FIRST_HYBRID
    return None


def _warn(path: str | PathLike[str], records: list[tuple[int, str]], what: str) -> None:
    if records:
        row, line = records[0]
        warnings.warn(
            f"{Path(path).name}: {len(records)} CONECT records {what}; they are left out, and "
            f"these bonds are found by distance (the first is line {row}: {line!r})",
            UserWarning,
            stacklevel=4,
        )


# ---- mmCIF and BinaryCIF ------------------------------------------------------------------------


def _name_connection_types(structure: gemmi.Structure, block: gemmi.cif.Block) -> None:
    said = {
        row.str(0): row.str(1).lower().partition("_")[0]
        for row in block.find("_struct_conn.", ["id", "conn_type_id"])
    }
    for connection in structure.connections:
        if connection.type == gemmi.ConnectionType.Unknown:
            connection.type = CONNECTION_TYPES.get(
                said.get(connection.name, ""), gemmi.ConnectionType.Unknown
            )


def _orders_of_components(
    structure: gemmi.Structure, block: gemmi.cif.Block
) -> dict[tuple[int, int], int]:
    """{(i, j): order} as ``_chem_comp_bond`` says.

    Standard residues and water are left out: everyone knows their bonds.
    """
    bonds = defaultdict(list)
    for row in block.find(
        "_chem_comp_bond.", ["comp_id", "atom_id_1", "atom_id_2", "?value_order"]
    ):
        order = row.str(3).lower() if row.has(3) else "sing"
        bonds[row.str(0)].append((row.str(1), row.str(2), ORDERS.get(order, 1)))
    for name in list(bonds):
        info = gemmi.find_tabulated_residue(name)
        if info.is_standard() or info.is_water():
            del bonds[name]
    orders: dict[tuple[int, int], int] = {}
    number = 0
    for chain in structure[0]:
        for residue in chain:
            listed = bonds.get(residue.name)
            if listed:
                orders.update(_orders_inside(residue, listed, number))
            number += len(residue)
    return orders


def _orders_inside(
    residue: gemmi.Residue, listed: list[tuple[str, str, int]], before: int
) -> Iterator[tuple[tuple[int, int], int]]:
    """((i, j), order) of one residue, before which so many atoms stand.

    Alternative locations are bonded to their own kind.
    """
    places = defaultdict(list)
    for number, atom in enumerate(residue, before + 1):
        places[atom.name].append((number, atom.altloc.strip("\0 ")))
    for one, other, order in listed:
        for (i, here), (j, there) in product(places.get(one, ()), places.get(other, ())):
            if i != j and (here == there or not here or not there):
                yield (min(i, j), max(i, j)), order

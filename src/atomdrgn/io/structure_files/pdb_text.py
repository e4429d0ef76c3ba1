"""The text of a PDB file to one ``gemmi.Structure``, checked column by column.

Every residue is told from every other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike

import gemmi

from ...errors import FileFormatError
from .gemmi_refusals import refusing
from .repeated_chains import AtomNames, ToldApart, tell_apart
from .residue_names import describe_pseudo_atoms, is_pseudo_atom

NUMBER = re.compile(r" *[-+]?(?:\d+\.?\d*|\.\d+) *")
EXACT = re.compile(r" *-?\d+\.\d{3} *")
CHARGE = re.compile(r"(?:\d[-+]|[-+]\d|[-+]|\d)?")
COORDINATES = (("x", 30), ("y", 38), ("z", 46))
WIDTH = 8
LARGEST_COORDINATE = 1e5  # A
# A: CNS and CHARMM write 9999 three times for an atom whose place they do not know
UNKNOWN_PLACE = 9998.9
BELONGS_TO_ATOM = ("ANISOU", "SIGATM", "SIGUIJ")
# Letters that programs such as GROMACS add to the names of residues for their protons or partner:
# HISD, LYSH, CYS2.
FOURTH_LETTERS = {
    "ARG": "HN",
    "ASP": "HP",
    "CYS": "12HMNX",
    "GLU": "HP",
    "HIS": "12ABDEHPX",
    "LYS": "HNP",
    "TYR": "HMN",
}
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class PdbText:
    """The lines of a PDB file.

    Parameters
    ----------
    lines : list of str
        Those that are read.
    atoms : list of int
        Which of them are ATOM and HETATM records.
    names : AtomNames
        What they call their atoms.
    elements : list of str
        What columns 77 and 78 say; "" where they say nothing.
    said, left_out : list of str
        What users have to know: sentences, and phrases about what is left out.

    Examples
    --------
    >>> pdb = parse_pdb(open("model.pdb").read(), path="model.pdb")
    >>> pdb.elements[:3], pdb.said
    (['N', 'C', 'C'], [])
    """

    lines: list[str]
    atoms: list[int] = field(default_factory=list)
    names: AtomNames = field(default_factory=AtomNames)
    elements: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def parse_pdb(text: str, *, path: str | PathLike[str]) -> PdbText:
    """The lines of a PDB file with the numbers of their atoms checked.

    Pseudo-atoms and what stands behind END are left out.

    Parameters
    ----------
    text : str
        Of the file.
    path : path
        For messages.

    Returns
    -------
    PdbText

    Raises
    ------
    FileFormatError
        A coordinate, an occupancy or a residue's number is no number or out of range; the message
        says the line.

    Examples
    --------
    >>> pdb = parse_pdb(open("model.pdb").read(), path="model.pdb")
    >>> len(pdb.atoms), pdb.names.label(0)
    (120, 'A:1 ALA')
    """
    pdb = PdbText([])
    records = list(_records(text, pdb, path=path))
    # a letter in column 21 belongs to the residue's name (TIP3, POPC, LYSH), unless residues of
    # three letters have one there too
    two_letters = any(
        line[20:21].strip() and _no_fourth_letter(line)
        for kind, _, line in records
        if kind == "atom"
    )
    dummies, kept, ended, model, high = [], True, 0, 0, []
    for kind, number, line in records:
        if kind == "atom":
            kept = not is_pseudo_atom(line[17:20].strip(), line[12:16].strip())
            if not kept:
                dummies.append(line[17:20].strip())
                continue
            line, occupancy = _checked(line, number, path=path)
            if occupancy > 1:
                high.append((number, occupancy))
            line = _without_foreign_charge(line)
            line = _add_names(pdb.names, line, number, two_letters=two_letters, path=path)
            pdb.names.ended.append(ended)
            pdb.names.model.append(str(model))
            pdb.atoms.append(len(pdb.lines))
            pdb.elements.append(line[76:78].strip())
        elif kind == "TER":
            ended += 1
        elif kind == "MODEL":
            model += 1
        if kept or kind != "of the atom":
            pdb.lines.append(line)
    pdb.left_out += describe_pseudo_atoms(dummies)
    if high:
        number, occupancy = high[0]
        pdb.said.append(
            f"{path}: {len(high)} atoms have occupancies above 1 (line {number}: {occupancy:g}): "
            "they count as 1"
        )
    return pdb


def make_structure(
    pdb: PdbText, *, name: str, path: str | PathLike[str]
) -> tuple[gemmi.Structure, ToldApart]:
    """The structure of a PDB file, and how its chains were told apart.

    Its atoms are in the order of the returned :class:`ToldApart`, and `pdb` has the new names.

    Parameters
    ----------
    pdb : PdbText
        Is changed.
    name : str
        Of the structure.
    path : path
        For messages.

    Returns
    -------
    structure : gemmi.Structure
        All models.
    apart : ToldApart
        Names under which every residue is found once.

    Raises
    ------
    InputError
        There are more copies of chains than names for them.

    Examples
    --------
    >>> pdb = parse_pdb(open("model.pdb").read(), path="model.pdb")
    >>> structure, apart = make_structure(pdb, name="model", path="model.pdb")
    >>> structure.name, apart.copies
    ('model', {})
    """
    apart = tell_apart(pdb.names, path=path, longest=2)
    pdb.lines = _renamed(pdb, apart)
    if apart.order:
        pdb.lines = _reordered(pdb, apart.order)
        pdb.elements = [pdb.elements[atom] for atom in apart.order]
    with refusing(path, "pdb"):
        structure = gemmi.read_pdb_string("\n".join(pdb.lines) + "\n")
    structure.name = name
    _give_long_names(structure, pdb.names, apart.order)
    return structure, apart


def _records(
    text: str, pdb: PdbText, *, path: str | PathLike[str]
) -> Iterator[tuple[str, int, str]]:
    """Kind, number and text, in ASCII, of each line up to END."""
    behind, end = 0, None
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not line.isascii():
            # columns are counted in characters here, and in bytes by gemmi
            line = line.encode("ascii", "replace").decode()
        start = line[:6].upper().rstrip()
        if start[:4] in ("ATOM", "HETA"):
            if end is not None:
                behind += 1
                continue
            yield "atom", number, _in_columns(line, number, path=path)
        elif end is None:
            kind = start if start in ("TER", "MODEL") else "MODEL" if start == "ENDMDL" else None
            yield "of the atom" if start in BELONGS_TO_ATOM else kind or "other", number, line
            end = number if start == "END" else None
    if behind:
        pdb.said.append(
            f"{path}: {behind} atoms stand behind END (line {end}) and are not read; let one END "
            "close the file, and put models between MODEL and ENDMDL"
        )


def _in_columns(line: str, number: int, *, path: str | PathLike[str]) -> str:
    """A record of an atom, its tabs as the blanks that they stand for."""
    if "\t" not in line:
        return line
    line = line.expandtabs(8)
    if not all(EXACT.fullmatch(line[start : start + WIDTH]) for _, start in COORDINATES):
        raise FileFormatError(
            f"{path} line {number}: holds tabs, and its coordinates are not in columns 31 to 54: "
            "write blanks in place of tabs"
        )
    return line


def _checked(line: str, number: int, *, path: str | PathLike[str]) -> tuple[str, float]:
    """The line, with an occupancy where its columns are blank, and that occupancy."""
    place = []
    for axis, start in COORDINATES:
        value = line[start : start + WIDTH]
        if NUMBER.fullmatch(value) is None:
            raise _no_number(axis, "a number, in A,", line, number, start, start + WIDTH, path=path)
        place.append(float(value))
    if min(place) >= UNKNOWN_PLACE:
        raise FileFormatError(
            f"{path} line {number}: {_atom(line)} is at 9999, 9999, 9999, which stands for an atom "
            "whose place is not known: build the atom, or leave it out"
        )
    if max(map(abs, place)) > LARGEST_COORDINATE:
        xyz = ", ".join(f"{x:g}" for x in place)
        raise FileFormatError(
            f"{path} line {number}: {_atom(line)} is at {xyz}; coordinates in A were expected"
        )
    value = line[54:60]
    if not value.strip():
        return (line[:54] + "  1.00" + line[60:] if len(line) > 54 else line), 1.0
    if NUMBER.fullmatch(value) is None or float(value) < 0:
        raise _no_number("the occupancy", "a number from 0 to 1", line, number, 54, 60, path=path)
    if line[60:66].strip() and NUMBER.fullmatch(line[60:66]) is None:
        raise _no_number("the B-factor", "a number, in A^2,", line, number, 60, 66, path=path)
    return line, float(value)


def _without_foreign_charge(line: str) -> str:
    """The line without what stands in the columns of the charge and is none.

    That is the line numbers of files before 1996.
    """
    return line if CHARGE.fullmatch(line[78:80].strip()) else line[:78] + "  " + line[80:]


def _no_number(
    what: str,
    expected: str,
    line: str,
    number: int,
    start: int,
    end: int,
    *,
    path: str | PathLike[str],
) -> FileFormatError:
    return FileFormatError(
        f"{path} line {number}: {what} of {_atom(line)} is {line[start:end]!r}; expected "
        f"{expected} in columns {start + 1} to {end}"
    )


def _atom(line: str) -> str:
    residue = f"{line[21:22].strip()}:{line[22:27].strip()} {line[17:20].strip()}"
    return f"{line[12:16].strip()} of {residue}"


def _no_fourth_letter(line: str) -> bool:
    """Whether column 21, where something stands, is no part of the residue's name."""
    name = line[17:20].strip()
    return (
        line[20] not in FOURTH_LETTERS.get(name, "")
        and gemmi.find_tabulated_residue(name).is_standard()
    )


def _add_names(
    names: AtomNames, line: str, number: int, *, two_letters: bool, path: str | PathLike[str]
) -> str:
    """Add the names of an atom to those before.

    Returned is its line with the residue's number as gemmi reads it.
    """
    four = not two_letters and line[20:21].strip()
    residue, icode = _residue_number(line, number, path=path)
    if residue > 9999:
        line = f"{line[:22]}{_hybrid_36(residue)}{icode or ' '}{line[27:]}"
    names.chain.append(line[21:22].strip() if four else line[20:22].strip())
    names.number.append(residue)
    names.icode.append(icode)
    names.residue_name.append(line[17 : 21 if four else 20].strip())
    names.atom_name.append(line[12:16].strip())
    names.altloc.append(line[16:17].strip())
    names.segment.append(line[72:76].strip())
    names.foreign.append(line[:1] in "Hh")
    return line


def _residue_number(line: str, number: int, *, path: str | PathLike[str]) -> tuple[int, str]:
    """Number and insertion code.

    Beyond 9999 files count in hybrid-36 (A000), in hexadecimal (271a) or take a fifth column.
    """
    value, icode = line[22:26].strip(), line[26:27].strip()
    digits = value.removeprefix("-")
    if digits.isdigit() and not (icode.isdigit() and len(value) == 4):
        return int(value), icode
    if len(value) == 4 and value.isalnum():
        if icode.isdigit() and value.isdigit():
            return int(value + icode), ""
        if value[0] in DIGITS[10:] and value.isupper():
            return int(value, 36) - 466560 + 10_000, icode
        if set(value) <= set("0123456789abcdef") or set(value) <= set("0123456789ABCDEF"):
            return int(value, 16), icode
    raise FileFormatError(
        f"{path} line {number}: the number of the residue {line[17:20].strip()} is "
        f"{line[22:27]!r}; expected a whole number in columns 23 to 26"
    )


def _hybrid_36(number: int) -> str:
    """A number from 10,000 on in four characters, from A000 on."""
    value, digits = number - 10_000 + 466_560, ""
    while value:
        value, rest = divmod(value, 36)
        digits = DIGITS[rest] + digits
    return digits


# ---- what the lines say under new names ---------------------------------------------------------


def _renamed(pdb: PdbText, apart: ToldApart) -> list[str]:
    names, lines = pdb.names, list(pdb.lines)
    for atom, line in enumerate(pdb.atoms):
        chain, segment = apart.chain[atom], apart.segment[atom]
        long = len(names.residue_name[atom]) > 3
        if chain != names.chain[atom] or long:
            lines[line] = f"{lines[line][:20]}{chain:>2}{lines[line][22:]}"
        if segment != names.segment[atom]:
            lines[line] = f"{lines[line]:<76}"[:72] + f"{segment:<4}" + lines[line][76:]
    return lines


def _reordered(pdb: PdbText, order: list[int]) -> list[str]:
    """The lines with the atoms in another order.

    All that is no atom stays behind the atom that it is behind.
    """
    lines, blocks, lowest = pdb.lines, [], len(order)
    behind: dict[int, list[int]] = {}
    for line in pdb.atoms:
        end = line + 1
        while end < len(lines) and lines[end][:6].upper() in BELONGS_TO_ATOM:
            end += 1
        blocks.append(range(line, end))
    moved = set()  # atoms that stand in front of one that the file has before them
    for atom in reversed(order):
        if atom > lowest:
            moved.add(atom)
        lowest = min(lowest, atom)
    for atom in order:
        if atom not in moved:
            last = behind[blocks[atom].stop - 1] = []
        else:
            last += blocks[atom]
    gone = {line for atom in moved for line in blocks[atom]}
    kept = (line for line in range(len(lines)) if line not in gone)
    return [lines[each] for line in kept for each in (line, *behind.get(line, ()))]


def _give_long_names(structure: gemmi.Structure, names: AtomNames, order: list[int] | None) -> None:
    """Names of four letters, of which a PDB reader takes three."""
    if all(len(name) < 4 for name in set(names.residue_name)):
        return
    atom = iter(order or range(len(names)))
    for model in structure:
        for chain in model:
            for residue in chain:
                residue.name = names.residue_name[next(atom)]
                for _ in range(len(residue) - 1):
                    next(atom)

"""The _struct_conn category of a CIF file, under the names that its atoms are read with."""

from collections import defaultdict
from os import PathLike

import gemmi

from .residue_names import WATER_NAMES

CATEGORY = "_struct_conn."
NULL = {"?", "."}
ENDS = ("ptnr1", "ptnr2")
# What gemmi needs of each end, and which columns say it.
COLUMNS = {
    "label_asym_id": "{}_label_asym_id",
    "label_seq_id": "{}_label_seq_id",
    "label_comp_id": "{}_label_comp_id",
    "label_atom_id": "{}_label_atom_id",
    "auth_asym_id": "{}_auth_asym_id",
    "auth_seq_id": "{}_auth_seq_id",
    "ins_code": "pdbx_{}_PDB_ins_code",
}


def complete_links(
    block: gemmi.cif.Block,
    columns: dict[str, list[str]],
    *,
    authors: bool,
    path: str | PathLike[str],
) -> list[str]:
    """Fill in by which names the ends of links are known, in place.

    It is needed where the file has label or author's names only.

    Parameters
    ----------
    block : gemmi.cif.Block
        It is changed only where columns are missing, of its links or of its atoms.
    columns : dict
        Of ``_atom_site``: all that :mod:`.atom_site` fills in, as tokens.
    authors : bool
        The file says the author's chains and numbers of its atoms; else what stands in `columns`
        comes of the labels, and author's numbers in the table of links are others.
    path : path
        For messages.

    Returns
    -------
    list of str
        A sentence where links are left out, because the names that they have may mean several
        residues.

    Examples
    --------
    >>> block = gemmi.read_structure("model.pdb").make_mmcif_document()[0]
    >>> columns = block.get_mmcif_category("_atom_site.", raw=True)
    >>> complete_links(block, columns, authors=True, path="model.cif")
    []
    """
    table = block.get_mmcif_category(CATEGORY, raw=True)
    needed = [
        pattern.format(end) for end in ENDS for tag, pattern in COLUMNS.items() if tag != "ins_code"
    ]
    if not table or authors and all(tag in table for tag in needed):
        return []
    residues = _Residues(columns)
    rows = len(next(iter(table.values())))
    plain = {tag: [plain_value(token) for token in column] for tag, column in table.items()}
    lost = []
    for end in ENDS:
        found = [residues.find(_End(plain, end, row), authors=authors) for row in range(rows)]
        lost += [row for row, each in enumerate(found) if each is None]
        for tag, pattern in COLUMNS.items():
            table[pattern.format(end)] = [_token(each[tag]) if each else "?" for each in found]
    if not lost:
        block.set_mmcif_category(CATEGORY, table, raw=True)
        return []
    kept = [row for row in range(rows) if row not in set(lost)]
    name = plain["id"][lost[0]] if "id" in plain else f"row {lost[0] + 1}"
    block.set_mmcif_category(
        CATEGORY, {tag: [column[row] for row in kept] for tag, column in table.items()}, raw=True
    )
    return [
        f"{path}: {rows - len(kept)} links of _struct_conn name no atom of the file, or several "
        f"({name}): they are left out; give the table of links and that of atoms the same columns "
        "auth_asym_id and auth_seq_id"
    ]


class _End:
    """What a row says of one end of its link; "" where it says nothing."""

    def __init__(self, plain: dict[str, list[str]], end: str, row: int) -> None:
        def say(*patterns: str) -> str:
            return next(
                (word for p in patterns if (word := plain.get(p.format(end), {row: ""})[row])), ""
            )

        self.label = say("{}_label_asym_id"), say("{}_label_seq_id")
        self.author = say("{}_auth_asym_id"), say("{}_auth_seq_id"), say("pdbx_{}_PDB_ins_code")
        self.residue_name = say("{}_label_comp_id", "{}_auth_comp_id")
        self.atom_name = say("{}_label_atom_id", "{}_auth_atom_id")


class _Residues:
    """Residues by either kind of their names."""

    def __init__(self, columns: dict[str, list[str]]) -> None:
        rows = len(columns["id"])
        tags = (
            "label_asym_id",
            "label_seq_id",
            "label_comp_id",
            "auth_asym_id",
            "auth_seq_id",
            "pdbx_PDB_ins_code",
        )
        self.by_label: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
        self.by_author: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
        missing = ["."] * rows
        for names in dict.fromkeys(zip(*(columns.get(tag, missing) for tag in tags), strict=True)):
            asym, seq, comp, chain, number, icode = map(plain_value, names)
            residue = {
                "label_asym_id": asym,
                "label_seq_id": seq,
                "label_comp_id": comp,
                "auth_asym_id": chain,
                "auth_seq_id": number,
                "ins_code": icode,
            }
            self.by_label[asym, seq, comp].append(residue)
            self.by_author[chain, number, icode, comp].append(residue)

    def find(self, end: _End, *, authors: bool) -> dict[str, str] | None:
        """The names of an end; None where no residue has those of the row, or several have."""
        if authors and all(end.author[:2]):
            # copies of a chain bear one name; links are held against all of them later
            residues = self.by_author.get((*end.author, end.residue_name), [])[:1]
        else:
            residues = self.by_label.get((*end.label, end.residue_name), [])
        # sugars of one tree have no label number, and are counted as the
        # author's are; waters are not
        if len(residues) > 1:
            if not authors and end.residue_name in WATER_NAMES:
                return None
            residues = [residue for residue in residues if residue["auth_seq_id"] == end.author[1]]
        return (
            residues[0] | {"label_atom_id": end.atom_name}
            if len(residues) == 1 and end.atom_name
            else None
        )


def plain_value(token: str) -> str:
    """The value of a CIF token without its quotes, "" where there is none.

    Parameters
    ----------
    token : str
        As it stands in the file.

    Returns
    -------
    str

    Examples
    --------
    >>> plain_value("'two words'"), plain_value("?")
    ('two words', '')
    """
    return "" if token in NULL else gemmi.cif.as_string(token)


def _token(word: str) -> str:
    return gemmi.cif.quote(word) if word else "?"

"""STAR files as plain tables. Every value stays the token that stands in the file, so that it can be written back unchanged."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, MissingFileError
from .whole_file import whole_file

# A quote opens only at the start of a token and closes only before a blank: 5'-end is a plain token.
TOKEN = re.compile(r"""\s*("(?:[^"]|"(?=\S))*"(?=\s|$)|'(?:[^']|'(?=\S))*'(?=\s|$)|\S+)""")


@dataclass(frozen=True)
class StarTable:
    """One loop, or one run of name-value pairs, of a STAR file.

    Parameters
    ----------
    block : str
        Name of the block it stands in, without ``data_``: may be empty.
    columns : dict of list of str
        Tokens by column name (without the underscore), quotes included, in the order of the file.
    is_loop : bool
        Whether it is a ``loop_``; otherwise it has one row and is written as name-value pairs.
    comments : tuple of str
        Comment lines that stand before the block, such as ``# version 30001``.
    path : Path
        Where it was read from, for messages.
    """

    block: str
    columns: dict[str, list[str]]
    is_loop: bool = True
    comments: tuple[str, ...] = ()
    path: Path = field(default=Path("table"), compare=False)

    def __len__(self):
        return len(next(iter(self.columns.values()), []))

    def __contains__(self, name):
        return name in self.columns

    def texts(self, name: str) -> list[str]:
        """The values of a column without their quotes."""
        return [_unquoted(token) for token in self._column(name)]

    def numbers(self, name: str) -> np.ndarray:
        """The values of a column as float64 (row,)."""
        tokens = self._column(name)
        try:
            return np.array([float(token) for token in tokens])
        except ValueError:
            row = next(i for i, token in enumerate(tokens) if not _is_number(token))
            raise FileFormatError(f"{self.path}: row {row + 1} of {name} is {tokens[row]!r}, expected a number") from None

    def rows(self, index: Iterable[int]) -> "StarTable":
        """The same table with these rows, in this order, every token as it was."""
        index = [int(i) for i in index]
        return replace(self, columns={name: [tokens[i] for i in index] for name, tokens in self.columns.items()})

    def with_column(self, name: str, tokens: Iterable[str]) -> "StarTable":
        """The same table with other tokens in a column, which is the last one where there was none of this name."""
        return replace(self, columns={**self.columns, name: list(tokens)})

    def _column(self, name):
        if name not in self.columns:
            raise FileFormatError(f"{self.path}: block data_{self.block} has no column {name} (it has {', '.join(self.columns)})")
        return self.columns[name]


def read_star(path) -> list[StarTable]:
    """The tables of a STAR file in their order.

    The reader is our own, because a particle file goes back to the program that wrote it: libraries turn ``001`` into 1, or
    lose the comment that holds the version, or do not say which line is ragged.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If a row has more or fewer values than its loop has columns, or a line is no STAR; the line is named.
    """
    path = Path(path)
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise FileFormatError(f"{path}: not a STAR file ({error})") from None
    return _Reader(path).tables(text)


def write_star(path, tables: Iterable[StarTable]) -> None:
    """Write tables as a STAR file, one row a line, tokens and comments as they are. The file appears whole or not at all."""
    lines, block = [], None
    for table in tables:
        if table.block != block:
            block = table.block
            lines += [*table.comments, "", f"data_{block}", ""]
        if table.is_loop:
            lines += ["loop_", *(f"_{name} #{i}" for i, name in enumerate(table.columns, 1))]
            lines += [" ".join(row) for row in zip(*table.columns.values(), strict=True)]
        else:
            lines += [f"_{name} {tokens[0]}" for name, tokens in table.columns.items()]
        lines.append("")
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def find_table(tables: Iterable[StarTable], block: str) -> StarTable | None:
    """The first table of the block with this name, or None."""
    return next((table for table in tables if table.block == block), None)


class _Reader:
    """Where the reading of one file stands."""

    def __init__(self, path):
        self.path = path
        self.found = []
        self.comments = []
        self.block = None
        self.loop = False
        self.names, self.rows = [], []

    def tables(self, text):
        for number, line in enumerate(text.split("\n"), 1):
            stripped = line.strip()
            if stripped.startswith("#"):
                self.comments.append(stripped)
            elif stripped:
                self._take(number, stripped)
        self._finish()
        if self.block is None:
            raise FileFormatError(f"{self.path}: no data_ block, so it is not a STAR file")
        return self.found

    def _take(self, number, line):
        if line.startswith("data_"):
            self._finish()
            self.block, self.block_comments = line[5:].split()[0] if line[5:].split() else "", tuple(self.comments)
            self.comments = []
        elif self.block is None:
            raise FileFormatError(f"{self.path} line {number}: expected a data_ block before {line[:40]!r}")
        elif line.split()[0] == "loop_":
            self._finish()
            self.loop = True
        elif line.startswith("_"):
            self._take_name(number, _tokens(line))
        else:
            self._take_row(number, _tokens(line))

    def _take_name(self, number, tokens):
        if self.loop and (self.rows or len(tokens) > 1):
            self._finish()                                 # pairs may follow a loop
        if len(tokens) != (1 if self.loop else 2):
            raise FileFormatError(f"{self.path} line {number}: {tokens[0]} has {len(tokens) - 1} values, expected one "
                                  "(or a loop_ line before the names)")
        name = tokens[0][1:]
        if name in self.names:
            raise FileFormatError(f"{self.path} line {number}: {name} stands twice in data_{self.block}")
        self.names.append(name)
        if not self.loop:
            self.rows = [[*(self.rows[0] if self.rows else []), tokens[1]]]

    def _take_row(self, number, tokens):
        if not self.loop:
            raise FileFormatError(f"{self.path} line {number}: values that belong to no name: {' '.join(tokens)[:60]!r}")
        if len(tokens) != len(self.names):
            raise FileFormatError(f"{self.path} line {number}: {len(tokens)} values, but the loop in data_{self.block} has "
                                  f"{len(self.names)} columns; every row has to be whole and on one line")
        self.rows.append(tokens)

    def _finish(self):
        if self.names:
            columns = [list(column) for column in zip(*self.rows, strict=True)] or [[] for _ in self.names]
            self.found.append(StarTable(self.block, dict(zip(self.names, columns, strict=True)), self.loop,
                                        self.block_comments, self.path))
        self.loop, self.names, self.rows = False, [], []


def _tokens(line):
    if "#" not in line and '"' not in line and "'" not in line:
        return line.split()
    tokens = []
    for match in TOKEN.finditer(line):
        if match[1].startswith("#"):
            break
        tokens.append(match[1])
    return tokens


def _unquoted(token):
    if len(token) > 1 and token[0] in "\"'" and token[-1] == token[0]:
        return token[1:-1]
    return token


def _is_number(token):
    try:
        float(token)
    except ValueError:
        return False
    return True

"""STAR files as plain tables.

Every value stays the token that stands in the file, so that it can be written back unchanged.
"""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import NoReturn

import numpy as np

from ..errors import FileFormatError, InputError
from .text import read_text
from .whole_file import whole_file

# what parts tokens, beside the ends of lines: a non-breaking space, or any
# other, may stand in a name
BLANK = " \t"
# A quote opens only at the start of a token and closes only before a
# blank: 5'-end is a plain token.
TOKEN = re.compile(
    r"""[ \t]*("(?:[^"]|"(?=[^ \t]))*"(?=[ \t]|$)|'(?:[^']|'(?=[^ \t]))*'(?=[ \t]|$)|[^ \t]+)"""
)
BLOCK, LOOP, FRAME = "data_", "loop_", "save_"
# what a plain token does not begin with
RESERVED = ("_", "#", ";", "'", '"', "$", BLOCK, LOOP, FRAME, "global_", "stop_")


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
    line : int
        Where its block begins in that file, from 1: tables of one block have the same.

    Examples
    --------
    >>> table = StarTable("particles", {"rlnDefocusU": ["15000.0", "15100.0"]})
    >>> len(table), table.numbers("rlnDefocusU").tolist()
    (2, [15000.0, 15100.0])
    """

    block: str
    columns: dict[str, list[str]]
    is_loop: bool = True
    comments: tuple[str, ...] = ()
    path: Path = field(default=Path("table"), compare=False)
    line: int = field(default=0, compare=False)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def texts(self, name: str) -> list[str]:
        """The values of a column without their quotes."""
        return [_unquoted(token) for token in self._column(name)]

    def numbers(self, name: str) -> np.ndarray:
        """The values of a column as float64 (row,).

        Raises
        ------
        FileFormatError
            There is no such column, or one of its values is no number.
        """
        tokens = self.texts(name)
        try:
            # Python takes 1_000 for a number, and no other program does
            if any("_" in token for token in tokens):
                raise ValueError
            return np.array([float(token) for token in tokens])
        except ValueError:
            row = next(i for i, token in enumerate(tokens) if not _is_number(token))
            raise FileFormatError(
                f"{self.path}: row {row + 1} of {name} is {tokens[row]!r}, expected a number"
            ) from None

    def rows(self, index: Iterable[int]) -> "StarTable":
        """The same table with these rows, in this order, every token as it was."""
        index = [int(i) for i in index]
        return replace(
            self,
            columns={name: [tokens[i] for i in index] for name, tokens in self.columns.items()},
        )

    def with_column(self, name: str, tokens: Iterable[str]) -> "StarTable":
        """The same table with other tokens in a column.

        It is the last one where there was none of this name.
        """
        return replace(self, columns={**self.columns, name: list(tokens)})

    def with_texts(self, name: str, values: Iterable[str]) -> "StarTable":
        """The same table with other values in a column.

        They are quoted where a plain token would not be read as they are.
        """
        return self.with_column(name, map(token_of, values))

    def without_column(self, name: str) -> "StarTable":
        """The same table without a column."""
        return replace(
            self, columns={other: tokens for other, tokens in self.columns.items() if other != name}
        )

    def _column(self, name: str) -> list[str]:
        if name not in self.columns:
            raise FileFormatError(
                f"{self.path}: block data_{self.block} has no column {name} (it has "
                f"{', '.join(self.columns)})"
            )
        return self.columns[name]


def read_star(path: str | PathLike[str]) -> list[StarTable]:
    """The tables of a STAR file in their order.

    The reader is our own, because a particle file goes back to the program that wrote it: libraries
    turn ``001`` into 1, or lose the comment that holds the version, or do not say which line is
    ragged.

    A value may begin with anything, as in RELION: ``data_NAME``, ``loop_`` or ``#`` begin a block,
    a loop or a comment only where the line is no whole row of the loop that it stands in. A byte
    order mark, line ends of any system and bytes that are no UTF-8 are read.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    list of StarTable

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If a row has more or fewer values than its loop has columns, or a line is no STAR; the line
        is named.

    Warns
    -----
    UserWarning
        Rows begin with ``#`` and might be comments.

    Examples
    --------
    >>> [(table.block, len(table)) for table in read_star("particles.star")]
    [('optics', 1), ('particles', 8)]
    """
    path = Path(path)
    return _Reader(path).tables(read_text(path, expected="a STAR file"))


def write_star(path: str | PathLike[str], tables: Iterable[StarTable]) -> None:
    """Write tables as a STAR file, one row a line, tokens and comments as they are.

    The file appears whole or not at all.

    Parameters
    ----------
    path : path
        Of the file.
    tables : iterable of StarTable
        Those of one block stand behind each other.

    Examples
    --------
    >>> write_star("some.star", [StarTable("particles", {"rlnDefocusU": ["15000.0"]})])
    >>> read_star("some.star")[0].columns
    {'rlnDefocusU': ['15000.0']}
    """
    lines, block = [], None
    for table in tables:
        if (table.block, table.line) != block:
            block = table.block, table.line
            lines += [*table.comments, "", f"data_{table.block}", ""]
        if table.is_loop:
            lines += ["loop_", *(f"_{name} #{i}" for i, name in enumerate(table.columns, 1))]
            lines += [" ".join(row) for row in zip(*table.columns.values(), strict=True)]
        else:
            lines += [f"_{name} {tokens[0]}" for name, tokens in table.columns.items()]
        lines.append("")
    with whole_file(path) as temporary:
        temporary.write_text(
            "\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape", newline="\n"
        )


def find_table(tables: Iterable[StarTable], block: str) -> StarTable | None:
    """The first table of the block with this name, or None.

    Parameters
    ----------
    tables : iterable of StarTable
        Of one file.
    block : str
        Without ``data_``.

    Returns
    -------
    StarTable or None

    Raises
    ------
    FileFormatError
        If the file has several blocks of this name: which is meant cannot be told.

    Examples
    --------
    >>> len(find_table(read_star("particles.star"), "particles"))
    8
    """
    found = [table for table in tables if table.block == block]
    lines = list(dict.fromkeys(table.line for table in found))
    if len(lines) > 1:
        raise FileFormatError(
            f"{found[0].path}: data_{block} stands {len(lines)} times (lines "
            f"{' and '.join(map(str, lines))}), so that which is meant cannot be told; leave one "
            "of them, or join their rows"
        )
    return found[0] if found else None


def token_of(value: str) -> str:
    """The token that stands for a value: itself, or in quotes.

    It is quoted where it is empty, holds blanks or begins as no plain token may.

    Parameters
    ----------
    value : str
        Of a row.

    Returns
    -------
    str

    Raises
    ------
    InputError
        If no quotes can hold it.

    Examples
    --------
    >>> token_of("plain"), token_of("two words"), token_of("_x")
    ('plain', '"two words"', '"_x"')
    """
    if (
        value
        and not any(blank in value for blank in " \t\r\n")
        and not value.lower().startswith(RESERVED)
    ):
        return value
    for quote in "\"'":
        token = f"{quote}{value}{quote}"
        if "\n" not in value and "\r" not in value and _tokens(token, comments=False) == [token]:
            return token
    raise InputError(
        f"{value!r} cannot stand in a STAR file: it has line ends, or both kinds of quotes before "
        "blanks"
    )


class _Reader:
    """Where the reading of one file stands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[StarTable] = []
        self.comments: list[str] = []
        self.hashes: list[int] = []  # lines of rows that begin with #
        self.block: str | None = None
        self.loop = False
        self.names: list[str] = []
        self.rows: list[list[str]] = []
        self.lines: list[str] = []
        self.number, self.after_blank = 0, False

    def tables(self, text: str) -> list[StarTable]:
        self.lines = text.split("\n")
        for number, line in enumerate(self.lines, 1):
            self.number = number
            stripped = line.strip(BLANK)
            if not stripped:
                self.after_blank = True
            elif stripped.startswith("#") and not self._is_row_with_hash(stripped):
                self.comments.append(stripped)
            else:
                self._take(stripped)
                self.after_blank = False
        self._finish()
        if self.block is None:
            raise FileFormatError(f"{self.path}: no data_ block, so it is not a STAR file")
        if self.hashes:
            more = f" (and so are {len(self.hashes) - 1} more)" if len(self.hashes) > 1 else ""
            warnings.warn(
                f"{self.path}: line {self.hashes[0]} begins with # and has as many values as a "
                f"row, so it is read as one{more}; if it is a comment, put a blank behind its #",
                stacklevel=3,
            )
        return self.found

    def _take(self, line: str) -> None:
        tokens = _tokens(line)
        if self._begins_part(tokens):
            self._begin_part(tokens[0])
        elif self.block is None:
            self._refuse(f"expected a data_ block before {line[:40]!r}")
        elif line.startswith("_") and not self._is_row_with_underscore(tokens):
            self._take_name(tokens)
        else:
            self._take_row(line, tokens)

    def _begins_part(self, tokens: list[str]) -> bool:
        """Whether a line begins a block, a loop or a save frame.

        It is one such word, which is no row of a loop of one column.
        """
        if len(tokens) != 1 or not (
            tokens[0].lower() == LOOP or tokens[0].lower().startswith((BLOCK, FRAME))
        ):
            return False
        if len(self.names) != 1 or not self.loop or (self.after_blank and self.rows):
            return True
        # RELION reads rows until an empty line: here such a word is a value, unless
        # what it would begin follows
        following = (line.strip(BLANK) for line in self.lines[self.number :])
        content = next((line for line in following if line and not line.startswith("#")), "")
        if not (content.startswith("_") or content.lower() == LOOP):
            return False
        if self.rows and not self.lines[self.number].strip(BLANK):
            self._refuse(
                f"{tokens[0]} may begin a block, or be a value of the only column; put an empty "
                "line before a block, or quotes round a value"
            )
        return True

    def _begin_part(self, word: str) -> None:
        if word.lower().startswith(FRAME):
            self._refuse(f"{word}: save frames, as dictionaries have them, are not read")
        self._finish()
        if word.lower() != LOOP:
            self.block, self.block_line, self.block_comments = (
                word[len(BLOCK) :],
                self.number,
                tuple(self.comments),
            )
            self.comments = []
        elif self.block is None:
            self._refuse(f"expected a data_ block before {word!r}")
        else:
            self.loop = True

    def _is_row_with_hash(self, line: str) -> bool:
        """Whether a line that begins with # is a row.

        It is as long as one, with numbers, and no row that was made a comment.
        """
        if not self.loop or len(self.names) < 2 or (self.after_blank and self.rows):
            return False
        tokens = _tokens(line, comments=False)
        first = tokens[0].lstrip("#").partition("@")[0]
        if (
            len(tokens) != len(self.names)
            or not first
            or _is_number(first)
            or not any(map(_is_number, tokens[1:]))
        ):
            return False
        self.hashes.append(self.number)
        return True

    def _is_row_with_underscore(self, tokens: list[str]) -> bool:
        """Whether a line that begins with _ is a row.

        A name stands alone, or with one value where it is not in a loop.
        """
        if not self.loop or len(tokens) != len(self.names):
            return False
        if len(tokens) == 2 and not (self.after_blank and self.rows):
            self._refuse(
                f"{' '.join(tokens)} may be a row of the loop, or a name and its value; put an "
                "empty line before a name, or quotes round a value"
            )
        return len(tokens) > 2 or (len(tokens) == 1 and bool(self.rows))

    def _take_name(self, tokens: list[str]) -> None:
        if self.loop and (self.rows or len(tokens) > 1):
            self._finish()  # pairs may follow a loop
        if len(tokens) != (1 if self.loop else 2):
            self._refuse(
                f"{tokens[0]} has {len(tokens) - 1} values, expected one on its line (or a loop_ "
                "line before the names)"
            )
        name = tokens[0][1:]
        if name in self.names:
            self._refuse(f"{name} stands twice in data_{self.block}")
        self.names.append(name)
        if not self.loop:
            self.rows = [[*(self.rows[0] if self.rows else []), tokens[1]]]

    def _take_row(self, line: str, tokens: list[str]) -> None:
        if self.lines[self.number - 1].startswith(";"):
            self._refuse_text_of_lines()
        if not self.loop:
            self._refuse(f"values that belong to no name: {' '.join(tokens)[:60]!r}")
        if len(tokens) < len(self.names) and "#" in line:
            tokens = self._row_with_hash_inside(line) or tokens
        if len(tokens) != len(self.names):
            self._refuse(
                f"{len(tokens)} values, but the loop in data_{self.block} has {len(self.names)} "
                "columns; every row has to be whole and on one line"
            )
        self.rows.append(tokens)

    def _row_with_hash_inside(self, line: str) -> list[str] | None:
        """A row of which a value begins with #.

        What is beyond it begins with # as well, or there is nothing.
        """
        tokens = _tokens(line, comments=False)
        row, beyond = tokens[: len(self.names)], tokens[len(self.names) :]
        whole = (
            len(row) == len(self.names)
            and "#" not in row
            and all(token.startswith("#") for token in beyond[:1])
        )
        return row if whole else None

    def _refuse_text_of_lines(self) -> None:
        """Refuse a text of several lines.

        It begins with ; in the first column and ends with a line that is ; alone.
        """
        end = next((line for line in self.lines[self.number :] if line.startswith(";")), None)
        if end is not None and end.strip(BLANK) == ";":
            self._refuse(
                "a text of several lines (;) is not read; write it on one line in quotes, or leave "
                "it out"
            )

    def _refuse(self, fault: str) -> NoReturn:
        raise FileFormatError(f"{self.path} line {self.number}: {fault}")

    def _finish(self) -> None:
        if self.names and self.block is not None:
            columns = [list(column) for column in zip(*self.rows, strict=True)] or [
                [] for _ in self.names
            ]
            self.found.append(
                StarTable(
                    self.block,
                    dict(zip(self.names, columns, strict=True)),
                    self.loop,
                    self.block_comments,
                    self.path,
                    self.block_line,
                )
            )
        self.loop, self.names, self.rows = False, [], []


def _tokens(line: str, *, comments: bool = True) -> list[str]:
    """The tokens of a line; where `comments` are meant, up to the first that begins with #."""
    if '"' not in line and "'" not in line:
        tokens = (
            line.split()
            if line.isascii()
            else [token for token in re.split("[ \t]+", line) if token]
        )
    else:
        tokens = [match[1] for match in TOKEN.finditer(line)]
    if not comments or "#" not in line:
        return tokens
    return tokens[
        : next((i for i, token in enumerate(tokens) if token.startswith("#")), len(tokens))
    ]


def _unquoted(token: str) -> str:
    if len(token) > 1 and token[0] in "\"'" and token[-1] == token[0]:
        return token[1:-1]
    return token


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return "_" not in token

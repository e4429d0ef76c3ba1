"""The .cs files of cryoSPARC as plain tables."""

import io
from os import PathLike
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy

from ..errors import FileFormatError, InputError, MissingFileError
from .text import describe_beginning
from .whole_file import whole_file

# bytes: some 100,000 fields; the header is parsed as text, which takes many times its length
HEADER_LIMIT = 10_000_000
UID = "uid"


def read_cs(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """The fields of a .cs file by name, bytes as text.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    dict
        {name: array}, one row a particle in the first dimension.

    Raises
    ------
    MissingFileError, FileFormatError
        As for :func:`read_cs_rows`.

    Examples
    --------
    >>> write_cs("some.cs", np.array([(7, b"mic.mrc")], dtype=[("uid", "u8"), ("path", "S7")]))
    >>> read_cs("some.cs")["path"].tolist()
    ['mic.mrc']
    """
    return with_text(fields_of(read_cs_rows(path)))


def fields_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of rows by name, as they are.

    Parameters
    ----------
    rows : (row,) structured array
        Of a .cs file.

    Returns
    -------
    dict
        {name: array}

    Examples
    --------
    >>> fields_of(np.array([(7, 0.5)], dtype=[("uid", "u8"), ("score", "f4")]))["uid"].tolist()
    [7]
    """
    return {name: rows[name] for name in rows.dtype.names or ()}


def with_text(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same fields with bytes as text.

    Bytes that are no UTF-8 stay as lone surrogates (see :mod:`.text`).

    Parameters
    ----------
    fields : dict
        {name: array}

    Returns
    -------
    dict
        {name: array}

    Examples
    --------
    >>> with_text({"path": np.array([b"mic.mrc"])})["path"].tolist()
    ['mic.mrc']
    """
    return {name: _plain(column) for name, column in fields.items()}


def read_cs_rows(path: str | PathLike[str]) -> np.ndarray:
    """The rows of a .cs file as they are, a structured array (row,).

    Nothing in the file is executed: an array that would have to be unpickled is refused. The header
    may have any length; what it promises is held against the size of the file before memory is
    taken.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    (row,) structured array

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If it is not a structured array of plain values, or is cut short; the message says what it
        begins with.

    Examples
    --------
    >>> write_cs("some.cs", np.array([(7, 0.5)], dtype=[("uid", "u8"), ("score", "f4")]))
    >>> read_cs_rows("some.cs").dtype.names
    ('uid', 'score')
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            kind, shape = _header(file, path)
            held = path.stat().st_size - file.tell()
            if kind.names is None or len(shape) != 1:
                raise FileFormatError(
                    f"{path}: not a .cs file of cryoSPARC: an array of {kind} {shape}; expected "
                    "one row a particle with named fields"
                )
            if kind.hasobject:
                objects = [name for name in kind.names if kind[name].hasobject]
                raise FileFormatError(
                    f"{path}: {', '.join(objects[:3])} hold Python objects, which can run programs "
                    "when they are read, so they are not; have cryoSPARC write the file again, "
                    "with plain values"
                )
            if not 0 <= kind.itemsize * shape[0] <= held or kind.itemsize == 0:
                raise FileFormatError(
                    f"{path}: cut short: its header promises {shape[0]:,} rows of "
                    f"{kind.itemsize:,} bytes, and {held:,} bytes follow; copy or export it again"
                )
            return np.fromfile(file, kind, shape[0])
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise FileFormatError(
            f"{path}: a folder, where a .cs file of cryoSPARC was expected"
        ) from None


def write_cs(path: str | PathLike[str], rows: np.ndarray) -> None:
    """Write rows as a .cs file, every field of the type that it has.

    The file appears whole or not at all.

    Parameters
    ----------
    path : path
        Of the file.
    rows : (row,) structured array
        What to write.

    Examples
    --------
    >>> write_cs("some.cs", np.array([(7, 0.5)], dtype=[("uid", "u8"), ("score", "f4")]))
    >>> read_cs_rows("some.cs").tolist()
    [(7, 0.5)]
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.save(file, rows, allow_pickle=False)


def rows_of_uid(
    rows: np.ndarray, uid: np.ndarray, *, path: str | PathLike[str], joined_to: str | PathLike[str]
) -> np.ndarray:
    """Rows of a passthrough file for the particles of another file, in their order, (row,) int.

    Parameters
    ----------
    rows : structured array
        Of the passthrough file.
    uid : (row,) int
        Of the particles.
    path, joined_to : path
        The passthrough file and that of the particles, for messages.

    Returns
    -------
    (row,) int

    Raises
    ------
    FileFormatError
        There is no uid, or one that is asked for stands twice.
    InputError
        A particle is not in the passthrough file.

    Examples
    --------
    >>> rows = np.array([(7,), (3,)], dtype=[("uid", "u8")])
    >>> rows_of_uid(rows, np.array([3, 7, 7]), path="through.cs", joined_to="own.cs").tolist()
    [1, 0, 0]
    """
    if UID not in (rows.dtype.names or ()):
        raise FileFormatError(f"{path}: no field uid, so it cannot be joined to {joined_to}")
    order = np.argsort(rows[UID], kind="stable")
    there = rows[UID][order]
    first, after = (np.searchsorted(there, uid, side=side) for side in ("left", "right"))
    missing = np.flatnonzero(first == after)
    if len(missing):
        raise InputError(
            f"{path}: {len(missing):,} of the {len(uid):,} particles of {joined_to} are not in it "
            f"(uid {uid[missing[0]]}): it is not their passthrough file"
        )
    if (after - first > 1).any():
        raise FileFormatError(
            f"{path}: uid {uid[after - first > 1][0]} stands in several rows, so that the fields "
            "of that particle cannot be told"
        )
    return order[first]


def _header(file: io.BufferedReader, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape that the header promises; the file then stands where the rows begin."""
    start = file.read(64)
    file.seek(0)
    if not start.startswith(npy.MAGIC_PREFIX):
        raise FileFormatError(
            f"{path}: not a .cs file of cryoSPARC: {describe_beginning(start)}; expected a NumPy "
            "array with named fields; copy or export it again"
        )
    try:
        version = npy.read_magic(file)
        # versions 2 and 3 differ in the encoding of names beyond ASCII, which
        # cryoSPARC's fields have not
        read = npy.read_array_header_1_0 if version[0] == 1 else npy.read_array_header_2_0
        shape, _, kind = read(file, max_header_size=HEADER_LIMIT)
        return kind, shape
    except (
        ValueError,
        TypeError,
        KeyError,
        SyntaxError,
        TokenError,
        RecursionError,
        MemoryError,
        OverflowError,
    ):
        # whatever NumPy says here would advise to trust the file
        raise FileFormatError(
            f"{path}: not a .cs file of cryoSPARC: its header is damaged, or longer than "
            f"{HEADER_LIMIT:,} bytes; copy or export it again"
        ) from None


def _plain(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8", "surrogateescape")
    return np.ascontiguousarray(column)

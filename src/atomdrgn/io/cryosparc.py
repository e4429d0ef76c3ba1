"""The .cs files of cryoSPARC as plain tables."""

from pathlib import Path

import numpy as np

from ..errors import FileFormatError, MissingFileError
from .whole_file import whole_file


def read_cs(path) -> dict[str, np.ndarray]:
    """The fields of a .cs file by name: one row a particle in the first dimension, bytes as text.

    Raises
    ------
    MissingFileError, FileFormatError
        As for :func:`read_cs_rows`.
    """
    rows = read_cs_rows(path)
    return {name: _plain(rows[name]) for name in rows.dtype.names}


def read_cs_rows(path) -> np.ndarray:
    """The rows of a .cs file as they are, a structured array (row,).

    Nothing in the file is executed: an array that would have to be unpickled is refused.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If it is not a structured array of plain values.
    """
    path = Path(path)
    try:
        rows = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file") from None
    except (ValueError, EOFError, OSError) as error:
        raise FileFormatError(f"{path}: not a .cs file of cryoSPARC ({error})") from None
    if not isinstance(rows, np.ndarray) or rows.dtype.names is None or rows.ndim != 1:
        raise FileFormatError(f"{path}: not a .cs file of cryoSPARC: expected one structured array with named fields")
    return rows


def write_cs(path, rows: np.ndarray) -> None:
    """Write rows as a .cs file, every field of the type that it has; the file appears whole or not at all."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.save(file, rows, allow_pickle=False)


def _plain(column):
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8")
    return np.ascontiguousarray(column)

"""The .cs files of cryoSPARC as plain tables."""

from pathlib import Path

import numpy as np

from ..errors import FileFormatError, MissingFileError


def read_cs(path) -> dict[str, np.ndarray]:
    """The fields of a .cs file by name: one row a particle in the first dimension, bytes as text.

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
    return {name: _plain(rows[name]) for name in rows.dtype.names}


def _plain(column):
    if column.dtype.kind == "S":
        return np.char.decode(column, "utf-8")
    return np.ascontiguousarray(column)

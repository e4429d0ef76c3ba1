"""Text files with one number a line."""

import re
from os import PathLike
from pathlib import Path

import numpy as np

from ..errors import FileFormatError
from .text import read_text

WHOLE = re.compile("[0-9]{1,18}")  # what a 64-bit integer holds for certain


def read_numbers(path: str | PathLike[str], *, whole: bool = False) -> np.ndarray:
    """The numbers of a text file, one a line; what follows # is left out, and so are empty lines.

    Parameters
    ----------
    path : path
        Of the file.
    whole : bool
        Only whole numbers from 0 are meant, such as those of particles.

    Returns
    -------
    (line,) float64, or int64 with `whole`

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        A line is no number; it is named. Or the file holds none.

    Examples
    --------
    >>> _ = Path("chosen.txt").write_text("12  # the first" + chr(10) + "40")
    >>> read_numbers("chosen.txt", whole=True)
    array([12, 40])
    """
    path, values = Path(path), []
    lines = read_text(
        path,
        expected="a text file with a number on each line",
        fault="no text file; expected one number on each line",
    ).split("\n")
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            if not (
                WHOLE.fullmatch(text) if whole else "_" not in text and np.isfinite(float(text))
            ):
                raise ValueError
            values.append(int(text) if whole else float(text))
        except ValueError:
            raise FileFormatError(
                f"{path}: line {number} is {text[:40]!r}; expected one "
                f"{'whole number from 0' if whole else 'number'} on each line"
            ) from None
    if not values:
        raise FileFormatError(f"{path}: holds no number; expected one on each line")
    return np.array(values, dtype=np.int64 if whole else float)

"""DataFrames, as starfile reads and writes them, as tables of a STAR file, and the way back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from ..errors import InputError
from ..io.notebook_display import data_frame
from ..io.star import StarTable, read_star, token_of

if TYPE_CHECKING:
    import pandas

Frames = Union["pandas.DataFrame", Mapping[str, "pandas.DataFrame | Mapping[str, object]"]]
NAME = Path("the DataFrames")  # for messages, where a file's name stands


def tables_of(frames: Frames) -> tuple[StarTable, ...]:
    """The tables of a STAR file that DataFrames stand for.

    Parameters
    ----------
    frames : DataFrame, or dict of DataFrame
        By the names of their blocks, such as optics and particles; a block of names and values,
        which starfile gives as a dict, is taken too.

    Raises
    ------
    InputError
        They are something else.
    """
    blocks = frames if isinstance(frames, Mapping) else {"particles": frames}
    return tuple(
        _table(name, frame, line) for line, (name, frame) in enumerate(blocks.items(), start=1)
    )


def frames_of(path: Path, *, numbers: bool = True) -> "dict[str, pandas.DataFrame | dict]":
    """The blocks of a STAR file, as starfile gives and takes them.

    Parameters
    ----------
    path : path
    numbers : bool
        Columns that hold numbers alone are numbers. Without it every token is a text, and
        starfile writes it as it was.

    Returns
    -------
    dict
        A DataFrame by the name of each block; a block of names and values is a dict.

    Raises
    ------
    FileFormatError
        It is no STAR file.
    MissingPackageError
        pandas is not installed.
    """
    frames: dict[str, Any] = {}
    for table in read_star(path):
        columns = {name: _values(tokens, numbers) for name, tokens in table.columns.items()}
        single = {name: values[0] for name, values in columns.items() if not table.is_loop}
        frames[table.block] = data_frame(columns) if table.is_loop else single
    return frames


def _values(tokens: list[str], numbers: bool) -> list:
    """Tokens as whole numbers or numbers, where all of them are and that is wanted."""
    for kind in (int, float) if numbers else ():
        try:
            return [kind(token) for token in tokens]
        except ValueError:
            continue
    return tokens


def _table(name: str, frame: Any, line: int) -> StarTable:
    if isinstance(frame, Mapping):
        columns = {str(key): [token_of(str(value))] for key, value in frame.items()}
    elif hasattr(frame, "columns") and hasattr(frame, "itertuples"):
        columns = {str(key): [token_of(str(v)) for v in frame[key].tolist()] for key in frame}
    else:
        raise InputError(
            f"block {name} is a {type(frame).__name__}: expected a DataFrame, as starfile.read "
            "gives it"
        )
    is_loop = not isinstance(frame, Mapping)
    return StarTable(name, columns, is_loop=is_loop, path=NAME, line=line)

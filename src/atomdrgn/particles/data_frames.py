"""Particle tables that are DataFrames, as starfile reads them, as tables of a STAR file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from ..errors import InputError
from ..io.star import StarTable, token_of

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

"""JSON files that hold one object.

What is wrong with them is an error that names them.
"""

import json
import math
from pathlib import Path
from typing import NoReturn

from ...errors import FileFormatError

LARGEST = 64 * 2**20  # bytes; ours have some thousand


class JsonObject(dict):
    """What an object of a JSON file holds; asking for what it lacks is an error naming the file.

    Parameters
    ----------
    content : dict
        What it holds.
    path : Path
        Of the file, for messages.

    Examples
    --------
    >>> JsonObject({"seed": 3}, Path("run.json"))["seed"]
    3
    """

    def __init__(self, content: dict, path: Path) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, name: str) -> NoReturn:
        raise FileFormatError(
            f"{self.path}: there is no {name!r} where one is needed; the file is damaged, or of "
            "another version"
        )


def read_json_object(path: Path) -> JsonObject:
    """The object in a JSON file; objects in it are the like.

    Parameters
    ----------
    path : Path
        Of the file.

    Returns
    -------
    JsonObject

    Raises
    ------
    FileFormatError
        It is no JSON, holds something else than an object, numbers that are not finite, or is too
        large or too deep. The message does not name the file.

    Examples
    --------
    >>> _ = Path("some.json").write_text('{"seed": 3}')
    >>> read_json_object(Path("some.json"))
    {'seed': 3}
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise FileFormatError(f"{size:,} bytes, where at most {LARGEST:,} are expected")
    try:
        found = json.loads(
            path.read_bytes().decode("utf-8"),
            object_hook=lambda content: JsonObject(content, path),
            parse_constant=_refuse,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        said = "too deep" if isinstance(error, RecursionError) else error
        raise FileFormatError(f"not valid JSON ({said})") from error
    if not isinstance(found, JsonObject):
        raise FileFormatError(
            f"not valid: a {type(found).__name__}, where an object in braces is expected"
        )
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)

"""Output files that appear complete or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingFileError


@contextmanager
def whole_file(path) -> Iterator[Path]:
    """Path of a temporary file beside `path`, which takes its name when the block ends well and is removed when it does not.

    Raises
    ------
    MissingFileError
        The folder of `path` is not there.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFileError(f"{path}: the folder {path.parent} is not there; make it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

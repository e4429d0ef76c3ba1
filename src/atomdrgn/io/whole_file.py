"""Output files, and folders of them, that appear complete or not at all."""

import os
import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingFileError, OutputExistsError


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


@contextmanager
def whole_folder(path) -> Iterator[Path]:
    """Path of a temporary folder beside `path`, which takes its name, and its place, when the block ends well.

    What was at `path` is there until then and is gone afterwards: look first whether it may be replaced.

    Raises
    ------
    MissingFileError
        The folder that `path` is in cannot be made, because something else has its name.
    """
    path = Path(path).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise MissingFileError(f"{path}: {path.parent} is no folder") from error
    temporary, before = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, before)
        os.replace(temporary, path)
    finally:
        if before.exists() and not path.exists():
            os.replace(before, path)
        shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def require_replaceable(folder: Path, files: Container[str], *, what: str, overwrite: bool) -> None:
    """Refuse a folder where something is that new results would mix with or replace.

    Parameters
    ----------
    folder : Path
    files : names
        That such results may have.
    what : str
        What they are called in the message, such as "a refinement".
    overwrite : bool
        Earlier results may be replaced.

    Raises
    ------
    OutputExistsError
        There is something.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file: choose a folder with --out")
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in there if name not in files]
    if foreign:
        raise OutputExistsError(f"{folder} holds {foreign[0]}, which is no part of {what}: choose another folder with --out")
    if there and not overwrite:
        raise OutputExistsError(f"{folder} holds {what}: --overwrite replaces it, --out puts this one elsewhere")

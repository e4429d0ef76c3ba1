"""Output files, and folders of them, that appear complete or not at all.

They do so whatever happens to the process or the machine.
"""

import errno
import os
import re
import shutil
import socket
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from os import PathLike
from pathlib import Path

from ..errors import MissingFileError, OutputExistsError

# files that are put on the disk together
_later: ContextVar[list[Path] | None] = ContextVar("later", default=None)
# of a folder, where a file system or Windows has none
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}


@contextmanager
def whole_file(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its name when the block ends well.

    It is removed when the block does not.

    The content is on the disk before it has the name: after a power cut there is the old file or
    the new one, both whole.

    Parameters
    ----------
    path : path
        Of the file that is wanted.

    Yields
    ------
    Path
        Of the temporary file.

    Raises
    ------
    MissingFileError
        The folder of `path` is not there.

    Examples
    --------
    >>> with whole_file("whole.txt") as temporary:
    ...     _ = temporary.write_text("all of it")
    >>> Path("whole.txt").read_text()
    'all of it'
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFileError(f"{path}: the folder {path.parent} is not there; make it first")
    _clear_once(path.parent.absolute())
    temporary = path.with_name(f".{path.name}.{_here()}-{os.getpid()}.part")
    later = _later.get()
    try:
        yield temporary
        if later is None:
            sync_file(temporary)
        os.replace(temporary, path)
    except OSError as error:
        # of a write to a file that is open already
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    if later is None:
        sync_folder(path.parent)
    else:
        later.append(path)


@contextmanager
def whole_folder(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary folder beside `path`, which takes its name and place when the block ends well.

    What was at `path` is there until then and is gone afterwards: look first whether it may be
    replaced.

    Parameters
    ----------
    path : path
        Of the folder that is wanted.

    Yields
    ------
    Path
        Of the temporary folder.

    Raises
    ------
    MissingFileError
        The folder that `path` is in cannot be made, because something else has its name.

    Examples
    --------
    >>> with whole_folder("whole") as temporary:
    ...     _ = (temporary / "a.txt").write_text("all of it")
    >>> [path.name for path in Path("whole").iterdir()]
    ['a.txt']
    """
    path = Path(path).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise MissingFileError(f"{path}: {path.parent} is no folder") from error
    _clear_once(path.parent)
    temporary, before = (
        path.with_name(f".{path.name}.{_here()}-{os.getpid()}.{end}") for end in ("part", "old")
    )
    temporary.mkdir()
    try:
        token = _later.set([])  # the files in it are put on the disk below
        try:
            yield temporary
        finally:
            _later.reset(token)
        for file in sorted(temporary.rglob("*")):
            sync_folder(file) if file.is_dir() else sync_file(file)
        sync_folder(temporary)
        if path.exists():
            os.replace(path, before)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        # which nobody will find
        if isinstance(error.filename, str) and error.filename.startswith(str(temporary)):
            error.filename = str(path) + error.filename.removeprefix(str(temporary))
        raise
    finally:
        if before.exists() and not path.exists():
            os.replace(before, path)
        shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def synced_together() -> Iterator[None]:
    """Inside, each :func:`whole_file` takes its name at once; all are put on the disk at the end.

    That is quicker for many.

    Examples
    --------
    >>> with synced_together(), whole_file("whole.txt") as temporary:
    ...     _ = temporary.write_text("all of it")
    """
    files: list[Path] = []
    token = _later.set(files)
    try:
        yield
    finally:
        _later.reset(token)
    outer = _later.get()
    if outer is not None:  # within another such block, or a folder that does it
        outer.extend(files)
        return
    there = dict.fromkeys(file for file in files if file.exists())
    for file in there:
        sync_file(file)
    for folder in dict.fromkeys(file.parent for file in there):
        sync_folder(folder)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk.

    Parameters
    ----------
    path : Path
        Of the file.

    Raises
    ------
    OSError
        It could not be written: some file systems say only now that they are full.

    Examples
    --------
    >>> sync_file(Path("model.pdb"))
    """
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the file system can do that.

    Parameters
    ----------
    path : Path
        Of the folder.

    Raises
    ------
    OSError
        The folder cannot be opened, or its names could not be written.

    Examples
    --------
    >>> sync_folder(Path("."))
    """
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno in NO_SYNC:
            return
        raise
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(number)


def new_file_mode() -> int:
    """Permissions that a new file has by default.

    Returns
    -------
    int

    Examples
    --------
    >>> new_file_mode() & 0o600 == 0o600
    True
    """
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


# ---- what killed processes have left ------------------------------------------------------------

LEFT = re.compile(r"\.(?P<name>.+)\.(?:(?P<host>[0-9a-f]{8})-)?(?P<pid>\d+)\.(?P<kind>part|old)")


def is_leftover(name: str) -> bool:
    """Whether a file is named as the temporary files of this module are.

    Parameters
    ----------
    name : str
        Of the file.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_leftover(".map.mrc.0123abcd-77.part"), is_leftover("map.mrc")
    (True, False)
    """
    return LEFT.fullmatch(name) is not None


def clear_leftovers(folder: Path) -> None:
    """Remove temporary files of processes of this machine that are gone.

    A folder that one was about to replace is put back.

    Parameters
    ----------
    folder : Path
        Where they may be.

    Examples
    --------
    >>> clear_leftovers(Path("."))
    """
    with os.scandir(folder) as entries:
        found = [match for entry in entries if (match := LEFT.fullmatch(entry.name))]
    for match in sorted(found, key=lambda match: match["kind"]):  # old before part
        if match["host"] not in (None, _here()) or is_running(int(match["pid"])):
            continue
        path, target = folder / match[0], folder / match["name"]
        if match["kind"] == "old" and not target.exists():
            os.replace(path, target)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether a process of this machine has this number.

    Parameters
    ----------
    pid : int
        The number.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_running(os.getpid())
    True
    """
    if os.name == "nt":  # where a signal of 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's
        return True
    return True


@cache
def _clear_once(folder: Path) -> None:
    """As :func:`clear_leftovers`, once in the life of a process.

    Folders may hold many thousand files.
    """
    try:
        clear_leftovers(folder)
    except OSError:  # it is a courtesy: what hinders writing is told by writing
        pass


@cache
def _here() -> str:
    """Which machine this is, short: machines may share a folder."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def require_replaceable(folder: Path, files: Container[str], *, what: str, overwrite: bool) -> None:
    """Refuse a folder where something is that new results would mix with or replace.

    Parameters
    ----------
    folder : Path
        Where results are to be.
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

    Examples
    --------
    >>> require_replaceable(Path("new"), {"map.mrc"}, what="a reconstruction", overwrite=False)
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file: choose a folder with --out")
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in there if name not in files]
    if foreign:
        raise OutputExistsError(
            f"{folder} holds {foreign[0]}, which is no part of {what}: choose another folder with "
            "--out"
        )
    if there and not overwrite:
        raise OutputExistsError(
            f"{folder} holds {what}: --overwrite replaces it, --out puts this one elsewhere"
        )

"""A folder that one command at a time writes to.

While it does, and where it did not end well, a file in the folder says so.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputExistsError
from ..reporting import Reporter
from .whole_file import clear_leftovers, is_running

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # the usual way to do without a module

LOCK = "unfinished.lock"
LARGEST = 4096  # bytes of one that is read
# of file systems that have none
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}


@dataclass
class Unfinished:
    """Whether a locked folder has to be marked as unfinished if its command ends in an error."""

    marked: bool

    def begin(self) -> None:
        """From here on files are changed."""
        self.marked = True


@contextmanager
def locked_folder(folder: Path, reporter: Reporter | None = None) -> Iterator[Unfinished]:
    """A folder that no other command writes to while the block lasts.

    The system holds the lock for this process, so that it ends with it, however that ends; the
    file's text is for people, and for other machines. A file that a killed process of this machine
    has left is taken over. One of another machine is not: whether the process lives cannot be seen
    from here.

    Parameters
    ----------
    folder : Path
        Made where it is missing, and removed again if the block fails and leaves nothing in it.
    reporter : Reporter, optional
        Is told of a file that is taken over.

    Yields
    ------
    Unfinished
        The file stays after an error if the folder was marked before, or if the block has begun to
        change its files, and there are any.

    Raises
    ------
    OutputExistsError
        Another command is writing there, or may be.

    Examples
    --------
    >>> with locked_folder(Path("results")):
    ...     sorted(path.name for path in Path("results").iterdir())
    ['unfinished.lock']
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputExistsError(
            f"{folder} is a file, or lies in one: choose a folder with --out"
        ) from None
    path = folder / LOCK
    file, left = _taken(path, reporter or Reporter())
    unfinished, ended_well = Unfinished(left is not None), False
    try:
        _write(file, ended=False)
        clear_leftovers(folder)
        yield unfinished
        ended_well = True
    finally:
        if (
            not ended_well
            and unfinished.marked
            and any(each.name != LOCK for each in folder.iterdir())
        ):
            # of a full disk: the text that is there marks the folder too
            with suppress(OSError):
                _write(file, ended=True)
        else:
            # before the system's lock goes, so that nobody else's file is removed
            path.unlink(missing_ok=True)
        os.close(file)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def writing_in(folder: Path) -> str | None:
    """That another command is writing to a folder at this moment, or may be.

    It is told with what to do, in words, and is None where none is.
    """
    try:
        file = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        left = _who(os.pread(file, LARGEST, 0))
        # this one
        if left is not None and (left["pid"], left["host"]) == (os.getpid(), socket.gethostname()):
            return None
        return _held(folder / LOCK, left, free=_lock(file, shared=True))
    except OSError:
        return None
    finally:
        os.close(file)


def _taken(path: Path, reporter: Reporter) -> tuple[int, dict[str, Any] | None]:
    """The open file, which is this process's now, and who had left it there."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            free = _lock(file)
            left = _who(os.pread(file, LARGEST, 0))
            # the process that had it has just ended and removed it
            if free is not False and not _is_at(file, path):
                os.close(file)
                continue
            held = _held(path, left, free=free)
            if held is not None:
                raise OutputExistsError(f"{path.parent}: {held}")
            if left is not None:
                how = "ended in an error" if left["ended"] else "has ended"
                reporter.say(
                    f"{path} was left by process {left['pid']}, which {how}: going on in its folder"
                )
            return file, left
        except BaseException:
            os.close(file)
            raise


def _lock(file: int, *, shared: bool = False) -> bool | None:
    """Whether the system's lock is this process's now; None where the file system has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _write(file: int, *, ended: bool) -> None:
    """Say in an open lock file whose it is, in one line.

    What is behind it is of whoever had it before.
    """
    said = {"pid": os.getpid(), "host": socket.gethostname()} | ({"ended": True} if ended else {})
    text = json.dumps(said) + "\n"
    os.pwrite(file, text.encode(), 0)
    os.ftruncate(file, len(text))


def _who(text: bytes) -> dict[str, Any] | None:
    """Who has written a lock file.

    It is None where it is new, and an unknown one where it cannot be read.
    """
    if not text.strip():
        return None
    try:
        said = json.loads(text.splitlines()[0])
        return {
            "pid": int(said["pid"]),
            "host": str(said["host"]),
            "ended": said.get("ended") is True,
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return {"pid": -1, "host": "", "ended": False}


def _held(path: Path, left: dict[str, Any] | None, *, free: bool | None) -> str | None:
    """That a lock file is another command's and what to do, in words.

    It is None where nobody has it, as far as can be known.

    `free` says whether the system's lock was; None where there is none.
    """
    who = (
        ""
        if left is None
        else f" (process {left['pid']} on {left['host'] or 'an unknown machine'})"
    )
    here = left if left is not None and left["host"] == socket.gethostname() else None
    if free is False or (
        here is not None and not here["ended"] and free is None and is_running(here["pid"])
    ):
        return f"another command is writing there{who}; wait until it has ended"
    if left is None or here is not None or left["ended"]:
        return None
    return (
        f"another command is writing there, or was killed there{who}, which cannot be seen from "
        f"this machine; if it has ended, remove {path} and start again"
    )


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False

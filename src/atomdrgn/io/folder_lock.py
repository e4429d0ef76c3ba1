"""A folder that one command at a time writes to; while it does, and where it was killed, a file in the folder says so."""

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

from ..errors import OutputExistsError
from ..reporting import Reporter
from .whole_file import clear_leftovers, is_running, synced_together

try:
    import fcntl
except ImportError:      # Windows
    fcntl = None

LOCK = "unfinished.lock"
LARGEST = 4096      # bytes of one that is read
NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}      # of file systems that have none


@contextmanager
def locked_folder(folder: Path, reporter: Reporter | None = None) -> Iterator[None]:
    """A folder that no other command writes to while the block lasts.

    The system holds the lock for this process, so that it ends with it, however that ends; the file's text is for people, and for
    other machines. A file that a killed process of this machine has left is taken over. One of another machine is not: whether
    the process lives cannot be seen from here.

    Parameters
    ----------
    folder : Path
        Made where it is missing, and removed again if the block fails and leaves nothing in it.
    reporter : Reporter, optional
        Is told of a file that is taken over.

    Raises
    ------
    OutputExistsError
        Another command is writing there, or may be.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise OutputExistsError(f"{folder} is a file, or lies in one: choose a folder with --out") from None
    path = folder / LOCK
    file = _taken(path, reporter or Reporter())
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, (json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n").encode(), 0)
        clear_leftovers(folder)
        yield
    finally:
        path.unlink(missing_ok=True)      # before the system's lock goes, so that nobody else's file is removed
        os.close(file)
        if made and not any(folder.iterdir()):
            folder.rmdir()


def writes_in_folder(function: Callable) -> Callable:
    """A function whose second argument is the folder that it writes many files to, and which may be given a `reporter`.

    The folder is locked meanwhile, so that it says so where the function was killed; the files go to the disk together.
    """

    @wraps(function)
    def wrapped(what, out, **options):
        with locked_folder(Path(out), options.get("reporter")), synced_together():
            return function(what, out, **options)

    return wrapped


def _taken(path, reporter):
    """The open file, which is this process's now."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            free = _lock(file)
            left = _who(os.pread(file, LARGEST, 0))
            if free is False:
                raise OutputExistsError(_refusal(path, left, lives=True))
            if not _is_at(file, path):      # the process that had it has just ended and removed it
                os.close(file)
                continue
            if left is not None and not _is_over(left, known=free):
                raise OutputExistsError(_refusal(path, left, lives=False))
            if left is not None:
                reporter.say(f"{path} was left by process {left['pid']}, which has ended: going on in its folder")
            return file
        except BaseException:
            os.close(file)
            raise


def _lock(file) -> bool | None:
    """Whether the system's lock is this process's now; None where the file system has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _who(text):
    """Who has written a lock file; None where it is new, and an unknown one where it cannot be read."""
    if not text.strip():
        return None
    try:
        said = json.loads(text)
        return {"pid": int(said["pid"]), "host": str(said["host"])}
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return {"pid": -1, "host": ""}


def _is_over(left, *, known: bool | None) -> bool:
    """Whether the process that left a file has ended; it has where the system's lock was free, on this machine."""
    if left["host"] != socket.gethostname():
        return False
    return known is True or not is_running(left["pid"])


def _refusal(path, left, *, lives):
    who = "" if left is None else f" (process {left['pid']} on {left['host'] or 'an unknown machine'})"
    if lives or left["host"] == socket.gethostname():
        return f"{path.parent}: another command is writing there{who}; wait until it has ended, or take another folder"
    return (f"{path.parent}: another command is writing there, or was killed there{who}, which cannot be seen from this machine; "
            f"if it has ended, remove {path} and start again")


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False

"""Trajectories of atoms, DCD and XTC: written frame after frame, read whole."""

import errno
import os
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError, InputError, MissingFileError
from .whole_file import whole_file

FORMATS = (".dcd", ".xtc")


def write_trajectory(path: str | PathLike[str], frames: Iterable[np.ndarray]) -> int:
    """Write a trajectory, frame after frame.

    Only one frame is in memory, and the file appears when the last one is written.

    Parameters
    ----------
    path : path
        Ends in .dcd (float32, A) or .xtc (compressed, to 0.01 A; nm inside the file, as the format
        wants).
    frames : iterable of (atom, 3)
        Coordinates, A; all of one number of atoms.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    FileFormatError
        The name has another ending.
    InputError
        No frame, frames of different numbers of atoms, or coordinates that are not finite.
    OSError
        The disk is full.

    Examples
    --------
    >>> write_trajectory("some.dcd", np.zeros((3, 5, 3), np.float32))
    3
    """
    from biotite.structure.io.dcd import DCDFile
    from biotite.structure.io.xtc import XTCFile

    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise FileFormatError(
            f"{path}: the name of a trajectory has to end in {' or '.join(FORMATS)}"
        )
    written = _Counted(frames, path)
    kind = DCDFile if path.suffix.lower() == ".dcd" else XTCFile
    with whole_file(path) as temporary:
        try:
            with _plain_name(temporary, path.suffix.lower()) as name:
                kind.write_iter(name, iter(written))
        # the writers' ways to say it: one stumbles over its own message
        except (RuntimeError, TypeError) as error:
            if not written.taken:
                raise
            raise OSError(
                errno.EIO, "cannot be written to its end (is the disk full?)", str(path)
            ) from error
        if written.count == 0:
            raise InputError(f"{path}: there is no frame to write")
        # what is left in a buffer when the file is closed may be lost without a word
        if not (_holds_dcd if kind is DCDFile else _holds_xtc)(
            temporary, written.count, written.atoms
        ):
            raise OSError(errno.EIO, "was not written to its end (is the disk full?)", str(path))
    return written.count


def _holds_dcd(path: Path, frames: int, atoms: int) -> bool:
    """Whether a file of our writer is as long as so many frames are.

    It has a header, and three records a frame.
    """
    return path.stat().st_size == 276 + frames * 3 * (4 * atoms + 8)


def _holds_xtc(path: Path, frames: int, atoms: int) -> bool:
    """Whether a file consists of so many whole frames."""
    return _end_of_xtc(path, frames, atoms) == path.stat().st_size


def _end_of_xtc(path: Path, frames: int, atoms: int) -> int | None:
    """Where so many frames of a file end, each of which says how long it is.

    None where there are no such frames.
    """
    at = 0
    with open(path, "rb") as file:
        for _ in range(frames):
            file.seek(at)
            head = file.read(92)
            if len(head) < 56 or struct.unpack(">2i", head[:8]) != (1995, atoms):
                return None
            if atoms <= 9:  # not compressed
                at += 56 + 12 * atoms
            elif len(head) < 92:
                return None
            else:
                at += 92 + (struct.unpack(">i", head[88:92])[0] + 3) // 4 * 4
    return at


@contextmanager
def _plain_name(path: Path, ending: str) -> Iterator[str]:
    """A name of the file in ASCII, which is all that the library takes.

    It is its own, or that of a link to it.
    """
    if str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="atomdrgn-") as folder:
        link = Path(folder) / f"trajectory{ending}"
        link.symlink_to(path.absolute())
        yield str(link)


def read_trajectory(path: str | PathLike[str]) -> np.ndarray:
    """All frames of a .dcd or .xtc file, float32 (frame, atom, 3), A.

    A process of its own reads it: damaged files crash the library. A warning says where frames are
    missing at the end: a DCD file says how many it has; in an XTC file it shows only if it ends
    within one.

    Parameters
    ----------
    path : path
        Of the trajectory.

    Returns
    -------
    (frame, atom, 3) float32
        A.

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        The name has another ending, or the file cannot be read as it promises.

    Examples
    --------
    >>> _ = write_trajectory("some.dcd", np.zeros((3, 5, 3), np.float32))
    >>> read_trajectory("some.dcd").shape
    (3, 5, 3)
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise FileFormatError(
            f"{path}: the name of a trajectory has to end in {' or '.join(FORMATS)}"
        )
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; give the path of a trajectory")
    with _plain_name(path, path.suffix.lower()) as name, tempfile.TemporaryFile() as complaints:
        memory = 2**31 + MOST_UNPACKED * path.stat().st_size
        # -P: nothing that lies in the folder where the command is given is imported
        command = [sys.executable, "-P", "-c", READER, path.suffix.lower()[1:], name, str(memory)]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        ) as reader:
            timer = threading.Timer(LONGEST + path.stat().st_size / SLOWEST, reader.kill)
            timer.start()
            try:
                frames = _received(reader.stdout)
            finally:
                timer.cancel()
                reader.kill()
        if frames is None:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().splitlines() or [
                "the reader crashed"
            ]
            raise FileFormatError(
                f"{path}: cannot be read as a {path.suffix} trajectory: {said[-1]}"
            )
    if frames.size == 0:
        raise FileFormatError(f"{path}: holds no frame")
    missing = (_missing_from_dcd if path.suffix.lower() == ".dcd" else _missing_from_xtc)(
        path, *frames.shape[:2]
    )
    if missing:
        warnings.warn(
            f"{path}: {missing}: it was cut short, or the program that wrote it was stopped; only "
            "whole frames are read",
            stacklevel=2,
        )
    return frames


def _missing_from_dcd(path: Path, frames: int, atoms: int) -> str | None:
    """That a file whose header names more frames than are read does so, in words.

    A header of 0 was never filled in.
    """
    with open(path, "rb") as file:
        head = file.read(12)
    order = next((order for order in "<>" if struct.unpack(f"{order}i", head[:4])[0] == 84), None)
    said = 0 if order is None else struct.unpack(f"{order}i", head[8:])[0]
    return f"its header names {said:,} frames and {frames:,} are there" if said > frames else None


def _missing_from_xtc(path: Path, frames: int, atoms: int) -> str | None:
    """That there is more in a file than the frames that are read, in words."""
    size = path.stat().st_size
    end = _end_of_xtc(path, frames, atoms)
    return (
        None if end is None or end >= size else f"{size - end:,} bytes follow its last whole frame"
    )


# bytes that the reader may take for each of the file's: XTC reaches some 12
MOST_UNPACKED = 64
LONGEST, SLOWEST = 120.0, 2**20  # s, and bytes in another s: then something hangs
READER = """
import os, sys
kind, path, memory = sys.argv[1:]
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
except (ImportError, ValueError, OSError):
    pass
out = os.fdopen(os.dup(1), "wb")      # the library prints
os.dup2(2, 1)
import numpy as np
if kind == "dcd":
    from biotite.structure.io.dcd import DCDFile as File
else:
    from biotite.structure.io.xtc import XTCFile as File
try:
    frames = File.read(path).get_coord()
    frames = np.zeros((0, 0, 3)) if frames is None else frames
except MemoryError:
    sys.exit("it promises more than it can hold")
except Exception as error:
    sys.exit(" ".join(str(error).split()) or type(error).__name__)
frames = np.ascontiguousarray(frames, dtype=np.float32)
out.write(f"{frames.shape[0]} {frames.shape[1]}\\n".encode())
out.write(frames.reshape(-1).view(np.uint8).data)
out.flush()
"""


def _received(pipe: Any) -> np.ndarray | None:
    """What the reader sends, or None where it ends before its end."""
    shape = pipe.readline().split()
    if len(shape) != 2:
        return None
    frames = np.empty((int(shape[0]), int(shape[1]), 3), np.float32)
    rest = frames.reshape(-1).view(np.uint8).data
    while len(rest):
        count = pipe.readinto(rest)
        if not count:
            return None
        rest = rest[count:]
    return frames


class _Counted:
    """Frames as float32, checked and counted on their way.

    `taken` is true while the last one is in the writer's hands.
    """

    def __init__(self, frames: Iterable[np.ndarray], path: Path) -> None:
        self.frames, self.path, self.count, self.atoms, self.taken = frames, path, 0, 0, False

    def __iter__(self) -> Iterator[np.ndarray]:
        expected = None
        for frame in self.frames:
            frame = np.ascontiguousarray(frame, dtype=np.float32)
            if frame.ndim != 2 or frame.shape[1] != 3 or frame.shape != (expected or frame.shape):
                raise InputError(
                    f"{self.path}: frame {self.count + 1} has shape {frame.shape}, not "
                    f"{expected or '(atom, 3)'}"
                )
            if not np.isfinite(frame).all():
                raise InputError(
                    f"{self.path}: frame {self.count + 1} holds coordinates that are not finite"
                )
            expected = frame.shape
            self.count += 1
            self.atoms = len(frame)
            self.taken = True
            yield frame
            self.taken = False

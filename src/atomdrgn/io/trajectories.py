"""Trajectories of atoms, DCD and XTC: written frame after frame, read whole."""

import errno
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, InputError, MissingFileError
from .whole_file import whole_file

FORMATS = (".dcd", ".xtc")


def write_trajectory(path, frames: Iterable[np.ndarray]) -> int:
    """Number of frames written. Only one frame is in memory, and the file appears when the last one is written.

    Parameters
    ----------
    path : path
        Ends in .dcd (float32, A) or .xtc (compressed, to 0.01 A; nm inside the file, as the format wants).
    frames : iterable of (atom, 3)
        Coordinates, A; all of one number of atoms.

    Raises
    ------
    FileFormatError
        The name has another ending.
    InputError
        No frame, frames of different numbers of atoms, or coordinates that are not finite.
    OSError
        The disk is full.
    """
    from biotite.structure.io.dcd import DCDFile
    from biotite.structure.io.xtc import XTCFile

    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise FileFormatError(f"{path}: the name of a trajectory has to end in {' or '.join(FORMATS)}")
    written = _Counted(frames, path)
    kind = DCDFile if path.suffix.lower() == ".dcd" else XTCFile
    with whole_file(path) as temporary, _ascii_path(temporary) as named:
        try:
            kind.write_iter(named, iter(written))
        except (RuntimeError, TypeError) as error:      # the writers' ways to say it: one stumbles over its own message
            if not written.taken:
                raise
            raise OSError(errno.EIO, "cannot be written to its end (is the disk full?)", str(path)) from error
        if written.count == 0:
            raise InputError(f"{path}: there is no frame to write")
    return written.count


def read_trajectory(path) -> np.ndarray:
    """All frames of a .dcd or .xtc file, float32 (frame, atom, 3), A.

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        The name has another ending, or the file cannot be read as it promises.
    """
    from biotite.structure.io.dcd import DCDFile
    from biotite.structure.io.xtc import XTCFile

    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise FileFormatError(f"{path}: the name of a trajectory has to end in {' or '.join(FORMATS)}")
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file; give the path of a trajectory")
    try:
        with _ascii_path(path) as named:
            frames = (DCDFile if path.suffix.lower() == ".dcd" else XTCFile).read(named).get_coord()
    except Exception as error:      # the readers raise many kinds; to the user they are one
        raise FileFormatError(f"{path}: cannot be read as a {path.suffix} trajectory: {error}") from error
    if frames is None or len(frames) == 0:
        raise FileFormatError(f"{path}: holds no frame")
    return np.ascontiguousarray(frames, dtype=np.float32)


@contextmanager
def _ascii_path(path) -> Iterator[Path]:
    """A path of the same file in ASCII, which the libraries of trajectories want: a link, where its own has other letters."""
    if str(path).isascii():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="atomdrgn") as folder:
        link = Path(folder) / f"frames{path.suffix if path.suffix.isascii() else ''}"
        link.symlink_to(Path(path).absolute())
        yield link


class _Counted:
    """Frames as float32, checked and counted on their way; `taken` while the last one is in the writer's hands."""

    def __init__(self, frames, path):
        self.frames, self.path, self.count, self.taken = frames, path, 0, False

    def __iter__(self) -> Iterator[np.ndarray]:
        expected = None
        for frame in self.frames:
            frame = np.ascontiguousarray(frame, dtype=np.float32)
            if frame.ndim != 2 or frame.shape[1] != 3 or frame.shape != (expected or frame.shape):
                raise InputError(f"{self.path}: frame {self.count + 1} has shape {frame.shape}, not {expected or '(atom, 3)'}")
            if not np.isfinite(frame).all():
                raise InputError(f"{self.path}: frame {self.count + 1} holds coordinates that are not finite")
            expected = frame.shape
            self.count += 1
            self.taken = True
            yield frame
            self.taken = False

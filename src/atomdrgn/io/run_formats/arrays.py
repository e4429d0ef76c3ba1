"""Arrays in .npz files, read so that a damaged or hostile file is an error and nothing else."""

import errno
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from ...errors import FileFormatError
from ..compressed import ALWAYS_NUMBERS, most_unpacked

MOST_OF_ZIP = 1100  # bytes of an array for each of the file's: zip's method reaches 1,032
# bytes of a row; where nothing moves rows are alike, and pack to next to nothing
MOST_OF_A_ROW = 16 << 10
# of numbers in an array
FINITE, POSITIVE, SIZE, FLAG = "finite", "positive", "not negative", "true or false"
TEXT = "a text"
VERSIONS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npz(
    path: Path, *, check: Callable[[str, tuple, np.dtype], None] | None = None, rows: int = 0
) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by their names.

    Parameters
    ----------
    path : Path
        Of the file.
    check : function of name, shape and dtype, optional
        Raises an error where an array is not as expected; it is asked before memory is taken.
    rows : int
        Rows that arrays are known to have by another file, such as particles; they may be alike,
        however many they are.

    Returns
    -------
    dict
        {name: array}, names without their ending .npy.

    Raises
    ------
    FileFormatError
        The file is no .npz, is damaged, promises more than it can hold or than a file of its size
        may, or has objects in it, which are not read.
    FileNotFoundError, PermissionError and other errors with a number
        The system cannot read it.

    Examples
    --------
    >>> np.savez("some.npz", distance=np.arange(3.0))
    >>> read_npz(Path("some.npz"))
    {'distance': array([0., 1., 2.])}
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise FileFormatError("two arrays have one name")
            for name, info in members.items():
                shape, dtype = _header(archive, info)
                if check is not None:
                    check(name, shape, dtype)
            held, most = path.stat().st_size, rows * MOST_OF_A_ROW + ALWAYS_NUMBERS
            promised = sum(info.file_size for info in members.values())
            if promised > most_unpacked(held, always=most):
                raise FileFormatError(
                    f"{held:,} bytes unpack to {promised:,}, and no arrays of this kind do"
                )
            return {name: _array(archive, info) for name, info in members.items()}
    except (FileFormatError, MemoryError):
        raise
    # zipfile, zlib and numpy raise many kinds; to the user they are one
    except Exception as error:
        # of a place before the file's beginning
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise FileFormatError(f"{type(error).__name__}: {error}") from error


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of an array, when the file can hold it."""
    with archive.open(info) as member:
        read = VERSIONS.get(npy.read_magic(member))
        if read is None:
            raise FileFormatError(f"{info.filename} is of an unknown version")
        shape, _, dtype = read(member)
        start = member.tell()
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise FileFormatError(f"{info.filename} holds objects, not numbers")
    if start + size != info.file_size or info.file_size > MOST_OF_ZIP * (info.compress_size + 1):
        raise FileFormatError(
            f"{info.filename} promises {size:,} bytes of numbers, and the file holds "
            f"{info.compress_size:,}"
        )
    return shape, dtype


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        array = npy.read_array(member, allow_pickle=False)
        if member.read(1):  # to the end, where the check sum is compared
            raise FileFormatError(f"{info.filename} goes on behind its numbers")
    return array

"""Files compressed by gzip, and how much a compressed file may stand for.

More is refused before memory is taken.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import FileFormatError

GZIP = b"\x1f\x8b"  # how such a file begins
# bytes for each byte of the file; text of structures packs to a tenth, numbers of maps to a half
MOST_UNPACKED = 100
# bytes that any file may unpack to, of which each may become many in memory
ALWAYS_TEXT = 4 << 20
# the same where bytes stay what they are: maps and arrays may hold zeros alone
ALWAYS_NUMBERS = 256 << 20
PIECE = 1 << 24  # bytes that are unpacked at a time


def most_unpacked(size: int, *, always: int) -> int:
    """How many bytes a compressed file of so many bytes may stand for.

    `always` is what any file may.
    """
    return always + MOST_UNPACKED * size


def unpack_start(path: Path, count: int) -> bytes:
    """The first bytes of a gzip file, at most `count`; no more are unpacked.

    Raises
    ------
    FileFormatError
        The file is damaged or cut short.
    """
    return b"".join(_pieces(path, count))


def unpack_text(path: Path) -> bytes:
    """All of a gzip file that holds text, or the like.

    It is unpacked twice, and first only counted: half a second for 30 MB, which take many seconds
    to parse.

    Raises
    ------
    FileFormatError
        The file is damaged, or unpacks to more than :func:`most_unpacked`.
    """
    most = most_unpacked(path.stat().st_size, always=ALWAYS_TEXT)
    count = sum(map(len, _pieces(path, most + 1)))
    if count > most:
        raise FileFormatError(
            f"{path}: compressed by gzip, and unpacks to more than {most:,} bytes, {MOST_UNPACKED} "
            "times its size and more: no structure does; gunzip it and look what it holds"
        )
    return unpack_start(path, count)


def _pieces(path: Path, left: int) -> Iterator[bytes]:
    """What the file unpacks to, piece by piece, at most `left` bytes."""
    try:
        with gzip.open(path) as file:
            while left and (piece := file.read(min(left, PIECE))):
                yield piece
                left -= len(piece)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(
            f"{path}: compressed by gzip, and damaged or cut short ({error}); copy it again"
        ) from None

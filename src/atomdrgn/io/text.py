"""Text files of other programs in the encodings that they come in.

Also, what a file that is something else begins with.
"""

import codecs
import os
from os import PathLike
from pathlib import Path

from ..errors import FileFormatError, MissingFileError

# characters of a foreign file's beginning in a message: what a pointer of Git LFS is known by
SHOWN = 23

# What files begin with that stand in the place of others: failed downloads, archives, and images of
# other formats. None of these begins an MRC file: they would be more than 65,000 columns.
BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of Git LFS: the file itself was not downloaded"),
    (b"\x1f\x8b", "compressed by gzip: gunzip it first"),
    (b"BZh", "compressed by bzip2: bunzip2 it first"),
    (b"\xfd7zXZ", "compressed by xz: unxz it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: unzstd it first"),
    (b"PK\x03\x04", "a zip archive, such as .npz: unpack it first"),
    (b"\x89HDF", "an HDF5 file"),
    (b"II*\0", "a TIFF or EER file"),
    (b"MM\0*", "a TIFF file"),
    (b"II+\0", "a BigTIFF or EER file"),
    (b"\x89PNG", "a PNG image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x94CSDAT", "cryoSPARC's streamed format: save it in its NumPy format"),
    *(
        (b"\x80" + bytes([version]) + following, "a pickle")
        for version, after in ((2, b"}](cX"), (3, b"}](cX"), (4, b"\x95"), (5, b"\x95"))
        for following in (after[i : i + 1] for i in range(len(after)))
    ),
)
WEB_PAGES = (b"<!doctype", b"<html", b"<?xml")


def read_text(path: str | PathLike[str], *, expected: str, fault: str | None = None) -> str:
    """The text of a file, lines ended by a line feed, without a byte order mark.

    UTF-8 is read, or UTF-16 where a mark says so, whatever the locale. Bytes that are neither, such
    as Latin-1, stay in the text as lone surrogates: written with ``errors="surrogateescape"`` they
    are the same bytes again, and so are names of files.

    Parameters
    ----------
    path : path
        Of the file.
    expected : str
        What the file has to be, for messages, such as "a STAR file".
    fault : str, optional
        What the message says of a file that is no text; left out, that it is not what is expected.

    Returns
    -------
    str

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If it is a folder or no text; the message says what it begins with.

    Examples
    --------
    >>> read_text("model.pdb", expected="a PDB file").startswith("ATOM")
    True
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file; expected {expected}") from None
    except IsADirectoryError:
        raise FileFormatError(f"{path}: a folder, where {expected} was expected") from None
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = raw.decode("utf-16", errors="replace")
    elif b"\0" in raw:
        raise FileFormatError(f"{path}: {fault or f'not {expected}'}: {describe_beginning(raw)}")
    else:
        text = raw.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def describe_beginning(raw: bytes) -> str:
    """What the first bytes of a foreign file are, for a message.

    Parameters
    ----------
    raw : bytes
        The file, or its beginning.

    Returns
    -------
    str

    Examples
    --------
    >>> describe_beginning(b"<html>")
    "it begins with '<html>' (a web page)"
    """
    if not raw:
        return "it is empty"
    kind = foreign_kind(raw)
    return f"it begins with {_shown(raw)}" + (f" ({kind})" if kind else "")


def foreign_kind(raw: bytes) -> str | None:
    """What kind of file begins with these bytes, of those that are met in the place of others.

    Parameters
    ----------
    raw : bytes
        The file, or its beginning.

    Returns
    -------
    str or None
        None for all other files.

    Examples
    --------
    >>> foreign_kind(b"BZh91AY")
    'compressed by bzip2: bunzip2 it first'
    """
    if raw.lstrip().lower().startswith(WEB_PAGES):
        return "a web page"
    return next((kind for start, kind in BEGINNINGS if raw.startswith(start)), None)


def readable(text: str) -> str:
    """The text for people: bytes that were no UTF-8 as the Latin-1 that they most often are.

    It is meant for names that are shown.

    Parameters
    ----------
    text : str
        As :func:`read_text` gives it.

    Returns
    -------
    str

    Examples
    --------
    >>> readable("plain")
    'plain'
    """
    raw = text.encode("utf-8", errors="surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def file_name(text: str) -> str:
    """The name of a file as Python has it, of the bytes that stand in another file.

    The locale's encoding of names does not matter.

    Parameters
    ----------
    text : str
        As :func:`read_text` gives it.

    Returns
    -------
    str

    Examples
    --------
    >>> file_name("stack.mrcs")
    'stack.mrcs'
    """
    return os.fsdecode(text.encode("utf-8", errors="surrogateescape"))


def _shown(raw: bytes) -> str:
    start = raw[:SHOWN].splitlines()[0] if raw[:SHOWN].splitlines() else b""
    if start and all(32 <= byte < 127 for byte in start):
        return repr(start.decode("ascii"))
    return repr(raw[:8])[1:]

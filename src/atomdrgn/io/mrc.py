"""MRC stacks and maps: headers, chosen sections of a stack, whole maps read and written.

Files are written by mrcfile. Headers are read here, because its permissive mode gives no data of
files that are cut short (docs/decisions.md).
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar

import mrcfile
import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode

from ..errors import FileFormatError, MissingFileError
from .compressed import ALWAYS_NUMBERS, GZIP, most_unpacked, unpack_start
from .text import describe_beginning, foreign_kind
from .whole_file import whole_file

HEADER_BYTES = 1024
MODES = (0, 1, 2, 6, 12)

Number = TypeVar("Number", int, float)
ORDERS: tuple[Literal["<"], Literal[">"]] = "<", ">"


@dataclass(frozen=True)
class MrcHeader:
    """What the header of an MRC file says, and how much of it is there.

    Parameters
    ----------
    path : Path
        Of the file.
    shape : (3,) int
        Sections, rows and columns as they lie in the file: (nz, ny, nx).
    available : int
        Whole sections that the file holds; fewer than ``shape[0]`` where it was cut short. Of a
        compressed file it is what the header promises.
    dtype : numpy.dtype
        Of a value in the file, with its byte order.
    offset : int
        Where the values begin, bytes.
    voxel_size : (3,) float
        Edge of a voxel along x, y and z, A; 0 where the header does not say.
    origin : (3,) float
        Origin x, y and z, A.
    nstart : (3,) int
        Number of the first column, row and section.
    axis_order : (3,) int
        Which axis (1 is x) runs along columns, rows and sections; (1, 2, 3) in nearly all files.
    angles : (3,) float
        Of the cell, degrees; 0 where the header does not say.
    compressed : bool
        Whether the file is compressed by gzip, so that only :func:`read_map` can read its values.

    Examples
    --------
    >>> header = read_header("map.mrc")
    >>> header.shape, header.voxel_size, header.dtype.name
    ((24, 24, 24), (2.0, 2.0, 2.0), 'float32')
    """

    path: Path
    shape: tuple[int, int, int]
    available: int
    dtype: np.dtype
    offset: int
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    nstart: tuple[int, int, int]
    axis_order: tuple[int, int, int]
    angles: tuple[float, float, float] = (90.0, 90.0, 90.0)
    compressed: bool = False


def read_header(path: str | PathLike[str]) -> MrcHeader:
    """The header of an MRC file, plain or compressed by gzip.

    It is of mode 0, 1, 2, 6 or 12 in either byte order.

    A missing MAP magic or machine stamp is a warning: several programs leave them out, and the
    values are still plain. So is a stamp of the other byte order.

    Parameters
    ----------
    path : path
        Of the file.

    Returns
    -------
    MrcHeader

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileFormatError
        If it is no MRC file, is shorter than a header, or has a mode that is not one of those
        above; what another kind of file begins with is said.

    Examples
    --------
    >>> read_header("particles.mrcs").available
    8
    """
    path = Path(path)
    try:
        raw = np.fromfile(path, dtype=np.uint8, count=HEADER_BYTES)
        compressed = raw[:2].tobytes() == GZIP
        if compressed:
            raw = np.frombuffer(unpack_start(path, HEADER_BYTES), np.uint8)
        size = None if compressed else path.stat().st_size
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise FileFormatError(f"{path}: a folder, where an MRC file was expected") from None
    if foreign_kind(raw.tobytes()) is not None:
        raise FileFormatError(f"{path}: not an MRC file: {describe_beginning(raw.tobytes())}")
    if len(raw) < HEADER_BYTES:
        raise FileFormatError(
            f"{path}: {len(raw)} bytes, where an MRC header alone has {HEADER_BYTES}; the file is "
            f"cut short or no MRC: {describe_beginning(raw.tobytes())}"
        )
    return _header(path, raw, size)


def read_sections(header: MrcHeader, index: Sequence[int] | np.ndarray) -> np.ndarray:
    """Sections of a stack as float32 (section, y, x); nothing else is read.

    Parameters
    ----------
    header : MrcHeader
        Of the stack.
    index : (section,) int
        Which sections, from 0.

    Returns
    -------
    (section, y, x) float32

    Raises
    ------
    FileFormatError
        If a section is asked for that the file does not hold, or the file is compressed.

    Examples
    --------
    >>> read_sections(read_header("particles.mrcs"), [5, 0]).shape
    (2, 24, 24)
    """
    require_plain(header)
    index = np.asarray(index, dtype=np.int64).reshape(-1)
    if len(index) == 0:
        return np.empty((0, *header.shape[1:]), np.float32)
    if index.min() < 0 or index.max() >= header.available:
        missing = index[(index < 0) | (index >= header.available)] + 1
        raise FileFormatError(
            f"{header.path}: no image {', '.join(map(str, missing[:5]))}: the header promises "
            f"{header.shape[0]} and the file holds {header.available}"
        )
    stack = np.memmap(
        header.path, header.dtype, "r", header.offset, (header.available, *header.shape[1:])
    )
    first, last = index[0], index[-1]
    if len(index) == last - first + 1 and (np.diff(index) == 1).all():
        return stack[first : last + 1].astype(np.float32)
    return stack[index].astype(np.float32)


def require_plain(header: MrcHeader) -> None:
    """Refuse a compressed stack: single images can only be taken from a plain one.

    Parameters
    ----------
    header : MrcHeader
        Of the stack.

    Raises
    ------
    FileFormatError
        The file is compressed.

    Examples
    --------
    >>> require_plain(read_header("particles.mrcs"))
    """
    if header.compressed:
        raise FileFormatError(
            f"{header.path}: a stack that is compressed by gzip: gunzip it first, for images are "
            "read one by one"
        )


def read_map(path: str | PathLike[str]) -> tuple[np.ndarray, MrcHeader]:
    """The whole map as float32 with axes (z, y, x), and its header.

    The order of the axes in the file does not matter.

    Parameters
    ----------
    path : path
        Of the map.

    Returns
    -------
    density : (z, y, x) float32
        Its values.
    header : MrcHeader
        What else the file says.

    Raises
    ------
    MissingFileError, FileFormatError
        As for :func:`read_header`; also if the file is cut short, or unpacks to more than its
        header promises.

    Examples
    --------
    >>> density, header = read_map("map.mrc")
    >>> density.shape, density.dtype.name
    ((24, 24, 24), 'float32')
    """
    header = read_header(path)
    if header.compressed:
        return _with_axes_zyx(_unpacked_sections(header), header), header
    if header.available < header.shape[0]:
        raise FileFormatError(
            f"{header.path}: the header promises {header.shape[0]} sections and the file holds "
            f"{header.available}"
        )
    return _with_axes_zyx(read_sections(header, range(header.shape[0])), header), header


def _with_axes_zyx(density: np.ndarray, header: MrcHeader) -> np.ndarray:
    section_axis, row_axis, column_axis = header.axis_order[::-1]
    in_file = (section_axis, row_axis, column_axis)
    return np.ascontiguousarray(density.transpose([in_file.index(axis) for axis in (3, 2, 1)]))


def write_map(
    path: str | PathLike[str],
    density: np.ndarray,
    *,
    voxel_size: float,
    origin: Sequence[float | int] | np.ndarray = (0.0, 0.0, 0.0),
) -> None:
    """Write a map as an MRC file of mode 2: axes in the order x, y, z, space group 1, statistics.

    It appears whole or not at all.

    Parameters
    ----------
    path : path
        Of the file.
    density : (z, y, x) array
        Its values.
    voxel_size : float
        Edge of a voxel, A.
    origin : (3,)
        Of the first voxel, x, y and z, A; nstart says the same where that is whole, and 0
        elsewhere.

    Examples
    --------
    >>> write_map("some.mrc", np.ones((4, 4, 4), np.float32), voxel_size=2.0)
    >>> read_header("some.mrc").voxel_size
    (2.0, 2.0, 2.0)
    """
    density = np.ascontiguousarray(density, dtype=np.float32)
    start = np.asarray(origin, dtype=float) / voxel_size
    with whole_file(path) as temporary, mrcfile.new(temporary, density, overwrite=True) as file:
        file.set_volume()
        file.voxel_size = voxel_size
        file.header.origin = tuple(float(x) for x in origin)
        file.nstart = (
            tuple(int(x) for x in np.round(start))
            if np.allclose(start, np.round(start), atol=1e-3)
            else (0, 0, 0)
        )
        file.update_header_stats()


def _unpacked_sections(header: MrcHeader) -> np.ndarray:
    count = math.prod(header.shape)
    promised = header.offset + count * header.dtype.itemsize
    most = most_unpacked(header.path.stat().st_size, always=ALWAYS_NUMBERS)
    if promised > most:
        raise FileFormatError(
            f"{header.path}: the header promises {promised:,} bytes, and a compressed map of this "
            f"size holds at most {most:,}; gunzip it if it is sound"
        )
    raw = unpack_start(header.path, promised + 1)
    if len(raw) != promised:
        held = f"more than {promised:,}" if len(raw) > promised else f"{len(raw):,}"
        raise FileFormatError(
            f"{header.path}: unpacks to {held} bytes, where its header promises {promised:,}"
        )
    return (
        np.frombuffer(raw, header.dtype, count, header.offset)
        .reshape(header.shape)
        .astype(np.float32)
    )


def _header(path: Path, raw: np.ndarray, size: int | None) -> MrcHeader:
    order, faults = _byte_order(path, raw)
    record = raw.view(HEADER_DTYPE.newbyteorder(order))[0]
    columns, rows, sections = (int(record[name]) for name in ("nx", "ny", "nz"))
    if min(columns, rows, sections) < 1 or int(record["mode"]) not in MODES:
        raise FileFormatError(
            f"{path}: {columns} x {rows} x {sections} values of mode {int(record['mode'])}; "
            f"expected an MRC file with positive sizes and one of the modes {MODES}"
        )
    if faults:
        warnings.warn(
            f"{path}: no {' and no '.join(faults)} in the header; read as an MRC file all the same",
            stacklevel=3,
        )
    value = dtype_from_mode(int(record["mode"])).newbyteorder(order)
    offset = HEADER_BYTES + max(int(record["nsymbt"]), 0)
    held = sections if size is None else max(size - offset, 0) // (value.itemsize * columns * rows)
    sampling = [int(record[name]) for name in ("mx", "my", "mz")]
    cell = [float(record["cella"][axis]) for axis in "xyz"]
    axes = _three(int(record[name]) for name in ("mapc", "mapr", "maps"))
    return MrcHeader(
        path,
        (sections, rows, columns),
        min(held, sections),
        value,
        offset,
        _three(edge / n if n > 0 else 0.0 for edge, n in zip(cell, sampling, strict=True)),
        _three(float(record["origin"][axis]) for axis in "xyz"),
        _three(int(record[name]) for name in ("nxstart", "nystart", "nzstart")),
        axes if sorted(axes) == [1, 2, 3] else (1, 2, 3),
        _three(float(record["cellb"][angle]) for angle in ("alpha", "beta", "gamma")),
        compressed=size is None,
    )


def _three(values: Iterable[Number]) -> tuple[Number, Number, Number]:
    first, second, third = values
    return first, second, third


def _byte_order(path: Path, raw: np.ndarray) -> tuple[Literal["<", ">"], list[str]]:
    """Byte order, and what is missing from the header.

    It is the stamp's; without one, or where only the other order makes sense, that which does.
    """
    little = raw.view(HEADER_DTYPE.newbyteorder("<"))[0]
    faults = [] if bytes(little["map"]).startswith(b"MAP") else ["MAP magic"]
    likely = [order for order in ORDERS if _makes_sense(raw, order)]
    try:
        stamped = byte_order_from_machine_stamp(little["machst"])
    except ValueError:
        if likely:
            return likely[0], [*faults, "machine stamp"]
    else:
        if stamped in likely or not likely:
            return stamped, faults
        return likely[0], [*faults, "machine stamp of its byte order"]
    raise FileFormatError(
        f"{path}: neither a machine stamp nor sizes and a mode that make sense in either byte "
        "order; no MRC file"
    )


def _makes_sense(raw: np.ndarray, order: Literal["<", ">"]) -> bool:
    """Whether mode and sizes of a header may be those of an MRC file, in a byte order."""
    record = raw.view(HEADER_DTYPE.newbyteorder(order))[0]
    sizes = (int(record[name]) for name in ("nx", "ny", "nz"))
    return int(record["mode"]) in MODES and all(0 < size < 1 << 24 for size in sizes)

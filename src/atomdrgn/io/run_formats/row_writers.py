"""Files of as many rows as there are particles, written as these come: memory holds few of them."""

import csv
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ..whole_file import whole_file
from .table_cells import as_cell

COPIED_AT_ONCE = 1 << 22  # bytes


class RowArrays:
    """Arrays of an .npz file that grow by rows; made by :func:`row_arrays`."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._spools: dict[str, IO[bytes]] = {}
        self._kinds: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        self._rows: dict[str, int] = {}

    def append(self, **arrays: np.ndarray) -> None:
        """The next rows of each array: of the same shape and kind as those before.

        Raises
        ------
        ValueError
            They are of another.
        """
        for name, values in arrays.items():
            kind = (values.shape[1:], values.dtype)
            if name not in self._spools:
                self._kinds[name], self._rows[name] = kind, 0
                self._spools[name] = self._stack.enter_context(TemporaryFile(dir=self._folder))
            if kind != self._kinds[name]:
                raise ValueError(f"rows of {name} are {kind}, and were {self._kinds[name]}")
            self._spools[name].write(np.ascontiguousarray(values).tobytes())
            self._rows[name] += len(values)

    def _pack(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, spool in self._spools.items():
                shape, dtype = self._kinds[name]
                head = {
                    "descr": npy.dtype_to_descr(dtype),
                    "fortran_order": False,
                    "shape": (self._rows[name], *shape),
                }
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    npy.write_array_header_1_0(member, head)
                    spool.seek(0)
                    shutil.copyfileobj(spool, member, COPIED_AT_ONCE)


@contextmanager
def row_arrays(path: Path) -> Iterator[RowArrays]:
    """An .npz file, whole or not at all, whose arrays grow by rows.

    Parameters
    ----------
    path : Path

    Yields
    ------
    RowArrays

    Examples
    --------
    >>> with row_arrays(Path("rows.npz")) as rows:
    ...     rows.append(sd=np.ones((2, 1)))
    ...     rows.append(sd=np.zeros((1, 1)))
    >>> np.load("rows.npz")["sd"].shape
    (3, 1)
    """
    with whole_file(path) as temporary, ExitStack() as stack:
        rows = RowArrays(path.parent, stack)
        yield rows
        rows._pack(temporary)


class RowTable:
    """A CSV table that grows by rows; made by :func:`row_table`."""

    def __init__(self, file: IO[str]) -> None:
        self._writer = csv.writer(file)
        self._names: tuple[str, ...] | None = None

    def append(self, columns: Mapping[str, Sequence[Any]]) -> None:
        """The next rows of each column: of the same names as those before.

        Raises
        ------
        ValueError
            They are others.
        """
        names = tuple(columns)
        if self._names is None:
            self._names = names
            self._writer.writerow([as_cell(name) for name in names])
        if names != self._names:
            raise ValueError(f"rows of columns {names}, which were {self._names}")
        self._writer.writerows(
            [as_cell(value) for value in row] for row in zip(*columns.values(), strict=True)
        )


@contextmanager
def row_table(path: Path) -> Iterator[RowTable]:
    """A CSV table, whole or not at all, that grows by rows.

    Parameters
    ----------
    path : Path

    Yields
    ------
    RowTable

    Examples
    --------
    >>> with row_table(Path("rows.csv")) as rows:
    ...     rows.append({"particle": [0, 1]})
    ...     rows.append({"particle": [2]})
    >>> Path("rows.csv").read_text().split()
    ['particle', '0', '1', '2']
    """
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        yield RowTable(file)

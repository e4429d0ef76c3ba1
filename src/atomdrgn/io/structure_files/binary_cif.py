"""BinaryCIF files as CIF tokens.

They are decoded so that a hostile file is an error and takes neither memory nor time.

The encodings are those of Sehnal et al. (2020), BinaryCIF and CIFTools, PLoS Comput. Biol. 16,
e1008247. Libraries decode a column before they know how long it should be; here the number of rows
comes first, and a file has to be worth its bytes.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import gemmi
import msgpack
import numpy as np

from ...errors import FileFormatError
from ..compressed import ALWAYS_TEXT, MOST_UNPACKED, most_unpacked

T = TypeVar("T")
Object = dict[Any, Any]  # as it stands in the file, where anything may be
TYPES = {1: "<i1", 2: "<i2", 3: "<i4", 4: "<u1", 5: "<u2", 6: "<u4", 32: "<f4", 33: "<f8"}
WRITTEN_NUMBER = 8  # characters that a number counts for, blanks included
INAPPLICABLE, MISSING = 1, 2  # what a mask says of a row


def read_binary_cif(content: bytes) -> list[tuple[str, dict[str, dict[str, list[str]]]]]:
    """Name and categories of each data block.

    Categories hold, by name (``_atom_site``) and column, the CIF token of each row.

    Parameters
    ----------
    content : bytes
        Of the file, unpacked.

    Raises
    ------
    FileFormatError
        It is no BinaryCIF, is damaged, or stands for more text than a file of its size may. The
        message does not name the file.
    """
    try:
        file = msgpack.unpackb(content)
    except (ValueError, msgpack.UnpackException) as error:
        raise FileFormatError(f"it is no BinaryCIF ({type(error).__name__}: {error})") from error
    left = _Allowance(most_unpacked(len(content), always=ALWAYS_TEXT))
    return [
        (_name(_held(block, "header", str)), _categories(block, left))
        for block in _objects(file, "dataBlocks")
    ]


class _Allowance:
    """How many characters more the file may stand for."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> None:
        """Refuse what is beyond the allowance; asked before memory is taken."""
        self.left -= count
        if self.left < 0:
            raise FileFormatError(
                f"it stands for more than {MOST_UNPACKED} times its size as text: no structure does"
            )


def _categories(block: Object, left: _Allowance) -> dict[str, dict[str, list[str]]]:
    found = {}
    for category in _objects(block, "categories"):
        rows, columns = _count(category, "rowCount"), _objects(category, "columns")
        if rows and columns:
            # a table of no rows has nothing to say
            found[_name(_held(category, "name", str))] = {
                _name(_held(column, "name", str)): _tokens(column, rows, left) for column in columns
            }
    return found


def _tokens(column: Object, rows: int, left: _Allowance) -> list[str]:
    """The values of a column as CIF tokens."""
    left.take(rows)
    values = _decoded(_held(column, "data", dict), rows, left)
    if len(values) != rows:
        raise FileFormatError(f"a column has {len(values):,} values in {rows:,} rows")
    if values.dtype.kind == "O":
        tokens = values
    else:
        left.take(rows * WRITTEN_NUMBER)
        tokens = values.astype(str).astype(object)
    if column.get("mask") is not None:
        mask = _decoded(_held(column, "mask", dict), rows, left)
        if len(mask) != rows or mask.dtype.kind not in "iu":
            raise FileFormatError("a mask is not that of its column")
        tokens[mask == INAPPLICABLE] = "."
        tokens[mask == MISSING] = "?"
    return tokens.tolist()


# ---- encodings ----------------------------------------------------------------------------------


def _decoded(data: Object, most: int, left: _Allowance) -> np.ndarray:
    """The array that stands in a column or mask: numbers, or tokens as objects.

    Runs in it are not longer than `most`.
    """
    return _undone(_held(data, "data", bytes), _objects(data, "encoding"), most, left, texts=True)


def _undone(
    values: Any, encodings: list[Object], most: int, left: _Allowance, *, texts: bool = False
) -> np.ndarray:
    for encoding in reversed(encodings):
        kind = _held(encoding, "kind", str)
        if kind == "StringArray" and texts and isinstance(values, bytes):
            return _of_strings(values, encoding, most, left)
        if (kind == "ByteArray") != isinstance(values, bytes) or kind not in UNDO:
            raise FileFormatError(f"an encoding {kind} is unknown, or not where it may be")
        values = UNDO[kind](values, encoding, most)
        left.take(len(values))
    if isinstance(values, bytes):
        raise FileFormatError("a column holds bytes without an encoding")
    return values


def _of_bytes(values: bytes, encoding: Object, most: int) -> np.ndarray:
    kind = np.dtype(_type(encoding, "type"))
    if len(values) % kind.itemsize:
        raise FileFormatError(f"{len(values):,} bytes are no numbers of {kind.itemsize} bytes")
    return np.frombuffer(values, kind)


def _of_fixed_point(values: np.ndarray, encoding: Object, most: int) -> np.ndarray:
    factor = _number(encoding, "factor")
    if factor == 0:
        raise FileFormatError("a factor is 0")
    with np.errstate(over="ignore"):
        return (values / factor).astype(_type(encoding, "srcType"))


def _of_intervals(values: np.ndarray, encoding: Object, most: int) -> np.ndarray:
    low, high, steps = (
        _number(encoding, "min"),
        _number(encoding, "max"),
        _count(encoding, "numSteps"),
    )
    if steps < 2:
        raise FileFormatError(f"an interval has {steps} steps")
    with np.errstate(over="ignore", invalid="ignore"):
        return (low + values * ((high - low) / (steps - 1))).astype(_type(encoding, "srcType"))


def _of_runs(values: np.ndarray, encoding: Object, most: int) -> np.ndarray:
    value, times = _whole(values)[: len(values) // 2 * 2].reshape(-1, 2).T
    if (
        len(values) % 2
        or (times < 0).any()
        or times.sum(dtype=float) != _count(encoding, "srcSize")
    ):
        raise FileFormatError("runs are not as long as they are said to be")
    if times.sum() > most:
        raise FileFormatError(f"runs of {times.sum():,} values stand where at most {most:,} may")
    return np.repeat(value, times)


def _of_differences(values: np.ndarray, encoding: Object, most: int) -> np.ndarray:
    return np.cumsum(_whole(values)) + _count(encoding, "origin", least=-(2**31))


def _of_packed(values: np.ndarray, encoding: Object, most: int) -> np.ndarray:
    """A value at the end of its type's range goes on in the next one."""
    if values.dtype.kind not in "iu":
        raise FileFormatError("packed integers are no integers")
    ends, signed = np.iinfo(values.dtype), values.dtype.kind == "i"
    goes_on = (values == ends.max) | (signed & (values == ends.min))
    first = (
        np.flatnonzero(np.concatenate([[True], ~goes_on[:-1]])) if len(values) else np.empty(0, int)
    )
    if (len(values) and goes_on[-1]) or len(first) != _count(encoding, "srcSize"):
        raise FileFormatError("packed integers are not as many as they are said to be")
    return np.add.reduceat(values.astype(np.int64), first) if len(first) else first


UNDO: dict[str, Callable[[Any, Object, int], np.ndarray]] = {
    "ByteArray": _of_bytes,
    "FixedPoint": _of_fixed_point,
    "IntervalQuantization": _of_intervals,
    "RunLength": _of_runs,
    "Delta": _of_differences,
    "IntegerPacking": _of_packed,
}


def _of_strings(values: bytes, encoding: Object, most: int, left: _Allowance) -> np.ndarray:
    """(value,) tokens, as objects that are one where texts are."""
    text = _held(encoding, "stringData", str)
    offset = _whole(
        _undone(
            _held(encoding, "offsets", bytes),
            _objects(encoding, "offsetEncoding"),
            len(text) + 2,
            left,
        )
    )
    if len(offset) == 0 or (np.diff(offset, prepend=0) < 0).any() or offset[-1] > len(text):
        raise FileFormatError("texts are not where they are said to be")
    quoted = [
        _quoted(text[start:end])
        for start, end in zip(offset[:-1].tolist(), offset[1:].tolist(), strict=True)
    ]
    # the last one is that of index -1: no text
    tokens = np.array([*quoted, _quoted("")], dtype=object)
    index = _whole(_undone(values, _objects(encoding, "dataEncoding"), most, left))
    if len(index) and not -1 <= index.min() <= index.max() < len(quoted):
        raise FileFormatError("a text is asked for that is not there")
    left.take(int(np.array([len(token) for token in tokens])[index].sum()))
    return tokens[index]


def _quoted(text: str) -> str:
    if "\0" in text:
        raise FileFormatError("a text holds bytes that are no text")
    return gemmi.cif.quote(text)


# ---- what stands in the file --------------------------------------------------------------------


def _held(of: Any, name: str, kind: type[T]) -> T:
    if not isinstance(of, dict) or not isinstance(of.get(name), kind):
        raise FileFormatError(f"there is no {name!r} where one is needed, or it is of another kind")
    return of[name]


def _objects(of: Any, name: str) -> list[Object]:
    return [_object(each) for each in _held(of, name, list)]


def _object(each: Any) -> Object:
    if not isinstance(each, dict):
        raise FileFormatError(f"a {type(each).__name__} stands where an object is needed")
    return each


def _name(text: str) -> str:
    if not text.isprintable() or not text.isascii() or " " in text:
        raise FileFormatError(f"{text[:40]!r} is no name")
    return text


def _count(of: Object, name: str, *, least: int = 0) -> int:
    value = of.get(name)
    if type(value) is not int or not least <= value < 2**31:
        raise FileFormatError(f"{name} is {str(value)[:40]}, expected a whole number from {least}")
    return value


def _number(of: Object, name: str) -> float | int:
    value: Any = of.get(name)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise FileFormatError(f"{name} is {str(value)[:40]}, expected a number")
    return value


def _type(of: Object, name: str) -> str:
    value = of.get(name)
    if type(value) is not int or value not in TYPES:
        raise FileFormatError(f"{name} is {str(value)[:40]}, which is the number of no type")
    return TYPES[value]


def _whole(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "iu":
        raise FileFormatError("integers are needed, and there are others")
    return values.astype(np.int64)

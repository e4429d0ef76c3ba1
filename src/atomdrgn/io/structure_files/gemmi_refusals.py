"""What gemmi raises for files that it cannot read, as an error of ours.

It is put round its readers alone, so that bugs stay bugs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from ...errors import FileFormatError


@contextmanager
def refusing(path: str | PathLike[str], kind: str) -> Iterator[None]:
    """Only calls of gemmi stand inside; what it refuses is a file that cannot be read as `kind`."""
    try:
        yield
    # of its parser, of std::runtime_error, of std::out_of_range
    except (ValueError, RuntimeError, IndexError) as error:
        raise FileFormatError(f"{path}: cannot be read as {kind}: {error}") from error

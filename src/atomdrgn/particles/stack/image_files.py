"""Where the images of a particle set lie on disk, and how the chosen ones are read."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import FileFormatError, MissingFileError
from ...io.mrc import MrcHeader, read_header, read_sections, require_plain
from ...io.text import file_name, readable
from ...physics.record import Record


@dataclass(frozen=True)
class ImageFiles(Record):
    """Images as they lie in stacks, read only when asked for.

    Parameters
    ----------
    file : (image,)
        Which of `headers` holds the image.
    section : (image,)
        Its number in that stack, from 0.
    sign : (image,)
        Factor that makes protein white: 1 or -1.
    headers : tuple of MrcHeader
    """

    file: Int[Tensor, "image"]
    section: Int[Tensor, "image"]
    sign: Float[Tensor, "image"]
    headers: tuple[MrcHeader, ...]

    def read(self) -> Float[Tensor, "image y x"]:
        """All images of this record, which have to have one size, as float32.

        Each stack is opened once a call and none is kept open, so that sets of many thousand stacks
        can be read.

        Returns
        -------
        (image, y, x) float32
            Protein white.

        Raises
        ------
        FileFormatError, OSError
            A stack cannot be read.
        """
        file, section = self.file.cpu().numpy(), self.section.cpu().numpy()
        if len(file) == 0:
            return torch.empty(0, 0, 0)
        images = np.empty((len(file), *self.headers[file[0]].shape[1:]), np.float32)
        for number in np.unique(file):
            mine = np.flatnonzero(file == number)
            # a disk is quickest in its own order
            mine = mine[np.argsort(section[mine], kind="stable")]
            images[mine] = read_sections(self.headers[number], section[mine])
        return torch.from_numpy(images).mul_(self.sign.cpu()[:, None, None])

    def describe(self, i: int) -> str:
        """Name of one image for a message, counting from 1 as file formats do.

        Parameters
        ----------
        i : int
            Which, from 0.
        """
        return f"image {int(self.section[i]) + 1} of {self.headers[int(self.file[i])].path}"


def image_place(name: str) -> tuple[int | None, str]:
    """Number and stack of an image name; the number counts from 1.

    Digits before the first @ are a number; any other @ is part of the name.

    Parameters
    ----------
    name : str
        As it stands in a particle file.

    Returns
    -------
    int or None
        None where a whole stack is named.
    str
        The stack.

    Examples
    --------
    >>> image_place("000012@micrographs/one.mrcs")
    (12, 'micrographs/one.mrcs')
    >>> image_place("grid@3/stack.mrcs")
    (None, 'grid@3/stack.mrcs')
    """
    number, at, stack = name.partition("@")
    # more digits than that are no number of an image
    return (
        (int(number), stack)
        if at and number.isascii() and number.isdecimal() and len(number) <= 12
        else (None, name)
    )


def find_file(name: str, *, beside: Path, data_folder: str | Path | None = None) -> Path:
    """The file that another file names.

    It is looked for as written, under the naming file's folder, under `data_folder`, and there
    without its folders.

    Parameters
    ----------
    name : str
        As it stands in the naming file.
    beside : Path
        The file that names it.
    data_folder : path, optional
        Where the user says that the images lie.

    Returns
    -------
    Path

    Raises
    ------
    MissingFileError
        With all places that were tried.
    """
    # a name that is no UTF-8 is that of a file of the same bytes, or one that
    # was written anew in UTF-8
    names = dict.fromkeys((file_name(str(name)), file_name(readable(str(name)))))
    places = [place for name in names for place in (Path(name), beside.parent / name)]
    if data_folder is not None:
        places += [
            place
            for name in names
            for place in (Path(data_folder) / name, Path(data_folder) / Path(name).name)
        ]
    for place in places:
        if os.path.isfile(place):
            return place
    tried = ", ".join(dict.fromkeys(readable(str(place)) for place in places))
    raise MissingFileError(
        f"{beside} names {readable(str(name))}, which is not there (tried {tried}); say where the "
        "images lie with --data-folder"
    )


def find_stacks(
    names: Iterable[str], *, beside: Path, data_folder: str | Path | None = None
) -> tuple[np.ndarray, tuple[MrcHeader, ...]]:
    """Number of the stack that each name means, and the headers of the stacks.

    Names of one file mean one stack.

    Parameters
    ----------
    names : iterable of str
        As they stand in the particle file, without numbers of images.
    beside : Path
        The particle file.
    data_folder : path, optional
        Where the user says that the images lie.

    Returns
    -------
    (name,) int64
        Index into the headers.
    tuple of MrcHeader

    Raises
    ------
    MissingFileError, FileFormatError
        If a stack is missing, no MRC file, or compressed.
    """
    names = list(names)
    found = {
        name: find_file(name, beside=beside, data_folder=data_folder)
        for name in dict.fromkeys(names)
    }
    # by the file itself: joined lists may name it in several ways, and copies are known by it
    paths: dict[str, Path] = {}
    for path in found.values():
        paths.setdefault(os.path.realpath(path), path)
    numbers = {real: number for number, real in enumerate(paths)}
    of_name = {name: numbers[os.path.realpath(path)] for name, path in found.items()}
    file = np.array([of_name[name] for name in names], dtype=np.int64)
    headers = tuple(map(read_header, paths.values()))
    for header in headers:
        require_plain(header)
    return file, headers


def check_sections(
    file: np.ndarray,
    section: np.ndarray,
    row: np.ndarray,
    *,
    headers: Sequence[MrcHeader],
    beside: Path,
) -> None:
    """Refuse rows whose image is not in its stack.

    Parameters
    ----------
    file, section, row : (image,) int
        Stack, number in the stack and row in the table of each image, all from 0.
    headers : tuple of MrcHeader
    beside : Path
        The table.

    Raises
    ------
    FileFormatError
        With the first stack that is too short, and the rows.
    """
    available = np.array([header.available for header in headers], dtype=np.int64)
    absent = (section < 0) | (section >= available[file])
    if not absent.any():
        return
    header = headers[file[np.flatnonzero(absent)[0]]]
    mine = file == file[np.flatnonzero(absent)[0]]
    promised = (
        f" (its header promises {header.shape[0]})" if header.shape[0] > header.available else ""
    )
    raise FileFormatError(
        f"{beside.name}: {mine.sum()} rows but {header.path.name} holds {header.available} "
        f"images{promised} ({list_rows(row[absent & mine])})"
    )


def list_rows(row: Sequence[int] | np.ndarray | Tensor) -> str:
    """Rows, from 0, as a message names them, from 1.

    Parameters
    ----------
    row : (row,) int
        At least one; five are named at most.

    Returns
    -------
    str

    Examples
    --------
    >>> list_rows([998, 999])
    'rows 999 and 1000'
    >>> list_rows(range(7))
    'rows 1, 2, 3, 4, 5 and 2 more'
    """
    numbers = [str(int(r) + 1) for r in row[:5]]
    if len(row) == 1:
        return f"row {numbers[0]}"
    if len(row) > 5:
        return f"rows {', '.join(numbers)} and {len(row) - 5} more"
    return f"rows {', '.join(numbers[:-1])} and {numbers[-1]}"

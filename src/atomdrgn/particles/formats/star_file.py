"""Particle files that are STAR files: what the formats of RELION, Warp, M and WarpTools share."""

import warnings
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ...errors import AtomdrgnError, InputError
from ...io.star import StarTable, find_table, write_star
from ...physics.rotations import euler_from_matrix
from ..stack.image_files import image_place, list_rows
from ..tables.assembly import number_by_first_row, stated_halves
from ..tables.optimisation_set import SET_PARTICLES, SET_TRAJECTORIES, optimisation_entry
from ..tables.relion import ANGLES, HALF_SET, read_half
from ..tables.tilt_series import COLUMNS
from .motion_files import PARTICLE_NAME, Trajectories
from .particle_format import ParticleFile, ParticleFormat, ParticleSource

DIGITS = 6  # of angles (degrees) and origins, as RELION writes them


class StarFormat(ParticleFormat):
    """A format whose files are STAR files, named themselves or by an optimisation set.

    A subclass says which rows are one particle and which may be used, and how a pose is written.
    """

    ending = ".star"

    @abstractmethod
    def particle_of_row(self, source: ParticleSource) -> Int[np.ndarray, "row"]:
        """(row,) number of the particle that each row is of, from 0 by first row.

        Parameters
        ----------
        source : ParticleSource
            A file of this format.

        Raises
        ------
        InputError, FileFormatError
            It cannot be told.
        """

    @abstractmethod
    def usable(self, source: ParticleSource) -> Bool[np.ndarray, "row"]:
        """(row,) whether a row has an image that a fit may use, as far as that is known.

        Parameters
        ----------
        source : ParticleSource
            A file of this format.

        Raises
        ------
        InputError, FileFormatError, MissingFileError
            It, or a file that it names, is not what it has to be.
        """

    @abstractmethod
    def new_poses(
        self,
        table: StarTable,
        optics: StarTable | None,
        rotation: Float[np.ndarray, "row 3 3"],
        shift: Float[np.ndarray, "row 3"],
    ) -> StarTable:
        """The particle table with new angles and origins (see :meth:`.ParticleFile.following`).

        Parameters
        ----------
        table, optics : StarTable
            Of the file.
        rotation, shift : (row, 3, 3), (row, 3)
            G and d of each row's particle; A.
        """

    def open(
        self, source: ParticleSource, *, first_row: Int[np.ndarray, "particle"] | None = None
    ) -> "StarFile":
        """The file to be cut down, with the optimisation set that names it.

        Particles are numbered as a fit numbers them: by `first_row`, or by the first row of each
        that may be used.
        """
        table, label = source.particles, self.particle_of_row(source)
        if first_row is None:
            usable = self.usable(source)
            particle = _numbered(label, number_by_first_row(label[usable]), label[usable])
        else:
            particle = _numbered_by_first_row(label, first_row, path=table.path)
        file = StarFile(
            self,
            table.path,
            particle,
            _image_labels(table),
            tables=tuple(source.tables),
            at=next(i for i, other in enumerate(source.tables) if other is table),
        )
        if not source.optimisation_set:
            return file
        return file.with_optimisation_set(
            source.optimisation_set, data_folder=source.reading.data_folder
        )


@dataclass(frozen=True)
class StarFile(ParticleFile):
    """A particle file of RELION, Warp, M or WarpTools.

    Parameters
    ----------
    tables : tuple of StarTable
        All tables of the file, in order.
    at : int
        Which of them lists the particles.
    optimisation_set : tuple of StarTable
        All tables of the optimisation set by which the file was found, if there was one.
    trajectories : Trajectories, optional
        The motion of these rows, where the optimisation set names it.
    """

    format: StarFormat
    tables: tuple[StarTable, ...]
    at: int
    optimisation_set: tuple[StarTable, ...] = ()
    trajectories: Trajectories | None = None

    half_column = HALF_SET

    @property
    def table(self) -> StarTable:
        """The one that lists the particles."""
        return self.tables[self.at]

    @property
    def stated_half(self) -> Int[np.ndarray, "row"] | None:
        """(row,) half-set where the file says it; one value for all rows parts nothing: None."""
        return stated_halves(read_half(self.table))

    def of_rows(self, rows: Int[np.ndarray, "chosen"]) -> "StarFile":
        """The file cut down to some rows, every token as it was, and with it the motion file."""
        trajectories = None if self.trajectories is None else self.trajectories.of_rows(rows)
        file = self._with_table(self.table.rows(rows.tolist()))
        return replace(file, trajectories=trajectories, **self.numbers_of(rows))

    def with_class(self, column: str, number: Any) -> "StarFile":
        """The same file with a class for each particle in a column, which need not be there."""
        tokens = [str(int(value)) for value in self.at_rows(number)]
        return self._with_table(self.table.with_column(column, tokens))

    def with_images(self, stack: Sequence[str], section: Sequence[int] | None) -> "StarFile":
        """The same file with other images: ``NUMBER@STACK``, or stacks of whole rows."""
        names = (
            stack
            if section is None
            else [f"{number + 1:06d}@{name}" for name, number in zip(stack, section, strict=True)]
        )
        return self._with_table(self.table.with_texts("rlnImageName", names))

    def following(
        self, rotation: Float[np.ndarray, "particle 3 3"], shift: Float[np.ndarray, "particle 3"]
    ) -> "StarFile":
        """The same file with poses that follow a part; priors of angles become these angles."""
        optics = find_table(self.tables, "optics")
        return self._with_table(
            self.format.new_poses(self.table, optics, self.at_rows(rotation), self.at_rows(shift))
        )

    def with_optimisation_set(
        self, tables: Iterable[StarTable], *, data_folder: str | Path | None = None
    ) -> "StarFile":
        """The same file as one that an optimisation set names; before any row is left out.

        Parameters
        ----------
        tables : sequence of StarTable
            Of the set; where they are those of no set, the file is handed back with them.
        data_folder : path, optional
            Where files lie that the set names, if not where it says.
        """
        tables = tuple(tables)
        entry = optimisation_entry(tables)
        motion = (
            entry.texts(SET_TRAJECTORIES)[0]
            if entry is not None and SET_TRAJECTORIES in entry
            else ""
        )
        if entry is None or not motion:
            return replace(self, optimisation_set=tables, trajectories=None)
        names = tuple(self.table.texts(PARTICLE_NAME)) if PARTICLE_NAME in self.table else None
        count = len(self.table)
        trajectories = Trajectories(
            motion, entry.path, names, np.arange(count), count, data_folder=data_folder
        )
        return replace(self, optimisation_set=tables, trajectories=trajectories)

    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        write_star(path, self.tables)

    @property
    def sources(self) -> list[Path]:
        """The particle file, its optimisation set, and the motion file that this names."""
        entry = optimisation_entry(self.optimisation_set)
        of_set = [] if entry is None else [entry.path]
        motion = None if self.trajectories is None else self.trajectories.find()
        return [self.path, *of_set, *([] if motion is None else [motion])]

    def files_beside(self, path: Path) -> list[Path]:
        """The optimisation set that names this file, and its motion file."""
        if not self.optimisation_set:
            return []
        motion = [] if self.trajectories is None else [path.with_name(f"{path.stem}_motion.star")]
        return [path.with_name(f"{path.stem}_optimisation_set.star"), *motion]

    def write_beside(self, path: Path) -> list[Path]:
        """Write the optimisation set that names this file, and the motion of its particles.

        Where the motion cannot be cut down a warning says so, and the set names none.
        """
        entry = optimisation_entry(self.optimisation_set)
        if entry is None:
            return []
        first, *motion = self.files_beside(path)
        new = entry.with_texts(SET_PARTICLES, [str(path)])
        if motion and self.trajectories is not None:
            try:
                self.trajectories.write(motion[0])
                new = new.with_texts(SET_TRAJECTORIES, [str(motion[0])])
            except AtomdrgnError as error:
                warnings.warn(
                    f"{first} names no motion file, because that of {entry.path} could not be cut "
                    f"down to the chosen particles: {error}",
                    stacklevel=2,
                )
                new, motion = new.without_column(SET_TRAJECTORIES), []
        write_star(first, [new if table is entry else table for table in self.optimisation_set])
        return [first, *motion]

    def _with_table(self, table: StarTable) -> "StarFile":
        return replace(self, tables=(*self.tables[: self.at], table, *self.tables[self.at + 1 :]))


def with_angles(table: StarTable, matrix: Float[np.ndarray, "row 3 3"]) -> StarTable:
    """The table with RELION's angles of these rotations; priors that it has become these angles.

    Parameters
    ----------
    table : StarTable
        Of particles.
    matrix : (row, 3, 3)
        From molecule to microscope.

    Returns
    -------
    StarTable
    """
    angles = torch.rad2deg(
        euler_from_matrix(torch.from_numpy(np.ascontiguousarray(matrix)))
    ).numpy()
    numbers = dict(zip(ANGLES, angles.T, strict=True))
    priors = {f"{name}Prior": values for name, values in numbers.items() if f"{name}Prior" in table}
    return with_numbers(table, numbers | priors)


def with_numbers(table: StarTable, numbers: dict[str, np.ndarray]) -> StarTable:
    """The table with other numbers in some columns.

    Parameters
    ----------
    table : StarTable
    numbers : dict of (row,) float
        By column.

    Returns
    -------
    StarTable
        With tokens of six digits behind the point.

    Examples
    --------
    >>> table = StarTable("particles", {"rlnOriginXAngst": ["2"]})
    >>> with_numbers(table, {"rlnOriginXAngst": np.array([1.5])}).columns
    {'rlnOriginXAngst': ['1.500000']}
    """
    for name, values in numbers.items():
        table = table.with_column(name, [f"{value:.{DIGITS}f}" for value in values.tolist()])
    return table


def _numbered_by_first_row(label: np.ndarray, first_row: np.ndarray, *, path: Path) -> np.ndarray:
    wrong = first_row[(first_row < 0) | (first_row >= len(label))]
    if len(wrong):
        raise InputError(
            f"{path}: {len(label)} rows, but the run has a particle that begins in "
            f"{list_rows(wrong[:1])}: it is not the file that was fitted"
        )
    of_first = label[first_row]
    if len(np.unique(of_first)) < len(of_first):
        raise InputError(
            f"{path}: two particles of the run are one by their {COLUMNS[0]}: it is not the file "
            "that was fitted"
        )
    return _numbered(label, np.arange(len(first_row)), of_first)


def _numbered(label: np.ndarray, number: np.ndarray, of_label: np.ndarray) -> np.ndarray:
    """Numbers for labels, -1 for those that have none."""
    table = np.full(label.max() + 1, -1, dtype=np.int64)
    table[of_label] = number
    return table[label]


def _image_labels(table: StarTable) -> np.ndarray:
    return number_by_first_row(
        ["{}@{}".format(*image_place(name)) for name in table.texts("rlnImageName")]
    )

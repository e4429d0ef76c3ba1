"""Particle files cut down to some particles and written again: every token, field and uid of a row that stays is kept.

Images are not needed and not looked for. What is written anew, and only when it is asked for, are classes, half-sets and poses.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, InputError
from ..io.cryosparc import UID, fields_of, read_cs_rows, rows_of_uid, write_cs
from ..io.star import StarTable, find_table, read_star, write_star
from .assembly import copies_in_both, half_sets, number_by_first_row, stated_halves
from .cryosparc import joined_fields, read_half
from .images import image_place, list_rows
from .new_poses import new_poses_of_cs, new_poses_of_star
from .reading import SET_PARTICLES, follow_optimisation_set, optimisation_entry
from .relion import HALF_SET, particle_table
from .relion import read_half as read_half_of_star
from .tilt_series import COLUMNS, are_tilt_series
from .tilt_stacks import are_tilt_stacks
from .tomograms import lists_of_numbers

SPLIT = "alignments3D/split"


@dataclass(frozen=True)
class ParticleFile:
    """A particle file and whose its rows are.

    Parameters
    ----------
    path : Path
    particle : (row,) int64
        Number of the particle that each row is of, from 0 by first row; -1: of none that can be used.
    image : (row,) int64
        Label of each row's image (or stack of images): equal where rows name the same.
    """

    path: Path
    particle: np.ndarray
    image: np.ndarray

    @property
    def n_particles(self) -> int:
        return int(self.particle.max(initial=-1)) + 1

    @property
    def first_row(self) -> np.ndarray:
        """(particle,) first row of each particle, from 0."""
        number, first = np.unique(self.particle, return_index=True)
        return first[number >= 0]

    @property
    def half(self) -> np.ndarray:
        """(particle,) half-set, 1 or 2: the file's, or by turns; copies of an image then are in one."""
        stated = self.stated_half
        return half_sets(self.image[self.first_row]) if stated is None else stated[self.first_row]

    @property
    def stated_half(self) -> np.ndarray | None:
        """(row,) half-set where the file says it, as the readers take it: one value for all rows is none."""
        raise NotImplementedError

    @property
    def half_column(self) -> str:
        """Where files of this kind say the half-set."""
        raise NotImplementedError

    @property
    def n_images(self) -> int:
        """Images that the particles show: fewer than particles where symmetry was expanded."""
        return len(np.unique(self.image[self.first_row]))

    @property
    def parted_images(self) -> int:
        """Images with copies in both half-sets, so that these are not independent."""
        return copies_in_both(self.image[self.first_row], self.half)

    def rows_of(self, particles) -> np.ndarray:
        """Rows of some particles, in the order of the file."""
        chosen = np.zeros(self.n_particles + 1, dtype=bool)      # the last is for rows of no particle: number -1
        chosen[np.asarray(particles, dtype=np.int64)] = True
        return np.flatnonzero(chosen[self.particle] & (self.particle >= 0))

    def of_particles(self, particles) -> "ParticleFile":
        """The file cut down to some particles, which keep their order and are numbered anew."""
        return self.of_rows(self.rows_of(particles))

    def of_rows(self, rows) -> "ParticleFile":
        """The file cut down to some rows, from 0; their particles are numbered anew."""
        return self._with_rows(rows, particle=number_by_first_row(self.particle[rows]), image=self.image[rows])

    def with_class(self, column: str, number) -> "ParticleFile":
        """The same file with a whole number from 1 for each particle, (particle,), in a column, which need not be there."""
        raise NotImplementedError

    def with_images(self, stack, section) -> "ParticleFile":
        """The same file with other images.

        Parameters
        ----------
        stack : (row,) str
            Path of each row's stack, as the file shall have it.
        section : (row,) int or None
            Number of the image in it, from 0; None: the stacks are those of whole rows.
        """
        raise NotImplementedError

    def following(self, rotation, shift) -> "ParticleFile":
        """The same file with poses of another frame, which follows a part of each particle (see :mod:`.new_poses`).

        Parameters
        ----------
        rotation, shift : (particle, 3, 3), (particle, 3)
            The part has gone from x to ``rotation x + shift``, A.
        """
        raise NotImplementedError

    def write(self, path) -> None:
        """Write the file, whole or not at all."""
        raise NotImplementedError

    @property
    def beside(self) -> str:
        """What the name of the file that belongs to this one ends in."""
        raise NotImplementedError

    @property
    def has_beside(self) -> bool:
        """Whether there is one: a passthrough file, or an optimisation set."""
        raise NotImplementedError

    def write_beside(self, path, particles) -> None:
        """Write the file that belongs to this one: rows of the same particles, in the same order; or the set that names it.

        Parameters
        ----------
        path : path
            To write.
        particles : path
            Where this file is.
        """
        raise NotImplementedError

    def _with_rows(self, rows, **numbers):
        raise NotImplementedError

    def _of_rows(self, values):
        """Values of particles at each row; rows of no particle take those of the last."""
        return np.asarray(values)[self.particle]


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
    """

    tables: tuple[StarTable, ...]
    at: int
    optimisation_set: tuple[StarTable, ...] = ()

    @property
    def table(self) -> StarTable:
        """The one that lists the particles."""
        return self.tables[self.at]

    half_column = HALF_SET

    @property
    def stated_half(self):
        return stated_halves(read_half_of_star(self.table))

    def with_class(self, column, number):
        return self._with_table(self.table.with_column(column, [str(int(value)) for value in self._of_rows(number)]))

    def with_images(self, stack, section):
        names = stack if section is None else [f"{number + 1:06d}@{name}" for name, number in zip(stack, section, strict=True)]
        return self._with_table(self.table.with_texts("rlnImageName", names))

    def following(self, rotation, shift):
        optics = find_table(self.tables, "optics")
        return self._with_table(new_poses_of_star(self.table, optics, self._of_rows(rotation), self._of_rows(shift)))

    beside = "_optimisation_set.star"

    @property
    def has_beside(self):
        return bool(self.optimisation_set)

    def write(self, path):
        write_star(path, self.tables)

    def write_beside(self, path, particles):
        entry = optimisation_entry(self.optimisation_set)
        write_star(path, [table.with_texts(SET_PARTICLES, [str(particles)]) if table is entry else table
                          for table in self.optimisation_set])

    def _with_rows(self, rows, **numbers):
        return replace(self._with_table(self.table.rows(rows.tolist())), **numbers)

    def _with_table(self, table):
        return replace(self, tables=(*self.tables[:self.at], table, *self.tables[self.at + 1:]))


@dataclass(frozen=True)
class CryosparcFile(ParticleFile):
    """A .cs file of cryoSPARC.

    Parameters
    ----------
    rows : structured array (row,)
    passthrough : structured array, optional
        The fields that a job did not change, rows joined by uid.
    """

    rows: np.ndarray
    passthrough: np.ndarray | None = None

    half_column = SPLIT

    @property
    def stated_half(self):
        return stated_halves(read_half(_fields(self.rows, self.passthrough, path=self.path)))

    def with_class(self, column, number):
        """As for STAR files, but the field has to be there, and counts from 0 as cryoSPARC does."""
        there = [name for name in self.rows.dtype.names if self.rows.dtype[name].kind in "iu" and not self.rows.dtype[name].shape]
        if column not in there:
            raise InputError(f"{self.path}: no field {column!r} of whole numbers to write to (there are {', '.join(there)})")
        return self._with_field(column, self._of_rows(number) - 1)

    def with_images(self, stack, section):
        """As for STAR files; fields of the passthrough file come into the file, which then has none."""
        fields = _fields(self.rows, self.passthrough, path=self.path)
        fields["blob/path"] = np.array([os.fsencode(name) for name in stack])
        fields["blob/idx"] = np.asarray(section, dtype=fields["blob/idx"].dtype)
        rows = np.empty(len(self.rows), dtype=[(name, column.dtype, column.shape[1:]) for name, column in fields.items()])
        for name, column in fields.items():
            rows[name] = column
        return replace(self, rows=rows, passthrough=None)

    def following(self, rotation, shift):
        for name, values in new_poses_of_cs(self.rows, self._of_rows(rotation), self._of_rows(shift), path=self.path).items():
            self = self._with_field(name, values)
        return self

    def write(self, path):
        write_cs(path, self.rows)

    beside = "_passthrough.cs"

    @property
    def has_beside(self):
        return self.passthrough is not None

    def write_beside(self, path, particles):
        write_cs(path, self.passthrough)

    def _with_rows(self, rows, **numbers):
        kept = self.rows[rows]
        through = None if self.passthrough is None else self.passthrough[rows_of_uid(
            self.passthrough, kept[UID], path=f"the passthrough file of {self.path}", joined_to=self.path)]
        return replace(self, rows=kept, passthrough=through, **numbers)

    def _with_field(self, name, values):
        rows = self.rows.copy()
        rows[name] = values
        return replace(self, rows=rows)


def open_particle_file(path, *, tilt_series: bool = False, first_row=None, passthrough=None) -> StarFile | CryosparcFile:
    """A particle file of any supported format, to be cut down. Images and tomograms are not looked for.

    Parameters
    ----------
    path : path
        A .star or .cs file, or an optimisation_set.star that names the particle file.
    tilt_series : bool
        Rows that share rlnGroupName are tilts of one particle, even where the CTF columns do not show it.
    first_row : (particle,) int, optional
        First row of each particle, from 0, where a run says it.
    passthrough : path, optional
        The passthrough file of a .cs file.

    Raises
    ------
    InputError
        The passthrough file is not that of these particles, or belongs to a STAR file, or the rows are not those of the run.
    FileFormatError, MissingFileError
        If a file is not what it has to be.
    """
    path = Path(path)
    if path.suffix == ".cs":
        return _open_cs(path, passthrough)
    if passthrough is not None:
        raise InputError(f"{path}: only .cs files have a passthrough file; leave {passthrough} out")
    found = read_star(path)
    tables, _ = follow_optimisation_set(found, None)
    table = particle_table(tables)
    label = _labels(table, tilt_series=tilt_series)
    particle = _numbers(table, label) if first_row is None else _numbers_by_first_row(label, first_row, path=table.path)
    return StarFile(table.path, particle, _image_labels(table), tables=tuple(tables), at=next(
        i for i, other in enumerate(tables) if other is table), optimisation_set=() if tables is found else tuple(found))


def read_optimisation_set(path) -> tuple[StarTable, ...]:
    """The tables of an optimisation set; none where the file is not there, or is no optimisation set."""
    path = Path(path)
    tables = read_star(path) if path.suffix == ".star" and path.is_file() else []
    return tuple(tables) if optimisation_entry(tables) is not None else ()


def _open_cs(path, passthrough):
    rows = read_cs_rows(path)
    if UID not in rows.dtype.names:
        raise FileFormatError(f"{path}: no field uid, so it is no particle file of cryoSPARC (it has "
                              f"{', '.join(rows.dtype.names[:5])})")
    if len(rows) == 0:
        raise InputError(f"{path}: no particles")
    through = None
    if passthrough is not None:
        through = read_cs_rows(passthrough)
    image = _image_labels_of_cs(_fields(rows, through, path=path, passthrough=passthrough), len(rows))
    return CryosparcFile(path, np.arange(len(rows)), image, rows=rows, passthrough=through)


def _fields(rows, through, *, path, passthrough="its passthrough file"):
    """The fields of rows, and those that only their passthrough file has."""
    return fields_of(rows) if through is None else joined_fields(rows, through, path=path, passthrough=passthrough)


def _labels(table, *, tilt_series):
    """A label for each row, equal where rows are tilts of one particle."""
    if are_tilt_stacks(table) or not (tilt_series or are_tilt_series(table)):
        return np.arange(len(table))
    if COLUMNS[0] not in table:
        raise InputError(f"{table.path}: no {COLUMNS[0]}, which says whose tilt each row is")
    return number_by_first_row(table.texts(COLUMNS[0]))


def _numbers(table, label):
    """Number of each row's particle, as the readers count: by the first row with an image that may be used; others are none."""
    if are_tilt_stacks(table) and "rlnTomoVisibleFrames" in table:
        usable = np.array([flags.any() for flags in lists_of_numbers(table, "rlnTomoVisibleFrames")])
    elif label.max() + 1 < len(label) and COLUMNS[1] in table:
        usable = table.numbers(COLUMNS[1]) != 0
    else:
        return label
    return _numbered(label, number_by_first_row(label[usable]), label[usable])


def _numbers_by_first_row(label, first_row, *, path):
    first_row = np.asarray(first_row, dtype=np.int64)
    wrong = first_row[(first_row < 0) | (first_row >= len(label))]
    if len(wrong):
        raise InputError(f"{path}: {len(label)} rows, but the run has a particle that begins in {list_rows(wrong[:1])}: it is "
                         "not the file that was fitted")
    of_first = label[first_row]
    if len(np.unique(of_first)) < len(of_first):
        raise InputError(f"{path}: two particles of the run are one by their {COLUMNS[0]}: it is not the file that was fitted")
    return _numbered(label, np.arange(len(first_row)), of_first)


def _numbered(label, number, of_label):
    """Numbers for labels, -1 for those that have none."""
    table = np.full(label.max() + 1, -1, dtype=np.int64)
    table[of_label] = number
    return table[label]


def _image_labels(table):
    return number_by_first_row(["{}@{}".format(*image_place(name)) for name in table.texts("rlnImageName")])


def _image_labels_of_cs(fields, count):
    if not {"blob/path", "blob/idx"} <= set(fields):
        return np.arange(count)
    path = np.unique(fields["blob/path"], return_inverse=True)[1].reshape(-1)
    place = np.stack([path, fields["blob/idx"].astype(np.int64)], 1)
    return np.unique(place, axis=0, return_inverse=True)[1].reshape(-1)

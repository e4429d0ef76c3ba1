"""Particle files cut down to some particles and written again: every token, field and uid of a row
that stays is kept.

Images are not needed and not looked for. What is written anew, and only when it is asked for, are
classes, half-sets and poses.
"""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import AtomdrgnError, FileFormatError, InputError
from ..io.cs import UID, fields_of, read_cs_rows, rows_of_uid, write_cs
from ..io.star import StarTable, find_table, read_star, write_star
from .formats.assembly import copies_in_both, half_sets, number_by_first_row, stated_halves
from .formats.cryosparc import joined_fields, read_half
from .formats.relion import HALF_SET, particle_table
from .formats.relion import read_half as read_half_of_star
from .formats.tilt_series import COLUMNS, read_tilt_rows
from .formats.tilt_stacks import are_tilt_stacks, visible_images
from .formats.tomograms import lists_of_numbers, read_tomograms
from .motion_files import PARTICLE_NAME, Trajectories
from .new_poses import new_poses_of_cs, new_poses_of_star
from .reading import SET_PARTICLES, follow_optimisation_set, optimisation_entry
from .stack.image_files import image_place, list_rows

# where an optimisation set names the motion of its particles
SET_TRAJECTORIES = "rlnTomoTrajectoriesFile"
VISIBLE = "rlnTomoVisibleFrames"
SPLIT = "alignments3D/split"


@dataclass(frozen=True)
class ParticleFile:
    """A particle file and whose its rows are.

    Parameters
    ----------
    path : Path
    particle : (row,) int64
        Number of the particle that each row is of, from 0 by first row; -1: of none that can be
        used.
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
        """(particle,) half-set, 1 or 2: the file's, or by turns; copies of an image then are in
        one.
        """
        stated = self.stated_half
        return half_sets(self.image[self.first_row]) if stated is None else stated[self.first_row]

    @property
    def stated_half(self) -> np.ndarray | None:
        """(row,) half-set where the file says it, as the readers take it: one value for all rows is
        none.
        """
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
        # the last is for rows of no particle: number -1
        chosen = np.zeros(self.n_particles + 1, dtype=bool)
        chosen[np.asarray(particles, dtype=np.int64)] = True
        return np.flatnonzero(chosen[self.particle] & (self.particle >= 0))

    def of_particles(self, particles) -> "ParticleFile":
        """The file cut down to some particles, which keep their order and are numbered anew."""
        return self.of_rows(self.rows_of(particles))

    def of_rows(self, rows) -> "ParticleFile":
        """The file cut down to some rows, from 0; their particles are numbered anew."""
        return self._with_rows(
            rows, particle=number_by_first_row(self.particle[rows]), image=self.image[rows]
        )

    def with_class(self, column: str, number) -> "ParticleFile":
        """The same file with a whole number from 1 for each particle, (particle,), in a column,
        which need not be there.
        """
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
        """The same file with poses of another frame, which follows a part of each particle (see
        :mod:`.new_poses`).

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

    @property
    def sources(self) -> list[Path]:
        """Files that it was read from, or is going to be."""
        return [self.path]

    def files_beside(self, path) -> list[Path]:
        """What is written beside this file if it is written to `path`: that file first, then what
        it names in turn.
        """
        return [path.with_name(f"{path.stem}{self.beside}")] if self.has_beside else []

    def write_beside(self, path) -> list[Path]:
        """Write the file that belongs to this one: rows of the same particles, in the same order;
        or the set that names it.

        Parameters
        ----------
        path : Path
            Where this file is.

        Returns
        -------
        list of Path
            What has been written: all of :meth:`files_beside`, or less with a warning.
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
    trajectories : Trajectories, optional
        The motion of these rows, where the optimisation set names it.
    """

    tables: tuple[StarTable, ...]
    at: int
    optimisation_set: tuple[StarTable, ...] = ()
    trajectories: Trajectories | None = None

    @property
    def table(self) -> StarTable:
        """The one that lists the particles."""
        return self.tables[self.at]

    half_column = HALF_SET

    @property
    def stated_half(self):
        return stated_halves(read_half_of_star(self.table))

    def with_class(self, column, number):
        return self._with_table(
            self.table.with_column(column, [str(int(value)) for value in self._of_rows(number)])
        )

    def with_images(self, stack, section):
        names = (
            stack
            if section is None
            else [f"{number + 1:06d}@{name}" for name, number in zip(stack, section, strict=True)]
        )
        return self._with_table(self.table.with_texts("rlnImageName", names))

    def following(self, rotation, shift):
        optics = find_table(self.tables, "optics")
        return self._with_table(
            new_poses_of_star(self.table, optics, self._of_rows(rotation), self._of_rows(shift))
        )

    def with_optimisation_set(self, tables, *, data_folder=None) -> "StarFile":
        """The same file as one that an optimisation set names; before any row is left out.

        Parameters
        ----------
        tables : sequence of StarTable
            Of the set.
        data_folder : path, optional
            Where files lie that the set names, if not where it says.
        """
        entry = optimisation_entry(tables)
        motion = (
            entry.texts(SET_TRAJECTORIES)[0]
            if entry is not None and SET_TRAJECTORIES in entry
            else ""
        )
        names = tuple(self.table.texts(PARTICLE_NAME)) if PARTICLE_NAME in self.table else None
        trajectories = (
            None
            if not motion
            else Trajectories(
                motion,
                entry.path,
                names,
                np.arange(len(self.table)),
                len(self.table),
                data_folder=data_folder,
            )
        )
        return replace(self, optimisation_set=tuple(tables), trajectories=trajectories)

    beside = "_optimisation_set.star"

    @property
    def has_beside(self):
        return bool(self.optimisation_set)

    def write(self, path):
        write_star(path, self.tables)

    @property
    def sources(self):
        of_set = (
            [] if not self.optimisation_set else [optimisation_entry(self.optimisation_set).path]
        )
        motion = None if self.trajectories is None else self.trajectories.find()
        return [self.path, *of_set, *([] if motion is None else [motion])]

    def files_beside(self, path):
        motion = [] if self.trajectories is None else [path.with_name(f"{path.stem}_motion.star")]
        return super().files_beside(path) + motion

    def write_beside(self, path):
        if not self.has_beside:
            return []
        first, *motion = self.files_beside(path)
        entry = optimisation_entry(self.optimisation_set)
        new = entry.with_texts(SET_PARTICLES, [str(path)])
        if motion:
            try:
                self.trajectories.write(motion[0])
                new = new.with_texts(SET_TRAJECTORIES, [str(motion[0])])
            except AtomdrgnError as error:
                warnings.warn(
                    f"{first} names no motion file, because that of {entry.path} could not be cut "
                    "down to the chosen "
                    f"particles: {error}",
                    stacklevel=2,
                )
                new, motion = new.without_column(SET_TRAJECTORIES), []
        write_star(first, [new if table is entry else table for table in self.optimisation_set])
        return [first, *motion]

    def _with_rows(self, rows, **numbers):
        trajectories = None if self.trajectories is None else self.trajectories.of_rows(rows)
        return replace(
            self._with_table(self.table.rows(rows.tolist())), trajectories=trajectories, **numbers
        )

    def _with_table(self, table):
        return replace(self, tables=(*self.tables[: self.at], table, *self.tables[self.at + 1 :]))


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
        there = [
            name
            for name in self.rows.dtype.names
            if self.rows.dtype[name].kind in "iu" and not self.rows.dtype[name].shape
        ]
        if column not in there:
            raise InputError(
                f"{self.path}: no field {column!r} of whole numbers to write to (there are "
                f"{', '.join(there)})"
            )
        return self._with_field(column, self._of_rows(number) - 1)

    def with_images(self, stack, section):
        """As for STAR files; fields of the passthrough file come into the file, which then has
        none.
        """
        fields = _fields(self.rows, self.passthrough, path=self.path)
        fields["blob/path"] = np.array([os.fsencode(name) for name in stack])
        fields["blob/idx"] = np.asarray(section, dtype=fields["blob/idx"].dtype)
        rows = np.empty(
            len(self.rows),
            dtype=[(name, column.dtype, column.shape[1:]) for name, column in fields.items()],
        )
        for name, column in fields.items():
            rows[name] = column
        return replace(self, rows=rows, passthrough=None)

    def following(self, rotation, shift):
        for name, values in new_poses_of_cs(
            self.rows, self._of_rows(rotation), self._of_rows(shift), path=self.path
        ).items():
            self = self._with_field(name, values)
        return self

    def write(self, path):
        write_cs(path, self.rows)

    beside = "_passthrough.cs"

    @property
    def has_beside(self):
        return self.passthrough is not None

    def write_beside(self, path):
        beside = self.files_beside(path)
        for one in beside:
            write_cs(one, self.passthrough)
        return beside

    def _with_rows(self, rows, **numbers):
        kept = self.rows[rows]
        through = (
            None
            if self.passthrough is None
            else self.passthrough[
                rows_of_uid(
                    self.passthrough,
                    kept[UID],
                    path=f"the passthrough file of {self.path}",
                    joined_to=self.path,
                )
            ]
        )
        return replace(self, rows=kept, passthrough=through, **numbers)

    def _with_field(self, name, values):
        rows = self.rows.copy()
        rows[name] = values
        return replace(self, rows=rows)


def open_particle_file(
    path,
    *,
    tilt_series: bool = False,
    first_row=None,
    passthrough=None,
    tomograms=None,
    data_folder=None,
) -> StarFile | CryosparcFile:
    """A particle file of any supported format, to be cut down. Images are not looked for.

    Particles are numbered as a fit numbers them. For 2D stacks that needs tomograms.star, which
    says what tilts are excluded: a particle that has no other is none. Where it is not known and
    could matter, a warning says so.

    Parameters
    ----------
    path : path
        A .star or .cs file, or an optimisation_set.star that names the particle file.
    tilt_series : bool
        Rows that share rlnGroupName are tilts of one particle, even where the CTF columns do not
        show it.
    first_row : (particle,) int, optional
        First row of each particle, from 0, where a run says it.
    passthrough : path, optional
        The passthrough file of a .cs file.
    tomograms : path, optional
        The tomograms.star of 2D stacks, if no optimisation set names it.
    data_folder : path, optional
        Where files lie that an optimisation set or tomograms.star names, if not where they say.

    Raises
    ------
    InputError
        The passthrough file is not that of these particles, or belongs to a STAR file, or the rows
        are not those of the run, or have nothing to do with tomograms.
    FileFormatError, MissingFileError
        If a file is not what it has to be.
    """
    path = Path(path)
    if path.suffix == ".cs":
        _refuse_tomograms(tomograms, path)
        return _open_cs(path, passthrough)
    if passthrough is not None:
        raise InputError(f"{path}: only .cs files have a passthrough file; leave {passthrough} out")
    found = read_star(path)
    tables, of_set = follow_optimisation_set(found, tomograms, data_folder=data_folder)
    table = particle_table(tables)
    if not are_tilt_stacks(table):
        _refuse_tomograms(tomograms, table.path)
    label = _labels(table, tilt_series=tilt_series)
    if first_row is None:
        particle = _numbers(table, label, tomograms=of_set, data_folder=data_folder)
    else:
        particle = _numbers_by_first_row(label, first_row, path=table.path)
    file = StarFile(
        table.path,
        particle,
        _image_labels(table),
        tables=tuple(tables),
        at=next(i for i, other in enumerate(tables) if other is table),
    )
    return file if tables is found else file.with_optimisation_set(found, data_folder=data_folder)


def _refuse_tomograms(tomograms, path):
    if tomograms is not None:
        raise InputError(
            f"{path}: has one row an image, so {tomograms} has nothing to say about it; leave "
            "tomograms out"
        )


def _open_cs(path, passthrough):
    rows = read_cs_rows(path)
    if UID not in rows.dtype.names:
        raise FileFormatError(
            f"{path}: no field uid, so it is no particle file of cryoSPARC (it has "
            f"{', '.join(rows.dtype.names[:5])})"
        )
    if len(rows) == 0:
        raise InputError(f"{path}: no particles")
    through = None
    if passthrough is not None:
        through = read_cs_rows(passthrough)
    image = _image_labels_of_cs(
        _fields(rows, through, path=path, passthrough=passthrough), len(rows)
    )
    return CryosparcFile(path, np.arange(len(rows)), image, rows=rows, passthrough=through)


def _fields(rows, through, *, path, passthrough="its passthrough file"):
    """The fields of rows, and those that only their passthrough file has."""
    return (
        fields_of(rows)
        if through is None
        else joined_fields(rows, through, path=path, passthrough=passthrough)
    )


def _labels(table, *, tilt_series):
    """A label for each row, equal where rows are tilts of one particle."""
    tilts = None if are_tilt_stacks(table) else read_tilt_rows(table, tilt_series=tilt_series)
    return np.arange(len(table)) if tilts is None else tilts.particle


def _numbers(table, label, *, tomograms, data_folder):
    """Number of each row's particle, as the readers count: by the first row with an image that may
    be used; others are none.
    """
    if are_tilt_stacks(table):
        usable = _stacks_in_use(table, tomograms, data_folder=data_folder)
    elif label.max() + 1 < len(label) and COLUMNS[1] in table:
        usable = table.numbers(COLUMNS[1]) != 0
    else:
        return label
    return _numbered(label, number_by_first_row(label[usable]), label[usable])


def _stacks_in_use(table, tomograms, *, data_folder):
    """(row,) whether a stack has an image that is neither hidden nor excluded, as far as that is
    known.
    """
    if tomograms is not None:
        names = table.texts("rlnTomoName")
        by_name = read_tomograms(tomograms, names, data_folder=data_folder)
        scale = [by_name[name].ctf["scale"] for name in names]
        count = [len(of_tilt) for of_tilt in scale]
        row, tilt, _ = visible_images(table, n_tilts=count, n_images=count)
        kept = np.concatenate(scale)[np.cumsum([0, *count])[row] + tilt] != 0
        return np.bincount(row[kept], minlength=len(table)) > 0
    if VISIBLE not in table:
        return np.ones(len(table), dtype=bool)
    shown = lists_of_numbers(table, VISIBLE)
    in_doubt = sum(flags.any() and not flags.all() for flags in shown)
    if in_doubt:
        warnings.warn(
            f"{table.path}: {in_doubt:,} particles have hidden tilts, and a fit leaves those out "
            "whose other tilts are "
            "all excluded, which tomograms.star says: without it (--tomograms) particles may be "
            "counted otherwise than "
            "by a fit",
            stacklevel=4,
        )
    return np.array([flags.any() for flags in shown])


def _numbers_by_first_row(label, first_row, *, path):
    first_row = np.asarray(first_row, dtype=np.int64)
    wrong = first_row[(first_row < 0) | (first_row >= len(label))]
    if len(wrong):
        raise InputError(
            f"{path}: {len(label)} rows, but the run has a particle that begins in "
            f"{list_rows(wrong[:1])}: it is "
            "not the file that was fitted"
        )
    of_first = label[first_row]
    if len(np.unique(of_first)) < len(of_first):
        raise InputError(
            f"{path}: two particles of the run are one by their {COLUMNS[0]}: it is not the file "
            "that was fitted"
        )
    return _numbered(label, np.arange(len(first_row)), of_first)


def _numbered(label, number, of_label):
    """Numbers for labels, -1 for those that have none."""
    table = np.full(label.max() + 1, -1, dtype=np.int64)
    table[of_label] = number
    return table[label]


def _image_labels(table):
    return number_by_first_row(
        ["{}@{}".format(*image_place(name)) for name in table.texts("rlnImageName")]
    )


def _image_labels_of_cs(fields, count):
    if not {"blob/path", "blob/idx"} <= set(fields):
        return np.arange(count)
    path = np.unique(fields["blob/path"], return_inverse=True)[1].reshape(-1)
    place = np.stack([path, fields["blob/idx"].astype(np.int64)], 1)
    return np.unique(place, axis=0, return_inverse=True)[1].reshape(-1)

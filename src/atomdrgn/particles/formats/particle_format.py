"""What a format of particle files has to hold: the types that each of them fills in."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...errors import InputError
from ...io.star import StarTable, read_star
from ..tables.assembly import ImageRows, copies_in_both, half_sets, number_by_first_row
from ..tables.optimisation_set import follow_optimisation_set
from ..tables.relion import particle_table


@dataclass(frozen=True)
class ReadingOptions:
    """What the user says of a particle file beside its name.

    Parameters
    ----------
    data_folder : path, optional
        Where the files lie that it names, if not where it says.
    invert_contrast : bool, optional
        Whether the images are dark on light.
    tilt_series : bool
        Rows that share rlnGroupName are tilts of one particle.
    tomograms : path, optional
        The tomograms.star of 2D stacks.
    allow_missing_ctf : bool
        Accept a file without CTF columns.
    passthrough : path, optional
        The passthrough file of a .cs file.
    """

    data_folder: str | Path | None = None
    invert_contrast: bool | None = None
    tilt_series: bool = False
    tomograms: str | Path | None = None
    allow_missing_ctf: bool = False
    passthrough: str | Path | None = None


@dataclass(frozen=True)
class ParticleSource:
    """A particle file as the user names it, whose format is looked for; it is read once at most.

    Parameters
    ----------
    path : Path
        The file.
    reading : ReadingOptions
        What the user says of it.
    given : tuple of StarTable, optional
        Its tables, where they are in memory and there is no file.
    """

    path: Path
    reading: ReadingOptions
    given: tuple[StarTable, ...] = ()

    @cached_property
    def named_tables(self) -> list[StarTable]:
        """Tables of the named file, where it is a STAR file; an optimisation set is not followed.

        Raises
        ------
        InputError
            A passthrough file is named, which STAR files do not have.
        FileFormatError, MissingFileError
            It is no STAR file, or is not there.
        """
        refuse_passthrough(self)
        return list(self.given) or read_star(self.path)

    @cached_property
    def _followed(self) -> tuple[list[StarTable], str | Path | None]:
        reading = self.reading
        return follow_optimisation_set(
            self.named_tables, reading.tomograms, data_folder=reading.data_folder
        )

    @property
    def tables(self) -> list[StarTable]:
        """Tables of the STAR file of particles, by way of an optimisation set where one is named.

        Raises
        ------
        InputError, FileFormatError, MissingFileError
            As for :attr:`named_tables`; or the set names no particle file.
        """
        return self._followed[0]

    @property
    def tomograms(self) -> str | Path | None:
        """The tomograms.star: the user's, or that of the optimisation set."""
        return self._followed[1]

    @property
    def optimisation_set(self) -> tuple[StarTable, ...]:
        """Tables of the optimisation set that names the particles; none where there is no set."""
        return () if self.tables is self.named_tables else tuple(self.named_tables)

    @cached_property
    def particles(self) -> StarTable:
        """The table of the STAR file that lists images or particles.

        Raises
        ------
        InputError, FileFormatError, MissingFileError
            As for :attr:`tables`; or there is no such table, or several.
        """
        return particle_table(self.tables)


class ParticleFormat(ABC):
    """A format of particle files: how a file of it is known, read, cut down and written again.

    Formats are asked in the order of :data:`~.format_table.FORMATS`, and the first that a file is
    of reads it. A new one is a file with a final subclass of this and one of :class:`ParticleFile`,
    and a line in that table, before the formats of STAR files: these take what no other does.

    A subclass holds

    ``name``
        what messages call files of the format;
    ``ending``
        what the names of its files end in, with the point;
    :meth:`matches`
        whether a file is of this format;
    :meth:`read`
        what the file says of each image, in our conventions, of which a particle stack is made;
    :meth:`open`
        the same file to be cut down and written again, token by token: a :class:`ParticleFile`,
        which holds the rows, classes, images and poses that can be written anew;
    :meth:`refuse_settings`
        what the user may not say of its files, where that differs from most formats.

    It has no state: one instance serves all files.
    """

    name: str
    ending: str

    @abstractmethod
    def matches(self, source: ParticleSource) -> bool:
        """Whether a file is of this format; those before it in the table have said no.

        Parameters
        ----------
        source : ParticleSource
            The file; ask its name first, and what stands in it only where the name tells nothing.
        """

    @abstractmethod
    def read(self, source: ParticleSource) -> ImageRows:
        """What the file says of each image; pixels are not read.

        Parameters
        ----------
        source : ParticleSource
            A file of this format.

        Raises
        ------
        InputError
            Something is missing without which the images cannot be used.
        FileFormatError, MissingFileError
            The file, or one that it names, is not what it has to be.
        """

    @abstractmethod
    def open(
        self, source: ParticleSource, *, first_row: Int[np.ndarray, "particle"] | None = None
    ) -> "ParticleFile":
        """The file to be cut down; images are not looked for.

        Parameters
        ----------
        source : ParticleSource
            A file of this format.
        first_row : (particle,) int, optional
            First row of each particle, from 0, where a run says it; a format without doubt about
            its particles leaves it aside.

        Raises
        ------
        InputError
            The file and `first_row`, or other files that belong to it, do not fit.
        FileFormatError, MissingFileError
            The file, or one that it names, is not what it has to be.
        """

    def refuse_settings(self, source: ParticleSource) -> None:
        """Refuse what the user says that means nothing here: by default tomograms and passthrough.

        Parameters
        ----------
        source : ParticleSource
            A file of this format.

        Raises
        ------
        InputError
            With what to leave out.
        """
        refuse_passthrough(source)
        refuse_tomograms(source.path, source.reading.tomograms)


def refuse_passthrough(source: ParticleSource) -> None:
    """Refuse a passthrough file, which .cs files alone have.

    Parameters
    ----------
    source : ParticleSource

    Raises
    ------
    InputError
        One is named.
    """
    if source.reading.passthrough is not None:
        raise InputError(
            f"{source.path}: only .cs files have a passthrough file; leave "
            f"{source.reading.passthrough} out"
        )


def refuse_tomograms(path: Path, tomograms: str | Path | None) -> None:
    """Refuse tomograms of particles that have one row an image.

    Parameters
    ----------
    path : Path
        The file that lists the particles.
    tomograms : path or None
        What the user, or an optimisation set, names.

    Raises
    ------
    InputError
        There are tomograms.
    """
    if tomograms is not None:
        raise InputError(
            f"{path}: has one row an image, so {tomograms} has nothing to say about it; leave "
            "tomograms out"
        )


@dataclass(frozen=True)
class ParticleFile(ABC):
    """A particle file that is open to be cut down, and whose its rows are.

    Nothing of it is changed: each method gives another file. What a format adds are its rows as
    they stand in the file, and the methods that are abstract here.

    Parameters
    ----------
    format : ParticleFormat
        What it is a file of.
    path : Path
        The file that lists the particles.
    particle : (row,) int64
        Number of the particle that each row is of, from 0 by first row; -1: of none that can be
        used.
    image : (row,) int64
        Label of each row's image (or stack of images): equal where rows name the same.
    """

    format: ParticleFormat
    path: Path
    particle: np.ndarray
    image: np.ndarray

    @property
    def n_particles(self) -> int:
        """How many particles the rows are of."""
        return int(self.particle.max(initial=-1)) + 1

    @property
    def first_row(self) -> Int[np.ndarray, "particle"]:
        """(particle,) first row of each particle, from 0."""
        number, first = np.unique(self.particle, return_index=True)
        return first[number >= 0]

    @property
    def half(self) -> Int[np.ndarray, "particle"]:
        """(particle,) half-set, 1 or 2: the file's, or by turns with copies of an image in one."""
        stated = self.stated_half
        return half_sets(self.image[self.first_row]) if stated is None else stated[self.first_row]

    @property
    def n_images(self) -> int:
        """Images that the particles show: fewer than particles where symmetry was expanded."""
        return len(np.unique(self.image[self.first_row]))

    @property
    def parted_images(self) -> int:
        """Images with copies in both half-sets, so that these are not independent."""
        return copies_in_both(self.image[self.first_row], self.half)

    def rows_of(self, particles: Iterable[int] | np.ndarray) -> Int[np.ndarray, "chosen"]:
        """Rows of some particles, in the order of the file.

        Parameters
        ----------
        particles : (chosen,) int
            Numbers of particles.
        """
        # the last is for rows of no particle: number -1
        chosen = np.zeros(self.n_particles + 1, dtype=bool)
        chosen[np.asarray(particles, dtype=np.int64)] = True
        return np.flatnonzero(chosen[self.particle] & (self.particle >= 0))

    def of_particles(self, particles: Iterable[int] | np.ndarray) -> "ParticleFile":
        """The file cut down to some particles, which keep their order and are numbered anew.

        Parameters
        ----------
        particles : (chosen,) int
            Numbers of particles.
        """
        return self.of_rows(self.rows_of(particles))

    @abstractmethod
    def of_rows(self, rows: Int[np.ndarray, "chosen"]) -> "ParticleFile":
        """The file cut down to some rows, every token as it was; particles are numbered anew.

        Parameters
        ----------
        rows : (chosen,) int
            From 0. What :meth:`numbers_of` says of them goes into the new file.
        """

    def numbers_of(self, rows: Int[np.ndarray, "chosen"]) -> dict[str, Any]:
        """Particle and image of some rows, the particles numbered anew: fields of the cut file.

        Parameters
        ----------
        rows : (chosen,) int
            From 0.
        """
        return {
            "particle": number_by_first_row(self.particle[rows]),
            "image": self.image[rows],
        }

    def at_rows(self, values: Any) -> np.ndarray:
        """Values of particles at each row; rows of no particle take those of the last.

        Parameters
        ----------
        values : (particle, ...)
            One for each particle.
        """
        return np.asarray(values)[self.particle]

    @property
    @abstractmethod
    def stated_half(self) -> Int[np.ndarray, "row"] | None:
        """(row,) half-set where the file says it; one value for all rows parts nothing: None."""

    @property
    @abstractmethod
    def half_column(self) -> str:
        """Where files of this format say the half-set."""

    @abstractmethod
    def with_class(self, column: str, number: Any) -> "ParticleFile":
        """The same file with a class for each particle in a column.

        Parameters
        ----------
        column : str
            Its name; whether it has to be there depends on the format.
        number : (particle,) int
            Whole numbers from 1.

        Raises
        ------
        InputError
            There is no such column, and the format allows no new one.
        """

    @abstractmethod
    def with_images(self, stack: Sequence[str], section: Sequence[int] | None) -> "ParticleFile":
        """The same file with other images.

        Parameters
        ----------
        stack : (row,) str
            Path of each row's stack, as the file shall have it.
        section : (row,) int or None
            Number of the image in it, from 0; None: the stacks are those of whole rows.
        """

    @abstractmethod
    def following(
        self, rotation: Float[np.ndarray, "particle 3 3"], shift: Float[np.ndarray, "particle 3"]
    ) -> "ParticleFile":
        """The same file with poses of another frame, which follows a part of each particle.

        Where the part has gone from x to G x + d, the images show it as they would show the part
        at rest under the pose with rotation A G and shift s + (A d), whose A and s are the file's:
        x goes to A (G x + d) + s. They are written in the file's own convention.

        Parameters
        ----------
        rotation, shift : (particle, 3, 3), (particle, 3)
            The part has gone from x to ``rotation x + shift``, A.

        Raises
        ------
        InputError
            The file holds no poses that could be written anew.
        """

    @abstractmethod
    def write(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Parameters
        ----------
        path : path
            Where; it ends in the ending of the format.
        """

    @property
    def sources(self) -> list[Path]:
        """Files that it was read from, or is going to be."""
        return [self.path]

    def files_beside(self, path: Path) -> list[Path]:
        """What is written beside this file: the file that belongs to it, then what that names.

        Parameters
        ----------
        path : Path
            Where this file is written.
        """
        return []

    def write_beside(self, path: Path) -> list[Path]:
        """Write the file that belongs to this one: rows of the same particles, or a set of files.

        Parameters
        ----------
        path : Path
            Where this file is.

        Returns
        -------
        list of Path
            What has been written: all of :meth:`files_beside`, or less with a warning.
        """
        return []

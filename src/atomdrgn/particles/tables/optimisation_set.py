"""Optimisation sets of RELION 4 and 5: STAR files that name particles and what belongs to them."""

from collections.abc import Iterable
from pathlib import Path

from ...errors import FileFormatError
from ...io.star import StarTable, read_star
from ..stack.image_files import find_file

# where a set names its particle file, its tomograms, and the motion of its particles
SET_PARTICLES = "rlnTomoParticlesFile"
SET_TOMOGRAMS = "rlnTomoTomogramsFile"
SET_TRAJECTORIES = "rlnTomoTrajectoriesFile"


def optimisation_entry(tables: Iterable[StarTable]) -> StarTable | None:
    """The table that names the files; None where tables are no optimisation set's.

    Parameters
    ----------
    tables : iterable of StarTable
        Of one file.

    Returns
    -------
    StarTable or None
        Of one row.

    Raises
    ------
    FileFormatError
        If it names no file, or several: which is meant is not known.

    Examples
    --------
    >>> entry = optimisation_entry([StarTable("", {SET_PARTICLES: ["particles.star"]})])
    >>> entry.texts(SET_PARTICLES)
    ['particles.star']
    >>> optimisation_entry([StarTable("particles", {"rlnImageName": ["1@stack.mrcs"]})])
    """
    entry = next((table for table in tables if SET_PARTICLES in table), None)
    if entry is not None and len(entry) != 1:
        raise FileFormatError(
            f"{entry.path}: an optimisation set of {len(entry)} rows, expected one: leave the row "
            f"of the particles that are meant ({SET_PARTICLES})"
        )
    return entry


def follow_optimisation_set(
    tables: list[StarTable], tomograms: str | Path | None, *, data_folder: str | Path | None = None
) -> tuple[list[StarTable], str | Path | None]:
    """Tables of the particle file, and the tomograms, that an optimisation set names.

    Parameters
    ----------
    tables : list of StarTable
        Of the file that the user names; they are handed back where that is no set.
    tomograms : path or None
        What the user names; it goes before what the set names.
    data_folder : path, optional
        Where files lie that the set names, if not where it says.

    Returns
    -------
    list of StarTable
        Of the particle file.
    path or None
        The tomograms.star.

    Raises
    ------
    MissingFileError, FileFormatError
        If the particle file that it names is missing, or no STAR file.
    """
    entry = optimisation_entry(tables)
    if entry is None:
        return tables, tomograms
    particles = find_file(entry.texts(SET_PARTICLES)[0], beside=entry.path, data_folder=data_folder)
    if tomograms is None:
        tomograms = tomograms_of_set(entry, data_folder=data_folder)
    return read_star(particles), tomograms


def tomograms_of_set(entry: StarTable, *, data_folder: str | Path | None = None) -> Path | None:
    """The tomograms.star that an optimisation set names; None where it names none.

    Parameters
    ----------
    entry : StarTable
        Of the set (:func:`optimisation_entry`).
    data_folder : path, optional
        Where files lie that the set names, if not where it says.

    Returns
    -------
    Path or None

    Raises
    ------
    MissingFileError
        If it is missing.
    """
    if SET_TOMOGRAMS not in entry:
        return None
    return find_file(entry.texts(SET_TOMOGRAMS)[0], beside=entry.path, data_folder=data_folder)

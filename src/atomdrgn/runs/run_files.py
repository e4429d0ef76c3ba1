"""Where the files are now that a run was fitted to.

They are found as the run names them, wherever it is opened from and whatever has moved.
"""

import warnings
from pathlib import Path

from ..errors import FileFormatError, MissingFileError
from ..io.star import StarTable, read_star
from ..particles.tables.optimisation_set import optimisation_entry, tomograms_of_set
from .run import AnyRun


def find_file_of_run(
    run: AnyRun, name: str | None, *, what: str, option: str, with_file: Path | None = None
) -> Path:
    """A file that a run was fitted with: where it was, or beside the run.

    Parameters
    ----------
    run : AnyRun
    name : str or None
        As the run has it.
    what, option : str
        What it is, and the option that names it, for messages.
    with_file : Path, optional
        Another of the run's files, with which it may have moved.

    Raises
    ------
    FileFormatError
        The run does not say which file it was.
    MissingFileError
        It is in no place where it could be; the message says by which option to name it.
    """
    if name is None:
        raise FileFormatError(
            f"{run.folder}: run.json does not say which {what} was fitted; name it with {option}"
        )
    places = _places(run, name) + (
        [] if with_file is None else [with_file.with_name(Path(name).name)]
    )
    for place in places:
        if place.is_file():
            return place
    raise MissingFileError(
        f"{run.folder}: the {what} that was fitted, {name}, is not there (tried "
        f"{', '.join(map(str, places))}); say where it is with {option}"
    )


def data_folder_of_run(run: AnyRun) -> Path | None:
    """The folder that the run was told images lie in, where it is now.

    It is None where it was not told one.
    """
    name = _reading(run).get("data_folder")
    if name is None:
        return None
    return next((place for place in _places(run, name) if place.is_dir()), Path(name))


def passthrough_of_run(run: AnyRun, particle_file: Path | None = None) -> Path | None:
    """The passthrough file that a run was fitted with; None where there was none.

    Parameters
    ----------
    run : AnyRun
    particle_file : Path, optional
        Where the particle file is, with which it may have moved.

    Raises
    ------
    MissingFileError
        It is not there.
    """
    name = _reading(run).get("passthrough")
    if name is None:
        return None
    return find_file_of_run(
        run, name, what="passthrough file", option="--passthrough", with_file=particle_file
    )


def optimisation_set_of_run(run: AnyRun) -> tuple[StarTable, ...]:
    """The tables of the optimisation set that a run's particles were named by.

    It is None where there was no set.

    Where there was one and it is not there any more, or is no set now, a warning says so.
    """
    named = set_named_in(run.settings)
    if named is None:
        return ()
    try:
        path = find_file_of_run(run, named, what="optimisation set", option="--particles-file")
    except MissingFileError as error:
        warnings.warn(f"{error}; without it none is written beside the subset", stacklevel=2)
        return ()
    tables = read_star(path)
    if optimisation_entry(tables) is None:
        warnings.warn(
            f"{path}: no optimisation set any more, as it was for the fit; none is written beside "
            "the subset",
            stacklevel=2,
        )
        return ()
    return tuple(tables)


def tomograms_of_run(run: AnyRun, *, data_folder: Path | str | None = None) -> Path | None:
    """The tomograms.star that a run was fitted with, by its own name or by an optimisation set's.

    It is None where there was none.

    Parameters
    ----------
    run : AnyRun
    data_folder : path, optional
        Where files lie that the set names; by default where the run was told.

    Raises
    ------
    MissingFileError
        It, or the set, is not there.
    """
    named, of_set = _reading(run).get("tomograms"), set_named_in(run.settings)
    if named is not None:
        return find_file_of_run(run, named, what="tomograms.star", option="--tomograms")
    if of_set is None:
        return None
    path = find_file_of_run(
        run, of_set, what="optimisation set", option="--tomograms, which it names"
    )
    entry = optimisation_entry(read_star(path))
    return (
        None
        if entry is None
        else tomograms_of_set(entry, data_folder=data_folder or data_folder_of_run(run))
    )


def set_named_in(settings: dict) -> str | None:
    """The optimisation set that particles were named by, as run.json has it.

    It is None where the file that lists them was named.
    """
    named, listed = (
        settings.get("reading", {}).get("particles"),
        settings.get("input", {}).get("particles"),
    )
    if (
        named is None
        or Path(named).suffix != ".star"
        or (listed is not None and Path(named) == Path(listed))
    ):
        return None
    return named


def _reading(run: AnyRun) -> dict:
    return run.settings.get("reading", {})


def _places(run: AnyRun, name: str) -> list[Path]:
    """Where a file may be that a run names.

    It is looked for from the folder of the command, from here, and beside the run.
    """
    beside = run.folder.absolute().parent
    began = [Path(run.settings["folder"]) / name] if "folder" in run.settings else []
    return list(dict.fromkeys([*began, Path(name), beside / name, beside / Path(name).name]))

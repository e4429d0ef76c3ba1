"""The way back: chosen particles as a particle file of the program that the particles came from."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from ...errors import FileFormatError, InputError, OutputExistsError
from ...io.numbers import WHOLE, read_numbers
from ...io.text import read_text
from ...particles.data_frames import frames_of
from ...particles.formats.particle_format import ParticleFile
from ...particles.formats.star_file import StarFile
from ...particles.stack.stack import ParticleStack
from ...particles.subsets import open_particle_file
from ...runs.run import AnyRun, Run
from ...runs.run_files import (
    data_folder_of_run,
    find_file_of_run,
    optimisation_set_of_run,
    passthrough_of_run,
)
from ...runs.run_folder import hash_of_file
from ...runs.volume_run import VolumeRun
from .conditions import where as rows_where
from .following_frame import motion_of_part

if TYPE_CHECKING:
    import pandas

STATE = "state"  # the column of a run's table that classes come from, if no other is named
# of tables that are not parted by commas, as spreadsheets write them
SEPARATORS = {"semicolons": ";", "tabs": "\t"}


@dataclass(frozen=True)
class Selected:
    """What has been written.

    Parameters
    ----------
    path : Path
        The particle file.
    beside : Path or None
        The passthrough file that belongs to it, or the optimisation set that names it.
    motion : Path or None
        The motion file that the optimisation set names.
    particles, rows : int
        How many it holds.
    of : int
        Particles that there were to choose from.
    images : int
        Different images that the particles show (stacks of them, for tilt series); fewer than
        particles where symmetry was expanded.
    parted_images : int
        Images whose copies are in both half-sets.
    """

    path: Path
    beside: Path | None
    motion: Path | None
    particles: int
    rows: int
    of: int
    images: int
    parted_images: int

    def frames(self, *, numbers: bool = True) -> "dict[str, pandas.DataFrame | dict]":
        """The blocks of a .star file that was written, as `starfile.write` takes them.

        Parameters
        ----------
        numbers : bool
            Columns of numbers are numbers. Without it every token is a text, as it stands in the
            file.

        Raises
        ------
        InputError
            A .cs file was written, which has no blocks.
        MissingPackageError
            pandas is not installed.
        """
        if self.path.suffix.lower() != ".star":
            raise InputError(f"{self.path}: DataFrames are those of a .star file")
        return frames_of(self.path, numbers=numbers)


def select_particles(  # noqa: PLR0913 - a keyword a setting of the command
    source: AnyRun | str | Path,
    out: Path | str,
    *,
    where: str | None = None,
    particles: Iterable[int] | np.ndarray | None = None,
    tables: Sequence[Path | str] = (),
    class_column: str | None = None,
    classes: str = STATE,
    half_sets: bool = False,
    follow: str | None = None,
    particle_file: Path | str | None = None,
    passthrough: Path | str | None = None,
    tilt_series: bool = False,
    tomograms: Path | str | None = None,
    data_folder: Path | str | None = None,
    overwrite: bool = False,
) -> Selected:
    """Write the rows of chosen particles as a particle file, every token, field and uid as it was.

    Images are not touched.

    Parameters
    ----------
    source : Run, VolumeRun or path
        A run, or a particle file (.star or .cs) by itself, of which `particles` are chosen.
    out : path
        The file to write: .star or .cs, as the particle file is. Beside a .cs file with a
        passthrough file ``out`` with ``_passthrough`` behind its stem is written, beside a particle
        file of an optimisation set one of these with ``_optimisation_set``, and the motion of the
        particles with ``_motion`` where the set names a file of it.
    where : str, optional
        A condition on the columns of the run's particles.csv and of `tables` (see
        :func:`.conditions.where`).
    particles : iterable of int, or (particle,) bool, optional
        Numbers of particles, from 0 by their first row, or a mask, such as
        ``run.particles["motion1"] > 2``. With `where`, those that are in both are
        taken.
    tables : sequence of path
        More tables of the run's particles: CSV files with a column ``particle``.
    class_column : str, optional
        Column that classes are written to, such as rlnClassNumber.
    classes : str
        Column of particles.csv or `tables` that the classes come from, whole numbers.
    half_sets : bool
        Write the half-sets (rlnRandomSubset) where the particle file has none: copies of an image
        are in one.
    follow : str, optional
        Write poses that follow this part of each particle (see
        :func:`.following_frame.motion_of_part`), for refinement of that part; not of a run of
        volumes, which has no parts.
    particle_file : path, optional
        Where the particle file of the run is, if it is not found.
    passthrough : path, optional
        The passthrough file of a .cs file.
    tilt_series : bool
        Without a run: rows that share rlnGroupName are tilts of one particle, even where the file
        does not show it.
    tomograms : path, optional
        Without a run: the tomograms.star of 2D stacks, if no optimisation set names it. Excluded
        tilts stand there, and with them which particles are counted.
    data_folder : path, optional
        Where files lie that an optimisation set or tomograms.star names, if not where they say; by
        default where the run was told.
    overwrite : bool
        Replace files that are there.

    Raises
    ------
    InputError
        Nothing is chosen, a condition, particle, column or part that does not exist, or a particle
        file that was not fitted.
    MissingFileError, FileFormatError
        A file is not there, or not what it has to be.
    OutputExistsError
        A file that would be written is there.

    Examples
    --------
    >>> selected = select_particles("particles.star", "some.star", particles=[0, 1, 5])
    >>> selected.particles, selected.of
    (3, 8)
    """
    run = source if isinstance(source, AnyRun) else None
    if not any((where, particles is not None, class_column, half_sets, follow)):
        raise InputError(
            "nothing to do: say which particles with a condition (--where) or a list "
            "(--particles), or what to write (--class-column, --half-sets, --follow)"
        )
    if follow is not None and isinstance(run, VolumeRun):
        raise InputError(
            f"--follow {follow}: {run.folder} is a run of volumes, in which no part moves; a run "
            "of `atomdrgn fit` has parts"
        )
    columns: dict[str, np.ndarray] = {}
    listed: ParticleFile
    if run is None:
        assert not isinstance(source, AnyRun)
        _refuse_without_run(
            {
                "--where": where,
                "--table": list(tables),
                "--class-column": class_column,
                "--follow": follow,
                "--particles-file": particle_file,
            }
        )
        listed = open_particle_file(
            source,
            tilt_series=tilt_series,
            passthrough=passthrough,
            tomograms=tomograms,
            data_folder=data_folder,
        )
        count = listed.n_particles
    else:
        passthrough = passthrough or passthrough_of_run(run)
        listed = particle_file_of_run(
            run, particle_file, passthrough=passthrough, data_folder=data_folder
        )
        columns, count = _columns(run, tables), len(run.table["particle"])
    out = _checked_out(
        Path(out), listed, sources=(*listed.sources, passthrough), overwrite=overwrite
    )
    chosen = _chosen(where, particles, columns, count)
    subset = listed.of_particles(chosen)
    if class_column is not None:
        subset = subset.with_class(class_column, _whole_numbers(columns, classes)[chosen])
    if half_sets:
        subset = _with_half_sets_of(listed, subset, chosen)
    if follow is not None:
        assert isinstance(run, Run)  # others are refused above
        subset = subset.following(*motion_of_part(run, follow, chosen))
    return _write(subset, out, of=count)


def particles_where(
    run: AnyRun,
    condition: str,
    particles: ParticleStack,
    *,
    listed: Int[np.ndarray, "listed"] | None = None,
    tables: Sequence[Path | str] = (),
) -> Int[np.ndarray, "chosen"]:
    """Numbers of the particles of a run that meet a condition.

    They are those of the particle stack that it was fitted to.

    Parameters
    ----------
    run : AnyRun
        Fitted to the very file that the stack was read from.
    condition : str
        On the columns of the run's particles.csv and of `tables` (see :func:`.conditions.where`).
    particles : ParticleStack
    listed : (listed,) int, optional
        Only these are chosen from.
    tables : sequence of path
        More tables of the run's particles: CSV files with a column ``particle``.

    Raises
    ------
    InputError
        Another particle file, or one whose rows were put together otherwise; a condition that no
        particle meets, or that names a column that does not exist; a number that is no particle's.
    FileFormatError
        The run is of another version, or a table is none.
    """
    _require_fitted_file(run, particles.source, say="in place of it")
    first_row = np.full(particles.n_particles, np.iinfo(np.int64).max)
    np.minimum.at(first_row, particles.particle.numpy(), particles.row.numpy())
    if not np.array_equal(first_row, _first_row(run)):
        raise InputError(
            f"{particles.source}: {len(first_row):,} particles, and {run.folder} has "
            f"{len(_first_row(run)):,} that do not begin in the same rows: read the file as it was "
            "read for the run (--tilt-series, --tomograms)"
        )
    return _chosen(condition, listed, _columns(run, tables), len(first_row))


def read_particle_list(path: Path | str) -> list[int]:
    """Numbers of particles from a text file, one a line.

    Empty lines and what follows a # are left out.

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        A line is no number of a particle, or there is none.
    """
    return read_numbers(path, whole=True).tolist()


def _refuse_without_run(options: Mapping[str, object]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise InputError(
            f"{' and '.join(given)} need{'s' if len(given) == 1 else ''} a run: name the folder "
            "that `atomdrgn fit` or `atomdrgn volume` wrote in place of the particle file"
        )


def particle_file_of_run(
    run: AnyRun,
    particle_file: Path | str | None = None,
    *,
    passthrough: Path | str | None = None,
    data_folder: Path | str | None = None,
) -> ParticleFile:
    """The particle file of a run, which has to be the very one that was fitted.

    Parameters
    ----------
    run : AnyRun
    particle_file : path, optional
        Where it is, if it is not found.
    passthrough : path, optional
        The passthrough file of a .cs file; left out, the one that the run was fitted with.
    data_folder : path, optional
        Where files lie that an optimisation set names; left out, where the run was told.

    Raises
    ------
    MissingFileError, FileFormatError
        It is not there, or not what it has to be.
    InputError
        Another file was fitted.
    """
    said = run.settings.get("input", {})
    path = Path(
        particle_file
        or find_file_of_run(
            run, said.get("particles"), what="particle file", option="--particles-file"
        )
    )
    first_row = _first_row(run)
    data_folder = data_folder or data_folder_of_run(run)
    listed = open_particle_file(
        path,
        tilt_series=bool(run.settings.get("reading", {}).get("tilt_series")),
        passthrough=passthrough or passthrough_of_run(run),
        first_row=first_row,
        data_folder=data_folder,
    )
    if isinstance(listed, StarFile) and not listed.optimisation_set:
        listed = listed.with_optimisation_set(optimisation_set_of_run(run), data_folder=data_folder)
    _require_fitted_file(run, listed.path, say="with --particles-file")
    if listed.n_particles != len(run.table["particle"]):
        raise InputError(
            f"{listed.path}: {listed.n_particles:,} particles, but the run has "
            f"{len(run.table['particle']):,}: it is not the file that was fitted; name that file "
            "with --particles-file"
        )
    return listed


def _require_fitted_file(run: AnyRun, path: Path, *, say: str) -> None:
    if run.settings.get("input", {}).get("particles_sha256") not in (None, hash_of_file(path)):
        raise InputError(
            f"{path}: is not the file that was fitted (its content is another, and particles are "
            f"known by their rows); name that file {say}"
        )


def _first_row(run: AnyRun) -> np.ndarray:
    if "first_row" not in run.table:
        raise FileFormatError(
            f"{run.folder}: particles.csv has no column first_row: it is of another version; fit "
            "again"
        )
    return run.table["first_row"].astype(np.int64)


def _columns(run: AnyRun, tables: Iterable[Path | str]) -> dict[str, np.ndarray]:
    """Columns of particles.csv and of further tables, in the order of the particles.

    They hold no number where a table lacks a particle.
    """
    columns = dict(run.table)
    for path in tables:
        table = _read_table(Path(path))
        number = table.pop("particle").astype(np.int64)
        if (
            len(np.unique(number)) < len(number)
            or ((number < 0) | (number >= len(run.table["particle"]))).any()
        ):
            raise InputError(
                f"{path}: its column particle repeats a number, or has one that the run has not"
            )
        for name, values in table.items():
            if name in columns:
                raise InputError(
                    f"{path}: a column {name} is in particles.csv, or in another table, already; "
                    "rename it"
                )
            columns[name] = np.full(len(run.table["particle"]), np.nan)
            columns[name][number] = values
    return columns


def _read_table(path: Path) -> dict[str, np.ndarray]:
    text = read_text(path, expected="a CSV file with a column particle")
    # comments before the names are left out, as they are in lists of particles
    lines = dropwhile(
        lambda row: row[0].lstrip().startswith("#"), filter(None, csv.reader(StringIO(text)))
    )
    header, *rows = [*lines] or [[]]
    header = [name.strip() for name in header]
    if "particle" not in header:
        other = next(
            (
                f"; its columns seem to be parted by {name}: save it with commas"
                for name, mark in SEPARATORS.items()
                if len(header) == 1
                and "particle" in [cell.strip(' "') for cell in header[0].split(mark)]
            ),
            "",
        )
        raise FileFormatError(
            f"{path}: expected a CSV file with a column particle, and its first line is "
            f"{','.join(header)[:80]!r}{other}"
        )
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise FileFormatError(
                f"{path}: row {number} has {len(row)} cells, but there are {len(header)} columns; "
                "a number with a decimal comma is two cells: write a point"
            )
    values = {name: [row[i].strip() for row in rows] for i, name in enumerate(header)}
    for number, cell in enumerate(values["particle"], 1):
        if not WHOLE.fullmatch(cell.removesuffix(".0")):
            raise FileFormatError(
                f"{path}: row {number} of particle is {cell!r}; expected a whole number from 0"
            )
    return {name: _numbers(column) for name, column in values.items() if _is_of_numbers(column)}


def _numbers(column: Sequence[str]) -> np.ndarray:
    return np.array([float(cell) if cell else np.nan for cell in column])


def _is_of_numbers(column: Sequence[str]) -> bool:
    try:
        _numbers(column)
    except ValueError:
        return False
    return True


def _checked_out(
    out: Path, listed: ParticleFile, *, sources: tuple[str | Path | None, ...], overwrite: bool
) -> Path:
    ending = listed.format.ending
    if out.suffix != ending:
        raise InputError(
            f"{out}: particles of {listed.path} are written to a {ending} file, with every column "
            f"as it is there; give a name that ends in {ending}"
        )
    for path in (out, *listed.files_beside(out)):
        if path.exists() and any(
            source is not None and path.samefile(source) for source in sources
        ):
            raise OutputExistsError(
                f"{path} is the file that particles are chosen from, or belongs to it: choose "
                "another name"
            )
        if path.exists() and not overwrite:
            raise OutputExistsError(
                f"{path} is there: choose another name, or --overwrite to replace it"
            )
    return out


def _chosen(
    where: str | None,
    particles: Iterable[int] | np.ndarray | None,
    columns: Mapping[str, np.ndarray],
    count: int,
) -> np.ndarray:
    chosen = np.ones(count, dtype=bool)
    if particles is not None:
        listed = np.zeros(count, dtype=bool)
        numbers = _numbers_of(particles, count)
        outside = numbers[(numbers < 0) | (numbers >= count)]
        if len(outside):
            raise InputError(
                f"there is no particle {outside[0]}: the particles are 0 to {count - 1}"
            )
        listed[numbers] = True
        chosen &= listed
    if where is not None:
        chosen &= rows_where(where, columns)
    if not chosen.any():
        said = " and ".join(
            ([f"{where!r}"] if where else []) + (["the list"] if particles is not None else [])
        )
        raise InputError(f"no particle is chosen by {said}: nothing is written")
    return np.flatnonzero(chosen)


def _numbers_of(particles: Iterable[int] | np.ndarray, count: int) -> np.ndarray:
    """Numbers of particles, each once, from numbers or from a mask of all particles."""
    given = np.asarray(particles if isinstance(particles, np.ndarray) else list(particles))
    if given.dtype != bool:
        return np.unique(given.astype(np.int64))
    if len(given) != count:
        raise InputError(f"a mask of {len(given)} particles, and there are {count}")
    return np.flatnonzero(given)


def _whole_numbers(columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in columns:
        raise InputError(
            f"there is no column {name} to take classes from; there are {', '.join(columns)}"
        )
    values = columns[name]
    if not (np.isfinite(values) & (values == np.round(values))).all():
        raise InputError(
            f"column {name} holds other than whole numbers, so it cannot be written as classes"
        )
    return values.astype(np.int64)


def _with_half_sets_of(
    listed: ParticleFile, subset: ParticleFile, chosen: np.ndarray
) -> ParticleFile:
    """The half-sets that the whole file has, not those that the subset alone would be given."""
    return (
        subset
        if subset.stated_half is not None
        else subset.with_class(subset.half_column, listed.half[chosen])
    )


def _write(subset: ParticleFile, out: Path, *, of: int) -> Selected:
    beside, motion, *_ = [*subset.write_beside(out), None, None]
    subset.write(out)
    return Selected(
        out,
        beside,
        motion,
        subset.n_particles,
        len(subset.particle),
        of,
        subset.n_images,
        subset.parted_images,
    )

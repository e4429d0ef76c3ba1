"""The structures of a run, as files for other programs."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
from torch import Tensor

from ...errors import InputError, OutputExistsError
from ...io.folder_lock import locked_folder
from ...io.structure_writing.pdb_series import LARGEST_B, PdbSeries
from ...io.trajectories import write_trajectory
from ...io.whole_file import synced_together, whole_file
from ...parallel import in_order
from ...reporting import Reporter
from ...runs.run import RESIDUAL_MAPS, Run
from ...structure.atoms import Structure, why_no_pdb, write_pdb_or_mmcif, write_structure
from ...structure.bonds.bonding import find_bonds
from ...structure.bonds.relaxation import Relaxation
from ...structure.density_map import write_density_map
from ...structure.placement import place
from .geometry import FILES as GEOMETRY_FILES
from .geometry import Geometry, GeometryReport, write_geometry

ENDINGS = {"pdb": "pdb", "mmcif": "cif", "bcif": "bcif"}
TRAJECTORIES = ("dcd", "xtc")
RESIDUAL = RESIDUAL_MAPS[0]
REFERENCES = ("reference.pdb", "reference.cif")
MOST_SERIES = 32
COORDINATES_AT_A_TIME = 2**22  # 16 MiB in single precision


@dataclass(frozen=True)
class Exported:
    """What has been written.

    Parameters
    ----------
    path : Path
        The folder of single files, or the trajectory.
    reference : Path or None
        The structure that names the atoms of a trajectory.
    count : int
        Structures.
    geometry : GeometryReport or None
        Their geometry, where it was measured.
    """

    path: Path
    reference: Path | None
    count: int
    geometry: GeometryReport | None = None


def export(  # noqa: PLR0913 - a keyword a setting of the command
    run: Run,
    out: Path | str,
    *,
    format: str = "dcd",
    particles: Iterable[int] | np.ndarray | None = None,
    origin: Sequence[float | int] | np.ndarray | None = None,
    samples: int | None = None,
    relax: bool = False,
    geometry: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Exported:
    """Write the structures of particles, all atoms, in constant memory.

    Every file appears complete or not at all.

    Until all are there the folder is marked as unfinished
    (:func:`~atomdrgn.io.folder_lock.locked_folder`).

    Parameters
    ----------
    run : Run
        An opened run.
    out : path
        A folder, made where it is missing.
    format : {"dcd", "xtc", "pdb", "mmcif", "bcif"}
        A trajectory, ``out/ensemble.dcd``, whose frames are the particles in the order of their
        numbers, with ``out/reference.pdb`` (reference.cif where a PDB file cannot hold the
        structure); or one file a particle, named by its number: ``out/000000.pdb``, in which atoms
        that are absent from the particle have an occupancy of 0.
    particles : iterable of int, optional
        Numbers of particles; all by default.
    origin : (3,), optional
        Where the origin of the poses stands in the frame that is wanted, A, such as the centre of
        the consensus map's box; by default the frame is that of the poses. With it the residual
        density of the run, where there is one, is written in that frame: ``out/residual.mrc``.
    samples : int, optional
        Write so many draws from each particle's posterior, particle after particle; single files
        are then named ``out/000000_00.pdb``. Where no motion is supported all are the same
        structure, as many as wanted. By default its mean conformation is written.
    relax : bool
        Put bonds, angles and contacts right that motions have strained
        (:class:`~atomdrgn.structure.bonds.relaxation.Relaxation`), on as many threads as torch has,
        and measure the geometry.
    geometry : bool
        Measure the geometry of every structure beside the base model's: ``out/geometry.csv`` and
        ``out/geometry.json``.
    overwrite : bool
        Replace files that are there.
    reporter : Reporter, optional
        Is told how far it is.

    Raises
    ------
    InputError
        Another format, one that cannot hold the structure, a particle that the run does not have,
        or more draws than it has.
    OutputExistsError
        A file that would be written is there, or structures of another format, or draws beside
        mean conformations, whether or not files may be replaced.
    MissingPackageError
        Structures are to be relaxed, and OpenMM is not installed.

    Examples
    --------
    >>> from atomdrgn import open_run
    >>> exported = export(open_run("models/adk"), "structures", format="pdb", particles=[0, 7])
    >>> sorted(path.name for path in exported.path.iterdir())
    ['000000.pdb', '000007.pdb']
    """
    out, reporter = Path(out), reporter or Reporter()
    chosen = _checked(particles, run.n_particles)
    if format not in (*ENDINGS, *TRAJECTORIES):
        raise InputError(f"format {format!r}: choose one of {', '.join([*ENDINGS, *TRAJECTORIES])}")
    at = np.zeros(3, dtype=np.float32) if origin is None else np.asarray(origin, dtype=np.float32)
    require_held(place(run.structure, -at), [format])
    if samples is not None:
        _require_draws(run, samples)
    numbers, names = _structures(chosen, samples)
    trajectory = out / f"ensemble.{format}" if format in TRAJECTORIES else None
    files = (
        [trajectory.name, *REFERENCES]
        if trajectory
        else [f"{name}.{ENDINGS[format]}" for name in names]
    )
    measured = relax or geometry
    residual = None if origin is None else run.residual
    others = [*(GEOMETRY_FILES if measured else ()), *((RESIDUAL,) if residual else ())]
    with locked_folder(out, reporter) as unfinished, synced_together():
        refuse_what_is_there(out, [*files, *others], overwrite=overwrite)
        _refuse_another_kind(out, files)
        settled = _Settled(run, relax=relax) if measured else None
        if samples is not None and not _moves(run):
            reporter.say(
                "no motion is supported: all draws of all particles are the same structure"
            )
        unfinished.begin()
        if overwrite:  # what belongs to structures that are replaced
            for name in (*GEOMETRY_FILES, RESIDUAL, *(REFERENCES if trajectory else ())):
                (out / name).unlink(missing_ok=True)
        if residual is not None:
            x, y, z = at.tolist()
            write_density_map(out / RESIDUAL, replace(residual, centre=(x, y, z)))
        conformations = _conformations(run, chosen, samples)
        shapes: Iterator[np.ndarray] = (
            (conformation.numpy() for conformation in conformations)
            if settled is None
            else settled(zip(numbers, conformations, strict=True))
        )
        title = "relaxing and writing structures" if relax else "writing structures"
        frames = (shape + at for shape in reporter.watch(shapes, title, len(names)))
        reference, count = None, len(names)
        if trajectory:
            reference = write_reference(place(run.structure, -at), out, reporter=reporter)
            count = write_trajectory(trajectory, frames)
        else:
            errors = (
                None
                if samples is not None or "half_error" not in run.model
                else _b_factors(run, chosen)
            )
            _write_files(
                run, numbers, [out / name for name in files], frames, errors, format=format
            )
        report = None
        if settled is not None:
            report = GeometryReport(settled.geometry.base, names, settled.rows)
            write_geometry(report, out)
    return Exported(trajectory or out, reference, count, report)


class _Settled:
    """Conformations as they are written.

    They are relaxed where that is wanted; `rows` has what was measured of each.
    """

    def __init__(self, run: Run, *, relax: bool) -> None:
        bonding = find_bonds(run.structure)
        self.run, self.geometry = run, Geometry(run.structure, bonding)
        self.rows: list[dict[str, float]] = []
        self.relaxation = Relaxation(run.structure, bonding) if relax else None

    def __call__(self, numbered: Iterable[tuple[int, Tensor]]) -> Iterator[np.ndarray]:
        for position, row in in_order(self._settle, numbered):
            self.rows.append(row)
            yield position

    def _settle(self, numbered: tuple[int, Tensor]) -> tuple[np.ndarray, dict[str, float]]:
        number, position = numbered
        occupancy = self.run.occupancy([number])
        present = None if occupancy is None else occupancy[0].numpy() > 0
        moved = {}
        if self.relaxation is not None:
            fitted, position = position, self.relaxation(position, present)
            moved["moved"] = float((position - fitted).square().sum(1).mean().sqrt())
        return position.numpy(), {**self.geometry(position.numpy(), present), **moved}


def write_reference(structure: Structure, out: Path, *, reporter: Reporter) -> Path:
    """Path of the structure that names the atoms of a trajectory.

    It is out/reference.pdb, or .cif where PDB cannot hold it.
    """
    return write_pdb_or_mmcif(structure, out / "reference", say=reporter.say)


def require_held(structure: Structure, formats: Iterable[str]) -> None:
    """Refuse PDB files of a structure where programs would not agree on what they hold.

    Raises
    ------
    InputError
        "pdb" is among the formats, and they would not.
    """
    reason = why_no_pdb(structure) if "pdb" in formats else None
    if reason:
        raise InputError(
            f"{structure.name}: {reason}: choose --format mmcif, which all programs read alike"
        )


def refuse_what_is_there(out: Path, names: Iterable[str], *, overwrite: bool) -> None:
    """Refuse a folder that holds one of these files, unless it may be replaced.

    Raises
    ------
    OutputExistsError
        One is there, or `out` is a file.
    """
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out} is a file: choose a folder with another name")
    present = set(os.listdir(out)) if out.exists() else set()
    there = [name for name in names if name in present]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OutputExistsError(
            f"{out} holds {there[0]}{more}: choose another folder, or --overwrite to replace them"
        )


def _refuse_another_kind(out: Path, names: Iterable[str]) -> None:
    """Refuse a folder with an export of another kind: nobody could tell what belongs together."""
    wanted = {_kind(name) for name in names} - {None}
    for name in sorted(os.listdir(out)) if out.exists() else ():
        if _kind(name) is not None and _kind(name) not in wanted:
            raise OutputExistsError(
                f"{out} holds {name}, of an export of another kind: choose another folder"
            )


def _kind(name: str) -> str | None:
    """What export a file is of, by its name; None where it is of any or of none."""
    single = re.fullmatch(r"\d{6,}(_\d\d)?\.(\w+)", name)
    if single and single[2] in ENDINGS.values():
        return ("draws " if single[1] else "means ") + single[2]
    return name if name in [f"ensemble.{format}" for format in TRAJECTORIES] else None


def _checked(particles: Iterable[int] | np.ndarray | None, n_particles: int) -> list[int]:
    if particles is None:
        return list(range(n_particles))
    chosen = sorted({int(number) for number in particles})
    outside = [number for number in chosen if not 0 <= number < n_particles]
    if outside:
        raise InputError(
            f"there is no particle {outside[0]}: the run has the particles 0 to {n_particles - 1}"
        )
    if not chosen:
        raise InputError("no particle is chosen; leave the list out to have all")
    return chosen


def _structures(particles: list[int], samples: int | None) -> tuple[list[int], list[str]]:
    """The particle and the name of each structure: of each particle one, or so many draws."""
    numbers = [number for number in particles for _ in range(samples or 1)]
    names = (
        [f"{number:06d}_{draw:02d}" for number in particles for draw in range(samples)]
        if samples is not None
        else [f"{number:06d}" for number in particles]
    )
    return numbers, names


def _conformations(run: Run, particles: list[int], samples: int | None) -> Iterator[Tensor]:
    batch = max(1, COORDINATES_AT_A_TIME // (3 * len(run.structure) * (samples or 1)))
    for first in range(0, len(particles), batch):
        some = particles[first : first + batch]
        if samples is not None:
            draws = run.draws[some]
            # evenly spread draws: some of them, evenly
            number = np.linspace(0, draws.shape[1] - 1, samples).round().astype(int)
            yield from run.atoms_of(
                run.motion_at(draws[:, number].reshape(len(some) * samples, draws.shape[2]))
            ).cpu()
        else:
            yield from run.atoms(some).cpu()


def _require_draws(run: Run, samples: int) -> None:
    there = run.draws.shape[1]
    if samples < 1 and not _moves(run):
        raise InputError(f"{samples} samples: ask for 1 or more")
    if _moves(run) and not 1 <= samples <= there:
        raise InputError(
            f"{samples} samples: the run holds {there} draws from each particle's posterior; ask "
            f"for 1 to {there}"
        )


def _moves(run: Run) -> bool:
    return run.draws.shape[2] > 0


def _b_factors(run: Run, particles: list[int]) -> Iterator[np.ndarray]:
    batch = max(1, COORDINATES_AT_A_TIME // (3 * len(run.structure)))
    for first in range(0, len(particles), batch):
        yield from run.b_factors(particles[first : first + batch]).numpy()


def _write_files(
    run: Run,
    particles: list[int],
    paths: list[Path],
    frames: Iterable[np.ndarray],
    errors: Iterable[np.ndarray] | None,
    *,
    format: str,
) -> None:
    series: dict[bytes | None, PdbSeries] = {}  # one for each choice of parts that are present
    b_factors: Iterable[np.ndarray | None] = repeat(None) if errors is None else errors
    for number, path, position, b_factor in zip(particles, paths, frames, b_factors, strict=False):
        present = run.occupancy([number])
        which = None if present is None else present.numpy().tobytes()
        b_factor = None if b_factor is None else np.minimum(b_factor, LARGEST_B)
        if which in series and np.isfinite(position).all() and _fits(position):
            with whole_file(path) as temporary:
                temporary.write_bytes(series[which].with_coordinates(position, b_factor))
            continue
        occupancy = None if present is None else present[0].numpy() * run.structure.occupancy
        write_structure(
            run.structure,
            path,
            position=position,
            occupancy=occupancy,
            b_factor=b_factor,
            format=format,
        )
        if format == "pdb" and len(series) < MOST_SERIES:
            series[which] = PdbSeries(path.read_bytes())


def _fits(position: np.ndarray) -> bool:
    return bool(-999.9994 < position.min() and position.max() < 9999.9994)

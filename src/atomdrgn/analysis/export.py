"""The structures of a run, as files for other programs."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError, OutputExistsError
from ..io.pdb_series import LARGEST_B, PdbSeries
from ..io.trajectories import write_trajectory
from ..io.whole_file import whole_file
from ..reporting import Reporter
from ..run import Run
from ..structure.atoms import Structure, write_structure
from ..structure.placement import place

ENDINGS = {"pdb": "pdb", "mmcif": "cif", "bcif": "bcif"}
TRAJECTORIES = ("dcd", "xtc")
MOST_SERIES = 32
COORDINATES_AT_A_TIME = 2**22      # 16 MiB in single precision


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
    """

    path: Path
    reference: Path | None
    count: int


def export(run: Run, out, *, format: str = "dcd", particles: Iterable[int] | None = None, origin=None, samples: int = 0,
           overwrite: bool = False, reporter: Reporter | None = None) -> Exported:
    """Write the structures of particles, all atoms, in constant memory. Every file appears complete or not at all.

    Parameters
    ----------
    run : Run
        An opened run.
    out : path
        A folder, made where it is missing.
    format : {"dcd", "xtc", "pdb", "mmcif", "bcif"}
        A trajectory, ``out/ensemble.dcd``, whose frames are the particles in the order of their numbers, with
        ``out/reference.pdb`` (reference.cif where a PDB file cannot hold the structure); or one file a particle, named by its
        number: ``out/000000.pdb``, in which atoms that are absent from the particle have an occupancy of 0.
    particles : iterable of int, optional
        Numbers of particles; all by default.
    origin : (3,), optional
        Where the origin of the poses stands in the frame that is wanted, A, such as the centre of the consensus map's box;
        by default the frame is that of the poses.
    samples : int
        Write so many draws from each particle's posterior, particle after particle, in place of its mean conformation; single
        files are then named ``out/000000_00.pdb``.
    overwrite : bool
        Replace files that are there.
    reporter : Reporter, optional
        Is told how far it is.

    Raises
    ------
    InputError
        Another format, or a particle that the run does not have.
    OutputExistsError
        A file that would be written is there.
    """
    out, reporter = Path(out), reporter or Reporter()
    chosen = _checked(particles, run.n_particles)
    if format not in (*ENDINGS, *TRAJECTORIES):
        raise InputError(f"format {format!r}: choose one of {', '.join([*ENDINGS, *TRAJECTORIES])}")
    origin = np.zeros(3) if origin is None else np.asarray(origin, dtype=float)
    if samples:
        _require_draws(run, samples)
    frames = reporter.watch(_conformations(run, chosen, origin, samples), "writing structures", len(chosen) * max(1, samples))
    if format in TRAJECTORIES:
        trajectory = out / f"ensemble.{format}"
        _prepare(out, [trajectory.name, "reference.pdb", "reference.cif"], overwrite=overwrite)
        reference = write_reference(place(run.structure, -origin), out, reporter=reporter)
        return Exported(trajectory, reference, write_trajectory(trajectory, frames))
    ending = ENDINGS[format]
    names = [f"{number:06d}_{draw:02d}.{ending}" for number in chosen for draw in range(samples)] if samples else [
        f"{number:06d}.{ending}" for number in chosen]
    _prepare(out, names, overwrite=overwrite)
    errors = None if samples or "half_error" not in run.model else _b_factors(run, chosen)
    of_file = [number for number in chosen for _ in range(max(1, samples))]
    _write_files(run, of_file, [out / name for name in names], frames, errors, format=format)
    return Exported(out, None, len(names))


def write_reference(structure: Structure, out: Path, *, reporter: Reporter) -> Path:
    """Path of the structure that names the atoms of a trajectory: out/reference.pdb, or .cif where PDB cannot hold it."""
    try:
        write_structure(structure, out / "reference.pdb")
        return out / "reference.pdb"
    except InputError as error:
        reporter.say(f"{error}: reference.cif is written")
    write_structure(structure, out / "reference.cif")
    return out / "reference.cif"


def _checked(particles, n_particles):
    if particles is None:
        return list(range(n_particles))
    chosen = sorted({int(number) for number in particles})
    outside = [number for number in chosen if not 0 <= number < n_particles]
    if outside:
        raise InputError(f"there is no particle {outside[0]}: the run has the particles 0 to {n_particles - 1}")
    if not chosen:
        raise InputError("no particle is chosen; leave the list out to have all")
    return chosen


def _prepare(out, names, *, overwrite):
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out} is a file: choose a folder with another name")
    present = set(os.listdir(out)) if out.exists() else set()
    there = [name for name in names if name in present]
    if there and not overwrite:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise OutputExistsError(f"{out} holds {there[0]}{more}: choose another folder, or --overwrite to replace them")
    out.mkdir(parents=True, exist_ok=True)


def _conformations(run, particles, origin, samples) -> Iterator[np.ndarray]:
    batch = max(1, COORDINATES_AT_A_TIME // (3 * len(run.structure) * max(1, samples)))
    for first in range(0, len(particles), batch):
        some = particles[first:first + batch]
        if samples:
            draws = run.draws[some]
            # evenly spread draws: some of them, evenly
            number = np.linspace(0, draws.shape[1] - 1, samples).round().astype(int)
            atoms = run.atoms_of(run.motion_at(draws[:, number].reshape(-1, draws.shape[2])))
        else:
            atoms = run.atoms(some)
        yield from (atoms + torch.as_tensor(origin, dtype=torch.float32)).cpu().numpy()


def _require_draws(run, samples):
    there = run.draws.shape[1]
    if not 1 <= samples <= there:
        raise InputError(f"{samples} samples: the run holds {there} draws from each particle's posterior; ask for 1 to {there}")


def _b_factors(run, particles) -> Iterator[np.ndarray]:
    batch = max(1, COORDINATES_AT_A_TIME // (3 * len(run.structure)))
    for first in range(0, len(particles), batch):
        yield from run.b_factors(particles[first:first + batch]).numpy()


def _write_files(run, particles, paths, frames, errors, *, format):
    series = {}      # one for each choice of parts that are present
    for number, path, position, b_factor in zip(particles, paths, frames, errors or repeat(None), strict=False):
        present = run.occupancy([number])
        which = None if present is None else present.numpy().tobytes()
        b_factor = None if b_factor is None else np.minimum(b_factor, LARGEST_B)
        if which in series and np.isfinite(position).all() and _fits(position):
            with whole_file(path) as temporary:
                temporary.write_bytes(series[which].with_coordinates(position, b_factor))
            continue
        occupancy = None if present is None else present[0].numpy() * run.structure.occupancy
        write_structure(run.structure, path, position=position, occupancy=occupancy, b_factor=b_factor, format=format)
        if format == "pdb" and len(series) < MOST_SERIES:
            series[which] = PdbSeries(path.read_bytes())


def _fits(position):
    return -999.9994 < position.min() and position.max() < 9999.9994

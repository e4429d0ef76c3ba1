"""Particles put back into their tomogram, each with its own structure: ``atomdrgn place``."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...errors import FileFormatError, InputError
from ...io.mrc import read_header
from ...particles.formats.star_file import StarFile
from ...particles.tomogram_positions import Places, read_places
from ...reporting import Reporter
from ...runs.run import Run, write_table
from ...runs.run_files import data_folder_of_run, tomograms_of_run
from ...structure.atoms import write_structure
from ...structure.placement import grid_of_map
from ..structure_files.chimerax import write_placed_script
from ..structure_files.colours import on_ramp
from ..structure_files.conformation_files import write_models
from ..structure_files.export import refuse_what_is_there
from .selecting import particle_file_of_run

MODELS, SCRIPT, TABLE = "particles.cif", "show.cxc", "places.csv"
MOTION = "motion1"
STILL = "#7d7c78"  # where no motion is supported
ENDS = (2, 98)  # percentiles of the whole run that the ends of the colours stand for
SAME_SIZE = 0.05  # share by which a map's edges may differ from the tomogram's


@dataclass(frozen=True)
class Placed:
    """What has been written.

    Parameters
    ----------
    folder : Path
    script : Path
        Opens and colours the structures.
    tomogram : str
    particles : (particle,) int64
        Numbers of the particles, in the order of the models.
    of : int
        Particles of this tomogram that the run has.
    ends : (float, float) or None
        What the first and the last colour stand for, along motion 1; None where no motion is
        supported.
    """

    folder: Path
    script: Path
    tomogram: str
    particles: np.ndarray
    of: int
    ends: tuple[float, float] | None


def place_in_tomogram(  # noqa: PLR0913 - a keyword a setting of the command
    run: Run,
    out: Path | str,
    *,
    tomogram: str | None = None,
    particles: Iterable[int] | np.ndarray | None = None,
    tomogram_map: Path | str | None = None,
    separate: bool = False,
    particle_file: Path | str | None = None,
    tomograms: Path | str | None = None,
    data_folder: Path | str | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Placed:
    """Write the structures of a tomogram's particles where they are.

    Each has its own conformation, turned and shifted.

    Frame: A from the tomogram's corner, or, with `tomogram_map`, in the frame of that map. A pose
    takes the model to the camera; the part of it that is not the tilt takes the model to the
    tomogram. Hand: structures have the hand of the model, and z is counted from the face that the
    file has last (z -> size - z), because by our convention the files' own product of matrices is
    the mirror image (:mod:`~atomdrgn.particles.tomogram_positions`); the script turns the map over
    likewise. Whether that is the hand of the sample the images tell by the model's fit (``atomdrgn
    inspect --against``), not the tomogram.

    Parameters
    ----------
    run : Run
        Of particles whose rows are 2D stacks of tilts, with coordinates.
    out : path
        A folder, made where it is missing: ``particles.cif``, a model a particle; ``places.csv``,
        which model is which particle and where it is; ``show.cxc``, a ChimeraX script that opens
        and colours them by motion 1.
    tomogram : str, optional
        Its name (rlnTomoName); not needed where there is one.
    particles : iterable of int, optional
        Numbers of particles: those of them that are in the tomogram. All by default.
    tomogram_map : path, optional
        The reconstructed tomogram, which the script opens too.
    separate : bool
        Write a file a particle in place of ``particles.cif``, named by its number:
        ``out/000000.cif``.
    particle_file, tomograms : path, optional
        The run's particle file and its tomograms.star, if they have moved.
    data_folder : path, optional
        Where files lie that an optimisation set or tomograms.star names; by default where the run
        was told.
    overwrite : bool
        Replace files that are there.
    reporter : Reporter, optional
        Is told how far it is.

    Raises
    ------
    InputError
        The particles have no places in a tomogram, there is no such tomogram or there are several,
        or none of the particles is in it.
    MissingFileError, FileFormatError
        A file is not there, or not what it has to be.
    OutputExistsError
        A file that would be written is there.

    Examples
    --------
    >>> from atomdrgn import open_run
    >>> placed = place_in_tomogram(open_run("tilts/particles.fit"), "placed", separate=True)
    >>> placed.tomogram, placed.particles
    ('ts.tomostar', array([0, 1, 2]))
    """
    out, reporter = Path(out), reporter or Reporter()
    listed = particle_file_of_run(run, particle_file)
    if not isinstance(listed, StarFile):
        raise InputError(
            f"{listed.path}: a file of {listed.format.name} does not say where a particle stands "
            "in a tomogram"
        )
    data_folder = data_folder or data_folder_of_run(run)
    tomograms = tomograms or tomograms_of_run(run, data_folder=data_folder)
    if tomograms is None:
        raise FileFormatError(
            f"{run.folder}: run.json does not say which tomograms.star was fitted; name it with "
            "--tomograms"
        )
    places = read_places(
        list(listed.tables), tomogram=tomogram, data_folder=data_folder, tomograms=tomograms
    )
    number, at = _numbers(listed, places, particles)
    names = [f"{one:06d}.cif" for one in number] if separate else [MODELS]
    refuse_what_is_there(out, [*names, SCRIPT, TABLE], overwrite=overwrite)
    position = places.position[at] + (
        0 if tomogram_map is None else _shift_to_map(tomogram_map, places)
    )
    out.mkdir(parents=True, exist_ok=True)
    _write(
        run,
        out,
        number,
        places.rotation[at],
        position,
        separate=separate,
        names=names,
        reporter=reporter,
    )
    along = run.table.get(MOTION)  # None where nothing moves
    ends = None if along is None else _ends(along)
    colours = (
        [STILL] * len(number)
        if along is None or ends is None
        else [on_ramp(share) for share in _share(along[number], ends)]
    )
    table = {
        "model": range(1, len(number) + 1),
        "particle": number.tolist(),
        **{axis: np.round(position[:, i], 3).tolist() for i, axis in enumerate("xyz")},
        "z_of_file": np.round(places.size[2] - places.position[at, 2], 3).tolist(),
    }
    write_table(out / TABLE, table | ({} if along is None else {MOTION: along[number].tolist()}))
    write_placed_script(
        out / SCRIPT,
        files=names,
        colours=colours,
        tomogram=places.tomogram,
        ends=ends,
        tomogram_map=None if tomogram_map is None else Path(tomogram_map).absolute(),
    )
    return Placed(
        out, out / SCRIPT, places.tomogram, number, len(_numbers(listed, places, None)[0]), ends
    )


def _numbers(
    listed: StarFile, places: Places, particles: Iterable[int] | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the particles, and which of the places are theirs."""
    at = np.flatnonzero(listed.particle[places.row] >= 0)
    number = listed.particle[places.row[at]]
    if particles is None:
        return number, at
    wanted = np.array(sorted({int(one) for one in particles}), dtype=np.int64)
    outside = wanted[(wanted < 0) | (wanted >= listed.n_particles)]
    if len(outside):
        raise InputError(
            f"there is no particle {outside[0]}: the run has the particles 0 to "
            f"{listed.n_particles - 1}"
        )
    chosen = np.isin(number, wanted)
    if not chosen.any():
        raise InputError(
            f"none of the particles that were named is in tomogram {places.tomogram}, which has "
            f"{len(number):,} (the first is {number[0]})"
        )
    return number[chosen], at[chosen]


def _shift_to_map(path: Path | str, places: Places) -> np.ndarray:
    """From coordinates in the tomogram to the frame of its map, turned over in z, A (3,)."""
    first, count, voxel = grid_of_map(read_header(path))
    edges = count * voxel
    if (np.abs(edges / places.size - 1) > SAME_SIZE).any():
        of_map, of_tomogram = (
            " x ".join(f"{edge:.0f}" for edge in size) for size in (edges, places.size)
        )
        warnings.warn(
            f"{path} is {of_map} A and tomogram {places.tomogram} {of_tomogram} A: particles may "
            "stand beside their density",
            stacklevel=3,
        )
    # turning over takes the first section to the last, which is a voxel short of the edge
    return first + np.array([0, 0, edges[2] - voxel[2] - places.size[2]])


def _write(
    run: Run,
    out: Path,
    number: np.ndarray,
    rotation: np.ndarray,
    position: np.ndarray,
    *,
    separate: bool,
    names: list[str],
    reporter: Reporter,
) -> None:
    moved, present = [], []
    poses = zip(number.tolist(), rotation, position, strict=True)
    for particle, turn, shift in reporter.watch(poses, "placing particles", len(number)):
        xyz = run.atoms([particle])[0].double().numpy() @ turn.T + shift
        occupancy = run.occupancy([particle])
        occupancy = None if occupancy is None else occupancy[0].numpy() * run.structure.occupancy
        if separate:
            write_structure(
                run.structure,
                out / f"{particle:06d}.cif",
                position=torch.from_numpy(xyz),
                occupancy=occupancy,
            )
        else:
            moved.append(xyz)
            if occupancy is not None:  # of all particles, or of none
                present.append(occupancy)
    if not separate:
        write_models(
            run.structure,
            np.stack(moved),
            out / names[0],
            occupancy=np.stack(present) if present else None,
        )


def _ends(along: np.ndarray) -> tuple[float, float]:
    """Where colours begin and end along a motion, of the places of all particles, (particle,)."""
    low, high = np.percentile(along, ENDS)
    return float(low), float(high)


def _share(along: np.ndarray, ends: tuple[float, float]) -> list[float]:
    low, high = ends
    return ((along - low) / (high - low or 1.0)).tolist()

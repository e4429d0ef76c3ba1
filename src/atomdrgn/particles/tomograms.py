"""Geometry and CTF of the tilts of each tomogram: tomograms.star of RELION 4 and 5 and of WarpTools."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, InputError
from ..io.star import StarTable, find_table, read_star
from .images import find_file
from .optics import MICROSCOPE

PROJECTION = ("rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ")
TILT_ANGLES = ("rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot")
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")


@dataclass(frozen=True)
class Tomogram:
    """One tomogram and its tilts, in the order of its table, which is that of the images in a stack.

    Parameters
    ----------
    projection : (tilt, 3, 3) float64
        Rotation from the tomogram to the camera, as the file means it (see :mod:`.tilt_stacks` for its hand).
    ctf : dict of (tilt,) float64
        ``defocus_u``, ``defocus_v`` (A, at the tomogram's centre), ``defocus_angle``, ``phase_shift`` (rad), ``scale``, and
        ``dose`` before the tilt (e/A^2).
    hand : float
        1 or -1: whether depth along the camera's z adds to the defocus or takes from it.
    pixel_size : float
        Of the tilt series before binning, A.
    size : (3,) float64
        Of the tomogram along x, y and z, A.
    microscope : dict of float
        Those of ``rlnVoltage``, ``rlnSphericalAberration`` and ``rlnAmplitudeContrast`` that the table holds.
    """

    projection: np.ndarray
    ctf: dict[str, np.ndarray]
    hand: float
    pixel_size: float
    size: np.ndarray
    microscope: dict[str, float]


def read_tomograms(path, names: Iterable[str], *, data_folder=None) -> dict[str, Tomogram]:
    """The named tomograms of a tomograms.star.

    Their tilts stand in blocks of the same file (WarpTools, RELION 4) or in files that it names (RELION 5).

    Raises
    ------
    InputError
        If a tomogram or a column is missing.
    FileFormatError, MissingFileError
        If a file is not what it has to be.
    """
    path = Path(path)
    tables = read_star(path)
    overview = next((table for table in tables if "rlnTomoName" in table), None)
    if overview is None:
        raise FileFormatError(f"{path}: no table with rlnTomoName, so it is no tomograms.star")
    row_of = {name: row for row, name in enumerate(overview.texts("rlnTomoName"))}
    unknown = [name for name in dict.fromkeys(names) if name not in row_of]
    if unknown:
        raise InputError(f"{path}: no tomogram {', '.join(unknown[:3])}, which the particles name (it lists "
                         f"{', '.join(list(row_of)[:5])})")
    return {name: _tomogram(overview.rows([row_of[name]]), _tilts(tables, overview.rows([row_of[name]]), data_folder))
            for name in dict.fromkeys(names)}


def _tilts(tables, entry, data_folder):
    name = entry.texts("rlnTomoName")[0]
    if "rlnTomoTiltSeriesStarFile" in entry:
        file = find_file(entry.texts("rlnTomoTiltSeriesStarFile")[0], beside=entry.path, data_folder=data_folder)
        return read_star(file)[0]
    tilts = find_table(tables, name)
    if tilts is None:
        raise FileFormatError(f"{entry.path}: neither a block data_{name} nor rlnTomoTiltSeriesStarFile, so the tilts are "
                              "nowhere")
    return tilts


def _tomogram(entry, tilts):
    _require(entry, ("rlnTomoHand", "rlnTomoTiltSeriesPixelSize", "rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ"))
    pixel_size = float(entry.numbers("rlnTomoTiltSeriesPixelSize")[0])
    return Tomogram(
        projection=projection_rotations(tilts), ctf=_tilt_ctf(tilts), hand=float(entry.numbers("rlnTomoHand")[0]),
        pixel_size=pixel_size,
        size=np.array([entry.numbers(f"rlnTomoSize{axis}")[0] for axis in "XYZ"]) * pixel_size,
        microscope={name: float(entry.numbers(name)[0]) for name in MICROSCOPE if name in entry})


def projection_rotations(tilts: StarTable) -> np.ndarray:
    """Rotation from the tomogram to the camera at each tilt, float64 (tilt, 3, 3).

    RELION 4 and WarpTools write matrices; their rotations are made exact again, for the text has few digits and alignment may
    have stretched them. RELION 5 writes angles: the tomogram is turned about x by rlnTomoXTilt, then about y by rlnTomoYTilt,
    then about z by rlnTomoZRot, each counter-clockwise about a fixed axis, so the matrix is Rz Ry Rx.

    Raises
    ------
    InputError
        If neither stands in the table.
    """
    if all(name in tilts for name in PROJECTION):
        matrix = np.stack([_projection_rows(tilts, name) for name in PROJECTION], 1)
        left, _, right = np.linalg.svd(matrix)
        return left @ right
    _require(tilts, TILT_ANGLES)
    about_x, about_y, about_z = (_rotations_about(axis, np.radians(tilts.numbers(name))) for axis, name in enumerate(TILT_ANGLES))
    return about_z @ about_y @ about_x


def lists_of_numbers(table: StarTable, name: str) -> list[np.ndarray]:
    """The values of a column of lists such as ``[0.1,-2,0]``, float64.

    Raises
    ------
    FileFormatError
        If one is not a list of numbers.
    """
    tokens = table.texts(name)
    try:
        # a set of particles repeats few different lists: each is read once
        read = {token: np.array(token.strip("[]").split(","), dtype=float) for token in dict.fromkeys(tokens)}
    except ValueError:
        raise FileFormatError(f"{table.path}: {name} in data_{table.block} is no list of numbers, such as [0,1,0]") from None
    return [read[token] for token in tokens]


def _projection_rows(tilts, name):
    rows = lists_of_numbers(tilts, name)
    if any(len(row) != 4 for row in rows):
        raise FileFormatError(f"{tilts.path}: {name} in data_{tilts.block} has lists of another length than 4")
    return np.array(rows)[:, :3]


def _tilt_ctf(tilts):
    _require(tilts, (*DEFOCUS, "rlnMicrographPreExposure"))
    zero = np.zeros(len(tilts))
    return {
        "defocus_u": tilts.numbers("rlnDefocusU"), "defocus_v": tilts.numbers("rlnDefocusV"),
        "defocus_angle": np.radians(tilts.numbers("rlnDefocusAngle")),
        "phase_shift": np.radians(tilts.numbers("rlnPhaseShift")) if "rlnPhaseShift" in tilts else zero,
        "scale": tilts.numbers("rlnCtfScalefactor") if "rlnCtfScalefactor" in tilts else zero + 1,
        "dose": tilts.numbers("rlnMicrographPreExposure")}


def _require(table, names):
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(f"{table.path}: no {' and no '.join(missing)} in data_{table.block}, which tilt series need")


def _rotations_about(axis, angle):
    """Counter-clockwise rotations of column vectors about a coordinate axis (0 is x), (tilt, 3, 3)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, axis, axis] = 1
    matrix[:, first, first] = matrix[:, second, second] = np.cos(angle)
    matrix[:, first, second], matrix[:, second, first] = -np.sin(angle), np.sin(angle)
    return matrix

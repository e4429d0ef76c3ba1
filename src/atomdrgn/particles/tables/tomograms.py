"""Geometry and CTF of the tilts of each tomogram.

They stand in tomograms.star of RELION 4 and 5 and of WarpTools.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import FileFormatError, InputError
from ...io.star import StarTable, find_table, read_star
from ..stack.image_files import find_file
from .optics import MICROSCOPE
from .ranges import MICROMETRES, numbers_in_range, refuse_micrometres

# a projection matrix whose axes are longer or shorter by more is no alignment's
STRETCH = 0.25
# how WarpTools ends the names of tomograms, and begins those of tilt series' images
FROM_WARPTOOLS = (".tomostar", "dummy")
PROJECTION = ("rlnTomoProjX", "rlnTomoProjY", "rlnTomoProjZ")
TILT_ANGLES = ("rlnTomoXTilt", "rlnTomoYTilt", "rlnTomoZRot")
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")


@dataclass(frozen=True)
class Tomogram:
    """One tomogram and its tilts, in the order of its table and of the images in a stack.

    Parameters
    ----------
    projection : (tilt, 3, 3) float64
        Rotation from the tomogram to the camera, as the file means it (see :mod:`.tilt_stacks` for
        its hand).
    ctf : dict of (tilt,) float64
        ``defocus_u``, ``defocus_v`` (A, at the tomogram's centre), ``defocus_angle``,
        ``phase_shift`` (rad), ``scale``, and ``dose`` before the tilt (e/A^2).
    hand : float
        1 or -1: whether depth along the camera's z adds to the defocus or takes from it.
    pixel_size : float
        Of the tilt series before binning, A.
    size : (3,) float64
        Of the tomogram along x, y and z, A.
    microscope : dict of float
        Those of ``rlnVoltage``, ``rlnSphericalAberration`` and ``rlnAmplitudeContrast`` that the
        table holds.
    from_warptools : bool or None
        Whether WarpTools wrote the tables, as their names show; None where that cannot be told.
    stretch : float
        By how much the matrices in the file stretch or shorten an axis at the most: 0.01 is one in
        a hundred.
    """

    projection: np.ndarray
    ctf: dict[str, np.ndarray]
    hand: float
    pixel_size: float
    size: np.ndarray
    microscope: dict[str, float]
    from_warptools: bool | None = None
    stretch: float = 0.0


def read_tomograms(
    path: str | Path, names: Iterable[str], *, data_folder: str | Path | None = None
) -> dict[str, Tomogram]:
    """The named tomograms of a tomograms.star.

    Their tilts stand in blocks of the same file (WarpTools, RELION 4) or in files that it names
    (RELION 5).

    Parameters
    ----------
    path : path
        The tomograms.star.
    names : iterable of str
        Of tomograms (rlnTomoName); each may stand several times.
    data_folder : path, optional
        Where files lie that it names, if not where it says.

    Returns
    -------
    dict of Tomogram
        By name, in the order of `names`.

    Raises
    ------
    InputError
        If a tomogram or a column is missing, projections mirror, or a tilt has no defocus.
    FileFormatError, MissingFileError
        If a file is not what it has to be, lists a tomogram twice, or has a negative dose.
    """
    path = Path(path)
    tables = read_star(path)
    overview = next((table for table in tables if "rlnTomoName" in table), None)
    if overview is None:
        raise FileFormatError(f"{path}: no table with rlnTomoName, so it is no tomograms.star")
    names, listed = list(dict.fromkeys(names)), overview.texts("rlnTomoName")
    row_of = {name: row for row, name in enumerate(listed)}
    _refuse_listed_twice(path, names, listed, f"rows of data_{overview.block}")
    _refuse_listed_twice(path, names, _blocks_of_tilts(tables), "blocks of tilts")
    unknown = [name for name in names if name not in row_of]
    if unknown:
        raise InputError(
            f"{path}: no tomogram {', '.join(unknown[:3])}, which the particles name (it lists "
            f"{', '.join(list(row_of)[:5])})"
        )
    return {
        name: _tomogram(
            overview.rows([row_of[name]]),
            _tilts(tables, overview.rows([row_of[name]]), data_folder),
        )
        for name in names
    }


def _refuse_listed_twice(path: Path, names: Sequence[str], listed: list[str], what: str) -> None:
    for name in names:
        if listed.count(name) > 1:
            raise FileFormatError(
                f"{path}: tomogram {name} has {listed.count(name)} {what}, and these may differ; "
                "leave one, or give the tomograms names of their own, here and in the particle file"
            )


def _blocks_of_tilts(tables: list[StarTable]) -> list[str]:
    return [table.block for table in tables if DEFOCUS[0] in table]


def _tilts(tables: list[StarTable], entry: StarTable, data_folder: str | Path | None) -> StarTable:
    name = entry.texts("rlnTomoName")[0]
    if "rlnTomoTiltSeriesStarFile" in entry:
        file = find_file(
            entry.texts("rlnTomoTiltSeriesStarFile")[0], beside=entry.path, data_folder=data_folder
        )
        tables = read_star(file)
        _refuse_listed_twice(file, [name], _blocks_of_tilts(tables), "blocks of tilts")
        tilts = find_table(tables, name) or (tables[0] if len(tables) == 1 else None)
        if tilts is None:
            raise FileFormatError(
                f"{file}: no block data_{name} (it has "
                f"{', '.join(f'data_{t.block}' for t in tables)})"
            )
        return tilts
    tilts = find_table(tables, name)
    if tilts is None:
        raise FileFormatError(
            f"{entry.path}: neither a block data_{name} nor rlnTomoTiltSeriesStarFile, so the "
            "tilts are nowhere"
        )
    return tilts


def _tomogram(entry: StarTable, tilts: StarTable) -> Tomogram:
    _require(
        entry,
        (
            "rlnTomoHand",
            "rlnTomoTiltSeriesPixelSize",
            "rlnTomoSizeX",
            "rlnTomoSizeY",
            "rlnTomoSizeZ",
        ),
    )
    pixel_size, hand = (
        _number(entry, name) for name in ("rlnTomoTiltSeriesPixelSize", "rlnTomoHand")
    )
    size = np.array([_number(entry, f"rlnTomoSize{axis}") for axis in "XYZ"])
    if hand not in (1, -1):
        raise FileFormatError(
            f"{_of(entry)} has rlnTomoHand {hand:g}, expected 1 or -1 (whether depth adds to the "
            "defocus or takes from it)"
        )
    if not (pixel_size > 0 and (size > 0).all()):
        raise FileFormatError(
            f"{_of(entry)} has rlnTomoTiltSeriesPixelSize {pixel_size:g} and rlnTomoSizeX, Y and Z "
            f"{', '.join(f'{n:g}' for n in size)}; all have to be above 0"
        )
    if len(tilts) == 0:
        raise FileFormatError(
            f"{_of(entry)} has no tilts: data_{tilts.block} of {tilts.path} has names of columns "
            "and no rows"
        )
    ctf = _tilt_ctf(tilts)
    used = ctf["scale"] != 0
    return Tomogram(
        projection=projection_rotations(tilts, used=used),
        ctf=ctf,
        hand=hand,
        pixel_size=pixel_size,
        size=size * pixel_size,
        microscope={name: float(entry.numbers(name)[0]) for name in MICROSCOPE if name in entry},
        from_warptools=_from_warptools(entry, tilts),
        stretch=_stretch(tilts, used),
    )


def _from_warptools(entry: StarTable, tilts: StarTable) -> bool | None:
    """Whether WarpTools wrote the tables; None where that cannot be told.

    It names its tomograms and writes a dummy of a tilt series; RELION's tilts are in files of their
    own or moved. RELION 4 counts coordinates from the corner, so that its matrices move it to the
    image's: without that they are no RELION's.
    """
    ending, beginning = FROM_WARPTOOLS
    if entry.texts("rlnTomoName")[0].endswith(ending):
        return True
    if "rlnTomoTiltSeriesName" in entry and Path(
        entry.texts("rlnTomoTiltSeriesName")[0]
    ).name.startswith(beginning):
        return True
    if "rlnTomoTiltSeriesStarFile" in entry or not all(name in tilts for name in PROJECTION):
        return False
    moved = any(_projection_rows(tilts, name)[:, 3].any() for name in PROJECTION[:2])
    return False if moved else None


def projection_rotations(tilts: StarTable, *, used: np.ndarray | None = None) -> np.ndarray:
    """Rotation from the tomogram to the camera at each tilt, float64 (tilt, 3, 3).

    RELION 4 and WarpTools write matrices; their rotations are made exact again, for the text has
    few digits and alignment may have stretched them. RELION 5 writes angles: the tomogram is turned
    about x by rlnTomoXTilt, then about y by rlnTomoYTilt, then about z by rlnTomoZRot, each
    counter-clockwise about a fixed axis, so the matrix is Rz Ry Rx.

    Parameters
    ----------
    tilts : StarTable
        Of one tomogram.
    used : (tilt,) bool, optional
        Tilts that are not excluded; only these have to be sound.

    Returns
    -------
    (tilt, 3, 3) float64

    Raises
    ------
    InputError
        If neither stands in the table, or matrices mirror.
    FileFormatError
        If a number is not finite, or a matrix is far from a rotation.

    Examples
    --------
    >>> tilts = StarTable("ts", {"rlnTomoYTilt": ["90"], "rlnTomoZRot": ["0"]})
    >>> (projection_rotations(tilts)[0] @ [0, 0, 1]).round(6).tolist()
    [1.0, 0.0, 0.0]
    """
    used = np.ones(len(tilts), bool) if used is None else used
    if all(name in tilts for name in PROJECTION):
        return _rotations_of_matrices(tilts, used)
    _require(tilts, TILT_ANGLES[1:])  # without the first, RELION turns about y and z alone
    angles = np.radians(
        np.stack(
            [tilts.numbers(name) if name in tilts else np.zeros(len(tilts)) for name in TILT_ANGLES]
        )
    )
    _refuse_tilts(
        tilts, used & ~np.isfinite(angles).all(0), f"no number in {', '.join(TILT_ANGLES)}"
    )
    about_x, about_y, about_z = (_rotations_about(axis, angle) for axis, angle in enumerate(angles))
    return about_z @ about_y @ about_x


def _rotations_of_matrices(tilts: StarTable, used: np.ndarray) -> np.ndarray:
    matrix = _matrices(tilts)
    _refuse_tilts(
        tilts, used & ~np.isfinite(matrix).all((1, 2)), f"no number in {', '.join(PROJECTION)}"
    )
    # of excluded tilts
    matrix = np.where(np.isfinite(matrix).all((1, 2))[:, None, None], matrix, np.eye(3))
    left, length, right = np.linalg.svd(matrix)
    wrong = used & (np.abs(length - 1) > STRETCH).any(1)
    _refuse_tilts(
        tilts,
        wrong,
        f"matrices in {', '.join(PROJECTION)} that are far from rotations: their axes are "
        f"{' and '.join(f'{n:.3g}' for n in length[wrong][:1].ravel())} long in place of 1",
    )
    rotation = left @ right
    mirrors = used & (np.linalg.det(rotation) < 0)
    if mirrors.any():
        # The images may show this map or its mirror image: M T A in the one case, T A M in the
        # other (see .tilt_stacks).
        raise InputError(
            f"{_of(tilts)}: the projection matrices ({', '.join(PROJECTION)}) of {mirrors.sum()} "
            f"of {used.sum()} tilts mirror (determinant -1), as `relion_tomo_import_tomograms` "
            "writes with --flipYZ and without --flipZ. The map of such particles is the mirror "
            "image of the one that they would give otherwise, and no file says which of the two "
            "the model stands in: import the tomograms again with both --flipYZ and --flipZ, then "
            "extract and refine again"
        )
    return rotation


def _stretch(tilts: StarTable, used: np.ndarray) -> float:
    if not all(name in tilts for name in PROJECTION) or not used.any():
        return 0.0
    return float(np.abs(np.linalg.svd(_matrices(tilts)[used], compute_uv=False) - 1).max())


def _matrices(tilts: StarTable) -> np.ndarray:
    return np.stack([_projection_rows(tilts, name)[:, :3] for name in PROJECTION], 1)


def lists_of_numbers(table: StarTable, name: str) -> list[np.ndarray]:
    """The values of a column of lists such as ``[0.1,-2,0]``, float64.

    Parameters
    ----------
    table : StarTable
        Where it stands.
    name : str
        Of the column.

    Returns
    -------
    list of (n,) float64
        One a row.

    Raises
    ------
    FileFormatError
        If one is not a list of numbers.

    Examples
    --------
    >>> lists_of_numbers(StarTable("ts", {"rlnTomoProjX": ["[0.1,-2,0]"]}), "rlnTomoProjX")
    [array([ 0.1, -2. ,  0. ])]
    """
    tokens, read = table.texts(name), {}
    # a set of particles repeats few different lists: each is read once
    for token in dict.fromkeys(tokens):
        try:
            read[token] = np.array(token.strip("[]").split(","), dtype=float)
        except ValueError:
            raise FileFormatError(
                f"{table.path}: row {tokens.index(token) + 1} of {name} in data_{table.block} is "
                f"{token[:80]!r}, expected a list of numbers, such as [0,1,0]"
            ) from None
    return [read[token] for token in tokens]


def _projection_rows(tilts: StarTable, name: str) -> np.ndarray:
    rows = lists_of_numbers(tilts, name)
    if any(len(row) != 4 for row in rows):
        raise FileFormatError(
            f"{tilts.path}: {name} in data_{tilts.block} has lists of another length than 4"
        )
    return np.array(rows)


def _tilt_ctf(tilts: StarTable) -> dict[str, np.ndarray]:
    _require(tilts, (*DEFOCUS, "rlnMicrographPreExposure"))
    zero = np.zeros(len(tilts))
    ctf = {
        "defocus_u": tilts.numbers("rlnDefocusU"),
        "defocus_v": tilts.numbers("rlnDefocusV"),
        "defocus_angle": np.radians(tilts.numbers("rlnDefocusAngle")),
        "phase_shift": np.radians(tilts.numbers("rlnPhaseShift"))
        if "rlnPhaseShift" in tilts
        else zero,
        "scale": tilts.numbers("rlnCtfScalefactor") if "rlnCtfScalefactor" in tilts else zero + 1,
        "dose": tilts.numbers("rlnMicrographPreExposure"),
    }
    used = ctf["scale"] != 0
    wrong = used & ~(ctf["dose"] >= 0)
    listed = ", ".join(f"{dose:g}" for dose in ctf["dose"][wrong][:5])
    _refuse_tilts(
        tilts,
        wrong,
        f"rlnMicrographPreExposure {listed}: no dose before a tilt is negative; write the dose "
        "that the specimen had before it, e/A^2",
    )
    wrong = used & ~((ctf["defocus_u"] != 0) | (ctf["defocus_v"] != 0))
    _refuse_tilts(
        tilts,
        wrong,
        "a defocus of 0: the CTF was not estimated; estimate it, or exclude them "
        "(rlnCtfScalefactor 0)",
    )
    for name in (*DEFOCUS, "rlnPhaseShift", "rlnCtfScalefactor", "rlnMicrographPreExposure"):
        if name in tilts:
            numbers_in_range(tilts, name, used=used)
    _refuse_micrometres(tilts, ctf["defocus_u"], ctf["defocus_v"], used)
    return ctf


def _refuse_micrometres(
    tilts: StarTable, defocus_u: np.ndarray, defocus_v: np.ndarray, used: np.ndarray
) -> None:
    """Refuse a defocus of tilts that is in micrometres.

    Depth is added to the defocus of a particle and would hide the unit, so that it is looked for in
    the tilts.
    """
    row = np.flatnonzero(used)
    small = np.maximum(np.abs(defocus_u), np.abs(defocus_v))[row] < MICROMETRES
    if np.count_nonzero(small) > len(row) / 2:  # a few may be near focus
        refuse_micrometres(
            defocus_u[row],
            defocus_v[row],
            f"{DEFOCUS[0]} and {DEFOCUS[1]} in data_{tilts.block}",
            path=tilts.path,
            row=row,
        )


def _refuse_tilts(tilts: StarTable, wrong: np.ndarray, what: str) -> None:
    """Raise a FileFormatError that names these tilts, (tilt,) bool, where there are any."""
    if wrong.any():
        shown = ", ".join(str(i + 1) for i in np.flatnonzero(wrong)[:5]) + (
            " and more" if wrong.sum() > 5 else ""
        )
        raise FileFormatError(
            f"{_of(tilts)}: {wrong.sum()} of {len(tilts)} tilts (rows {shown}) have {what}"
        )


def _of(table: StarTable) -> str:
    """How a message names a tomogram: by its row in the overview, or its block of tilts."""
    named = table.texts("rlnTomoName")[:1] if "rlnTomoName" in table else []
    return f"{table.path}: tomogram {named[0] if named else table.block}"


def _number(entry: StarTable, name: str) -> float:
    return float(entry.numbers(name)[0])


def _require(table: StarTable, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(
            f"{table.path}: no {' and no '.join(missing)} in data_{table.block}, which tilt series "
            "need"
        )


def _rotations_about(axis: int, angle: np.ndarray) -> np.ndarray:
    """Counter-clockwise rotations of columns about a coordinate axis (0 is x), (tilt, 3, 3)."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, axis, axis] = 1
    matrix[:, first, first] = matrix[:, second, second] = np.cos(angle)
    matrix[:, first, second], matrix[:, second, first] = -np.sin(angle), np.sin(angle)
    return matrix

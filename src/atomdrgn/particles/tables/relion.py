"""Columns of RELION and Warp with one row an image: STAR files of RELION 3.0 to 5."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from ...errors import FileFormatError, InputError
from ...io.star import StarTable, find_table
from ...physics.rotations import matrix_from_euler
from ..stack.image_files import find_stacks, image_place, list_rows
from .assembly import ImageRows
from .optics import (
    THESE_ARE_VOLUMES,
    Optics,
    pixel_sizes_that_differ,
    read_optics,
    unmodelled_aberrations,
)
from .ranges import numbers_in_range, refuse_micrometres

FEW = 20  # fewer images may be seen from about one side
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
HALF_SET = "rlnRandomSubset"
DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")


def read_relion(
    tables: list[StarTable],
    *,
    data_folder: str | Path | None = None,
    invert_contrast: bool | None = None,
    allow_missing_ctf: bool = False,
) -> ImageRows:
    """What a STAR file with one row an image says of each, as of single particles.

    Parameters
    ----------
    tables : list of StarTable
        The file.
    data_folder, invert_contrast, allow_missing_ctf
        As for :func:`~atomdrgn.particles.reading.read_particles`.

    Returns
    -------
    ImageRows

    Raises
    ------
    InputError
        If angles, CTF or pixel size are missing, or the images are volumes.
    FileFormatError, MissingFileError
        If the file or a stack is not what it has to be.
    """
    particles, optics_table = particle_table(tables), find_table(tables, "optics")
    optics = read_optics(particles, optics_table)
    names, section = image_names(particles)
    file, headers = find_stacks(names, beside=particles.path, data_folder=data_folder)
    _refuse_unnumbered(particles, np.array([header.shape[0] for header in headers])[file])
    sign = np.full(len(particles), -1.0 if invert_contrast else 1.0)
    return ImageRows(
        source=particles.path,
        format="RELION 3.0" if optics_table is None else "RELION 3.1 or later",
        headers=headers,
        file=file,
        section=section,
        row=np.arange(len(particles)),
        particle=np.arange(len(particles)),
        rotation=read_rotation(particles),
        shift=read_shift(particles, optics.pixel_size),
        ctf=read_ctf(particles, optics, allow_missing_ctf=allow_missing_ctf),
        groups=optics.groups,
        optics_group=optics.group,
        sign=sign,
        half=read_half(particles),
        origin_columns=_origin_columns(particles),
        warnings=(
            *unmodelled_aberrations(particles, optics_table),
            *pixel_sizes_that_differ(particles, optics_table),
            *_radians_warning(particles),
            *_phase_in_radians_warning(particles),
        ),
    )


def particle_table(tables: list[StarTable]) -> StarTable:
    """The table of a STAR file that has one row an image or particle.

    Parameters
    ----------
    tables : list of StarTable
        The file.

    Returns
    -------
    StarTable

    Raises
    ------
    FileFormatError
        If there is none, or there are several.
    InputError
        If it has no rows.

    Examples
    --------
    >>> optics = StarTable("optics", {"rlnVoltage": ["300"]})
    >>> particle_table([optics, StarTable("", {"rlnImageName": ["1@a.mrcs"]})]).columns
    {'rlnImageName': ['1@a.mrcs']}
    """
    listing = [table for table in tables if table.block != "optics" and "rlnImageName" in table]
    if not listing:
        found = ", ".join(f"data_{table.block}" for table in tables)
        cistem = any(name.startswith("cisTEM") for table in tables for name in table.columns)
        advice = ": these are columns of cisTEM; export them to RELION there" if cistem else ""
        raise FileFormatError(
            f"{tables[0].path if tables else 'the file'}: no table with rlnImageName, so it is no "
            f"particle file (found {found}){advice}"
        )
    if len(listing) > 1:
        found = " and ".join(
            f"data_{table.block} with {len(table):,} rows (line {table.line})" for table in listing
        )
        raise FileFormatError(
            f"{listing[0].path}: {len(listing)} tables list images: {found}; which is meant cannot "
            "be told: leave one of them, or join their rows"
        )
    if len(listing[0]) == 0:
        raise InputError(
            f"{listing[0].path}: no particles: the table has names of columns and no rows"
        )
    return listing[0]


def image_names(particles: StarTable) -> tuple[list[str], np.ndarray]:
    """Stack of each row as it is written, and number of the image in it from 0 (row,).

    Parameters
    ----------
    particles : StarTable
        Of particles.

    Returns
    -------
    list of str
        Stacks, without the number of the image.
    (row,) int64
        0 where a row names a whole stack.

    Raises
    ------
    InputError
        If the images are volumes.
    FileFormatError
        If a number is none, or 0.

    Examples
    --------
    >>> image_names(StarTable("", {"rlnImageName": ["000003@stack.mrcs"]}))
    (['stack.mrcs'], array([2]))
    """
    if "rlnCtfImage" in particles:
        raise InputError(f"{particles.path}: rlnCtfImage is there, so {THESE_ARE_VOLUMES}")
    names = particles.texts("rlnImageName")
    places = [image_place(name) for name in names]
    wrong = [row for row, (number, stack) in enumerate(places) if number is None and "@" in stack]
    # stacks of whole particles bear no number, and the name of a tomogram may hold an @
    if wrong and (
        "rlnTomoName" not in particles or any(number is not None for number, _ in places)
    ):
        raise FileFormatError(
            f"{particles.path}: row {wrong[0] + 1} of rlnImageName is {names[wrong[0]][:80]!r}, "
            "expected NUMBER@STACK"
        )
    zero = next((row for row, (number, _) in enumerate(places) if number == 0), None)
    if zero is not None:
        raise FileFormatError(
            f"{particles.path}: row {zero + 1} names image 0 (rlnImageName is {names[zero]!r}); "
            "images count from 1: add 1 to the number of every image"
        )
    return [stack for _, stack in places], np.array(
        [0 if number is None else number - 1 for number, _ in places], dtype=np.int64
    )


def _refuse_unnumbered(particles: StarTable, n_images: np.ndarray) -> None:
    """Refuse names without a number of stacks that hold several images (row,).

    Which of them is meant is not known.
    """
    names = particles.texts("rlnImageName")
    row = next(
        (row for row in np.flatnonzero(n_images > 1) if image_place(names[row])[0] is None), None
    )
    if row is not None:
        raise FileFormatError(
            f"{particles.path}: row {row + 1} of rlnImageName is {names[row][:80]!r}, which holds "
            f"{n_images[row]} images or is a volume; expected NUMBER@STACK, counted from 1"
        )


def read_rotation(particles: StarTable) -> np.ndarray:
    """Rotation of each row from molecule to microscope, float64 (row, 3, 3).

    Parameters
    ----------
    particles : StarTable
        Of particles.

    Returns
    -------
    (row, 3, 3) float64

    Raises
    ------
    InputError
        If an angle is missing.
    FileFormatError
        If one is no number, or out of range.

    Examples
    --------
    >>> angles = dict(zip(ANGLES, (["90"], ["0"], ["0"])))
    >>> (read_rotation(StarTable("particles", angles))[0] @ [1, 0, 0]).round(6).tolist()
    [0.0, -1.0, 0.0]
    """
    missing = [name for name in ANGLES if name not in particles]
    if missing:
        raise InputError(
            f"{particles.path}: no {' and no '.join(missing)}: the particles have no 3D "
            "orientation; refine them first (all poses have to be known)"
        )
    return euler_matrices(particles, ANGLES)


def euler_matrices(table: StarTable, names: Sequence[str]) -> np.ndarray:
    """Matrices of RELION's three angles in these columns, float64 (row, 3, 3).

    Parameters
    ----------
    table : StarTable
        Of particles.
    names : (3,) str
        Columns of rot, tilt and psi, degrees.

    Returns
    -------
    (row, 3, 3) float64

    Raises
    ------
    FileFormatError
        If an angle is no number, or out of range.
    """
    angles = np.radians(np.stack([numbers_in_range(table, name) for name in names], -1))
    return matrix_from_euler(torch.from_numpy(angles)).numpy()


def _radians_warning(particles: StarTable) -> Iterator[Warning]:
    """Warn of angles that are hardly ever degrees.

    Those of many images differ, and all are within what radians can be.
    """
    angles = np.stack([particles.numbers(name) for name in ANGLES], -1)
    if len(angles) >= FEW and np.abs(angles).max() <= 2 * np.pi and angles.std(0).max() > 0.5:
        yield UserWarning(
            f"{particles.path}: {', '.join(ANGLES)} are between {angles.min():.3g} and "
            f"{angles.max():.3g} in all rows: they are taken as degrees; multiply them by 57.29578 "
            "if they are in radians"
        )


def _phase_in_radians_warning(particles: StarTable) -> Iterator[Warning]:
    """Warn of phase shifts that are hardly ever degrees.

    Phase plates shift by tens of degrees: less than pi in all of many images is no phase plate's.
    """
    if "rlnPhaseShift" not in particles or len(particles) < FEW:
        return
    size = np.abs(particles.numbers("rlnPhaseShift"))
    if size.max() <= np.pi and np.median(size) > 0.2:
        yield UserWarning(
            f"{particles.path}: rlnPhaseShift is between {size.min():.3g} and {size.max():.3g} in "
            "all rows: it is taken as degrees; multiply it by 57.29578 if it is in radians"
        )


def _origin_columns(particles: StarTable) -> str:
    return "rlnOriginXAngst or YAngst" if "rlnOriginXAngst" in particles else "rlnOriginX or Y"


def read_shift(particles: StarTable, pixel_size: np.ndarray) -> np.ndarray:
    """Where each molecule stands from the centre of its image: minus RELION's origin.

    That moves it to the centre. RELION 3.1 writes rlnOriginXAngst in A, RELION 3.0 rlnOriginX in
    pixels; where neither stands the image is centred.

    Parameters
    ----------
    particles : StarTable
        Of particles.
    pixel_size : (row,)
        A.

    Returns
    -------
    (row, 2) float64
        A.

    Raises
    ------
    FileFormatError
        If an origin is no number, or out of range.

    Examples
    --------
    >>> table = StarTable("particles", {"rlnOriginX": ["3"], "rlnOriginY": ["-1"]})
    >>> read_shift(table, np.array([2.0])).tolist()
    [[-6.0, 2.0]]
    """
    shift = np.zeros((len(particles), 2))
    for axis, letter in enumerate("XY"):
        if f"rlnOrigin{letter}Angst" in particles:
            shift[:, axis] = -numbers_in_range(particles, f"rlnOrigin{letter}Angst")
        elif f"rlnOrigin{letter}" in particles:
            shift[:, axis] = -numbers_in_range(particles, f"rlnOrigin{letter}") * pixel_size
    return shift


def read_ctf(
    particles: StarTable, optics: Optics, *, allow_missing_ctf: bool = False
) -> dict[str, np.ndarray]:
    """Fields of the CTF of each row in our units, float64 (row,).

    Parameters
    ----------
    particles : StarTable
        Of particles.
    optics : Optics
        Of each row.
    allow_missing_ctf : bool
        Where there are no columns of a CTF it is 1.

    Returns
    -------
    dict of (row,) float64
        Fields of :class:`~atomdrgn.physics.ctf.CTF`.

    Raises
    ------
    InputError
        If the file has no CTF (unless that is allowed), only part of one, or a defocus of 0.
    FileFormatError
        If a value is no number, or out of range.
    """
    missing = [name for name in DEFOCUS if name not in particles]
    if len(missing) == len(DEFOCUS):
        if not allow_missing_ctf:
            raise InputError(
                f"{particles.path}: no CTF columns (rlnDefocusU, ...): real images need them; for "
                "images that were made without a CTF pass allow_missing_ctf (--allow-missing-ctf)"
            )
        return no_ctf(len(particles))
    if missing:
        raise InputError(
            f"{particles.path}: no {' and no '.join(missing)}, which the other CTF columns need"
        )
    microscope = microscope_fields(optics, path=particles.path)
    defocus_u, defocus_v, angle = (numbers_in_range(particles, name) for name in DEFOCUS)
    refuse_zero_defocus(defocus_u, defocus_v, path=particles.path)
    refuse_micrometres(defocus_u, defocus_v, "rlnDefocusU and rlnDefocusV", path=particles.path)
    return {
        "defocus_u": defocus_u,
        "defocus_v": defocus_v,
        "defocus_angle": np.radians(angle),
        # RELION omits the column where there is no phase plate
        "phase_shift": np.radians(_numbers_or(particles, "rlnPhaseShift", 0.0)),
        **microscope,
        "scale": _numbers_or(particles, "rlnCtfScalefactor", 1.0),
        "b_factor": _numbers_or(particles, "rlnCtfBfactor", 0.0),
        "dose": np.zeros(len(particles)),
    }


def _numbers_or(particles: StarTable, name: str, otherwise: float) -> np.ndarray:
    """The values of a column, or one value for all where there is no such column."""
    if name not in particles:
        return np.full(len(particles), otherwise)
    return numbers_in_range(particles, name)


def microscope_fields(optics: Optics, *, path: Path) -> dict[str, np.ndarray]:
    """Voltage, spherical aberration and amplitude contrast of each row under our names.

    Parameters
    ----------
    optics : Optics
        Of each row.
    path : Path
        The file, for messages.

    Returns
    -------
    dict of (row,) float64

    Raises
    ------
    InputError
        If one is missing: no value is assumed.
    FileFormatError
        If one is out of range.
    """
    names = {
        "voltage_kv": "rlnVoltage",
        "spherical_aberration_mm": "rlnSphericalAberration",
        "amplitude_contrast": "rlnAmplitudeContrast",
    }
    missing = [name for name in names.values() if name not in optics.values]
    if missing:
        raise InputError(
            f"{path}: no {' and no '.join(missing)}: the CTF needs it; add the column with the "
            "value that the CTF was estimated with"
        )
    for name, table in optics.tables.items():
        numbers_in_range(table, name)
    return {ours: optics.values[theirs] for ours, theirs in names.items()}


def refuse_zero_defocus(defocus_u: np.ndarray, defocus_v: np.ndarray, *, path: Path) -> None:
    """Refuse rows whose defocus is 0 or no number: programs write that which did not estimate it.

    Parameters
    ----------
    defocus_u, defocus_v : (row,) float
        A.
    path : Path
        The file, for messages.

    Raises
    ------
    InputError
        With the rows.

    Examples
    --------
    >>> refuse_zero_defocus(np.array([15000.0]), np.array([0.0]), path=Path("particles.star"))
    """
    zero = ~np.isfinite(defocus_u + defocus_v) | ((defocus_u == 0) & (defocus_v == 0))
    if zero.any():
        raise InputError(
            f"{path}: the defocus of {list_rows(np.flatnonzero(zero))} is 0 or no number: the CTF "
            "was not estimated; estimate it, or leave these rows out"
        )


def no_ctf(n: int) -> dict[str, np.ndarray]:
    """Fields of a CTF that is 1 at every frequency, for images that were made without one.

    Parameters
    ----------
    n : int
        How many images.

    Returns
    -------
    dict of (image,) float64
        Fields of :class:`~atomdrgn.physics.ctf.CTF`.

    Examples
    --------
    >>> no_ctf(2)["amplitude_contrast"].tolist()
    [1.0, 1.0]
    """
    zero = np.zeros(n)
    return {
        "defocus_u": zero,
        "defocus_v": zero,
        "defocus_angle": zero,
        "phase_shift": zero,
        "voltage_kv": zero + 300.0,
        "spherical_aberration_mm": zero,
        "amplitude_contrast": zero + 1,
        "scale": zero + 1,
        "b_factor": zero,
        "dose": zero,
    }


def read_half(particles: StarTable) -> np.ndarray | None:
    """Half-set of each row as the file has it; None where it does not say it.

    Parameters
    ----------
    particles : StarTable
        Of particles.

    Returns
    -------
    (row,) int64 or None

    Raises
    ------
    FileFormatError
        If one is no whole number.

    Examples
    --------
    >>> read_half(StarTable("particles", {"rlnRandomSubset": ["2", "1"]})).tolist()
    [2, 1]
    """
    if HALF_SET not in particles:
        return None
    half = particles.numbers(HALF_SET)
    wrong = np.flatnonzero(~(np.abs(half) < 1e9) | (half != np.round(half)))
    if len(wrong):
        raise FileFormatError(
            f"{particles.path}: row {wrong[0] + 1} of {HALF_SET} is "
            f"{particles.texts(HALF_SET)[wrong[0]]}, expected 1 or 2"
        )
    return half.astype(np.int64)

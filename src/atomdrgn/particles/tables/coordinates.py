"""Where particles of 2D stacks stand in their tomogram: the unit of their coordinates.

Pixel sizes are held against each other.
"""

import numpy as np

from ...errors import FileFormatError, InputError
from ...io.star import StarTable
from ..stack.image_files import list_rows
from .optics import Optics
from .tomograms import FROM_WARPTOOLS, Tomogram

TILT_SERIES_PIXEL, BINNING = "rlnTomoTiltSeriesPixelSize", "rlnTomoSubtomogramBinning"
# by how much pixel sizes may differ: by digits and calibration; as much as coordinates bear
SAME, ROUGHLY_SAME = 0.01, 0.05
# for what the unit of coordinates is not as the tables have it, or is known by
MISFIT = (
    "WarpTools wrote the tables, but in pixels of the images, which it takes, most particles would "
    "stand outside their tomogram"
)
RENAMED = (
    "rlnTomoTiltSeriesName is WarpTools' dummy, though names of tomograms do not end in "
    f"{FROM_WARPTOOLS[0]}"
)
UNMOVED = (
    "the projection matrices do not move the tomogram's corner to the image's, which is as in "
    "WarpTools and unlike RELION"
)


def particle_position(
    particles: StarTable, optics_table: StarTable | None, optics: Optics, tomograms: list[Tomogram]
) -> tuple[np.ndarray, tuple[Warning, ...]]:
    """Where particles stand from the centre of their tomogram, and warnings of what does not fit.

    RELION 5 writes angstrom from the centre (rlnCenteredCoordinateXAngst). rlnCoordinateX counts
    from the corner: in pixels of the extracted images where WarpTools wrote the file, and in
    unbinned pixels of the tilt series in RELION 4. Which of the two is told by the tables
    (:class:`~.tomograms.Tomogram`) and by what stands inside the tomogram.

    Parameters
    ----------
    particles, optics_table : StarTable
        Of the particle file.
    optics, tomograms : Optics, list of Tomogram
        Of each row.

    Returns
    -------
    (row, 3) float64
        A.
    tuple of Warning

    Raises
    ------
    InputError
        If there are no coordinates: the defocus of a particle depends on its depth; or if pixel
        sizes contradict each other so that they say nothing.
    FileFormatError
        If a coordinate is not finite.
    """
    size = np.array([tomogram.size for tomogram in tomograms])
    warnings = _pixel_sizes_that_differ(particles, optics_table, optics, tomograms)
    if "rlnCenteredCoordinateXAngst" in particles:
        position = np.stack(
            [finite_numbers(particles, f"rlnCenteredCoordinate{axis}Angst") for axis in "XYZ"], 1
        )
    elif "rlnCoordinateX" in particles:
        corner = np.stack([finite_numbers(particles, f"rlnCoordinate{axis}") for axis in "XYZ"], 1)
        pixel_size, unit = _coordinate_pixels(particles, corner, optics, tomograms, size)
        position, warnings = corner * pixel_size[:, None] - size / 2, (*warnings, *unit)
    else:
        raise InputError(
            f"{particles.path}: no rlnCenteredCoordinateXAngst and no rlnCoordinateX: the depth of "
            "a particle in its tomogram changes its defocus, so coordinates are needed"
        )
    outside = _outside(position, size)
    if not outside.any():
        return position, warnings
    return position, (
        *warnings,
        UserWarning(
            f"{particles.path}: {np.count_nonzero(outside)} of {len(outside)} particles stand "
            "outside their tomogram; the unit of the coordinates may not be what the format says, "
            "and with it the defocus is off"
        ),
    )


def finite_numbers(particles: StarTable, name: str) -> np.ndarray:
    """The values of a column as float64 (row,).

    Parameters
    ----------
    particles : StarTable
        The table.
    name : str
        Of the column.

    Returns
    -------
    (row,) float64

    Raises
    ------
    FileFormatError
        If one is not finite.

    Examples
    --------
    >>> finite_numbers(StarTable("particles", {"rlnCoordinateX": ["30", "4.5"]}), "rlnCoordinateX")
    array([30. ,  4.5])
    """
    values = particles.numbers(name)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise FileFormatError(
            f"{particles.path}: {name} of {list_rows(wrong)} is not finite ({values[wrong[0]]:g}); "
            "leave these rows out"
        )
    return values


def _outside(position: np.ndarray, size: np.ndarray) -> np.ndarray:
    return (np.abs(position) > 0.55 * size).any(1)


def _coordinate_pixels(
    particles: StarTable,
    corner: np.ndarray,
    optics: Optics,
    tomograms: list[Tomogram],
    size: np.ndarray,
) -> tuple[np.ndarray, tuple[Warning, ...]]:
    """Size of the pixels that rlnCoordinateX is in, A (row,), and warnings where it was in doubt.

    In pixels of the extracted images, which are the larger ones, particles of another unit stand
    outside their tomogram.
    """
    extracted, whole = optics.pixel_size, np.array([tomogram.pixel_size for tomogram in tomograms])
    outside = _outside(corner * extracted[:, None] - size / 2, size)
    differ = np.abs(extracted / whole - 1) > SAME
    binned = np.array([tomogram.from_warptools is True for tomogram in tomograms])
    unknown = differ & np.array([tomogram.from_warptools is None for tomogram in tomograms])
    renamed = (
        binned
        & differ
        & ~np.array([name.endswith(FROM_WARPTOOLS[0]) for name in particles.texts("rlnTomoName")])
    )
    misfit = binned & differ
    if (
        misfit.any()
        and outside[misfit].mean() > 0.5
        and not _outside(corner * whole[:, None] - size / 2, size)[misfit].any()
    ):
        return np.where(binned & ~misfit, extracted, whole), (
            _unit_warning(particles, misfit, whole, extracted, MISFIT),
        )
    warnings: tuple[Warning, ...] = ()
    if renamed.any():
        warnings += (_unit_warning(particles, renamed, extracted, whole, RENAMED),)
    if unknown.any() and outside[unknown].mean() <= 0.05:
        binned = binned | unknown
        warnings += (_unit_warning(particles, unknown, extracted, whole, UNMOVED),)
    return np.where(binned, extracted, whole), warnings


def _unit_warning(
    particles: StarTable, chosen: np.ndarray, taken: np.ndarray, other: np.ndarray, why: str
) -> Warning:
    row = int(np.flatnonzero(chosen)[0])
    return UserWarning(
        f"{particles.path}: rlnCoordinateX, Y and Z are taken as pixels of {taken[row]:.4g} A and "
        f"not of {other[row]:.4g} A (tomogram {particles.texts('rlnTomoName')[row]}), for {why}; "
        "with the wrong one depth and defocus are off"
    )


def _pixel_sizes_that_differ(
    particles: StarTable, optics_table: StarTable | None, optics: Optics, tomograms: list[Tomogram]
) -> tuple[Warning, ...]:
    """Warnings of pixel sizes that contradict each other.

    They are refused where coordinates are in such pixels and differ much. What WarpTools and RELION
    write fits: the images' pixels are the tilt series' times the binning.
    """
    whole = np.array([tomogram.pixel_size for tomogram in tomograms])
    names = particles.texts("rlnTomoName")
    if optics_table is not None and BINNING in optics_table:
        binning = optics_table.numbers(BINNING)[optics.group]
        with np.errstate(divide="ignore", invalid="ignore"):
            fits = optics.pixel_size / binning
            off = np.nan_to_num(np.abs(whole / fits - 1), nan=np.inf)
        row = int(off.argmax())
        found = (
            f"{particles.path}: tomogram {names[row]} has {TILT_SERIES_PIXEL} {whole[row]:.5g} A "
            f"in tomograms.star, but an rlnImagePixelSize of {optics.pixel_size[row]:.5g} A and "
            f"{BINNING} {binning[row]:.5g} make it {fits[row]:.5g} A"
        )
        if off[row] > ROUGHLY_SAME and "rlnCenteredCoordinateXAngst" not in particles:
            raise InputError(
                f"{found}: where particles stand cannot be told, nor their defocus; correct the "
                "wrong one of the three (the tilt series' is that before binning)"
            )
        if off[row] > SAME:
            return (UserWarning(f"{found}; the size of the tomogram may be wrong"),)
    if optics_table is not None and TILT_SERIES_PIXEL in optics_table:
        stated = optics_table.numbers(TILT_SERIES_PIXEL)[optics.group]
        row = int(np.abs(stated / whole - 1).argmax())
        if not abs(stated[row] / whole[row] - 1) <= SAME:
            return (
                UserWarning(
                    f"{particles.path}: {TILT_SERIES_PIXEL} is {stated[row]:.5g} A in data_optics "
                    f"and {whole[row]:.5g} A in tomograms.star (tomogram {names[row]}); the second "
                    "is followed"
                ),
            )
    return ()

"""Columns of 2D stacks of WarpTools and RELION 4 and 5: one row and one stack a particle.

Their tilts stand in tomograms.star. The product of the files' matrices, tilt times particle, shows
the mirror image of the molecule in the frame of RELION's single particles. With M = diag(1, 1, -1)
the pose is M (T A) M; x and y of the image stay as they are, so shifts are not touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...errors import FileFormatError, InputError
from ...io.mrc import MrcHeader
from ...io.star import StarTable, find_table
from ..stack.image_files import find_stacks, image_place
from .assembly import ImageRows
from .coordinates import finite_numbers, particle_position
from .optics import MICROSCOPE, THESE_ARE_VOLUMES, Optics, read_optics, unmodelled_aberrations
from .ranges import require_in_range
from .relion import (
    euler_matrices,
    image_names,
    microscope_fields,
    particle_table,
    read_half,
    read_rotation,
)
from .tilt_series import without_excluded
from .tomograms import Tomogram, lists_of_numbers, read_tomograms

MIRROR = np.diag([1.0, 1.0, -1.0])
STRETCHED = 0.01
SMALL = 3.0  # degrees: a series of +-70 degrees that is taken for radians spans less
SUBTOMOGRAM_ANGLES = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")


def are_tilt_stacks(particles: StarTable) -> bool:
    """Whether the rows of a particle table are particles with a stack of tilts each.

    Parameters
    ----------
    particles : StarTable
        Of particles.

    Returns
    -------
    bool

    Examples
    --------
    >>> are_tilt_stacks(StarTable("", {"rlnTomoName": ["ts"], "rlnImageName": ["p.mrcs"]}))
    True
    >>> are_tilt_stacks(StarTable("", {"rlnTomoName": ["ts"], "rlnImageName": ["1@p.mrcs"]}))
    False
    """
    return "rlnTomoName" in particles and all(
        image_place(name)[0] is None for name in particles.texts("rlnImageName")[:1]
    )


def read_tilt_stacks(
    tables: list[StarTable],
    *,
    tomograms: str | Path | None,
    format: str,
    data_folder: str | Path | None = None,
    invert_contrast: bool | None = None,
) -> ImageRows:
    """What a STAR file of 2D stacks and its tomograms.star say of each tilt image.

    Hidden tilts (rlnTomoVisibleFrames) and excluded ones (rlnCtfScalefactor 0) are left out; dose,
    pose, CTF and image go by one mask.

    Parameters
    ----------
    tables : list of StarTable
        The particle file.
    tomograms : path
        The tomograms.star.
    format : str
        What messages call the files.
    data_folder, invert_contrast
        As for :func:`~atomdrgn.particles.reading.read_particles`.

    Returns
    -------
    ImageRows

    Raises
    ------
    InputError
        If `tomograms` is None, the images are volumes, or something is missing that tilts need.
    FileFormatError, MissingFileError
        If a file is not what it has to be.
    """
    particles, optics_table = particle_table(tables), find_table(tables, "optics")
    optics = read_optics(particles, optics_table)
    _refuse_other_images(tables, particles)
    names, _ = image_names(particles)
    if tomograms is None:
        raise InputError(
            f"{particles.path}: its rows are particles with a stack of tilts each (rlnTomoName), "
            "and the tilts stand in tomograms.star; pass it as tomograms (--tomograms)"
        )
    by_name = read_tomograms(tomograms, particles.texts("rlnTomoName"), data_folder=data_folder)
    of_row = [by_name[name] for name in particles.texts("rlnTomoName")]
    file, headers = find_stacks(names, beside=particles.path, data_folder=data_folder)
    n_tilts = [len(tomogram.projection) for tomogram in of_row]
    _refuse_cubes(particles, headers, n_tilts)
    shown = visible_images(
        particles, n_tilts=n_tilts, n_images=[headers[number].shape[0] for number in file]
    )
    row = shown.row
    projection, tilt_ctf = _of_images(by_name, particles, shown)
    offset = particle_offset(particles, optics.pixel_size)
    position, odd = particle_position(particles, optics_table, optics, of_row)
    depth = np.einsum("nj,nj->n", projection[:, 2], (position - offset)[row])
    hand = np.array([tomogram.hand for tomogram in of_row])
    half = read_half(particles)
    rows = ImageRows(
        source=particles.path,
        format=format,
        tilt_series=True,
        headers=headers,
        file=file[row],
        section=shown.section,
        row=row,
        particle=row,
        rotation=MIRROR @ projection @ particle_matrix(particles)[row] @ MIRROR,
        shift=-np.einsum("nij,nj->ni", projection[:, :2], offset[row]),
        ctf=_ctf(
            tilt_ctf, _microscope(optics, of_row, particles), row=row, depth=hand[row] * depth
        ),
        groups=optics.groups,
        optics_group=optics.group[row],
        sign=np.full(len(row), -1.0 if invert_contrast else 1.0),
        half=None if half is None else half[row],
        warnings=(
            *unmodelled_aberrations(particles, optics_table),
            *odd,
            *_stretch_warning(tomograms, by_name),
            *_small_tilts_warning(tomograms, by_name),
            *_microscopes_that_differ(optics, of_row, particles),
        ),
    )
    return _with_warning_of_lost(len(particles), without_excluded(rows))


def _refuse_cubes(
    particles: StarTable, headers: Sequence[MrcHeader], n_tilts: Sequence[int]
) -> None:
    """Refuse subtomogram volumes, which are cubes of another size than the number of tilts."""
    if (
        all(len(set(header.shape)) == 1 for header in headers)
        and headers[0].shape[0] not in n_tilts
    ):
        raise InputError(
            f"{particles.path}: {headers[0].path} is a cube of {headers[0].shape[0]} voxels, and "
            f"so are all: {THESE_ARE_VOLUMES}"
        )


@dataclass(frozen=True)
class VisibleImages:
    """The images of stacks of tilts that are not hidden.

    Parameters
    ----------
    row : (image,) int64
        Row of the particle file, from 0.
    tilt : (image,) int64
        Tilt of its tomogram, from 0.
    section : (image,) int64
        Number of the image in its stack, from 0.
    """

    row: np.ndarray
    tilt: np.ndarray
    section: np.ndarray


def visible_images(
    particles: StarTable,
    *,
    n_tilts: Sequence[int] | np.ndarray,
    n_images: Sequence[int] | np.ndarray,
) -> VisibleImages:
    """The images of stacks of tilts that are not hidden.

    WarpTools writes all tilts to a stack and RELION 5 only the visible ones; the number of images
    tells.

    Parameters
    ----------
    particles : StarTable
        Of particles.
    n_tilts, n_images : (row,) int
        Tilts of the tomogram, and images in the stack, of each row.

    Returns
    -------
    VisibleImages

    Raises
    ------
    FileFormatError
        If a stack holds neither all tilts nor the visible ones, or rlnTomoVisibleFrames has another
        length.

    Examples
    --------
    >>> table = StarTable("particles", {"rlnTomoVisibleFrames": ["[1,0,1]"]})
    >>> visible_images(table, n_tilts=[3], n_images=[2])
    VisibleImages(row=array([0, 0]), tilt=array([0, 2]), section=array([0, 1]))
    """
    visible = _visible(particles, n_tilts)
    row = np.repeat(np.arange(len(visible)), [np.count_nonzero(shown) for shown in visible])
    tilt = np.concatenate([np.flatnonzero(shown) for shown in visible])
    section = []
    for number, (shown, images) in enumerate(zip(visible, n_images, strict=True)):
        count = np.count_nonzero(shown)
        if images not in (len(shown), count):
            raise FileFormatError(
                f"{particles.path}: the stack of row {number + 1} holds {images} images, but its "
                f"tomogram has {len(shown)} tilts, of which {count} are visible; expected one of "
                "the two"
            )
        section.append(np.flatnonzero(shown) if images == len(shown) else np.arange(count))
    return VisibleImages(row, tilt, np.concatenate(section))


def particle_matrix(particles: StarTable) -> np.ndarray:
    """Rotation from the molecule to the tomogram, as the file means it.

    It is the product of the subtomogram's and the particle's.

    Parameters
    ----------
    particles : StarTable
        Of particles.

    Returns
    -------
    (row, 3, 3) float64

    Raises
    ------
    InputError, FileFormatError
        If an angle is missing, no number, or out of range.
    """
    return _subtomogram_matrix(particles) @ read_rotation(particles)


def origin_columns(particles: StarTable) -> list[str | None]:
    """The columns of RELION's origin along x, y and z: in A or, without that, in pixels.

    Parameters
    ----------
    particles : StarTable
        Of particles.

    Returns
    -------
    list of str or None
        None where neither is there.

    Examples
    --------
    >>> origin_columns(StarTable("", {"rlnOriginXAngst": ["0"], "rlnOriginY": ["0"]}))
    ['rlnOriginXAngst', 'rlnOriginY', None]
    """
    return [
        next(
            (name for name in (f"rlnOrigin{axis}Angst", f"rlnOrigin{axis}") if name in particles),
            None,
        )
        for axis in "XYZ"
    ]


def read_origin(particles: StarTable, pixel_size: np.ndarray) -> np.ndarray:
    """RELION's origin of each particle in its subtomogram's frame; 0 without a column.

    RELION 4 and 5 write rlnOriginXAngst in A; rlnOriginX, of RELION 3 and converters, is in pixels
    of the extracted image.

    Parameters
    ----------
    particles : StarTable
        Of particles.
    pixel_size : (row,)
        Of the extracted images, A.

    Returns
    -------
    (row, 3) float64
        A.

    Raises
    ------
    FileFormatError
        If one is not finite.

    Examples
    --------
    >>> table = StarTable("", {"rlnOriginX": ["2"], "rlnOriginZAngst": ["7"]})
    >>> read_origin(table, np.array([1.5])).tolist()
    [[3.0, 0.0, 7.0]]
    """
    origin = np.zeros((len(particles), 3))
    for axis, name in enumerate(origin_columns(particles)):
        if name is not None:
            origin[:, axis] = finite_numbers(particles, name) * (
                1 if name.endswith("Angst") else pixel_size
            )
    return origin


def particle_offset(particles: StarTable, pixel_size: np.ndarray) -> np.ndarray:
    """RELION's origin of each particle, turned from the subtomogram's frame to the tomogram's.

    The molecule stands at minus it from the coordinate, where the stack was extracted.

    Parameters
    ----------
    particles : StarTable
        Of particles.
    pixel_size : (row,)
        Of the extracted images, A.

    Returns
    -------
    (row, 3) float64
        A.

    Raises
    ------
    FileFormatError
        If an origin or an angle is not finite.
    """
    return np.einsum(
        "nij,nj->ni", _subtomogram_matrix(particles), read_origin(particles, pixel_size)
    )


def _stretch_warning(path: str | Path, by_name: dict[str, Tomogram]) -> tuple[Warning, ...]:
    name = max(by_name, key=lambda name: by_name[name].stretch)
    if by_name[name].stretch <= STRETCHED:
        return ()
    return (
        UserWarning(
            f"{path}: the projection matrices stretch or shorten by up to "
            f"{100 * by_name[name].stretch:.1f} % (tomogram {name}), which is not modelled: their "
            "rotations are used"
        ),
    )


def _small_tilts_warning(path: str | Path, by_name: dict[str, Tomogram]) -> tuple[Warning, ...]:
    """Tilts that hardly differ are those of no series: their angles are in radians, or 0."""
    for name, tomogram in by_name.items():
        axis = tomogram.projection[tomogram.ctf["scale"] != 0, 2]
        if len(axis) < 3:
            continue
        largest = np.degrees(np.arccos(np.clip(axis @ axis.T, -1, 1))).max()
        if largest < SMALL:
            return (
                UserWarning(
                    f"{path}: no two tilts of tomogram {name} are more than {largest:.2g} degrees "
                    "apart, as where angles are in radians in place of degrees, or missing: its "
                    "images are taken as untilted"
                ),
            )
    return ()


def _microscopes_that_differ(
    optics: Optics, tomograms: list[Tomogram], particles: StarTable
) -> tuple[Warning, ...]:
    """A warning where the particles' optics and their tomograms' contradict each other, or none."""
    for name, values in optics.values.items():
        for row, tomogram in enumerate(tomograms):
            if abs(tomogram.microscope.get(name, values[row]) - values[row]) > 0.01 * abs(
                values[row]
            ):
                return (
                    UserWarning(
                        f"{particles.path}: {name} is {values[row]:g} in the particles' optics and "
                        f"{tomogram.microscope[name]:g} in tomograms.star (tomogram "
                        f"{particles.texts('rlnTomoName')[row]}); the first is followed"
                    ),
                )
    return ()


def _refuse_other_images(tables: list[StarTable], particles: StarTable) -> None:
    general = find_table(tables, "general")
    flag = "rlnTomoSubTomosAre2DStacks"
    if general is not None and flag in general and general.texts(flag)[:1] == ["0"]:
        raise InputError(f"{particles.path}: {flag} is 0: {THESE_ARE_VOLUMES}")
    numbered = [
        row
        for row, name in enumerate(particles.texts("rlnImageName"))
        if image_place(name)[0] is not None
    ]
    if numbered:
        raise FileFormatError(
            f"{particles.path}: row {numbered[0] + 1} of rlnImageName names one image of a stack "
            "(NUMBER@STACK), but row 1 a whole stack of tilts; expected the same of all rows"
        )


def _with_warning_of_lost(count: int, rows: ImageRows) -> ImageRows:
    """The same rows, with a warning of the particles of which none is left."""
    lost = count - len(np.unique(rows.row))
    if lost in (0, count):  # without any image there is an error, elsewhere
        return rows
    return replace(
        rows,
        warnings=(
            *rows.warnings,
            UserWarning(
                f"{rows.source}: {lost} of {count} particles have no tilt that may be used: all "
                "are hidden (rlnTomoVisibleFrames) or excluded (rlnCtfScalefactor 0); they are "
                "left out, and the others are numbered without them"
            ),
        ),
    )


def _visible(particles: StarTable, n_tilts: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    if "rlnTomoVisibleFrames" not in particles:
        return [np.ones(count, bool) for count in n_tilts]
    visible = [flags != 0 for flags in lists_of_numbers(particles, "rlnTomoVisibleFrames")]
    for row, (shown, count) in enumerate(zip(visible, n_tilts, strict=True)):
        if len(shown) != count:
            raise FileFormatError(
                f"{particles.path}: row {row + 1} of rlnTomoVisibleFrames has {len(shown)} "
                f"entries, but its tomogram has {count} tilts"
            )
    return visible


def _of_images(
    by_name: dict[str, Tomogram], particles: StarTable, shown: VisibleImages
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Projection and CTF of the tilt that each image shows."""
    tomograms = list(by_name.values())
    first = np.concatenate([[0], np.cumsum([len(tomogram.projection) for tomogram in tomograms])])
    number = {name: i for i, name in enumerate(by_name)}
    of_row = np.array([number[name] for name in particles.texts("rlnTomoName")])
    entry = first[of_row[shown.row]] + shown.tilt
    ctf = {
        name: np.concatenate([tomogram.ctf[name] for tomogram in tomograms])[entry]
        for name in tomograms[0].ctf
    }
    return np.concatenate([tomogram.projection for tomogram in tomograms])[entry], ctf


def _subtomogram_matrix(particles: StarTable) -> np.ndarray:
    if SUBTOMOGRAM_ANGLES[0] not in particles:
        return np.broadcast_to(np.eye(3), (len(particles), 3, 3))
    return euler_matrices(particles, SUBTOMOGRAM_ANGLES)


def _microscope(
    optics: Optics, tomograms: list[Tomogram], particles: StarTable
) -> dict[str, np.ndarray]:
    """The microscope of each row: from the particles' optics, and the rest from the tomograms."""
    values = dict(optics.values)
    for name in MICROSCOPE:
        if name not in values and all(name in tomogram.microscope for tomogram in tomograms):
            values[name] = np.array([tomogram.microscope[name] for tomogram in tomograms])
            require_in_range(
                values[name], f"{name} of the tomogram", quantity=name, path=particles.path
            )
    return microscope_fields(Optics(optics.groups, optics.group, values), path=particles.path)


def _ctf(
    tilt_ctf: dict[str, np.ndarray],
    microscope: dict[str, np.ndarray],
    *,
    depth: np.ndarray,
    row: np.ndarray,
) -> dict[str, np.ndarray]:
    """CTF of each image; the particle's depth towards the camera's z adds to the defocus.

    By RELION's rlnTomoHand it adds to it or takes from it.
    """
    return {
        **tilt_ctf,
        "defocus_u": tilt_ctf["defocus_u"] + depth,
        "defocus_v": tilt_ctf["defocus_v"] + depth,
        "b_factor": np.zeros(len(row)),
        **{name: values[row] for name, values in microscope.items()},
    }

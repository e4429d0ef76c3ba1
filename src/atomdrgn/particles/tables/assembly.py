"""From what a particle file says of each image to a ParticleStack: what all formats share."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import FileFormatError, InputError
from ...io.mrc import MrcHeader
from ...physics.ctf import CTF
from ...physics.grid import ImageGrid
from ...physics.pose import Pose
from ..stack.image_files import ImageFiles, check_sections, list_rows
from ..stack.stack import ParticleStack
from .ranges import refuse_micrometres, require_in_range


@dataclass(frozen=True)
class OpticsGroup:
    """Images taken and processed alike.

    Parameters
    ----------
    name : str
        As the file has it.
    pixel_size : float
        A.
    box_size : int or None
        Pixels; None where the particle file does not say it (the stack does).
    premultiplied : bool
        Whether the images have been multiplied by their CTF.
    """

    name: str
    pixel_size: float
    box_size: int | None = None
    premultiplied: bool = False


@dataclass(frozen=True)
class ImageRows:
    """What a particle file says of each image, in our conventions: what every format is read to.

    Parameters
    ----------
    source : Path
        The particle file.
    format : str
        What messages call it.
    headers : tuple of MrcHeader
        The stacks.
    file, section : (image,) int64
        Which stack, and which image of it, from 0.
    row : (image,) int64
        Row of the table, from 0.
    particle : (image,) int64
        Any labels; equal where images show one molecule.
    rotation : (image, 3, 3) float64
        Molecule to microscope.
    shift : (image, 2) float64
        Where the molecule's origin stands from the image's, A.
    ctf : dict of (image,) float64
        Fields of :class:`CTF`.
    groups : tuple of OpticsGroup
        All that the file has.
    optics_group : (image,) int64
        Index into `groups`.
    sign : (image,) float64
        Factor that makes protein white.
    half : (image,) int64 or None
        Half-set, 1 or 2, where the file says it; one value for all is as if it did not.
    half_column, origin_columns : str
        What the file calls the half-set, and what moves the molecule to the centre of its image.
    tilt_series : bool
        Images of a particle are tilts, in the order of their dose.
    warnings : tuple of Warning
        What is odd about the file.
    """

    source: Path
    format: str
    headers: tuple[MrcHeader, ...]
    file: np.ndarray
    section: np.ndarray
    row: np.ndarray
    particle: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    ctf: dict[str, np.ndarray]
    groups: tuple[OpticsGroup, ...]
    optics_group: np.ndarray
    sign: np.ndarray
    half: np.ndarray | None = None
    half_column: str = "rlnRandomSubset"
    origin_columns: str = "rlnOrigin"
    tilt_series: bool = False
    warnings: tuple[Warning, ...] = field(default=())


def assemble(rows: ImageRows, *, box: int | None = None) -> ParticleStack:
    """The particle stack of these rows, on the grid of the first optics group.

    Warnings are issued here.

    Parameters
    ----------
    rows : ImageRows
        What a particle file says.
    box : int, optional
        Crop images to this many pixels in Fourier space.

    Returns
    -------
    ParticleStack

    Raises
    ------
    FileFormatError
        If a stack holds fewer images than the rows name, or images of another size than the
        particle file says, or a pose or CTF is not finite or out of range.
    InputError
        If there are no rows, or `box` is larger than the images.
    """
    if len(rows.row) == 0:
        raise InputError(
            f"{rows.source}: no images: the file has no rows, or each of its tilts is hidden "
            "(rlnTomoVisibleFrames) or excluded (rlnCtfScalefactor 0)"
        )
    _refuse_out_of_range(rows)
    check_sections(rows.file, rows.section, rows.row, headers=rows.headers, beside=rows.source)
    used = np.unique(rows.optics_group)
    grids = tuple(_grid(rows, number) for number in used)
    optics_group = np.searchsorted(used, rows.optics_group)
    extent = np.array([grid.extent for grid in grids])[optics_group]
    _refuse_far_shifts(rows, extent)
    particle = number_by_first_row(rows.particle)
    half = _halves(rows, particle)
    found = _all_warnings(rows, grids, particle, extent)
    for warning in found:
        warnings.warn(warning, stacklevel=3)
    premultiplied = np.array([rows.groups[number].premultiplied for number in used])
    return ParticleStack(
        images=ImageFiles(
            _integer(rows.file), _integer(rows.section), _float(rows.sign), rows.headers
        ),
        grid=grids[0].cropped(box) if box else grids[0],
        pose=Pose(_float(rows.rotation), _float(rows.shift)),
        ctf=CTF(**{name: _float(values) for name, values in rows.ctf.items()}),
        particle=_integer(particle),
        row=_integer(rows.row),
        half=_integer(half),
        optics_group=_integer(optics_group),
        tilt=_integer(order_by_dose(particle, rows.ctf["dose"])),
        premultiplied=torch.from_numpy(premultiplied[optics_group]),
        optics_group_names=tuple(rows.groups[number].name for number in used),
        optics_group_grids=grids,
        source=rows.source,
        format=rows.format,
        warnings=tuple(str(warning) for warning in found),
    )


def _all_warnings(
    rows: ImageRows, grids: Sequence[ImageGrid], particle: np.ndarray, extent: np.ndarray
) -> tuple[Warning, ...]:
    """What is odd about the file, and what is odd whatever the format."""
    return (
        *rows.warnings,
        *_pixel_size_warnings(rows),
        *_odd_box_warning(rows, grids),
        *_parted_copies(rows, particle),
        *_tilt_warnings(rows),
        *_half_set_warning(rows),
        *_shift_warning(rows, extent),
        *_overfocus_warning(rows),
    )


def number_by_first_row(label: Sequence[str] | np.ndarray) -> np.ndarray:
    """Labels as numbers from 0 in the order of their first appearance.

    Parameters
    ----------
    label : (image,)
        Texts or numbers.

    Returns
    -------
    (image,) int64

    Examples
    --------
    >>> number_by_first_row(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def order_by_dose(particle: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """Place of each image by dose among those of its particle, from 0.

    Ties stay in the order of the file.

    Parameters
    ----------
    particle : (image,) int
        Whose it is.
    dose : (image,) float
        Before it.

    Returns
    -------
    (image,) int64

    Examples
    --------
    >>> order_by_dose(np.array([0, 0, 1, 0]), np.array([6.0, 3.0, 0.0, 0.0])).tolist()
    [2, 1, 0, 0]
    """
    order = np.lexsort((dose, particle))
    start = np.searchsorted(particle[order], particle[order])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - start
    return place


def half_sets(image: np.ndarray) -> np.ndarray:
    """Half-set of each particle, 1 or 2, by turns; copies of one image are in one half-set.

    Symmetry expansion makes such copies.

    Parameters
    ----------
    image : (particle,)
        Label of the (first) image of each particle: copies are known by having the same.

    Returns
    -------
    (particle,) int64

    Examples
    --------
    >>> half_sets(np.array([4, 4, 7, 9])).tolist()
    [1, 1, 2, 1]
    """
    return number_by_first_row(image) % 2 + 1


def stated_halves(half: np.ndarray | None) -> np.ndarray | None:
    """The half-set of each row as a file has it; one value for all rows is no split: None.

    Parameters
    ----------
    half : (row,) int or None
        As it stands in the file.

    Returns
    -------
    (row,) int or None

    Examples
    --------
    >>> stated_halves(np.array([1, 2, 2])).tolist()
    [1, 2, 2]
    >>> stated_halves(np.array([1, 1, 1]))
    """
    return None if half is None or (half == half[0]).all() else half


def copies_in_both(image: np.ndarray, half: np.ndarray) -> int:
    """How many images are in both half-sets, because their copies have been parted.

    Parameters
    ----------
    image, half : (particle,)
        Label of each particle's (first) image, and its half-set.

    Returns
    -------
    int

    Examples
    --------
    >>> copies_in_both(np.array([4, 4, 7]), np.array([1, 2, 1]))
    1
    """
    number = number_by_first_row(image)
    return int(np.count_nonzero(np.isin(np.unique(number[half == 1]), number[half == 2])))


def _first_image(rows: ImageRows, particle: np.ndarray) -> np.ndarray:
    """Label of the first image of each particle: its place in its stack."""
    _, first = np.unique(particle, return_index=True)
    return np.unique(np.stack([rows.file, rows.section], 1)[first], axis=0, return_inverse=True)[
        1
    ].reshape(-1)


def _parted_copies(rows: ImageRows, particle: np.ndarray) -> tuple[Warning, ...]:
    half = stated_halves(rows.half)
    if half is None:
        return ()
    _, first = np.unique(particle, return_index=True)
    parted = copies_in_both(_first_image(rows, particle), half[first])
    if not parted:
        return ()
    return (
        UserWarning(
            f"{rows.source}: {parted} images have copies (rows with the same image name) in both "
            "half-sets: the halves are not independent, and what is measured by them looks better "
            "than it is"
        ),
    )


def _refuse_out_of_range(rows: ImageRows) -> None:
    """Refuse what no reader may let through, whatever the format.

    Readers that know columns refuse it with their names.
    """
    pose = rows.rotation.sum((1, 2)) + rows.shift.sum(1)
    bad = rows.row[~np.isfinite(pose)]
    if len(bad):
        raise FileFormatError(
            f"{rows.source}: the pose of {list_rows(np.unique(bad))} is not finite; leave these "
            "rows out"
        )
    for name, values in rows.ctf.items():
        require_in_range(values, f"the CTF's {name}", quantity=name, path=rows.source, row=rows.row)
    refuse_micrometres(
        rows.ctf["defocus_u"], rows.ctf["defocus_v"], "the defocus", path=rows.source, row=rows.row
    )
    for number in np.unique(rows.optics_group):
        require_in_range(
            [rows.groups[number].pixel_size],
            f"the pixel size of optics group {rows.groups[number].name}",
            quantity="pixel size",
            path=rows.source,
            row=rows.row[rows.optics_group == number],
        )


def _refuse_far_shifts(rows: ImageRows, extent: np.ndarray) -> None:
    """Refuse origins that put a molecule far outside of its image, where none of it is seen."""
    far = np.flatnonzero(np.abs(rows.shift).max(1) > 2 * extent)
    if len(far):
        raise FileFormatError(
            f"{rows.source}: {rows.origin_columns} of {list_rows(np.unique(rows.row[far]))} moves "
            f"the molecule by {np.abs(rows.shift[far[0]]).max():.5g} A, and its image has an edge "
            f"of {extent[far[0]]:.5g} A; look whether it is in angstrom or pixels, or leave these "
            "rows out"
        )


def _shift_warning(rows: ImageRows, extent: np.ndarray) -> Iterator[Warning]:
    outside = np.count_nonzero(np.abs(rows.shift).max(1) > extent / 2)
    if outside:
        yield UserWarning(
            f"{rows.source}: {rows.origin_columns} puts the centre of the molecule outside of its "
            f"image in {outside:,} of {len(extent):,} images; look whether it is in angstrom or "
            "pixels"
        )


def _overfocus_warning(rows: ImageRows) -> Iterator[Warning]:
    if (rows.ctf["defocus_u"] + rows.ctf["defocus_v"] < 0).all():
        yield UserWarning(
            f"{rows.source}: the defocus of all images is negative, which is overfocus; underfocus "
            "is positive here, as in RELION and cryoSPARC: turn the sign where that is what was "
            "meant"
        )


def _half_set_warning(rows: ImageRows) -> Iterator[Warning]:
    if (
        rows.half is not None
        and stated_halves(rows.half) is None
        and len(np.unique(rows.particle)) > 1
    ):
        yield UserWarning(
            f"{rows.source}: {rows.half_column} has one value for all particles, which parts "
            "nothing: half-sets are taken by turns"
        )


def _halves(rows: ImageRows, particle: np.ndarray) -> np.ndarray:
    stated = stated_halves(rows.half)
    if stated is None:
        return half_sets(_first_image(rows, particle))[particle]
    wrong = ~np.isin(stated, (1, 2))
    if wrong.any():
        other = (
            "; if 0 and 1 are meant as half-sets, write 1 and 2"
            if set(np.unique(stated)) == {0, 1}
            else ""
        )
        raise FileFormatError(
            f"{rows.source}: row {rows.row[wrong][0] + 1} is of half-set {stated[wrong][0]} "
            f"({rows.half_column}), expected 1 or 2{other}"
        )
    _, first = np.unique(particle, return_index=True)
    half = stated[first][particle]
    if (half != stated).any():
        row = rows.row[half != stated][0]
        raise FileFormatError(
            f"{rows.source}: row {row + 1} is of another half-set than the first image of its "
            "particle; the halves would not be independent"
        )
    return half


def _grid(rows: ImageRows, number: np.integer) -> ImageGrid:
    group, mine = rows.groups[number], np.unique(rows.file[rows.optics_group == number])
    shapes = {rows.headers[file].shape[1:] for file in mine}
    if len(shapes) > 1 or len(set(next(iter(shapes)))) > 1:
        raise FileFormatError(
            f"{rows.source}: the stacks of optics group {group.name} hold images of "
            f"{' and '.join(f'{x} x {y}' for y, x in sorted(shapes))} pixels; expected one square "
            "size"
        )
    box = shapes.pop()[0]
    if group.box_size not in (None, box):
        raise FileFormatError(
            f"{rows.source}: optics group {group.name} has a box of {group.box_size} pixels, but "
            f"{rows.headers[mine[0]].path} holds images of {box}"
        )
    return ImageGrid(box, group.pixel_size)


def _pixel_size_warnings(rows: ImageRows) -> Iterator[Warning]:
    """Headers that contradict the particle file.

    0 and 1 A are what programs write that do not know.
    """
    for number in np.unique(rows.optics_group):
        header = rows.headers[rows.file[rows.optics_group == number][0]]
        stated, believed = header.voxel_size[0], rows.groups[number].pixel_size
        if stated not in (0.0, 1.0) and abs(stated / believed - 1) > 0.01:
            yield UserWarning(
                f"{rows.source}: pixels of {believed:.4g} A, but the header of {header.path.name} "
                f"says {stated:.4g} A; the particle file is followed"
            )


def _odd_box_warning(rows: ImageRows, grids: Sequence[ImageGrid]) -> Iterator[Warning]:
    odd = sorted({grid.box_size for grid in grids if grid.box_size % 2})
    if odd:
        yield UserWarning(
            f"{rows.source}: images of {' and '.join(map(str, odd))} pixels: programs differ by a "
            "pixel in where the centre of an odd box is; pixel box // 2, counted from 0, is taken"
        )


def _tilt_warnings(rows: ImageRows) -> Iterator[Warning]:
    """What weakens tilt series without making them wrong."""
    if not rows.tilt_series:
        return
    if len(np.unique(rows.particle)) == len(rows.particle):
        yield UserWarning(
            f"{rows.source}: tilt series of one tilt each: they are used as single images, which "
            "is what they are"
        )
    elif not rows.ctf["dose"].any():
        yield UserWarning(
            f"{rows.source}: no tilt has a dose, so that all are weighted as undamaged; the dose "
            "before each tilt is rlnMicrographPreExposure, or -rlnCtfBfactor / 4 with one row an "
            "image"
        )
    elif n_same := _count_with_one_dose(rows):
        yield UserWarning(
            f"{rows.source}: in {n_same} of {len(np.unique(rows.particle))} particles all tilts "
            "have one dose, so that they are weighted alike, whichever came first; the dose before "
            "each tilt is rlnMicrographPreExposure, or -rlnCtfBfactor / 4 with one row an image"
        )


def _count_with_one_dose(rows: ImageRows) -> int:
    """How many particles have several tilts, all with one dose, as no two exposures have."""
    _, particle, count = np.unique(rows.particle, return_inverse=True, return_counts=True)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    dose = rows.ctf["dose"][np.argsort(particle.reshape(-1), kind="stable")]
    return int(
        np.count_nonzero(
            (np.minimum.reduceat(dose, start) == np.maximum.reduceat(dose, start)) & (count > 1)
        )
    )


def _integer(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))


def _float(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

"""Optics of RELION's particle files.

They are a table of groups (3.1 and later) or columns of the particles (3.0 and before).
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import FileFormatError, InputError, UnmodelledWarning
from ...io.star import StarTable
from ...io.text import readable
from .assembly import OpticsGroup
from .ranges import numbers_in_range, require_in_range

MICROSCOPE = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
STATED_PIXELS = ("rlnImagePixelSize", "rlnPixelSize")
DETECTOR = ("rlnDetectorPixelSize", "rlnMagnification")
ABERRATIONS = ("rlnBeamTiltX", "rlnBeamTiltY", "rlnOddZernike", "rlnEvenZernike")
THESE_ARE_VOLUMES = (
    "these are subtomogram volumes, and 2D images are needed; extract the particles again as 2D "
    "stacks of tilts: in RELION 5 (which opens projects of RELION 4, which makes no 2D stacks) "
    "with `relion_tomo_subtomo --i optimisation_set.star --b BOX --bin BINNING --stack2d --o "
    "FOLDER/`, in WarpTools with `WarpTools ts_export_particles --settings SETTINGS --input_star "
    "STAR --coords_angpix A --output_star STAR --output_angpix A --box BOX --diameter A --2d`"
)
MAGNIFICATION = {"rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0, "rlnMagMat11": 1.0}


@dataclass(frozen=True)
class Optics:
    """The optics of each row of a particle table.

    Parameters
    ----------
    groups : tuple of OpticsGroup
    group : (row,) int64
        Index into `groups`.
    values : dict of (row,) float64
        Those of ``rlnVoltage``, ``rlnSphericalAberration`` and ``rlnAmplitudeContrast`` that the
        file holds.
    tables : dict of StarTable
        Where these stand.
    """

    groups: tuple[OpticsGroup, ...]
    group: np.ndarray
    values: dict[str, np.ndarray]
    tables: dict[str, StarTable] = field(default_factory=dict)

    @property
    def pixel_size(self) -> np.ndarray:
        """Pixel size of each row, A (row,)."""
        return np.array([group.pixel_size for group in self.groups])[self.group]


def read_optics(particles: StarTable, optics: StarTable | None) -> Optics:
    """Optics of each row: from the optics table, or from columns of the particles without one.

    Parameters
    ----------
    particles : StarTable
        That lists the images.
    optics : StarTable or None
        The table of groups.

    Returns
    -------
    Optics

    Raises
    ------
    FileFormatError
        If a row is of a group that the optics table does not list.
    InputError
        If the pixel size is nowhere, the images are volumes, or they were phase-flipped.

    Examples
    --------
    >>> particles = StarTable("", {"rlnImageName": ["1@a.mrcs"], "rlnPixelSize": ["1.35"]})
    >>> read_optics(particles, None).pixel_size
    array([1.35])
    """
    if optics is None:
        return _from_columns(particles)
    _refuse_unusable(optics)
    group = _group_of_rows(particles, optics)
    pixel_size = _pixel_size(optics)
    if pixel_size is None:
        by_row = _needed_pixel_size(particles)
        _refuse_different_pixels(by_row, group, path=particles.path)
        pixel_size = np.array(
            [by_row[group == g][0] if (group == g).any() else np.nan for g in range(len(optics))]
        )
    groups = _groups(optics, pixel_size)
    tables = {
        name: optics if name in optics else particles
        for name in MICROSCOPE
        if name in optics or name in particles
    }
    values = {
        name: optics.numbers(name)[group] if name in optics else particles.numbers(name)
        for name in tables
    }
    return Optics(groups, group, values, tables)


def _groups(optics: StarTable, pixel_size: np.ndarray) -> tuple[OpticsGroup, ...]:
    """The groups of an optics table, of pixels of these sizes, A."""
    names = (
        optics.texts("rlnOpticsGroupName")
        if "rlnOpticsGroupName" in optics
        else [str(i + 1) for i in range(len(optics))]
    )
    boxes = (
        numbers_in_range(optics, "rlnImageSize").astype(int).tolist()
        if "rlnImageSize" in optics
        else [None] * len(optics)
    )
    flag = "rlnCtfDataAreCtfPremultiplied"
    premultiplied = optics.numbers(flag) != 0 if flag in optics else np.zeros(len(optics), bool)
    return tuple(
        OpticsGroup(readable(name), float(size), box, bool(flag))
        for name, size, box, flag in zip(names, pixel_size, boxes, premultiplied, strict=True)
    )


def unmodelled_aberrations(*tables: StarTable | None) -> tuple[Warning, ...]:
    """One warning that names all aberrations that the tables hold and our CTF does not, or none.

    Parameters
    ----------
    *tables : StarTable or None
        Of particles and of optics groups.

    Returns
    -------
    tuple of Warning
        One at most.

    Examples
    --------
    >>> table = StarTable("optics", {"rlnBeamTiltX": ["0.3"]})
    >>> [str(warning)[:54] for warning in unmodelled_aberrations(table)]
    ['table: aberrations that are not modelled and were left']
    """
    present, there = [], [table for table in tables if table is not None]
    for table in there:
        present += [
            name for name in ABERRATIONS if name in table and _differs(table, name, 0.0, 1e-6)
        ]
        present += [
            name
            for name, value in MAGNIFICATION.items()
            if name in table and _differs(table, name, value, 1e-4)
        ]
    if not present:
        return ()
    return (
        UnmodelledWarning(
            f"{there[0].path}: aberrations that are not modelled and were left out: "
            f"{', '.join(present)}; resolution finer than a few angstrom suffers"
        ),
    )


def pixel_sizes_that_differ(particles: StarTable, optics: StarTable | None) -> tuple[Warning, ...]:
    """A warning where detector and magnification contradict the pixel size, or none.

    Parameters
    ----------
    particles : StarTable
        That lists the images.
    optics : StarTable or None
        The table of groups.

    Returns
    -------
    tuple of Warning
        One at most.
    """
    table = optics if optics is not None and _pixel_size(optics) is not None else particles
    stated = next((name for name in STATED_PIXELS if name in table), None)
    if stated is None or not all(name in table for name in DETECTOR):
        return ()
    pixel, magnification = table.numbers(DETECTOR[0]), table.numbers(DETECTOR[1])
    computed = pixel * 1e4 / np.where(magnification > 0, magnification, np.nan)
    taken = table.numbers(stated)
    row = int(np.argmax(np.nan_to_num(np.abs(computed / taken - 1))))
    if not abs(computed[row] / taken[row] - 1) > 0.01:
        return ()
    return (
        UserWarning(
            f"{table.path}: row {row + 1} of data_{table.block} has pixels of {taken[row]:.5g} A "
            f"by {stated} and of {computed[row]:.5g} A by {' over '.join(DETECTOR)}; the first is "
            "followed"
        ),
    )


def _from_columns(particles: StarTable) -> Optics:
    _refuse_unusable(particles)
    pixel_size = _needed_pixel_size(particles)
    values = {name: particles.numbers(name) for name in MICROSCOPE if name in particles}
    _, first, group = np.unique(
        np.stack([pixel_size, *values.values()], 1), axis=0, return_index=True, return_inverse=True
    )
    groups = tuple(
        OpticsGroup(str(number + 1), float(pixel_size[row])) for number, row in enumerate(first)
    )
    return Optics(groups, group.reshape(-1), values, dict.fromkeys(values, particles))


def _refuse_different_pixels(pixel_size: np.ndarray, group: np.ndarray, *, path: Path) -> None:
    """Refuse pixels of several sizes in one optics group: its images are read on one grid."""
    order = np.lexsort((pixel_size, group))
    change = np.flatnonzero(
        (np.diff(group[order]) == 0) & (np.diff(pixel_size[order]) > 1e-4 * pixel_size[order][1:])
    )
    if len(change):
        row = order[change[0] + 1]
        raise FileFormatError(
            f"{path}: row {row + 1} has pixels of {pixel_size[row]:g} A, and other rows of its "
            f"optics group of {pixel_size[order[change[0]]]:g} A; part the group"
        )


def _refuse_listed_twice(optics: StarTable, listed: np.ndarray) -> None:
    """Refuse groups that stand twice in the optics table with different values.

    Whose a row's are cannot be told.
    """
    rows = list(zip(*optics.columns.values(), strict=True))
    first: dict[int, int] = {}
    for row, number in enumerate(listed.tolist()):
        if rows[first.setdefault(number, row)] != rows[row]:
            raise FileFormatError(
                f"{optics.path}: rows {first[number] + 1} and {row + 1} of data_optics are both "
                f"optics group {number:g} and differ; number the groups apart, here and in the "
                "particles"
            )


def _group_of_rows(particles: StarTable, optics: StarTable) -> np.ndarray:
    if "rlnOpticsGroup" not in particles and len(optics) == 1:
        return np.zeros(len(particles), np.int64)
    listed = optics.numbers("rlnOpticsGroup")
    wanted = particles.numbers("rlnOpticsGroup")
    _refuse_listed_twice(optics, listed)
    unknown = np.flatnonzero(~np.isin(wanted, listed))
    if len(unknown):
        raise FileFormatError(
            f"{particles.path}: row {unknown[0] + 1} is of optics group {wanted[unknown[0]]:g}, "
            f"but data_optics lists {', '.join(f'{g:g}' for g in listed)}"
        )
    order = np.argsort(listed)
    return order[np.searchsorted(listed[order], wanted)]


def _needed_pixel_size(table: StarTable) -> np.ndarray:
    size = _pixel_size(table)
    if size is None:
        raise InputError(
            f"{table.path}: no pixel size: expected rlnImagePixelSize in an optics table, "
            "rlnPixelSize, or rlnDetectorPixelSize with rlnMagnification; add one of them"
        )
    return size


def _pixel_size(table: StarTable) -> np.ndarray | None:
    """Pixel size of each row of a table, A, or None where it has no such columns."""
    for name in STATED_PIXELS:
        if name in table:
            return numbers_in_range(table, name)
    if "rlnDetectorPixelSize" in table:
        # micrometres over the magnification; RELION takes 10,000 where that is
        # missing, which makes it angstrom
        magnification = (
            numbers_in_range(table, "rlnMagnification") if "rlnMagnification" in table else 1e4
        )
        pixel_size = numbers_in_range(table, "rlnDetectorPixelSize") * 1e4 / magnification
        require_in_range(
            pixel_size,
            "rlnDetectorPixelSize (micrometres) over rlnMagnification",
            quantity="pixel size",
            path=table.path,
        )
        return pixel_size
    return None


def _refuse_unusable(table: StarTable) -> None:
    if "rlnImageDimensionality" in table and (table.numbers("rlnImageDimensionality") == 3).any():
        raise InputError(f"{table.path}: rlnImageDimensionality is 3: {THESE_ARE_VOLUMES}")
    if (
        "rlnCtfDataArePhaseFlipped" in table
        and (table.numbers("rlnCtfDataArePhaseFlipped") != 0).any()
    ):
        raise InputError(
            f"{table.path}: the images are phase-flipped (rlnCtfDataArePhaseFlipped), which is not "
            "supported; extract them again without flipping"
        )


def _differs(table: StarTable, name: str, expected: float, tolerance: float) -> bool:
    return any(
        abs(float(number) - expected) > tolerance
        for token in set(table.texts(name))
        for number in re.split(r"[\[\],\s]+", token)
        if number
    )

"""Tilt images with one row an image (Warp and M 1.x).

It says which rows are one particle, and what their CTF columns mean.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...errors import InputError
from ...io.star import StarTable
from ..stack.image_files import image_place, list_rows
from .assembly import ImageRows, number_by_first_row

COLUMNS = ("rlnGroupName", "rlnCtfScalefactor", "rlnCtfBfactor")
MICROGRAPH = "rlnMicrographName"
SINGLE = "if the rows are single particles, take rlnGroupName out of the file"


@dataclass(frozen=True)
class TiltRows:
    """Whose tilt each row is.

    Parameters
    ----------
    particle : (row,) int64
        Number of the particle, from 0 by first row.
    dose : (row,) float64
        Before the tilt, e/A^2.
    warnings : tuple of Warning
        What is odd about the groups.
    """

    particle: np.ndarray
    dose: np.ndarray
    warnings: tuple[Warning, ...] = ()


def are_tilt_rows(particles: StarTable, *, tilt_series: bool = False) -> bool:
    """Whether rows are tilts of particles, and no single particles.

    rlnGroupName alone proves nothing, in single-particle files it is a noise group. Warp writes the
    cosine of the tilt as rlnCtfScalefactor and -4 times the dose as rlnCtfBfactor, so that both
    together show tilts.

    Parameters
    ----------
    particles : StarTable
    tilt_series : bool
        The user says that the rows of a group are tilts of a particle.

    Raises
    ------
    FileFormatError
        If a scale or B factor is no number.

    Returns
    -------
    bool

    Examples
    --------
    >>> columns = {
    ...     "rlnGroupName": ["a", "a", "b", "b"],
    ...     "rlnCtfScalefactor": ["1", "0.9", "1", "0.9"],
    ...     "rlnCtfBfactor": ["0", "-8", "0", "-8"],
    ... }
    >>> are_tilt_rows(StarTable("particles", columns))
    True
    >>> are_tilt_rows(StarTable("particles", columns | {"rlnGroupName": ["a", "b", "c", "d"]}))
    False
    """
    return tilt_series or _look_like_tilts(particles)


def refuse_tilts_without_dose(particles: StarTable) -> None:
    """Refuse rows that are tilts but for the column of the dose, which would be taken for single.

    Parameters
    ----------
    particles : StarTable
        Of which :func:`are_tilt_rows` says that they are no tilts.

    Raises
    ------
    InputError
        If scales look like tilts and there are no doses.
    """
    found = _lack_of_dose(particles)
    # images without a CTF are simulated, for them a warning will do
    if found and "rlnDefocusU" in particles:
        raise InputError(f"{found}; {SINGLE}")


def read_tilt_rows(particles: StarTable, *, tilt_series: bool = False) -> TiltRows:
    """Whose tilt each row is, of rows that are tilts of particles (:func:`are_tilt_rows`).

    Exports that were joined may number their groups alike: groups whose rows are of several
    micrographs are parted by these. M names each tilt's own movie as micrograph; such names part
    nothing.

    Parameters
    ----------
    particles : StarTable
    tilt_series : bool
        The user says that the rows of a group are tilts of a particle.

    Returns
    -------
    TiltRows

    Raises
    ------
    InputError
        If a column is missing, a dose is negative, a row stands twice, or two rows of a particle
        have one dose: molecules would be mixed, or the tilts of one be in both half-sets.
    """
    missing = [name for name in COLUMNS if name not in particles]
    if missing:
        raise InputError(
            f"{particles.path}: no {' and no '.join(missing)}, which tilt series with one row an "
            "image need (particle, cosine of the tilt, and -4 times the dose)"
        )
    scale, dose = _scale_and_dose(particles)
    _refuse_wrong_numbers(particles, scale, dose, tilt_series=tilt_series)
    groups = particles.texts(COLUMNS[0])
    group, kept = number_by_first_row(groups), scale != 0
    particle, parted_by = _parted(particles, group, dose, kept)
    _refuse_doubled_rows(particles, particle)
    _refuse_equal_doses(particles, particle, dose, kept, scale=scale, tilt_series=tilt_series)
    warnings: tuple[Warning, ...] = ()
    if parted_by:
        name = groups[int(np.flatnonzero(_in_several_parts(group, particle))[0])]
        warnings = (
            UserWarning(
                f"{particles.path}: groups such as {name} (rlnGroupName) hold rows of several "
                f"{parted_by}, as in joined files whose groups are numbered alike; they were "
                f"parted by these: {particle.max() + 1} particles in place of {group.max() + 1}"
            ),
        )
    return TiltRows(particle, dose, warnings)


def tilts_in_doubt(particles: StarTable) -> tuple[Warning, ...]:
    """A warning where rows that are read as single particles look like tilts; or none.

    They lack doses, groups or scales then.

    Parameters
    ----------
    particles : StarTable
        Of which :func:`are_tilt_rows` says that they are no tilts.

    Returns
    -------
    tuple of Warning
        One at most.
    """
    found = _lack_of_dose(particles) or _lack_of_groups(particles) or _lack_of_scale(particles)
    return (UserWarning(f"{found}: they are read as single particles"),) if found else ()


def as_tilt_series(
    rows: ImageRows, particles: StarTable, tilts: TiltRows, *, format: str
) -> ImageRows:
    """The rows with tilts of one particle together and dose for B factor; excluded ones left out.

    Warp marks a tilt that is not to be used with a scale of 0; these are left out and counted in a
    warning.

    Parameters
    ----------
    rows : ImageRows
        As read for single images.
    particles : StarTable
        Their table.
    tilts : TiltRows
        Whose tilt each is.
    format : str
        What messages call the files.

    Returns
    -------
    ImageRows
    """
    ctf = {
        **rows.ctf,
        "scale": particles.numbers(COLUMNS[1]),
        "dose": tilts.dose,
        "b_factor": np.zeros(len(particles)),
    }
    return without_excluded(
        replace(
            rows,
            format=format,
            tilt_series=True,
            particle=tilts.particle,
            ctf=ctf,
            warnings=(*rows.warnings, *tilts.warnings),
        )
    )


def without_excluded(rows: ImageRows) -> ImageRows:
    """The rows without tilts whose scale is 0, by which Warp marks those that are not to be used.

    Parameters
    ----------
    rows : ImageRows
        Of tilt series.

    Returns
    -------
    ImageRows
        With a warning that counts those that were left out.
    """
    kept = rows.ctf["scale"] != 0
    if kept.all():
        return rows
    warning = UserWarning(
        f"{rows.source}: {np.count_nonzero(~kept)} of {len(kept)} tilt images have "
        "rlnCtfScalefactor 0: they are marked as excluded and were left out"
    )
    names = ("file", "section", "row", "particle", "rotation", "shift", "optics_group", "sign")
    return replace(
        rows,
        **{name: getattr(rows, name)[kept] for name in names},
        ctf={k: v[kept] for k, v in rows.ctf.items()},
        half=None if rows.half is None else rows.half[kept],
        warnings=(*rows.warnings, warning),
    )


def _scale_and_dose(particles: StarTable) -> tuple[np.ndarray, np.ndarray]:
    return particles.numbers(COLUMNS[1]), -particles.numbers(COLUMNS[2]) / 4


def _lack_of_dose(particles: StarTable) -> str | None:
    """What to say where what looks like tilts lacks the column of the dose; or None."""
    if COLUMNS[2] in particles or not _look_like_tilts(
        particles.with_column(COLUMNS[2], ["0"] * len(particles))
    ):
        return None
    return (
        f"{particles.path}: groups repeat (rlnGroupName) and rlnCtfScalefactor looks like the "
        "cosine of a tilt, but there is no rlnCtfBfactor (-4 times the dose); if rows of a group "
        "are tilts of one particle, add it (0 for an unknown dose) and pass tilt_series "
        "(--tilt-series)"
    )


def _lack_of_groups(particles: StarTable) -> str | None:
    """What to say where rows share scales and doses as tilts do, but are in no groups; or None.

    Whose they are is not known then.
    """
    if any(name not in particles for name in COLUMNS[1:]) or len(particles) == 0:
        return None
    scale, dose = _scale_and_dose(particles)
    if len(set(particles.columns.get(COLUMNS[0], range(len(particles))))) < len(particles):
        return None
    pairs, doses = len(np.unique(np.stack([scale, dose], 1), axis=0)), len(np.unique(dose))
    like_cosines = (
        ((scale >= 0) & (scale <= 1 + 1e-3)).all() and np.ptp(scale) > 0.2 and scale.max() > 0.99
    )
    if not like_cosines or (dose < 0).any() or doses < 3 or len(particles) < 1.5 * pairs:
        return None
    return (
        f"{particles.path}: rlnCtfScalefactor and rlnCtfBfactor look like those of tilts, but no "
        "two rows share an rlnGroupName; if they are tilts, give those of one particle one group, "
        "or they may be in both half-sets"
    )


def _lack_of_scale(particles: StarTable) -> str | None:
    """What to say where groups and doses are those of tilts, but scales are not; or None.

    No scale is the cosine of a tilt then.
    """
    if any(name not in particles for name in (COLUMNS[0], COLUMNS[2])) or len(particles) == 0:
        return None
    if COLUMNS[1] in particles and np.ptp(particles.numbers(COLUMNS[1])) > 1e-3:
        return None
    group, dose = (
        number_by_first_row(particles.texts(COLUMNS[0])),
        -particles.numbers(COLUMNS[2]) / 4,
    )
    distinct = len(np.unique(np.stack([group, dose], 1), axis=0)) == len(dose)
    repeat = len(dose) >= 1.5 * max(group.max() + 1, len(np.unique(dose)))
    if not (distinct and repeat and (dose >= 0).all() and dose.max() > 0):
        return None
    state = "one for all" if COLUMNS[1] in particles else "not there"
    return (
        f"{particles.path}: rows of one rlnGroupName differ in rlnCtfBfactor as tilts do by their "
        f"dose, but rlnCtfScalefactor is {state}; if they are tilts of one particle, write the "
        "cosine of each tilt there (1 if not known) and pass tilt_series (--tilt-series), or they "
        "may be in both half-sets"
    )


def _look_like_tilts(particles: StarTable) -> bool:
    """Whether rows of a group look like tilts of one particle, with or without faults.

    Either doses and scales both show it, or scales alone: they are cosines that differ within a
    group and come again in others.
    """
    if any(name not in particles for name in COLUMNS) or len(particles) == 0:
        return False
    group = number_by_first_row(particles.texts(COLUMNS[0]))
    scale, dose = _scale_and_dose(particles)
    kept = scale != 0
    within = (scale >= 0) & (scale <= 1 + 1e-3)
    if (
        group.max() + 1 == len(group)
        or not kept.any()
        or scale[kept].min() >= 0.999
        or within.mean() < 0.9
    ):
        return False
    distinct = len(np.unique(np.stack([group[kept], dose[kept]], 1), axis=0)) == kept.sum()
    if distinct and within.all() and (dose >= 0).all() and dose.max() > 0:
        return True
    group, by_micrograph, scale, dose = (
        group[kept],
        _with_column(particles, group, MICROGRAPH)[kept],
        scale[kept],
        dose[kept],
    )
    if len(scale) < 1.5 * len(np.unique(scale)):
        return False  # of no scheme, but fitted to each particle
    if (dose >= 0).mean() < 0.5 and not (np.ptp(dose) > 0 and _are_pairs(by_micrograph, scale)):
        # B factors of single particles are positive, be it one for all or of each with its copies
        return False
    if (_spread(by_micrograph, scale) > 1e-3).mean() > 0.5:
        return True
    # one scale for each micrograph: fitted for single particles, or the micrographs are tilts that
    # several particles share
    return bool((dose >= 0).all() and dose.max() > 0 and (_spread(group, scale) > 0.2).mean() > 0.5)


def _are_pairs(label: np.ndarray, scale: np.ndarray) -> bool:
    """Whether each scale comes once or twice for a label, as a tilt and its opposite do."""
    return bool((np.unique(np.stack([label, scale], 1), axis=0, return_counts=True)[1] <= 2).all())


def _ranges(label: np.ndarray, values: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Count, and largest less smallest value, of each of n labels, (n,)."""
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low, label, values)
    np.maximum.at(high, label, values)
    return np.bincount(label, minlength=n), high - low


def _spread(label: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Largest less smallest value of each label that has several; 0 if none has."""
    count, spread = _ranges(label, values, int(label.max()) + 1)
    return spread[count > 1] if (count > 1).any() else np.zeros(1)


def _with_column(particles: StarTable, label: np.ndarray, name: str) -> np.ndarray:
    """Numbers for label and column together, where that leaves several rows to most.

    Elsewhere they are the labels as they are.
    """
    if name not in particles:
        return label
    values = (
        particles.texts(name)
        if name != "rlnImageName"
        else [image_place(text)[1] for text in particles.texts(name)]
    )
    both = number_by_first_row(label * len(label) + number_by_first_row(values))
    return both if len(both) >= 2 * (both.max() + 1) else label


def _parted(
    particles: StarTable, group: np.ndarray, dose: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, str | None]:
    """The particle of each row and by what groups had to be parted, if they had to."""
    particle, parted_by = (
        _parted_further(particles, group, MICROGRAPH),
        "micrographs (rlnMicrographName)",
    )
    if len(_rows_of_equal_dose(particle, dose, kept)):
        by_stack = _parted_further(particles, particle, "rlnImageName")
        if not len(_rows_of_equal_dose(by_stack, dose, kept)):
            particle, parted_by = by_stack, "stacks (rlnImageName)"
    return particle, parted_by if particle.max() > group.max() else None


def _parted_further(particles: StarTable, label: np.ndarray, name: str) -> np.ndarray:
    """Labels parted by a column, but not where its values are tilts and not particles.

    M has the tilt's movie as micrograph.
    """
    both = _with_column(particles, label, name)
    are_tilts = any(
        (_spread(label, values) > 0).any() and (_spread(both, values) > 0).mean() <= 0.5
        for values in _scale_and_dose(particles)
    )
    return label if are_tilts else both


def _in_several_parts(group: np.ndarray, particle: np.ndarray) -> np.ndarray:
    _, first = np.unique(particle, return_index=True)
    return np.bincount(group[first])[group] > 1


def _refuse_wrong_numbers(
    particles: StarTable, scale: np.ndarray, dose: np.ndarray, *, tilt_series: bool
) -> None:
    wrong = np.flatnonzero(~(dose >= 0))
    if len(wrong):
        otherwise = "do not pass tilt_series for single particles" if tilt_series else SINGLE
        raise InputError(
            f"{particles.path}: row {wrong[0] + 1} has a positive rlnCtfBfactor "
            f"({-4 * dose[wrong[0]]:g}), but tilt series have -4 times the dose there, which is "
            f"never positive; {otherwise}"
        )
    wrong = np.flatnonzero(~((scale >= 0) & (scale <= 1 + 1e-3)))
    if len(wrong) and not tilt_series:
        raise InputError(
            f"{particles.path}: row {wrong[0] + 1} has an rlnCtfScalefactor of "
            f"{scale[wrong[0]]:g}, but the others look like cosines of tilts, from 0 to 1; if rows "
            f"of a group are tilts of one particle, pass tilt_series (--tilt-series); {SINGLE}"
        )


def _refuse_doubled_rows(particles: StarTable, particle: np.ndarray) -> None:
    names = particles.texts("rlnImageName")
    image = number_by_first_row(["{}@{}".format(*image_place(name)) for name in names])
    place = particle * len(image) + image
    _, first, count = np.unique(place, return_index=True, return_counts=True)
    if (count > 1).any():
        row = first[count > 1].min()
        rows = np.flatnonzero(place == place[row])
        raise InputError(
            f"{particles.path}: {list_rows(rows)} name one image ({names[row]}) and are of one "
            f"group ({particles.texts(COLUMNS[0])[row]}, rlnGroupName), but a particle has each "
            f"tilt once ({(count > 1).sum()} images stand more than once): take the doubled rows "
            "out, or give copies groups of their own"
        )


def _rows_of_equal_dose(particle: np.ndarray, dose: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Two rows of a particle with one dose, though not all of its tilts have it: (2,), or none."""
    rows = np.flatnonzero(kept)
    order = rows[np.lexsort((dose[rows], particle[rows]))]
    same = (particle[order][1:] == particle[order][:-1]) & (dose[order][1:] == dose[order][:-1])
    there = np.flatnonzero(same & ~_dose_is_constant(particle, dose, kept)[particle[order][1:]])
    return np.sort(order[there[0] : there[0] + 2]) if len(there) else there


def _dose_is_constant(particle: np.ndarray, dose: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(particle,) whether all its tilts, of several, have one dose."""
    count, spread = _ranges(particle[kept], dose[kept], int(particle.max()) + 1)
    return (spread == 0) & (count > 1)


def _refuse_equal_doses(
    particles: StarTable,
    particle: np.ndarray,
    dose: np.ndarray,
    kept: np.ndarray,
    *,
    scale: np.ndarray,
    tilt_series: bool,
) -> None:
    names = particles.texts(COLUMNS[0])
    rows = _rows_of_equal_dose(particle, dose, kept)
    if len(rows):
        raise InputError(
            f"{particles.path}: {list_rows(rows)} are of one group ({names[rows[0]]}, "
            f"rlnGroupName) and have one dose ({abs(dose[rows[0]]):g} e/A^2): the group holds more "
            "than one particle, or doses are wrong; give each particle a group of its own, or each "
            "tilt the dose before it (-4 times that as rlnCtfBfactor)"
        )
    constant = kept & _dose_is_constant(particle, dose, kept)[particle]
    if not constant.any():
        return
    row = int(np.flatnonzero(constant)[0])
    if not tilt_series:
        raise InputError(
            f"{particles.path}: groups repeat (rlnGroupName) and rlnCtfScalefactor looks like the "
            f"cosine of a tilt, but all rows of group {names[row]} have one dose "
            f"({abs(dose[row]):g} e/A^2 by rlnCtfBfactor); if rows of a group are tilts of one "
            f"particle, pass tilt_series (--tilt-series); {SINGLE}"
        )
    several = _more_than_both_sides(particle, scale, constant)
    if len(several):
        raise InputError(
            f"{particles.path}: {list_rows(several)} are of one group ({names[several[0]]}, "
            f"rlnGroupName) and have one rlnCtfScalefactor ({scale[several[0]]:g}), but a particle "
            "has a tilt and its opposite at the most: the group holds more than one particle; give "
            "each a group of its own"
        )


def _more_than_both_sides(
    particle: np.ndarray, scale: np.ndarray, chosen: np.ndarray
) -> np.ndarray:
    """Rows of a particle with one scale where these are more than two and its scales differ.

    They are of several molecules.
    """
    rows = np.flatnonzero(chosen)
    pairs, inverse, count = np.unique(
        np.stack([particle[rows], scale[rows]], 1), axis=0, return_inverse=True, return_counts=True
    )
    kinds = np.bincount(pairs[:, 0].astype(int))
    bad = np.flatnonzero((count > 2) & (kinds[pairs[:, 0].astype(int)] > 1))
    return rows[inverse.reshape(-1) == bad[0]] if len(bad) else rows[:0]

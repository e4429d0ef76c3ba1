"""Tilt images with one row an image (Warp and M 1.x): which rows are one particle, and what their CTF columns mean."""

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..io.star import StarTable
from .assembly import ImageRows, number_by_first_row

COLUMNS = ("rlnGroupName", "rlnCtfScalefactor", "rlnCtfBfactor")


def are_tilt_series(particles: StarTable) -> bool:
    """Whether the rows of a group are the tilts of a particle, as the CTF columns show.

    rlnGroupName alone proves nothing, in single-particle files it is a noise group. Warp writes the cosine of the tilt as
    rlnCtfScalefactor and -4 times the dose as rlnCtfBfactor; so no dose may come twice within a group, no scale may be above 1,
    and some scale has to tell a tilt.
    """
    if any(name not in particles for name in COLUMNS) or len(particles) == 0:
        return False
    group = number_by_first_row(particles.texts("rlnGroupName"))
    scale, dose = particles.numbers("rlnCtfScalefactor"), -particles.numbers("rlnCtfBfactor") / 4
    kept = scale != 0
    if group.max() + 1 == len(group) or (dose < 0).any() or not ((scale >= 0) & (scale <= 1 + 1e-3)).all() or not kept.any():
        return False
    distinct = len(np.unique(np.stack([group[kept], dose[kept]], 1), axis=0)) == kept.sum()
    return bool(distinct and dose.max() > 0 and scale[kept].min() < 0.999)


def as_tilt_series(rows: ImageRows, particles: StarTable) -> ImageRows:
    """The rows with those of a group as one particle, dose in place of the B factor, and without excluded tilts.

    Warp marks a tilt that is not to be used with a scale of 0; these are left out and counted in a warning.

    Parameters
    ----------
    rows : ImageRows
        As read for single images.
    particles : StarTable
        Their table.

    Raises
    ------
    InputError
        If a column is missing that tilt series need.
    """
    missing = [name for name in COLUMNS if name not in particles]
    if missing:
        raise InputError(f"{particles.path}: no {' and no '.join(missing)}, which tilt series with one row an image need "
                         "(particle, cosine of the tilt, and -4 times the dose)")
    dose = -particles.numbers("rlnCtfBfactor") / 4
    if (dose < 0).any():
        raise InputError(f"{particles.path}: row {np.flatnonzero(dose < 0)[0] + 1} has a positive rlnCtfBfactor, but tilt series "
                         "have -4 times the dose there; do not pass tilt_series for single particles")
    ctf = {**rows.ctf, "scale": particles.numbers("rlnCtfScalefactor"), "dose": dose, "b_factor": np.zeros(len(dose))}
    particle = number_by_first_row(particles.texts("rlnGroupName"))
    return without_excluded(replace(rows, format="Warp or M 1.x tilt series", particle=particle, ctf=ctf))


def without_excluded(rows: ImageRows) -> ImageRows:
    """The rows without tilts whose scale is 0, which is how Warp marks those that are not to be used."""
    kept = rows.ctf["scale"] != 0
    if kept.all():
        return rows
    warning = UserWarning(f"{rows.source}: {np.count_nonzero(~kept)} of {len(kept)} tilt images have rlnCtfScalefactor 0: they "
                          "are marked as excluded and were left out")
    names = ("file", "section", "row", "particle", "rotation", "shift", "optics_group", "sign")
    return replace(rows, **{name: getattr(rows, name)[kept] for name in names}, ctf={k: v[kept] for k, v in rows.ctf.items()},
                   half=None if rows.half is None else rows.half[kept], warnings=(*rows.warnings, warning))

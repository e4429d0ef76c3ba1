"""Where particles stand in their tomogram and how they are turned.

It is known of WarpTools and RELION 4 and 5 (rows that are 2D stacks). Hand: the files' own matrices
show the mirror image of the molecule (see :mod:`~.tables.tilt_stacks`), so what the files call a
tomogram is the mirror image of the one that the molecules stand in. Here z is counted from the
other face, z -> size - z, and with M = diag(1, 1, -1) the file's rotation A becomes M A M: a
rotation again, and what the poses of the tilts show.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.star import StarTable, find_table
from .tables.coordinates import particle_position
from .tables.optics import read_optics
from .tables.relion import particle_table
from .tables.tilt_stacks import MIRROR, are_tilt_stacks, particle_matrix, particle_offset
from .tables.tomograms import read_tomograms


@dataclass(frozen=True)
class Places:
    """The particles of one tomogram.

    Parameters
    ----------
    tomogram : str
        Its name in the particle file.
    size : (3,) float64
        Its edges along x, y and z, A.
    row : (row,) int64
        Rows of the particle file that are of this tomogram, from 0.
    rotation : (row, 3, 3) float64
        From the molecule to the tomogram, on columns xyz.
    position : (row, 3) float64
        Where each molecule's origin stands, A from the tomogram's corner; z from the face that the
        file has last.
    """

    tomogram: str
    size: np.ndarray
    row: np.ndarray
    rotation: np.ndarray
    position: np.ndarray


def read_places(
    tables: list[StarTable],
    *,
    tomograms: str | Path,
    tomogram: str | None = None,
    data_folder: str | Path | None = None,
) -> Places:
    """Place and rotation of each particle of one tomogram; images are not looked for.

    A molecule's x goes to ``rotation @ x + position``.

    Parameters
    ----------
    tables : list of StarTable
        The particle file.
    tomograms : path
        The tomograms.star.
    tomogram : str, optional
        Which; not needed where there is one.
    data_folder : path, optional
        Where files lie that tomograms.star names, if not beside it.

    Returns
    -------
    Places

    Raises
    ------
    InputError
        The rows are not particles of tomograms, there is no such tomogram or there are several, or
        coordinates are missing.
    FileFormatError, MissingFileError
        If a file is not what it has to be.
    """
    particles = particle_table(tables)
    if not are_tilt_stacks(particles):
        raise InputError(
            f"{particles.path}: its rows are images, which do not say where a particle stands in a "
            "tomogram; that is known of the 2D stacks of WarpTools and RELION 4 and 5 (rlnTomoName "
            "and coordinates)"
        )
    names = particles.texts("rlnTomoName")
    name = _one_of(names, tomogram, particles.path)
    row = np.flatnonzero(np.array(names) == name)
    mine = particles.rows(row.tolist())
    found = read_tomograms(tomograms, [name], data_folder=data_folder)[name]
    optics_table = find_table(tables, "optics")
    optics = read_optics(mine, optics_table)
    position, odd = particle_position(mine, optics_table, optics, [found] * len(row))
    for warning in odd:
        warnings.warn(warning, stacklevel=2)
    return Places(
        name,
        found.size,
        row,
        rotation=MIRROR @ particle_matrix(mine) @ MIRROR,
        position=(position - particle_offset(mine, optics.pixel_size)) @ MIRROR + found.size / 2,
    )


def _one_of(names: list[str], wanted: str | None, path: Path) -> str:
    there = list(dict.fromkeys(names))
    listed = ", ".join(there[:20]) + (f" and {len(there) - 20} more" if len(there) > 20 else "")
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted is None:
        raise InputError(
            f"{path}: the particles are of {len(there)} tomograms: name one of them with "
            f"--tomogram ({listed})"
        )
    if wanted not in there:
        raise InputError(
            f"{path}: there are no particles of a tomogram {wanted}; there are those of {listed}"
        )
    return wanted

"""Particle files cut down to some particles and written again.

Every token, field and uid of a row that stays is kept. Images are not needed and not looked for.
What is written anew, and only when it is asked for, are classes, half-sets and poses.
"""

from pathlib import Path
from typing import Any

import numpy as np

from .formats.format_table import format_of
from .formats.particle_format import ParticleFile, ParticleSource, ReadingOptions


def open_particle_file(
    path: str | Path,
    *,
    tilt_series: bool = False,
    first_row: Any = None,
    passthrough: str | Path | None = None,
    tomograms: str | Path | None = None,
    data_folder: str | Path | None = None,
) -> ParticleFile:
    """A particle file of any supported format, to be cut down; images are not looked for.

    Particles are numbered as a fit numbers them. For 2D stacks that needs tomograms.star, which
    says what tilts are excluded: a particle that has no other is none. Where it is not known and
    could matter, a warning says so.

    Parameters
    ----------
    path : path
        A .star or .cs file, or an optimisation_set.star that names the particle file.
    tilt_series : bool
        Rows that share rlnGroupName are tilts of one particle, even where the CTF columns do not
        show it.
    first_row : (particle,) int, optional
        First row of each particle, from 0, where a run says it.
    passthrough : path, optional
        The passthrough file of a .cs file.
    tomograms : path, optional
        The tomograms.star of 2D stacks, if no optimisation set names it.
    data_folder : path, optional
        Where files lie that an optimisation set or tomograms.star names, if not where they say.

    Returns
    -------
    ParticleFile
        Of the format of the file: its rows, whose they are, and what can be written of them.

    Raises
    ------
    InputError
        The passthrough file is not that of these particles, or belongs to a STAR file, or the rows
        are not those of the run, or have nothing to do with tomograms.
    FileFormatError, MissingFileError
        If a file is not what it has to be.
    """
    source = ParticleSource(
        Path(path),
        ReadingOptions(
            data_folder, tilt_series=tilt_series, tomograms=tomograms, passthrough=passthrough
        ),
    )
    begins = None if first_row is None else np.asarray(first_row, dtype=np.int64)
    return format_of(source).open(source, first_row=begins)

"""The formats of particle files, in the order in which a file is asked for each."""

from pathlib import Path

from .cryosparc_particles import CryosparcParticles
from .particle_format import ParticleFormat, ParticleSource
from .relion_particles import RelionParticles
from .relion_tilt_stacks import RelionTiltStacks
from .warp_tilt_series import WarpTiltSeries

# The first that a file is of reads it. The last takes what no other does, so a new one goes before.
FORMATS: list[ParticleFormat] = [
    CryosparcParticles(),
    RelionTiltStacks(),
    WarpTiltSeries(),
    RelionParticles(),
]


def format_of(source: ParticleSource) -> ParticleFormat:
    """The format of a particle file: the first of :data:`FORMATS` that it is of.

    Parameters
    ----------
    source : ParticleSource
        The file, and what the user says of it.

    Returns
    -------
    ParticleFormat

    Raises
    ------
    InputError
        The user says what means nothing for files of this format.
    FileFormatError, MissingFileError
        The file is not there, or no particle file.
    """
    found = next(form for form in FORMATS if form.matches(source))
    found.refuse_settings(source)
    return found


def endings() -> list[str]:
    """What names of particle files end in, with the point.

    Returns
    -------
    list of str
        Each once.

    Examples
    --------
    >>> endings()
    ['.cs', '.star']
    """
    return list(dict.fromkeys(form.ending for form in FORMATS))


def is_named_as_particles(path: Path) -> bool:
    """Whether the name of a file is that of a particle file; the file need not be there.

    Parameters
    ----------
    path : Path

    Returns
    -------
    bool

    Examples
    --------
    >>> is_named_as_particles(Path("J24/particles.cs")), is_named_as_particles(Path("map.mrc"))
    (True, False)
    """
    return path.suffix in endings()

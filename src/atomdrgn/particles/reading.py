"""Particle files of any supported format."""

from pathlib import Path

from ..io.star import read_star
from .assembly import ImageRows, assemble
from .relion import read_relion
from .stack import ParticleStack


def read_particles(path, *, box: int | None = None, data_folder=None, invert_contrast: bool | None = None, tilt_series: bool = False,
                   tomograms=None, allow_missing_ctf: bool = False) -> ParticleStack:
    """The particle images that a .star or .cs file lists, in our conventions.

    Read are RELION 3.0 to 5 (one row an image), Warp and M 1.x tilt series (one row a tilt image), WarpTools and RELION 5 2D stacks
    (one row a particle, with tomograms.star), and cryoSPARC. All stacks are checked here; their pixels are read later.

    Parameters
    ----------
    path : path
        The particle file, or an optimisation_set.star that names it.
    box : int, optional
        Crop images to this many pixels in Fourier space: the same extent, larger pixels.
    data_folder : path, optional
        Where the images lie, if not beside the particle file.
    invert_contrast : bool, optional
        True: the images are dark on light and are inverted. False: they are protein white and are not. Left out: as the file says
        (cryoSPARC's ``blob/sign``), and protein white where it says nothing.
    tilt_series : bool
        Rows that share rlnGroupName are tilts of one particle, even where the CTF columns do not show it.
    tomograms : path, optional
        The tomograms.star of 2D stacks.
    allow_missing_ctf : bool
        Accept a file without CTF columns, for images that were made without one: their CTF is 1.

    Returns
    -------
    ParticleStack

    Raises
    ------
    MissingFileError
        If the file or one that it names is missing; the places that were tried are listed.
    FileFormatError
        If a file is not what it has to be, or a stack holds fewer images than there are rows.
    InputError
        If something is missing without which the images cannot be used (poses, CTF, pixel size, tomograms), or `box` is too large.
    """
    path = Path(path)
    rows = _read_star_file(path, data_folder=data_folder, invert_contrast=invert_contrast, tilt_series=tilt_series, tomograms=tomograms,
                           allow_missing_ctf=allow_missing_ctf)
    return assemble(rows, box=box)


def _read_star_file(path, *, data_folder, tomograms, tilt_series, **options) -> ImageRows:
    tables = read_star(path)
    return read_relion(tables, data_folder=data_folder, tilt_series=tilt_series, **options)

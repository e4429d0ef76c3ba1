"""Particle files of any supported format."""

from pathlib import Path

from ..errors import InputError
from .data_frames import NAME, Frames, tables_of
from .formats.format_table import format_of
from .formats.particle_format import ParticleSource, ReadingOptions
from .stack.stack import ParticleStack
from .tables.assembly import assemble


def read_particles(
    path: "str | Path | Frames",
    *,
    box: int | None = None,
    data_folder: str | Path | None = None,
    invert_contrast: bool | None = None,
    tilt_series: bool = False,
    tomograms: str | Path | None = None,
    allow_missing_ctf: bool = False,
    passthrough: str | Path | None = None,
) -> ParticleStack:
    """The particle images that a .star or .cs file lists, in our conventions.

    Read are RELION 3.0 to 5 (one row an image), Warp and M 1.x tilt series (one row a tilt image),
    2D stacks of WarpTools and RELION 4 and 5 (one row a particle, with tomograms.star), and
    cryoSPARC: :data:`~.formats.format_table.FORMATS`. All stacks are checked here; their pixels are
    read later.

    Parameters
    ----------
    path : path, or DataFrames
        The particle file, or an optimisation_set.star that names it; or what ``starfile.read``
        gives of one, a DataFrame or a dict of them. Stacks are then looked for in the current
        folder and in `data_folder`, and `fit` wants a file: ``starfile.write`` makes one.
    box : int, optional
        Crop images to this many pixels in Fourier space: the same extent, larger pixels.
    data_folder : path, optional
        Where the images lie, if not beside the particle file.
    invert_contrast : bool, optional
        True: the images are dark on light and are inverted. False: they are protein white and are
        not. Left out: as the file says (cryoSPARC's ``blob/sign``), and protein white where it says
        nothing.
    tilt_series : bool
        Rows that share rlnGroupName are tilts of one particle, even where the CTF columns do not
        show it.
    tomograms : path, optional
        The tomograms.star of 2D stacks.
    allow_missing_ctf : bool
        Accept a file without CTF columns, for images that were made without one: their CTF is 1.
    passthrough : path, optional
        The passthrough file of a .cs file, with the fields that the job did not change; rows are
        joined by uid.

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
        If something is missing without which the images cannot be used (poses, CTF, pixel size,
        tomograms), or `box` is too large.

    Examples
    --------
    >>> stack = read_particles("particles.star", box=16)
    >>> len(stack), stack.grid.box_size, stack.format
    (8, 16, 'RELION 3.1 or later')
    """
    if box is not None and box < 2:
        raise InputError(f"box {box}: expected at least 2 pixels")
    reading = ReadingOptions(
        data_folder, invert_contrast, tilt_series, tomograms, allow_missing_ctf, passthrough
    )
    if isinstance(path, str | Path):
        source = ParticleSource(Path(path), reading)
    else:
        source = ParticleSource(NAME, reading, tables_of(path))
    return assemble(format_of(source).read(source), box=box)

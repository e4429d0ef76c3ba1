"""Particle files of any supported format."""

from collections.abc import Iterable
from pathlib import Path

from ..errors import FileFormatError, InputError
from ..io.star import StarTable, read_star
from .formats.assembly import assemble
from .formats.cryosparc import read_cryosparc
from .formats.relion import particle_table, read_relion
from .formats.tilt_stacks import are_tilt_stacks, read_tilt_stacks
from .stack.image_files import find_file
from .stack.stack import ParticleStack

SET_PARTICLES = "rlnTomoParticlesFile"  # where an optimisation set names its particle file


def read_particles(
    path,
    *,
    box: int | None = None,
    data_folder=None,
    invert_contrast: bool | None = None,
    tilt_series: bool = False,
    tomograms=None,
    allow_missing_ctf: bool = False,
    passthrough=None,
) -> ParticleStack:
    """The particle images that a .star or .cs file lists, in our conventions.

    Read are RELION 3.0 to 5 (one row an image), Warp and M 1.x tilt series (one row a tilt image),
    2D stacks of WarpTools and RELION 4 and 5 (one row a particle, with tomograms.star), and
    cryoSPARC. All stacks are checked here; their pixels are read later.

    Parameters
    ----------
    path : path
        The particle file, or an optimisation_set.star that names it.
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
    """
    if box is not None and box < 2:
        raise InputError(f"box {box}: expected at least 2 pixels")
    options = {"data_folder": data_folder, "invert_contrast": invert_contrast}
    path = Path(path)
    if path.suffix == ".cs":
        _refuse_tomograms(tomograms, path)
        return assemble(read_cryosparc(path, passthrough=passthrough, **options), box=box)
    if passthrough is not None:
        raise InputError(f"{path}: only .cs files have a passthrough file; leave {passthrough} out")
    if path.suffix == ".csg":
        raise InputError(
            f"{path}: a group of cryoSPARC, which names files; give the .cs file of the particles "
            "that it names, "
            "and the other with --passthrough"
        )
    tables, tomograms = follow_optimisation_set(read_star(path), tomograms, data_folder=data_folder)
    particles = particle_table(tables)
    if are_tilt_stacks(particles):
        return assemble(read_tilt_stacks(tables, tomograms=tomograms, **options), box=box)
    _refuse_tomograms(tomograms, particles.path)
    rows = read_relion(
        tables, tilt_series=tilt_series, allow_missing_ctf=allow_missing_ctf, **options
    )
    return assemble(rows, box=box)


def optimisation_entry(tables: Iterable[StarTable]) -> StarTable | None:
    """The table of an optimisation set that names its files, or None where tables are no
    optimisation set's.

    Raises
    ------
    FileFormatError
        If it names no file, or several: which is meant is not known.
    """
    entry = next((table for table in tables if SET_PARTICLES in table), None)
    if entry is not None and len(entry) != 1:
        raise FileFormatError(
            f"{entry.path}: an optimisation set of {len(entry)} rows, expected one: leave the row "
            "of the "
            f"particles that are meant ({SET_PARTICLES})"
        )
    return entry


def follow_optimisation_set(tables: list[StarTable], tomograms, *, data_folder=None):
    """The particle file's tables and the tomograms: those that an optimisation set names, if this
    is one.

    Raises
    ------
    MissingFileError, FileFormatError
        If the particle file that it names is missing, or no STAR file.
    """
    entry = optimisation_entry(tables)
    if entry is None:
        return tables, tomograms
    particles = find_file(entry.texts(SET_PARTICLES)[0], beside=entry.path, data_folder=data_folder)
    if tomograms is None:
        tomograms = tomograms_of_set(entry, data_folder=data_folder)
    return read_star(particles), tomograms


def tomograms_of_set(entry: StarTable, *, data_folder=None) -> Path | None:
    """The tomograms.star that the entry of an optimisation set names; None where it names none.

    Raises
    ------
    MissingFileError
        If it is missing.
    """
    if "rlnTomoTomogramsFile" not in entry:
        return None
    return find_file(
        entry.texts("rlnTomoTomogramsFile")[0], beside=entry.path, data_folder=data_folder
    )


def _refuse_tomograms(tomograms, path):
    if tomograms is not None:
        raise InputError(
            f"{path}: has one row an image, so {tomograms} has nothing to say about it; leave "
            "tomograms out"
        )

"""What atomdrgn raises when a file, a setting or a disk is not what it has to be."""


class AtomdrgnError(Exception):
    """Anything that the user can mend.

    The message says what was found, what was expected and what to do.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> try:
    ...     read_structure("absent.pdb")
    ... except AtomdrgnError as error:
    ...     print(error)
    absent.pdb: no such file; give the path of a PDB, mmCIF or BinaryCIF file
    """


class FileFormatError(AtomdrgnError, ValueError):
    """A file was found and read, and its content is not what its name or its use promises.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> try:
    ...     read_structure("particles.star")
    ... except FileFormatError:
    ...     print("no structure")
    no structure
    """


class MissingFileError(AtomdrgnError, FileNotFoundError):
    """A file that was named, by the user or inside another file, is not there.

    Examples
    --------
    >>> from atomdrgn import read_density_map
    >>> try:
    ...     read_density_map("absent.mrc")
    ... except MissingFileError as error:
    ...     print(error)
    absent.mrc: no such file
    """


class InputError(AtomdrgnError, ValueError):
    """A setting is out of range, or files that are fine on their own do not fit together.

    Examples
    --------
    >>> from atomdrgn import ImageGrid
    >>> try:
    ...     ImageGrid(box_size=1, pixel_size=1.0)
    ... except InputError as error:
    ...     print(error)
    an image of 1 pixels of 1.0 A: the box has to be at least 2 and the pixel positive
    """


class OutputExistsError(AtomdrgnError, FileExistsError):
    """The output is already there and would be overwritten.

    Examples
    --------
    >>> from pathlib import Path
    >>> from atomdrgn.simulate.particles import require_free
    >>> try:
    ...     require_free(Path("."), overwrite=False)
    ... except OutputExistsError:
    ...     print("particles are there")
    particles are there
    """


class MissingPackageError(AtomdrgnError, ImportError):
    """An optional package that the work needs is not installed."""


class ProcessLostError(AtomdrgnError, RuntimeError):
    """One of several processes that work together has ended before the work was done."""


class UnmodelledWarning(UserWarning):
    """Something that a file holds is left out of the model.

    The result is valid without it, but not as good.

    Examples
    --------
    A file of which something would be left out is refused here:

    >>> import warnings
    >>> from atomdrgn import read_structure
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", UnmodelledWarning)
    ...     structure = read_structure("model.pdb")
    """

"""What atomdrgn raises when a file, a setting or a disk is not what it has to be."""


class AtomdrgnError(Exception):
    """Anything that the user can mend.

    The message says what was found, what was expected and what to do.
    """


class FileFormatError(AtomdrgnError, ValueError):
    """A file was found and read, and its content is not what its name or its use promises."""


class MissingFileError(AtomdrgnError, FileNotFoundError):
    """A file that was named, by the user or inside another file, is not there."""


class InputError(AtomdrgnError, ValueError):
    """Files that are fine on their own do not fit each other or the settings, or a setting is out
    of range.
    """


class OutputExistsError(AtomdrgnError, FileExistsError):
    """The output is already there and would be overwritten."""


class MissingPackageError(AtomdrgnError, ImportError):
    """An optional package that the work needs is not installed."""


class ProcessLostError(AtomdrgnError, RuntimeError):
    """One of several processes that work together has ended before the work was done."""


class UnmodelledWarning(UserWarning):
    """Something that a file holds is left out of the model; the result is valid without it, but not
    as good.
    """

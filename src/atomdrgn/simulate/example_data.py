"""The structures that the tutorial begins with, which every installation has."""

from importlib.resources import as_file, files
from pathlib import Path

from ..errors import OutputExistsError
from ..io.whole_file import whole_file

FOLDER = files(__package__) / "example"
NAMES = ("1ake.pdb", "4ake.pdb")  # adenylate kinase, closed and open


def example_file(name: str) -> Path:
    """Where one of :data:`NAMES` lies in this installation."""
    with as_file(FOLDER / name) as path:  # wheels are unpacked: the path stays
        return path


def copy_example(out: Path | str, *, overwrite: bool = False) -> list[Path]:
    """Copy the structures of the tutorial into a folder.

    Parameters
    ----------
    out : path
        The folder, made where it is missing.
    overwrite : bool
        Replace files of these names.

    Returns
    -------
    list of Path
        1ake.pdb, closed over its substrates, and 4ake.pdb, open: heavy polymer atoms of chain A.

    Raises
    ------
    OutputExistsError
        A file of one of the names is there, or `out` is a file.

    Examples
    --------
    >>> [path.name for path in copy_example("example")]
    ['1ake.pdb', '4ake.pdb']
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out} is a file: choose a folder with another name")
    there = [name for name in NAMES if (out / name).exists()]
    if there and not overwrite:
        raise OutputExistsError(
            f"{out} holds {there[0]}: choose another folder, or --overwrite to replace it"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        with whole_file(out / name) as temporary:
            temporary.write_bytes((FOLDER / name).read_bytes())
    return [out / name for name in NAMES]

"""What commands do before their own work: threads, and a model in the frame of the poses."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, MissingFileError
from .failures import command_line
from .terminal import shell_word

if TYPE_CHECKING:
    import torch

    from ..structure.atoms import Structure

MOST_THREADS = 4096
FARTHEST = 1e7  # A: beyond what any map reaches
STRUCTURES = (".pdb", ".ent", ".cif", ".mmcif", ".bcif")  # what names of structures end in
PARTICLES = (".star", ".cs")


def require_files(
    command: str, *, base: Path | None = None, particles: Path, mask: Path | None = None
) -> None:
    """Refuse files that are not there, or that were given in the other order.

    It takes no time: nothing is read, and nothing heavy is loaded.

    Parameters
    ----------
    command : str
        Its name, for the message.
    base, particles, mask : Path
        As they were given.

    Raises
    ------
    InputError
        The particle file stands where the base structure belongs.
    MissingFileError
        One of them is not there.
    """
    if base is not None and _ends_in(base, PARTICLES) and _ends_in(particles, STRUCTURES):
        raise InputError(
            f"BASE comes first: atomdrgn {command} {shell_word(particles)} {shell_word(base)}"
        )
    if base is not None and not base.exists():
        raise MissingFileError(
            f"{base}: no such file; give the path of a PDB, mmCIF or BinaryCIF file"
        )
    if not particles.exists():
        raise MissingFileError(f"{particles}: no such file; give the path of a particle file")
    if mask is not None and not mask.exists():
        raise MissingFileError(f"{mask}: no such file; give the path of a map that is a mask")


def _ends_in(path: Path, endings: tuple[str, ...]) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(endings)


def is_first_process() -> bool:
    """Whether this is the process that speaks, of those that torchrun or a queue have started."""
    return os.environ.get("RANK", "0") == "0"


def use_threads(count: int | None) -> None:
    """Let torch use this many threads; all cores where `count` is None."""
    if count is not None:
        if not 1 <= count <= MOST_THREADS:
            raise InputError(f"--threads {count}: expected 1 to {MOST_THREADS}")
        import torch

        torch.set_num_threads(count)


def find_device(name: str) -> "torch.device":
    """The device of that name; of several processes on this machine each has its own GPU.

    Raises
    ------
    InputError
        As :func:`atomdrgn.devices.choose_device`.
    """
    from ..devices import choose_device

    return choose_device(name, int(os.environ.get("LOCAL_RANK", "0")))


def device_lines(device: "torch.device | str") -> list[str]:
    """A line that says where images were worked on, if not on the processor."""
    return [] if str(device) == "cpu" else [f"images were worked on by the device {device}"]


def read_model(
    path: Path, *, map_file: Path | None = None, origin: str | None = None
) -> tuple["Structure", list[float] | None]:
    """The structure in the frame of the poses, and where that frame's origin was (xyz, A).

    The origin is None where the structure was left in place.
    """
    from ..structure.atoms import read_structure
    from ..structure.placement import place

    centre = box_centre(map_file=map_file, origin=origin)
    structure = read_structure(path)
    return (structure, None) if centre is None else (place(structure, centre), centre)


def box_centre(*, map_file: Path | None = None, origin: str | None = None) -> list[float] | None:
    """Where the box centre is in the frame of a model (xyz, A), by a map or by three numbers.

    It is None where neither is given.
    """
    from ..io.mrc import read_header
    from ..structure.placement import centre_of_map

    if map_file is not None and origin is not None:
        raise InputError("--map and --origin both say where the box centre is: give one of them")
    if map_file is None:
        return None if origin is None else _three_numbers(origin)
    return centre_of_map(read_header(map_file)).tolist()


def settings_of(**reading: object) -> dict:
    """What a result says of the command that made it.

    That is the folder it was given in, and the files that it read and how.
    """
    return {
        "command": command_line(),
        "folder": str(Path.cwd()),
        "reading": {
            name: str(value) if isinstance(value, Path) else value
            for name, value in reading.items()
        },
    }


def _three_numbers(text: str) -> list[float]:
    try:
        x, y, z = (float(word) for word in text.split(","))
        # so written, no number is refused
        if not all(abs(number) <= FARTHEST for number in (x, y, z)):
            raise ValueError
    except ValueError:
        raise InputError(
            f"--origin {text}: expected three numbers in A, such as 120,120,120"
        ) from None
    return [x, y, z]

"""What run.json says of a fit, and the folder that it begins in or goes on in.

It says whether a run that was stopped can be gone on with.
"""

import hashlib
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from os import PathLike
from pathlib import Path

from ..errors import FileFormatError, InputError, MissingFileError
from ..io.folder_lock import locked_folder
from ..io.star import read_star
from ..io.whole_file import sync_folder
from ..parallel import Processes
from ..particles.stack.fingerprint import fingerprint
from ..particles.stack.stack import ParticleStack
from ..particles.tables.optimisation_set import optimisation_entry, tomograms_of_set
from ..reporting import Reporter
from ..structure.atoms import Structure
from .run import (
    BASE,
    BORDERS,
    CHECKPOINT,
    CORRECTION,
    FORMAT,
    HALVES,
    HISTORY,
    JUNK,
    POSE_VERDICT,
    SETTINGS,
    SUMMARY,
    create_run_folder,
    read_numbers_table,
    read_settings,
    require_base_survives,
    require_free,
    require_not_written,
    require_whole,
    write_base,
    write_json,
)
from .run_files import set_named_in

CLOSED_FORM, VAE = "closed-form", "vae"
SEGMENTS, BEADS = "segments", "beads"  # what a fit moves
# What a command says of how it read its files: these lie elsewhere now, or are in the hashes and
# sizes that are compared anyway.
COMPARED_OTHERWISE = {
    "base",
    "particles",
    "map",
    "origin",
    "box",
    "data_folder",
    "tomograms",
    "passthrough",
}
HASHES = {
    "structure_sha256": "the base structure has other atoms",
    "particles_sha256": "the particle file has another content",
    "images_sha256": "the images in the stacks are others, or are read otherwise",
    "tomograms_sha256": "the file of tomograms has another content",
    "passthrough_sha256": "the passthrough file has another content",
}


def run_settings(
    structure: Structure | None, particles: ParticleStack, *, choices: dict, more: dict
) -> dict:
    """run.json: what decides the result, and what tells where it came from.

    Parameters
    ----------
    structure, particles
        The input; a volume has no structure.
    choices : dict
        Settings of the fit that decide its result.
    more : dict
        What else shall be said.

    Raises
    ------
    InputError
        The particles are of no file.
    """
    if not particles.source.is_file():
        raise InputError(
            f"{particles.source}: no particle file, which a run has to name: write the tables with "
            "starfile.write, and read that file"
        )
    reading = more.get("reading", {})
    packages = ("atomdrgn", "torch", "numpy", "scipy", "gemmi", "biotite")
    return {
        "format": FORMAT,
        "version": version("atomdrgn"),
        "versions": {name: version(name) for name in packages},
        "fit": choices
        | {
            "box_size": particles.grid.box_size,
            "pixel_size": round(particles.grid.pixel_size, 6),
            "images": len(particles),
            "particles": particles.n_particles,
        },
        "input": {
            **_of_structure(structure),
            "particles": str(particles.source),
            "particles_sha256": hash_of_file(particles.source),
            "images_sha256": fingerprint(particles),
            **_of_further_files(reading, particles.source),
        },
        **more,
    }


def hash_of_file(path: str | PathLike[str]) -> str:
    """SHA-256 of what a file holds."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _of_further_files(reading: dict, listed: str | Path) -> dict[str, str | None]:
    """Hashes of the files that particles are read from beside the one that lists them.

    They are None where there is none.
    """
    of_set = set_named_in({"reading": reading, "input": {"particles": listed}})
    tomograms = reading.get("tomograms")
    if (
        tomograms is None
        and of_set is not None
        and (entry := optimisation_entry(read_star(of_set))) is not None
    ):
        tomograms = tomograms_of_set(entry, data_folder=reading.get("data_folder"))
    files = {"tomograms_sha256": tomograms, "passthrough_sha256": reading.get("passthrough")}
    return {name: None if path is None else hash_of_file(path) for name, path in files.items()}


def _of_structure(structure: Structure | None) -> dict[str, str]:
    return (
        {}
        if structure is None
        else {"structure": structure.name, "structure_sha256": _hash(structure)}
    )


def _hash(structure: Structure) -> str:
    names = zip(structure.chain, structure.residue, structure.atom_name, strict=True)
    text = "\n".join(" ".join(map(str, atom)) for atom in names)
    return hashlib.sha256(text.encode() + structure.position.numpy().round(3).tobytes()).hexdigest()


def require_same_settings(before: dict, now: dict, folder: Path) -> None:
    """Refuse to go on with a run of other settings or input.

    Raises
    ------
    InputError
        What differs.
    """
    default = {"inference": CLOSED_FORM, "deformation": SEGMENTS}
    was, earlier = default | before.get("fit", {}), before.get("input", {})
    different = [
        f"{name} was {was.get(name)!r} and is {value!r}"
        for name, value in (default | now["fit"]).items()
        if was.get(name) != value
    ]
    was, reading = before.get("reading", {}), now.get("reading", {})
    different += [
        f"{name} was {was[name]!r} and is {value!r}"
        for name, value in reading.items()
        if name in was and name not in COMPARED_OTHERWISE and was[name] != value
    ]
    # the same file may lie elsewhere now: its hash says whether it is the same. Runs of earlier
    # versions have fewer of them
    different += [
        says
        for name, says in HASHES.items()
        if name in earlier and earlier[name] != now["input"].get(name)
    ]
    if different:
        raise InputError(
            f"{folder} was begun with other settings or files: {'; '.join(different)}; resume with "
            "the same command and files, or start again with --overwrite"
        )


def only_writer(
    folder: Path, reporter: Reporter, processes: Processes | None = None
) -> AbstractContextManager:
    """The lock of a run's folder (:func:`.locked_folder`).

    Of several processes the first holds it for all.
    """
    return (
        locked_folder(folder, reporter) if processes is None or processes.first else nullcontext()
    )


def require_beginning(
    folder: Path, structure: Structure | None, *, resume: bool, overwrite: bool
) -> None:
    """Refuse what no run can be begun with, or gone on with, before any image is read.

    Parameters
    ----------
    folder : Path
        Of the run.
    structure : Structure or None
        The base model; none where volumes are fitted without one.
    resume, overwrite : bool
        Go on with the run that is there, or replace it.

    Raises
    ------
    InputError
        The base model's residues cannot be told apart.
    OutputExistsError
        A new run would mix with what is there, or replace it; or another command is writing there.
    """
    require_not_written(folder)
    if resume and (folder / SETTINGS).exists():
        return
    require_free(folder, overwrite=overwrite)
    if structure is not None:
        require_base_survives(structure)


def begin_run(
    folder: Path,
    settings: dict,
    structure: Structure | None,
    *,
    resume: bool,
    overwrite: bool,
    reporter: Reporter,
    processes: Processes | None = None,
) -> bool:
    """Whether anything is left to do in the folder of a run.

    A new one is made where there is none to go on with.

    Parameters
    ----------
    folder : Path
        Of the run.
    settings : dict
        Of :func:`run_settings`.
    structure : Structure or None
        The base model; none where volumes are fitted without one.
    resume, overwrite : bool
        Go on with the run that is there, or replace it.
    reporter : Reporter
        Is told where nothing is left to do, and where there is no run to go on with.
    processes : Processes, optional
        That do this together; the first of them writes.

    Raises
    ------
    InputError
        The run to go on with has other settings or input.
    OutputExistsError
        A new run would mix with what is there, or replace it.
    """
    processes = processes or Processes()
    if resume and (folder / SETTINGS).exists():
        require_same_settings(read_settings(folder), settings, folder)
        # stopped before it was written
        if processes.first and structure is not None and not (folder / BASE).exists():
            write_base(folder, structure)
        return not _is_complete(folder, reporter)
    processes.wait()  # until each has seen what was there
    if processes.first:
        if resume:
            reporter.say(f"{folder} holds no run to go on with: a new one is begun")
        create_run_folder(folder, overwrite=overwrite)
        write_json(folder / SETTINGS, settings)
        if structure is not None:
            write_base(folder, structure)
    return True


def forget_steps(folder: Path) -> None:
    """Remove what steps of a fit have left, so that it begins again."""
    for name in (HISTORY, CHECKPOINT, *HALVES, BORDERS, JUNK, CORRECTION, POSE_VERDICT):
        (folder / name).unlink(missing_ok=True)
    sync_folder(folder)


def _is_complete(folder: Path, reporter: Reporter) -> bool:
    """Whether the results of a run are there and can be read.

    What machines that lost power have left may not be.
    """
    if not (folder / SUMMARY).exists():
        return False
    try:
        require_whole(folder)
    except (FileFormatError, MissingFileError) as error:
        reporter.say(f"{error}: the results are made again from what the checkpoints hold")
        return False
    reporter.say(f"{folder} is complete: there is nothing to resume")
    return True


def read_history(path: Path, steps: int | None) -> list[dict[str, float]]:
    """The first rows of history.csv, all where no number is given; none where there is no file."""
    if not path.exists():
        return []
    columns = read_numbers_table(path)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows][:steps]

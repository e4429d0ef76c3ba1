"""What run.json says of a fit, the folder that it begins in, and whether a run that was stopped can be gone on with."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from ..errors import InputError
from ..parallel import Processes
from ..particles.stack import ParticleStack
from ..reporting import Reporter
from ..run import FORMAT, SETTINGS, SUMMARY, create_run_folder, read_settings, write_base, write_json
from ..structure.atoms import Structure

CLOSED_FORM, VAE = "closed-form", "vae"
SEGMENTS, BEADS = "segments", "beads"      # what an amortised fit moves


def run_settings(structure: Structure | None, particles: ParticleStack, *, choices: dict, more: dict) -> dict:
    """run.json: what decides the result, and what tells where it came from.

    Parameters
    ----------
    structure, particles
        The input; a volume has no structure.
    choices : dict
        Settings of the fit that decide its result.
    more : dict
        What else shall be said.
    """
    packages = ("atomdrgn", "torch", "numpy", "scipy", "gemmi", "biotite")
    return {
        "format": FORMAT, "version": version("atomdrgn"), "versions": {name: version(name) for name in packages},
        "fit": choices | {"box_size": particles.grid.box_size, "pixel_size": round(particles.grid.pixel_size, 6),
                          "images": len(particles), "particles": particles.n_particles},
        "input": {**_of_structure(structure), "particles": str(particles.source),
                  "particles_sha256": hashlib.sha256(Path(particles.source).read_bytes()).hexdigest()},
        **more,
    }


def _of_structure(structure):
    return {} if structure is None else {"structure": structure.name, "structure_sha256": _hash(structure)}


def _hash(structure):
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
    different = []
    for part in ("fit", "input"):
        was = {"inference": CLOSED_FORM, "deformation": SEGMENTS} | before.get(part, {})      # the first runs did not say
        # the same file may lie elsewhere now: its hash says whether it is the same
        different += [f"{name} was {was.get(name)!r} and is {value!r}" for name, value in now[part].items()
                      if was.get(name) != value and name != "particles"]
    if different:
        raise InputError(f"{folder} was begun with other settings: {'; '.join(different)}; resume with the same command, "
                         "or start again with --overwrite")


def begin_run(folder: Path, settings: dict, structure: Structure | None, *, resume: bool, overwrite: bool, reporter: Reporter,
              processes: Processes | None = None) -> bool:
    """Whether anything is left to do in the folder of a run; a new one is made where there is none to go on with.

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
        Is told where nothing is left to do.
    processes : Processes, optional
        That do this together; the first of them writes.

    Raises
    ------
    InputError
        The run to go on with has other settings or input.
    OutputExistsError
        A new run would mix with what is there, or replace it.
    """
    if resume and folder.is_dir() and any(folder.iterdir()):
        require_same_settings(read_settings(folder), settings, folder)
        if (folder / SUMMARY).exists():
            reporter.say(f"{folder} is complete: there is nothing to resume")
            return False
        return True
    processes = processes or Processes()
    processes.wait()      # until each has seen what was there
    if processes.first:
        create_run_folder(folder, overwrite=overwrite)
        write_json(folder / SETTINGS, settings)
        if structure is not None:
            write_base(folder, structure)
    return True


def read_history(path: Path, steps: int | None) -> list[dict[str, float]]:
    """The first rows of history.csv, all where no number is given; none where there is no file."""
    if not path.exists():
        return []
    header, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: float(value) for name, value in zip(header, row, strict=True)} for row in rows[:steps]]

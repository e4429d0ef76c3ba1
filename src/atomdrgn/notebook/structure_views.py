"""Structures of a run as a py3Dmol view, which a notebook shows and a hand turns."""

from collections.abc import Iterable, Iterator
from typing import Any

import gemmi
import numpy as np

from ..analysis.examination.traversal import along_motion
from ..analysis.report.report import colours_of
from ..analysis.structure_files.colours import STATE_COLOURS
from ..errors import InputError
from ..io.notebook_display import needed
from ..runs.run import Run

FRAMES, MILLISECONDS = 15, 120  # of a motion that is played, and how long each stays
MOST_STRUCTURES = 20  # laid over each other
MOST_ATOMS = 5000  # of a structure, all of whose atoms are handed over; of larger ones the backbone
BACKBONE = ("N", "CA", "C", "O", "P", "OP1", "OP2", "O5'", "C5'", "C4'", "C3'", "O3'", "C1'")


def view(
    run: Run,
    *,
    motion: int | None = None,
    particles: Iterable[int] | None = None,
    states: bool = False,
    size: tuple[int, int] = (700, 500),
) -> Any:
    """A py3Dmol view of structures of a run: see :meth:`atomdrgn.Run.view`.

    Parameters
    ----------
    run : Run
    motion : int, optional
        From 1.
    particles : iterable of int, optional
    states : bool
    size : (width, height)
        Pixels.

    Raises
    ------
    InputError, MissingPackageError
    """
    if (motion is not None) + (particles is not None) + states > 1:
        raise InputError("motion, particles and states: ask for one of them")
    drawn = needed("py3Dmol").view(width=size[0], height=size[1])
    drawn.setBackgroundColor("white")
    if particles is not None:
        _overlay(drawn, run, run.atoms(_chosen(run, particles)).numpy())
    elif states:
        _overlay(drawn, run, run.atoms_of(run.motion_at(_places_of_states(run))).numpy())
    else:
        _play(drawn, run, motion)
    drawn.zoomTo()
    return drawn


def _play(drawn: Any, run: Run, motion: int | None) -> None:
    """The structures along a motion, in the colours of the parts that move as one."""
    count = run.latent.shape[1]
    if motion is None and not count:
        frames = run.base_atoms[None].numpy()
    elif not 1 <= (motion or 1) <= count:
        raise InputError(f"motion {motion} of {run.folder}: it has {count} motions")
    else:
        way = along_motion(run.latent, (motion or 1) - 1, FRAMES)
        frames = run.atoms_of(run.motion_at(way.place)).numpy()
    drawn.addModelsAsFrames("".join(_pdb(run, frames)), "pdb")
    groups = run.summary.get("groups", [])
    for number, colour in enumerate(colours_of(groups), start=1):
        drawn.setStyle({"b": number}, {"cartoon": {"color": colour}})
    if not groups:
        drawn.setStyle({}, {"cartoon": {"color": "spectrum"}})
    if len(frames) > 1:
        drawn.animate({"loop": "backAndForth", "interval": MILLISECONDS})


def _overlay(drawn: Any, run: Run, positions: np.ndarray) -> None:
    """Structures over each other, a colour each."""
    for number, text in enumerate(_pdb(run, positions)):
        drawn.addModel(text, "pdb")
        colour = STATE_COLOURS[number % len(STATE_COLOURS)]
        drawn.setStyle({"model": number}, {"cartoon": {"color": colour}})


def _chosen(run: Run, particles: Iterable[int]) -> list[int]:
    chosen = [int(number) for number in particles]
    outside = [number for number in chosen if not 0 <= number < run.n_particles]
    if outside:
        raise InputError(
            f"there is no particle {outside[0]}: the run has the particles 0 to "
            f"{run.n_particles - 1}"
        )
    if not 1 <= len(chosen) <= MOST_STRUCTURES:
        raise InputError(f"{len(chosen)} particles: choose 1 to {MOST_STRUCTURES}")
    return chosen


def _places_of_states(run: Run) -> np.ndarray:
    states = run.summary.get("states", [])
    if not states:
        raise InputError(f"{run.folder}: the fit has found no separate states")
    return np.array([state["place"] for state in states], dtype=np.float32)


def _pdb(run: Run, positions: np.ndarray) -> Iterator[str]:
    """Each structure as the text of a PDB model, the number of each atom's group as its B-factor.

    What it is for is drawn and not kept: chains have one letter, whatever they are called.
    """
    structure, beads = run.structure, run.bead_model
    trace = np.flatnonzero(beads.trace)
    of_trace = np.zeros(len(beads), dtype=int)
    of_trace[trace] = run.residues["group"].fillna(1).to_numpy(int)
    group = of_trace[beads.anchor[beads.bead_of_atom]]
    whole = len(structure) <= MOST_ATOMS
    atoms = np.flatnonzero(whole | np.isin(structure.atom_name, BACKBONE))
    letter = {chain: chr(65 + i % 26) for i, chain in enumerate(dict.fromkeys(structure.chain))}
    rows = [
        (
            f"ATOM  {serial % 100000:5d} {_column(structure.atom_name[i])} "
            f"{structure.residue_name[i]:>3.3s} {letter[structure.chain[i]]}"
            f"{structure.residue[i] % 10000:4d}{structure.insertion_code[i]:1.1s}   ",
            f"  1.00{group[i]:6.2f}          {gemmi.Element(int(structure.element[i])).name:>2s}\n",
        )
        for serial, i in enumerate(atoms.tolist(), start=1)
    ]
    for number, position in enumerate(positions[:, atoms], start=1):
        lines = "".join(
            f"{before}{x:8.3f}{y:8.3f}{z:8.3f}{after}"
            for (before, after), (x, y, z) in zip(rows, position.tolist(), strict=True)
        )
        yield f"MODEL     {number:4d}\n{lines}ENDMDL\n"


def _column(name: str) -> str:
    """An atom's name in its four columns: "CA" in the second of them is no calcium."""
    return f"{name:<4.4s}" if len(name) > 3 else f" {name:<3s}"

"""What is imaged: the conformations of one molecule.

They come from structures, ensembles, trajectories or a run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError
from ..io.structure_files.structures import is_in_file_order, read_gemmi
from ..io.trajectories import FORMATS, read_trajectory
from ..runs.run import Run, open_run
from ..structure.atoms import Structure, structure_from_gemmi
from ..structure.superposition import superpose

ATOMS_AT_A_TIME = 2**20


class RunConformations:
    """The conformations of a run's particles, made when they are asked for.

    ``conformations[index]`` is (k, atom, 3), A.

    Parameters
    ----------
    run : Run
        Whose particles are meant.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def __len__(self) -> int:
        return self.run.n_particles

    def __getitem__(self, index: Tensor | np.ndarray | Sequence[int]) -> Float[Tensor, "k atom 3"]:
        return self.run.atoms(torch.as_tensor(index).tolist()).float()


@dataclass(frozen=True)
class Molecule:
    """A structure and its conformations.

    Parameters
    ----------
    structure : Structure
        Names and elements of the atoms, and the first coordinates that were read.
    conformations : (conformation, atom, 3) or RunConformations
        A.

    Examples
    --------
    >>> molecule = read_molecule(["model.pdb"])
    >>> molecule.structure.name, molecule.conformations.shape
    ('model.pdb', torch.Size([1, 120, 3]))
    """

    structure: Structure
    conformations: Float[Tensor, "conformation atom 3"] | RunConformations


def read_molecule(paths: Sequence[str | PathLike[str]], *, superposed: bool = False) -> Molecule:
    """The conformations that some files hold, as many as there are models, frames or particles.

    Parameters
    ----------
    paths : sequence of path
        Structures of the same atoms, in whatever order each, every model of which is a
        conformation; or a structure and trajectories (.dcd, .xtc) of its atoms, whose frames are
        the conformations; or one run.
    superposed : bool
        Bring each conformation onto the first coordinates, with least squares over all atoms:
        frames of a simulation drift, and crystals differ in their frames. Those of a run stay in
        the frame of its poses.

    Returns
    -------
    Molecule

    Raises
    ------
    InputError
        The files do not hold the same atoms, or do not go together.
    MissingFileError, FileFormatError
        A file is not there, or not what it has to be.

    Examples
    --------
    >>> read_molecule(["model.pdb", "base.pdb"], superposed=True).conformations.shape
    torch.Size([2, 120, 3])
    """
    files = [Path(path) for path in paths]
    if any(path.is_dir() for path in files):
        return _of_run(files)
    trajectories = [path for path in files if path.suffix.lower() in FORMATS]
    structures = [path for path in files if path not in trajectories]
    if trajectories and len(structures) != 1:
        raise InputError(
            f"{trajectories[0]}: a trajectory needs one structure that names its atoms, and "
            f"{len(structures)} are given"
        )
    models = [model for path in structures for model in _models(path)]
    first = models[0]
    if trajectories:
        position = torch.cat([_frames(path, first) for path in trajectories])
    else:
        position = torch.stack([model.position[_same_atoms(first, model)] for model in models])
    return Molecule(first, _superposed(position, first.position) if superposed else position)


def centred(
    molecule: Molecule, origin: Sequence[float | int] | np.ndarray | Tensor | None = None
) -> Molecule:
    """The molecule with a point of its frame at (0, 0, 0).

    Parameters
    ----------
    molecule : Molecule
        As it was read.
    origin : (3,), optional
        The point, xyz, A; by default the centre of its first coordinates' electrons.

    Returns
    -------
    Molecule

    Raises
    ------
    InputError
        It is a run, whose conformations stand in the frame of its poses already.

    Examples
    --------
    >>> moved = centred(read_molecule(["model.pdb"]))
    >>> moved.structure.position.mean(0).abs().max().item() < 0.5
    True
    """
    if isinstance(molecule.conformations, RunConformations):
        if origin is None:
            return molecule
        raise InputError("a run stands in the frame of its poses: leave the origin out")
    structure = molecule.structure
    if origin is None:
        weight = torch.tensor(
            structure.element * structure.occupancy, dtype=torch.float32
        ).clamp_min(1e-6)
        origin = (weight @ structure.position / weight.sum()).tolist()
    origin = torch.tensor(list(origin), dtype=torch.float32)
    return Molecule(structure.moved(structure.position - origin), molecule.conformations - origin)


def choose(
    conformations: int,
    particles: int,
    generator: torch.Generator,
    *,
    in_order: bool = False,
    populations: Sequence[float] | None = None,
) -> Int[Tensor, "particle"]:
    """Number of each particle's conformation, from 0.

    Parameters
    ----------
    conformations, particles : int
        How many there are.
    generator : torch.Generator
        Of what is chosen at random.
    in_order : bool
        One after the other, again from the first after the last; otherwise at random.
    populations : sequence of float, optional
        Share of each conformation, of any sum.

    Returns
    -------
    (particle,) int

    Raises
    ------
    InputError
        Populations that are not one for each conformation, negative or all zero, or an order
        besides them.

    Examples
    --------
    >>> choose(2, 5, torch.Generator(), in_order=True)
    tensor([0, 1, 0, 1, 0])
    """
    if populations is None:
        if in_order:
            return torch.arange(particles) % conformations
        return torch.randint(conformations, (particles,), generator=generator)
    if in_order:
        raise InputError("populations are of particles at random: leave the order out")
    share = torch.tensor(list(populations), dtype=torch.float64)
    if len(share) != conformations or not (share >= 0).all() or not 0 < share.sum() < float("inf"):
        raise InputError(
            f"populations {', '.join(f'{value:g}' for value in populations)} for {conformations} "
            "conformations: expected one for each, not negative"
        )
    return torch.multinomial(share, particles, replacement=True, generator=generator)


def _of_run(paths: list[Path]) -> Molecule:
    if len(paths) > 1:
        raise InputError(f"{len(paths)} inputs, one of which is a folder: give one run, or files")
    run = open_run(paths[0])
    return Molecule(run.structure, RunConformations(run))


def _models(path: Path) -> list[Structure]:
    source = read_gemmi(path)
    models = []
    for number in range(len(source)):
        one = source.clone()
        del one[number + 1 :]
        del one[:number]
        name = path.name if len(source) == 1 else f"model {number + 1} of {path.name}"
        models.append(structure_from_gemmi(one, name=name))
    return models


def _frames(path: Path, structure: Structure) -> Float[Tensor, "frame atom 3"]:
    if not is_in_file_order(structure.source):
        raise InputError(
            f"{structure.name}: the atoms of a residue stand apart in it and were put together, so "
            f"that they are not in the order of the frames of {path}: write both with the atoms of "
            "each residue side by side"
        )
    frames = read_trajectory(path)
    if frames.shape[1] != len(structure):
        raise InputError(
            f"{path}: frames of {frames.shape[1]:,} atoms, but {structure.name} has "
            f"{len(structure):,}: give the structure that the trajectory was made with"
        )
    return torch.from_numpy(frames)


def _same_atoms(structure: Structure, other: Structure) -> np.ndarray:
    """For each atom of a structure the one of another with the same name in the same residue."""
    wanted, there = (_names(each) for each in (structure, other))
    if wanted == there:
        return np.arange(len(structure))
    number = {name: i for i, name in enumerate(there)}
    missing = [name for name in wanted if name not in number] or [
        name for name in there if name not in set(wanted)
    ]
    if missing or len(number) < len(there):
        chain, residue, icode, atom, _ = missing[0] if missing else there[0]
        raise InputError(
            f"{structure.name} and {other.name} do not hold the same atoms ({atom} of "
            f"{chain}:{residue}{icode}, and {max(0, len(missing) - 1)} more): conformations are of "
            "one molecule; cut both to what they share"
        )
    return np.array([number[name] for name in wanted])


def _names(structure: Structure) -> list[tuple]:
    return list(
        zip(
            structure.chain.tolist(),
            structure.residue.tolist(),
            structure.insertion_code.tolist(),
            structure.atom_name.tolist(),
            structure.altloc.tolist(),
            strict=True,
        )
    )


def _superposed(
    position: Float[Tensor, "conformation atom 3"], base: Float[Tensor, "atom 3"]
) -> Float[Tensor, "conformation atom 3"]:
    batch = max(1, ATOMS_AT_A_TIME // len(base))
    parts = []
    for some in position.split(batch):
        turn, shift = superpose(base.double(), some.double())
        parts.append(((some.double() - shift[:, None]) @ turn).float())
    return torch.cat(parts)

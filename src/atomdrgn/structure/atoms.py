"""The atoms of a structure file, and the way back to a file."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import gemmi
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError, UnmodelledWarning
from ..io.notebook_display import facts_as_html, facts_in_line
from ..io.structure_files.structures import read_gemmi
from ..io.structure_writing.structure_writing import why_no_coordinates, write_gemmi
from ..io.structure_writing.structure_writing import why_no_pdb as why_no_pdb_of_source

# A, RMSD: of copies that do not overlap, and what three decimals leave of it when superposed
MOVED, ROUNDING = 5.0, 0.01


@dataclass(frozen=True, eq=False, repr=False)
class Structure:
    """Every atom of the first model of a file.

    Chains and residue numbers are the author's; copies of a chain have new names.

    Atoms are in file order, but for residues that stand in pieces in the file. Pseudo-atoms are
    left out.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    position : (atom, 3)
        A.
    element : (atom,) int
        Atomic number.
    atom_name, residue_name, chain : (atom,) str
        As in the file; the name of a chain may be empty.
    residue, insertion_code : (atom,) int, (atom,) str
        Number of the residue and the letter behind it ("" without).
    altloc : (atom,) str
        Name of the alternative location, "" where there is one only.
    occupancy, b_factor : (atom,)
        As in the file; the B-factor in A^2.
    residue_index : (atom,) int
        0, 1, ... in file order: which residue an atom belongs to.
    source : gemmi.Structure
        The same model with all that the file says besides; what :func:`write_structure` starts
        from.

    Examples
    --------
    >>> structure = read_structure("model.pdb")
    >>> len(structure), structure.name, structure.atom_name[:5].tolist()
    (120, 'model.pdb', ['N', 'CA', 'C', 'O', 'CB'])
    """

    name: str
    position: Float[Tensor, "atom 3"]
    element: np.ndarray
    atom_name: np.ndarray
    residue: np.ndarray
    insertion_code: np.ndarray
    residue_name: np.ndarray
    chain: np.ndarray
    altloc: np.ndarray
    occupancy: np.ndarray
    b_factor: np.ndarray
    residue_index: np.ndarray
    source: gemmi.Structure

    def __len__(self) -> int:
        return len(self.element)

    def _facts(self) -> dict[str, object]:
        chains = list(dict.fromkeys(self.chain.tolist()))
        shown = ", ".join(chain or "(no name)" for chain in chains[:8])
        return {
            "atoms": f"{len(self):,}",
            "residues": f"{len(np.unique(self.residue_index)):,}",
            "chains": f"{shown} and {len(chains) - 8} more" if len(chains) > 8 else shown,
        }

    def __repr__(self) -> str:
        return facts_in_line("Structure", self.name, self._facts())

    def _repr_html_(self) -> str:
        return facts_as_html(self.name, self._facts())

    def moved(self, position: Float[Tensor, "atom 3"]) -> "Structure":
        """The same structure with its atoms elsewhere."""
        return replace(self, position=position)


def read_structure(path: str | PathLike[str]) -> Structure:
    """The first model of a PDB, mmCIF or BinaryCIF file (each also .gz).

    Every residue stands under a name that no other has.

    Parameters
    ----------
    path : path
        Its content, not its ending, says the format.

    Returns
    -------
    Structure

    Raises
    ------
    MissingFileError, FileFormatError
        The file is not there, cannot be read, holds no atom, or a coordinate, an occupancy or a
        residue's number that is none.
    InputError
        More chains share one name than there are names for.

    Warns
    -----
    UserWarning
        What the file says is not what is read: chains of one name, residues in pieces, occupancies
        above 1.
    UnmodelledWarning
        The file holds several models, or pseudo-atoms.

    Examples
    --------
    >>> structure = read_structure("model.pdb")
    >>> structure.position.shape
    torch.Size([120, 3])
    """
    source = read_gemmi(path)
    if len(source) > 1:
        copies = (
            (
                "; the next is the same molecule in another place, as in a biological assembly; "
                "where the images show both, write them as one model, with a chain name each"
            )
            if _is_moved(source[0], source[1])
            else ""
        )
        warnings.warn(
            f"{path}: holds {len(source)} models; the first is used{copies}",
            UnmodelledWarning,
            stacklevel=2,
        )
        del source[1:]
    return structure_from_gemmi(source, name=Path(path).name)


def _is_moved(one: gemmi.Model, other: gemmi.Model) -> bool:
    """Whether two models are one rigid molecule in two places, and not two conformations of it."""
    here, there = ([site.atom.pos for site in model.all()] for model in (one, other))
    if len(here) != len(there) or len(here) < 3:
        return False
    apart = math.sqrt(sum(a.dist(b) ** 2 for a, b in zip(here, there, strict=True)) / len(here))
    return apart > MOVED and gemmi.superpose_positions(here, there).rmsd < ROUNDING


def structure_from_gemmi(source: gemmi.Structure, *, name: str = "structure") -> Structure:
    """The record of the first model of a ``gemmi.Structure``; its atoms keep their order.

    Parameters
    ----------
    source : gemmi.Structure
        With at least one model; the record keeps it.
    name : str
        For messages.

    Returns
    -------
    Structure

    Examples
    --------
    >>> again = structure_from_gemmi(read_structure("model.pdb").source, name="again")
    >>> again.name, len(again)
    ('again', 120)
    """
    residues = [(chain, residue) for chain in source[0] for residue in chain]
    count = np.array([len(residue) for _, residue in residues])
    atoms = [atom for _, residue in residues for atom in residue]

    def for_each_atom(values: list | np.ndarray) -> np.ndarray:
        return np.repeat(np.array(values), count)

    return Structure(
        name=name,
        position=torch.tensor(np.array([atom.pos.tolist() for atom in atoms]), dtype=torch.float32),
        element=np.array([atom.element.atomic_number for atom in atoms]),
        atom_name=np.array([atom.name for atom in atoms]),
        residue=for_each_atom([residue.seqid.num for _, residue in residues]),
        insertion_code=for_each_atom([residue.seqid.icode.strip() for _, residue in residues]),
        residue_name=for_each_atom([residue.name for _, residue in residues]),
        chain=for_each_atom([chain.name for chain, _ in residues]),
        altloc=np.array([atom.altloc.strip("\0 ") for atom in atoms]),
        occupancy=np.array([atom.occ for atom in atoms]),
        b_factor=np.array([atom.b_iso for atom in atoms]),
        residue_index=for_each_atom(np.arange(len(residues))),
        source=source,
    )


def write_structure(
    structure: Structure,
    path: str | PathLike[str],
    *,
    position: Tensor | np.ndarray | None = None,
    b_factor: Tensor | np.ndarray | None = None,
    occupancy: Tensor | np.ndarray | None = None,
    format: str | None = None,
) -> None:
    """Write every atom of a structure, in order, with all that its file said besides.

    The file appears complete or not at all.

    Parameters
    ----------
    structure : Structure
        What to write.
    path : path
        Its ending says the format: .pdb, .cif or .bcif, or one of these and .gz.
    position : (atom, 3), optional
        Coordinates in place of the structure's own, A; kept to 0.001 A.
    b_factor : (atom,), optional
        B-factors in place of the structure's own, A^2. Anisotropic ones are dropped then, and
        wherever atoms have moved.
    occupancy : (atom,), optional
        In place of the structure's own.
    format : str, optional
        "pdb", "mmcif" or "bcif", whatever the name says.

    Raises
    ------
    InputError
        A number of coordinates, B-factors or occupancies other than that of the atoms, a coordinate
        that is not finite, or a structure that does not fit into a PDB file.

    Examples
    --------
    >>> structure = read_structure("model.pdb")
    >>> write_structure(structure, "moved.cif", position=structure.position + 10.0)
    >>> round((read_structure("moved.cif").position - structure.position).mean().item(), 2)
    10.0
    """
    source = structure.source.clone()
    position = structure.position if position is None else position
    position = _one_an_atom(structure, position, (len(structure), 3), "coordinates")
    # the format's own precision; it also takes the float32 tail off the numbers
    position = np.round(position, 3)
    anisotropic = b_factor is not None or not np.array_equal(
        position, np.round(structure.position.double().numpy(), 3)
    )
    atoms = [atom for chain in source[0] for residue in chain for atom in residue]
    for atom, xyz in zip(atoms, position.tolist(), strict=True):
        atom.pos = gemmi.Position(*xyz)
    if b_factor is not None:
        b_factor = np.round(_one_an_atom(structure, b_factor, (len(structure),), "B-factors"), 2)
        for atom, value in zip(atoms, b_factor.tolist(), strict=True):
            atom.b_iso = value
    if occupancy is not None:
        occupancy = np.round(
            _one_an_atom(structure, occupancy, (len(structure),), "occupancies"), 2
        )
        for atom, value in zip(atoms, occupancy.tolist(), strict=True):
            atom.occ = value
    if anisotropic:
        none = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
        for atom in atoms:
            atom.aniso = none
    write_gemmi(source, path, format=format)


def why_no_pdb(structure: Structure, position: Tensor | np.ndarray | None = None) -> str | None:
    """Why common programs would not agree on what a PDB file of a structure holds.

    Parameters
    ----------
    structure : Structure
        What would be written.
    position : (atom, 3), optional
        Coordinates in place of the structure's own, A.

    Returns
    -------
    str or None
        The reason in words; None where they would agree.

    Examples
    --------
    >>> structure = read_structure("model.pdb")
    >>> why_no_pdb(structure) is None, why_no_pdb(structure, structure.position * 1e4) is None
    (True, False)
    """
    position = structure.position if position is None else torch.as_tensor(position)
    return why_no_pdb_of_source(structure.source) or why_no_coordinates(
        position.detach().cpu().numpy()
    )


def write_pdb_or_mmcif(structure: Structure, stem: Path, *, say: Callable[[str], None]) -> Path:
    """Write a structure as PDB, or as mmCIF where programs would not agree on the PDB file.

    Parameters
    ----------
    structure : Structure
        What to write.
    stem : Path
        Of the file, without an ending.
    say : callable
        Is told in one line why the file is mmCIF.

    Returns
    -------
    Path
        Of the written file: `stem`.pdb or `stem`.cif.

    Examples
    --------
    >>> str(write_pdb_or_mmcif(read_structure("model.pdb"), Path("copy"), say=print))
    'copy.pdb'
    """
    reason = why_no_pdb(structure)
    path = stem.with_name(f"{stem.name}.{'cif' if reason else 'pdb'}")
    if reason:
        say(f"{reason}: {path.name} is written")
    write_structure(structure, path)
    return path


def _one_an_atom(
    structure: Structure, values: Tensor | np.ndarray, shape: tuple[int, ...], what: str
) -> np.ndarray:
    values = torch.as_tensor(values).detach().double().cpu().numpy()
    if values.shape != shape:
        raise InputError(
            f"{structure.name}: {what} of shape {values.shape} for {len(structure)} atoms; "
            f"expected {shape}"
        )
    bad = (~np.isfinite(values)).sum()
    if bad:
        raise InputError(
            f"{structure.name}: {bad} of the {what} are not finite and cannot be written"
        )
    return values

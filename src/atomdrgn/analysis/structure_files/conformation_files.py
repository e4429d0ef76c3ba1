"""Several conformations of one molecule in one file.

They are models of a PDB, mmCIF or BinaryCIF file, or frames of a trajectory.
"""

from pathlib import Path

import gemmi
import numpy as np
from jaxtyping import Float

from ...io.structure_writing.structure_writing import write_gemmi
from ...structure.atoms import Structure


def write_models(
    structure: Structure,
    positions: Float[np.ndarray, "model atom 3"],
    path: Path,
    *,
    occupancy: Float[np.ndarray, "model atom"] | None = None,
    b_factor: Float[np.ndarray, "model atom"] | None = None,
) -> None:
    """One file with a model for each conformation, 1, 2, ...

    The file appears complete or not at all.

    Parameters
    ----------
    structure : Structure
        What the file says besides.
    positions : (model, atom, 3)
        A; kept to 0.001 A.
    path : Path
        Ends in .pdb, .cif or .bcif.
    occupancy, b_factor : (model, atom), optional
        In place of the structure's own; the B-factor in A^2. Anisotropic ones are dropped: they do
        not turn with the atoms.

    Raises
    ------
    InputError
        A structure that a PDB file cannot hold.
    """
    source = structure.source.clone()
    for each in source[0].all():
        each.atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
    empty = source[0].clone()
    del source[0:]
    for number, position in enumerate(np.round(np.asarray(positions, dtype=float), 3)):
        model = empty.clone()
        model.num = number + 1
        atoms = [each.atom for each in model.all()]
        for atom, xyz in zip(atoms, position.tolist(), strict=True):
            atom.pos = gemmi.Position(*xyz)
        for name, values in (("occ", occupancy), ("b_iso", b_factor)):
            if values is not None:
                for atom, value in zip(
                    atoms, np.round(values[number].astype(float), 2).tolist(), strict=True
                ):
                    setattr(atom, name, value)
        source.add_model(model)
    write_gemmi(source, path)

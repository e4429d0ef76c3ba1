"""Poses of a particle file in another frame of the molecule, written back in the file's own
convention.

Where a part of a particle has gone from x to G x + d, the images show it as they would show the
part at rest under the pose with rotation A G and shift s + (A d), whose A and s are the file's: x
goes to A (G x + d) + s.
"""

from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..io.star import StarTable
from ..physics.rotations import euler_from_matrix, vector_from_matrix
from .formats.cryosparc import read_alignment
from .formats.optics import read_optics
from .formats.relion import ANGLES, read_rotation, read_shift
from .formats.tilt_stacks import MIRROR, are_tilt_stacks, origin_columns, read_origin

DIGITS = 6  # of angles (degrees) and origins, as RELION writes them


def new_poses_of_star(table: StarTable, optics: StarTable | None, rotation, shift) -> StarTable:
    """The particle table with new angles and origins; priors of angles that it has become these
    angles.

    Parameters
    ----------
    table, optics : StarTable
        Of the file.
    rotation, shift : (row, 3, 3), (row, 3)
        G and d of each row's particle; A.
    """
    if are_tilt_stacks(table):
        return _of_tilt_stacks(table, optics, rotation, shift)
    old = read_rotation(table)
    table = _with_angles(table, old @ rotation)
    moved = np.einsum("nij,nj->ni", old, shift)[:, :2]
    # RELION 3.0: in pixels
    if "rlnOriginXAngst" not in table and ("rlnOriginX" in table or optics is None):
        pixel_size = read_optics(table, optics).pixel_size
        origin = -(read_shift(table, pixel_size) + moved) / pixel_size[:, None]
        return _with_numbers(
            table, {f"rlnOrigin{axis}": origin[:, i] for i, axis in enumerate("XY")}
        )
    origin = -(read_shift(table, np.ones(len(table))) + moved)
    return _with_numbers(
        table, {f"rlnOrigin{axis}Angst": origin[:, i] for i, axis in enumerate("XY")}
    )


def new_poses_of_cs(rows: np.ndarray, rotation, shift, *, path: Path) -> dict[str, np.ndarray]:
    """New values of the fields that hold the pose.

    Raises
    ------
    InputError
        There is no single 3D alignment.
    """
    if "alignments3D/pose" not in rows.dtype.names:
        raise InputError(
            f"{path}: no alignments3D/pose: poses are written to a refinement's file only"
        )
    old, at = read_alignment({name: rows[name] for name in rows.dtype.names}, path=path)
    vector = vector_from_matrix(torch.from_numpy((old @ rotation).transpose(0, 2, 1))).numpy()
    moved = at + np.einsum("nij,nj->ni", old, shift)[:, :2]
    return {
        "alignments3D/pose": vector,
        "alignments3D/shift": -moved / rows["alignments3D/psize_A"][:, None],
    }


def _of_tilt_stacks(table, optics, rotation, shift):
    """The angles mean Sub Rot in the mirrored tomogram (see :mod:`.tilt_stacks`): with A = Sub Rot,
    A becomes A M G M.

    The origin, from which the molecule stands at Sub times minus it, changes by minus Rot M d. It
    is written in the unit that the file has; an axis that has no column gets one in the unit of the
    others.
    """
    old, there = read_rotation(table), origin_columns(table)
    in_pixels = any(there) and not any(name.endswith("Angst") for name in there if name)
    pixels_there = any(name and not name.endswith("Angst") for name in there)
    pixel_size = read_optics(table, optics).pixel_size if pixels_there else np.ones(len(table))
    origin = read_origin(table, pixel_size) - np.einsum("nij,nj->ni", old @ MIRROR, shift)
    names = [
        name or f"rlnOrigin{axis}{'' if in_pixels else 'Angst'}"
        for name, axis in zip(there, "XYZ", strict=True)
    ]
    numbers = {
        name: values if name.endswith("Angst") else values / pixel_size
        for name, values in zip(names, origin.T, strict=True)
    }
    return _with_numbers(_with_angles(table, old @ MIRROR @ rotation @ MIRROR), numbers)


def _with_angles(table, matrix):
    angles = torch.rad2deg(
        euler_from_matrix(torch.from_numpy(np.ascontiguousarray(matrix)))
    ).numpy()
    numbers = dict(zip(ANGLES, angles.T, strict=True))
    priors = {f"{name}Prior": values for name, values in numbers.items() if f"{name}Prior" in table}
    return _with_numbers(table, numbers | priors)


def _with_numbers(table, numbers):
    for name, values in numbers.items():
        table = table.with_column(name, [f"{value:.{DIGITS}f}" for value in values.tolist()])
    return table

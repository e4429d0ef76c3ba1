"""Where the base model stands in the frame of the poses.

Poses turn about the box centre of the consensus map, which is coordinate (0, 0, 0).
"""

import warnings
from collections.abc import Sequence

import gemmi
import numpy as np
import torch
from torch import Tensor

from ..errors import FileFormatError, InputError, UnmodelledWarning
from ..io.mrc import MrcHeader
from ..physics.grid import ImageGrid
from .atoms import Structure, structure_from_gemmi
from .beads import BeadModel

LARGEST_VOXEL, FARTHEST = 1e4, 1e7  # A, and A or voxels: beyond what any map has


def centre_of_map(header: MrcHeader) -> np.ndarray:
    """(3,) where the box centre of a map lies in the frame of models that fit the map, xyz, A.

    The centre is voxel ``n // 2`` along each axis, counted from where :func:`grid_of_map` has the
    first one.

    Parameters
    ----------
    header : MrcHeader
        Of the map.

    Returns
    -------
    (3,)

    Raises
    ------
    InputError
        The header does not say how large a voxel is.

    Examples
    --------
    >>> from atomdrgn.io.mrc import read_header
    >>> centre_of_map(read_header("map.mrc"))
    array([0., 0., 0.])
    """
    first, size, voxel = grid_of_map(header)
    return first + size // 2 * voxel


def grid_of_map(header: MrcHeader) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the first voxel of a map lies, how many voxels there are, and how large one is.

    The first voxel lies at the header's origin, or, where that is zero, at nstart times the voxel
    size, as programs for models read it.

    Parameters
    ----------
    header : MrcHeader
        Of the map.

    Returns
    -------
    first : (3,)
        Where the first voxel lies, xyz, A.
    size : (3,) int
        Voxels along x, y and z.
    voxel : (3,)
        Edges of a voxel, A.

    Raises
    ------
    InputError
        The header does not say how large a voxel is.
    FileFormatError
        What it says of the place is no number or out of range, or the axes are slanted.

    Examples
    --------
    >>> from atomdrgn.io.mrc import read_header
    >>> grid_of_map(read_header("map.mrc"))
    (array([-24., -24., -24.]), array([24, 24, 24]), array([2., 2., 2.]))
    """
    _refuse_senseless_place(header)
    if min(header.voxel_size) <= 0:
        raise InputError(
            f"{header.path}: the header gives no voxel size, so that lengths are unknown; write it "
            "into the header, or give the box centre in the model's frame with --origin"
        )
    # shape and nstart follow the file: columns, rows, sections; voxel size
    # and origin follow x, y, z
    along = [header.axis_order.index(axis) for axis in (1, 2, 3)]
    size = np.array(header.shape[::-1])[along]
    voxel = np.array(header.voxel_size, dtype=float)
    first = np.array(header.origin, dtype=float)
    if not first.any():
        first = np.array(header.nstart)[along] * voxel
    return first, size, voxel


def _refuse_senseless_place(header: MrcHeader) -> None:
    """Refuse numbers in a header that cannot be where a map stands."""
    fields = {
        "voxel size (cella over mx, my and mz)": (header.voxel_size, 0, LARGEST_VOXEL, "A"),
        "origin": (header.origin, -FARTHEST, FARTHEST, "A"),
        "nstart": (header.nstart, -FARTHEST, FARTHEST, "voxels"),
    }
    for name, (values, least, most, unit) in fields.items():
        # so written, no number is refused
        if not all(least <= value <= most for value in values):
            raise FileFormatError(
                f"{header.path}: the header's {name} is "
                f"{', '.join(f'{value:g}' for value in values)}; expected {least:g} to {most:g} "
                f"{unit}: mend the header, or give the box centre in the model's frame with "
                "--origin"
            )
    if any(angle != 0 and abs(angle - 90) > 0.01 for angle in header.angles):
        raise FileFormatError(
            f"{header.path}: the header's cell has angles of "
            f"{', '.join(f'{x:g}' for x in header.angles)} degrees; expected 90 each: resample the "
            "map on right-angled axes"
        )


def place(structure: Structure, origin: Sequence[float | int] | np.ndarray | Tensor) -> Structure:
    """The structure moved so that a point of its frame becomes (0, 0, 0).

    Parameters
    ----------
    structure : Structure
        In the frame of a map, say.
    origin : (3,)
        The point, xyz, A.

    Returns
    -------
    Structure

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> structure = read_structure("model.pdb")
    >>> placed = place(structure, structure.position.mean(0))
    >>> placed.position.mean(0).abs().max().item() < 1e-4
    True
    """
    return structure.moved(
        structure.position - torch.as_tensor(np.asarray(origin), dtype=torch.float32)
    )


def moved_rigidly(
    structure: Structure,
    rotation: np.ndarray | Tensor,
    translation: Sequence[float | int] | np.ndarray | Tensor,
) -> Structure:
    """The structure with every atom at ``rotation @ x + translation``.

    What the file says in the same frame turns with the atoms: anisotropic B-factors, and the
    operators of assemblies and of non-crystallographic symmetry. The crystal's cell does not.

    Parameters
    ----------
    structure : Structure
        What to move.
    rotation : (3, 3)
        A proper rotation.
    translation : (3,)
        A.

    Returns
    -------
    Structure

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> structure = read_structure("model.pdb")
    >>> moved = moved_rigidly(structure, np.eye(3), [1.0, 0.0, 0.0])
    >>> (moved.position - structure.position).mean(0).round(decimals=2)
    tensor([1., 0., 0.])
    """
    rotation, translation = np.asarray(rotation, dtype=float), np.asarray(translation, dtype=float)
    motion = gemmi.Transform(gemmi.Mat33(rotation.tolist()), gemmi.Vec3(*translation.tolist()))
    source = structure.source.clone()
    source[0].transform_pos_and_adp(motion)
    position = structure.position.double().numpy() @ rotation.T + translation
    for atom, xyz in zip(source[0].all(), position.tolist(), strict=True):
        atom.atom.pos = gemmi.Position(*xyz)
    for assembly in source.assemblies:
        for generator in assembly.generators:
            for operator in generator.operators:
                operator.transform = motion.combine(operator.transform).combine(motion.inverse())
    for number, symmetry in enumerate(list(source.ncs)):
        followed = motion.combine(symmetry.tr).combine(motion.inverse())
        source.ncs[number] = gemmi.NcsOp(followed, symmetry.id, symmetry.given)
    return structure_from_gemmi(source, name=structure.name)


def require_inside(beads: BeadModel, grid: ImageGrid) -> None:
    """Refuse a model that stands outside of the box, as nothing of it would be projected.

    Parameters
    ----------
    beads : BeadModel
        In the frame of the poses.
    grid : ImageGrid
        Of the images.

    Raises
    ------
    InputError
        More than half of its electrons are outside.

    Warns
    -----
    UnmodelledWarning
        Some of its beads are outside.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> require_inside(coarse_grain(read_structure("model.pdb")), ImageGrid(32, 2.0))
    """
    outside = (beads.position.abs() > grid.extent / 2).any(1)
    share = (beads.amplitude * outside).sum() / beads.amplitude.sum()
    centre = (beads.amplitude[:, None] * beads.position).sum(0) / beads.amplitude.sum()
    at = ", ".join(f"{x:.0f}" for x in centre.tolist())
    where = (
        f"the model's centre is at ({at}) A, and the box reaches from {-grid.extent / 2:.0f} to "
        f"{grid.extent / 2:.0f} A"
    )
    advice = (
        "models usually stand in the frame of the consensus map, with its corner at 0: give that "
        "map with --map, or the coordinates of its centre with --origin"
    )
    if share > 0.5:
        raise InputError(f"{share:.0%} of the model lies outside the images: {where}; {advice}")
    if outside.any():
        warnings.warn(
            f"{outside.sum()} of {len(beads)} beads lie outside the images: {where}; if that is "
            f"not meant, {advice}",
            UnmodelledWarning,
            stacklevel=2,
        )

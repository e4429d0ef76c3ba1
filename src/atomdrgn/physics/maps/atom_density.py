"""The density of atoms on the voxels of a map."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from .atom_density_loops import add_gaussians
from .maps import fourier_crop

REACH = 4.5  # standard deviations to which a Gaussian is drawn
# s.d. in voxels; narrower Gaussians are drawn on finer voxels and cropped in Fourier space
NARROWEST = 1.0


def density_of_atoms(
    position: Float[Tensor, "atom 3"],
    amplitude: Float[Tensor, "atom"],
    sigma: Float[Tensor, "atom"] | float,
    *,
    box_size: int,
    voxel_size: float,
) -> Float[Tensor, "box box box"]:
    """Density per A^3 of Gaussian atoms (or beads), band-limited to the voxels, axes z, y, x.

    What lies outside the box is left out. Projected along z it is what
    :func:`~atomdrgn.physics.projection.project.project_beads` gives.

    Parameters
    ----------
    position : (atom, 3)
        x, y, z, A; the origin is voxel ``box // 2``.
    amplitude : (atom,)
        Integral of each, electrons.
    sigma : (atom,) or float
        Standard deviation of each, A.
    box_size : int
        Voxels along an edge.
    voxel_size : float
        A.

    Returns
    -------
    (box, box, box)
        On the processor, single precision.

    Raises
    ------
    InputError
        A width is not positive.

    Examples
    --------
    >>> atom = torch.zeros(1, 3), torch.tensor([6.0])
    >>> density = density_of_atoms(*atom, 2.0, box_size=16, voxel_size=2.0)
    >>> round(8 * density.sum().item(), 2)
    6.0
    """
    sigma = torch.as_tensor(sigma, dtype=torch.float32).expand(len(position))
    if len(sigma) and float(sigma.min()) <= 0:
        raise InputError(f"an atom of width {float(sigma.min())} A: widths have to be positive")
    finer = max(1, math.ceil(NARROWEST * voxel_size / float(sigma.min()))) if len(sigma) else 1
    box, voxel = finer * box_size, voxel_size / finer
    density = torch.zeros(box, box, box)
    # voxel n//2 of the small box and of the fine one are the same place only if the fine one is
    # counted from there
    at = position.detach().cpu().double() / voxel + box // 2
    scale = amplitude.detach().cpu().double() / (2 * math.pi * sigma.double() ** 2) ** 1.5
    add_gaussians(
        at.numpy(), scale.numpy(), (sigma.double() / voxel).numpy(), REACH, density.numpy()
    )
    return fourier_crop(density, box_size)

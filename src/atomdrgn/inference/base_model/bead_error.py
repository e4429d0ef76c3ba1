"""What beads cannot show.

It is how far their images are from the atoms', and what that leaves of many images' evidence.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...physics.disc import FourierDisc
from ...physics.grid import ImageGrid
from ...physics.projection.bead_transform import bead_transform
from ...physics.rotations import matrix_from_quaternion
from ...structure.atoms import Structure
from ...structure.beads import ATOMIC_BLUR, BeadModel
from ...structure.residue_kinds import residue_kinds

DIRECTIONS = 24  # over which it is averaged


def bead_error(
    structure: Structure, beads: BeadModel, disc: FourierDisc, generator: torch.Generator
) -> Float[Tensor, "shell"]:
    """Mean squared difference of the atoms' image and the beads', in each ring.

    It is that of a coefficient, with neither blurred more.

    A property of the representation, measured on the base model without any image: it hardly
    depends on where residues stand.
    """
    atom, electrons = _electrons(structure, beads)
    turn = matrix_from_quaternion(torch.randn(DIRECTIONS, 4, generator=generator))
    place, narrow = structure.position[atom], torch.full_like(electrons, ATOMIC_BLUR)
    total = torch.zeros(int(disc.shell.max()) + 1)
    for rotation in turn:
        fine = bead_transform(
            (place @ rotation.T)[None], narrow, disc, weight=electrons[None, :, None]
        )
        coarse = bead_transform(
            (beads.position @ rotation.T)[None],
            beads.sigma,
            disc,
            weight=beads.amplitude[None, :, None],
        )
        total.index_add_(0, disc.shell, (fine - coarse)[0, 0, 0].square().sum(0))
    count = torch.bincount(disc.shell, minlength=len(total)).clamp_min(1)
    return total / (DIRECTIONS * count)


def evidence_left(
    error: Float[Tensor, "shell"],
    strength: Float[Tensor, "shell"],
    *,
    beads: BeadModel,
    grid: ImageGrid,
) -> Float[Tensor, "shell"]:
    """Part of the images' evidence in each ring that bears on the beads, at most 1.

    Noise differs from image to image and averages out; what beads cannot show is the same in all of
    them and does not. A coefficient of the molecule's transform that images tell with the
    information I is known of the *beads* with 1 / (1 / I + error) only. A molecule of volume V has
    V independent coefficients in a unit volume of Fourier space.

    Parameters
    ----------
    error : (shell,)
        Squared error of a coefficient, as the images show the beads.
    strength : (shell,)
        Squared transfer function over the noise, summed over all images and coefficients of the
        ring.
    beads : BeadModel
        The base model; its volume is that of a ball of the same radius of gyration.
    grid : ImageGrid
        Of the images.
    """
    arm = beads.position - beads.position.mean(0)
    radius2 = (5 / 3) * float(arm.square().sum(1).mean())
    volume = 4 / 3 * math.pi * radius2**1.5
    k = (torch.arange(len(error)) + 1) / grid.extent
    coefficients = (4 * math.pi * volume / grid.extent) * k**2
    return 1 / (1 + strength * error / coefficients.clamp_min(1))


def _electrons(
    structure: Structure, beads: BeadModel
) -> tuple[Int[Tensor, "dry"], Float[Tensor, "dry"]]:
    """Atoms that are no water, and their electrons, which sum to each bead's."""
    dry = np.flatnonzero(residue_kinds(structure)[structure.residue_index] != "water")
    electrons = np.maximum(structure.element[dry] * np.minimum(structure.occupancy[dry], 1), 1e-3)
    bead = beads.bead_of_atom[dry]
    total = np.bincount(bead, electrons, minlength=len(beads))
    scale = beads.amplitude.double().numpy() / np.maximum(total, 1e-3)
    return torch.from_numpy(dry), torch.from_numpy(electrons * scale[bead]).float()

"""What the restraints say about motions near a conformation.

They are Gauss-Newton's normal equations, one set a conformation.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...structure.motion.deformation import Deformation
from ...structure.motion.segment_deformation import TWIST, SegmentDeformation
from ..normal_equations import NormalEquations
from .restraint import Strained
from .restraint_loops import add_equations
from .segment_restraints import Restraints


def restraint_equations(
    restraints: Restraints, deformation: Deformation, latent: Float[Tensor, "batch latent"]
) -> NormalEquations:
    """Normal equations of the restraints as further data.

    Each residual that acts is a measurement of 0 with its standard deviation.

    Of segments it changes with the one or two only that each of its beads belongs to, so that its
    square is added to a few blocks of the matrix and nothing as long as the latent is made for it.

    Parameters
    ----------
    restraints : Restraints
        What holds a conformation together.
    deformation : Deformation
        What a latent decodes to.
    latent : (batch, latent)
        A.
    """
    strained = restraints.strained(deformation.conformation(latent).position)
    n = deformation.n_latent
    equations = NormalEquations(
        latent.new_zeros(len(latent), n, n), torch.zeros_like(latent), latent.new_zeros(len(latent))
    )
    if not isinstance(deformation, SegmentDeformation):
        _add_by_beads(strained, deformation, latent, equations)
        return equations
    rotation, jacobian = (
        deformation.rotation(latent),
        deformation.jacobian(latent)[..., :TWIST].contiguous(),
    )
    fixed = (deformation.position, deformation.centroid, rotation, jacobian)
    shares = deformation.shares
    for term in strained:
        arrays = (
            *term,
            shares.first,
            shares.segment,
            shares.share,
            shares.slot,
            *(each.numpy() for each in fixed),
            equations.matrix.numpy(),
            equations.gradient.numpy(),
            equations.chi2.numpy(),
        )
        add_equations(*arrays)
    return equations


def _add_by_beads(
    strained: tuple[Strained, ...],
    deformation: Deformation,
    latent: Float[Tensor, "batch latent"],
    equations: NormalEquations,
) -> None:
    """Adds the residuals' normal equations where anything may move the beads."""
    of_terms = [term.bead.ravel() for term in strained]
    bead = np.unique(np.concatenate([np.zeros(0, int), *of_terms]))
    speed = deformation.bead_jacobians(latent, torch.from_numpy(bead))
    for number in range(len(latent)):
        for term in strained:
            own = term.conformation == number
            weight, value, direction = (
                torch.from_numpy(array[own]).to(latent)
                for array in (term.weight, term.residual, term.direction)
            )
            # (row, end, 3, latent)
            moved = speed[number, torch.from_numpy(np.searchsorted(bead, term.bead[own]))]
            rows = torch.einsum("kea,kean->kn", direction, moved)
            equations.matrix[number] += rows.T @ (weight[:, None] * rows)
            equations.gradient[number] -= rows.T @ (weight * value)
            equations.chi2[number] += weight @ value.square()

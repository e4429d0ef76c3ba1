"""What the restraints say about motions near a conformation: Gauss-Newton's normal equations, one
set a conformation.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ...structure.motion.deformation import TWIST, SegmentDeformation
from ..normal_equations import NormalEquations
from .restraint_loops import add_equations
from .restraints import Restraints


def restraint_equations(
    restraints: Restraints, deformation: SegmentDeformation, latent: Float[Tensor, "batch latent"]
) -> NormalEquations:
    """Normal equations of the restraints as further data: each strained pair is a measurement of 0
    with its standard deviation.

    A pair changes with the one or two segments only that each of its beads belongs to, so that its
    square is added to a few blocks of the matrix and nothing as long as the latent is made for a
    pair.

    Parameters
    ----------
    restraints : Restraints
        What holds a conformation together.
    deformation : SegmentDeformation
        What a latent decodes to.
    latent : (batch, latent)
        A.
    """
    strained = restraints.strained(deformation.conformation(latent).position)
    rotation, jacobian = (
        deformation.rotation(latent),
        deformation.jacobian(latent)[..., :TWIST].contiguous(),
    )
    n = deformation.n_latent
    equations = NormalEquations(
        latent.new_zeros(len(latent), n, n), torch.zeros_like(latent), latent.new_zeros(len(latent))
    )
    fixed = (deformation.position, deformation.centroid, rotation, jacobian)
    shares = deformation.shares
    add_equations(
        *strained,
        shares.first,
        shares.segment,
        shares.share,
        shares.slot,
        *(each.numpy() for each in fixed),
        equations.matrix.numpy(),
        equations.gradient.numpy(),
        equations.chi2.numpy(),
    )
    return equations

"""Where the base model is wrong in all particles alike.

Its beads are moved as half-sets of images agree, with the motions known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...likelihood.restraints.chain_restraints import (
    CHAIN,
    bond_error,
    bonded_residues,
    make_chain_restraints,
)
from ...likelihood.restraints.pair_restraints import Springs
from ...likelihood.restraints.restraint import Restraint
from ...likelihood.restraints.segment_restraints import Restraints
from ...structure.atoms import Structure
from ...structure.beads import BeadModel
from ..problem.fit_state import FitState
from ..problem.half_sets import HalfSet
from ..problem.misfit import with_poses_at
from ..problem.significance import is_clear
from .shared_offsets import Part, find_offsets

# A: how far neighbours in a base model are off each other, r.m.s.;
# docs/accuracy.md has what others do
SPRING = 0.5
BOND = 0.1
STEPS = 6


@dataclass(frozen=True, eq=False)
class BaseCorrection:
    """How far the beads of the base model are from where images have them.

    Parameters
    ----------
    shifts : (half, bead, 3)
        As each half-set has found it, A.
    gain : float
        Log-likelihood that an image gains by what the other half-set has found, on average.
    supported : bool
        Whether that is more than chance.
    """

    shifts: Float[Tensor, "half bead 3"]
    gain: float
    supported: bool

    @property
    def shift(self) -> Float[Tensor, "bead 3"]:
        """Shift of each bead, A: what both have found, or none where images do not support it."""
        return self.shifts.mean(0) if self.supported else torch.zeros_like(self.shifts[0])

    @property
    def length(self) -> Float[Tensor, "bead"]:
        """Of each bead's shift, A."""
        return torch.linalg.vector_norm(self.shift, dim=1)

    @property
    def error(self) -> Float[Tensor, "bead"]:
        """Half the difference of the half-sets, A."""
        return (
            0.5 * torch.linalg.vector_norm(self.shifts[0] - self.shifts[1], dim=1) * self.supported
        )


def correct_base(
    structure: Structure,
    halves: Sequence[HalfSet],
    states: Sequence[FitState],
) -> BaseCorrection:
    """Positions of shared beads, fitted with each particle moved as its half-set found it.

    Parameters
    ----------
    structure : Structure
        The base model.
    halves, states
        The half-sets and their fits.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), equation 3:
    offsets of beads by the likelihood and restraints. Springs between neighbours are as Tirion's
    (1996), all of one strength.
    """
    model = halves[0].model
    beads, generator = model.beads, torch.Generator().manual_seed(model.seed)
    parts = [_drawn(half, state, generator) for half, state in zip(halves, states, strict=True)]
    found = find_offsets(
        structure,
        parts,
        restraints=_restraints(beads),
        steps=STEPS,
        generator=generator,
        title="correcting the base model",
    )
    (gain,) = found.gains([1])
    return BaseCorrection(found.position[:, 0] - beads.position, float(gain.mean()), is_clear(gain))


def _restraints(beads: BeadModel) -> Restraints:
    """Those of a chain, with springs of one strength and bonds of another."""

    def firm(term: Restraint) -> Restraint:
        if term.name != CHAIN:
            return term
        assert isinstance(term, Springs) and isinstance(term.sigma, torch.Tensor)
        sigma = torch.full_like(term.sigma, SPRING)
        sigma[: len(bonded_residues(beads))] = BOND
        return replace(term, sigma=(sigma**2 + bond_error(beads) ** 2).sqrt())

    return Restraints(tuple(firm(term) for term in make_chain_restraints(beads).terms))


def _drawn(half: HalfSet, state: FitState, generator: torch.Generator) -> Part:
    """Each particle at a draw from its posterior."""
    latent = state.drawn(generator)
    state = with_poses_at(half.model, state, latent)
    return Part(half.model, state, latent, torch.ones(len(latent), 1))

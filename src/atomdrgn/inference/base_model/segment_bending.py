"""What beads do within their segments as these move, in all particles alike.

Half-sets of images find it, with positions known.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...likelihood.restraints.chain_restraints import bonded_residues, chain_springs, chain_tethers
from ...likelihood.restraints.pair_restraints import StraightSprings
from ...likelihood.restraints.segment_restraints import Restraints
from ...structure.atoms import Structure
from ...structure.beads import BeadModel
from ...structure.motion.surface import Surface
from ..findings.ensemble import Ensemble
from ..posterior.importance_sampling import MOST_WIDE
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from ..problem.half_sets import HalfSet, half_sets
from ..problem.misfit import with_poses_at
from ..problem.significance import is_clear
from .shared_offsets import Part, find_offsets

# A: how far neighbours go from each other with one standard deviation of a motion, r.m.s.
SPRING = 0.35
BOND = 0.1
STEPS = 3  # the base model has been corrected before
# offsets that are the same everywhere, those that grow with the places,
# and those with their squares
ORDERS = 3


@dataclass(frozen=True, eq=False)
class FoundFlexing:
    """Offsets of beads by how far a particle is along the motions.

    Parameters
    ----------
    offset : (feature, bead, 3)
        For one of each of the surface's features, A; nothing where images do not support it.
    rms : float
        Of what varies over the particles, of all beads of the trace in all particles, A.
    constant : float
        Of what is the same in all of them, likewise.
    orders : list of int
        Those that images support: 0 is the same everywhere, 1 grows with the places, 2 with their
        squares.
    gain : float
        Log-likelihood that an image gains by what the other half-set has found, on average.
    """

    offset: Float[Tensor, "feature bead 3"]
    rms: float
    constant: float
    orders: list[int]
    gain: float


def find_flexing(
    structure: Structure,
    model: FitModel,
    state: FitState,
    ensemble: Ensemble,
) -> FoundFlexing:
    """Offsets of beads that particles share which are at the same place along the motions.

    Segments are rigid and molecules are not. Offsets are polynomials of second order in the places
    along the first motions, as the latents of segments are; places are known, and offsets are
    fitted to the images of each half-set.

    Parameters
    ----------
    structure : Structure
        The base model, as corrected.
    model, state
        The fit of all particles.
    ensemble : Ensemble
        What it has come to; something moves in it.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021): from a latent
    to offsets of beads.
    """
    generator, base = torch.Generator().manual_seed(model.seed), model.beads.position
    draw = torch.randint(ensemble.draws.shape[1], (model.n_particles,), generator=generator)
    place = ensemble.draws[torch.arange(model.n_particles), draw]
    field, order = _fields(ensemble.surface, place)
    weight = ensemble.surface.features(place) @ field
    drawn = ensemble.surface(place)
    state = with_poses_at(model, state, drawn)
    parts = [_part(half, state, drawn, weight) for half in half_sets(model)]
    found = find_offsets(
        structure,
        parts,
        restraints=Restraints((_springs(model.beads),)),
        steps=STEPS,
        generator=generator,
        title="bending the segments",
    )
    gains = list(found.gains([int((order <= power).sum()) for power in range(ORDERS)]))
    supported = [power for power, gain in enumerate(gains) if is_clear(gain)]
    offset = (found.position.mean(0) - base) * torch.isin(
        order, torch.tensor(supported, dtype=order.dtype)
    )[:, None, None]
    length2 = weight.square().mean(0) * offset[:, model.beads.trace_index].square().sum(-1).mean(1)
    rms, constant = (float(length2[some].sum().sqrt()) for some in (order > 0, order == 0))
    return FoundFlexing(
        torch.einsum("rf,fbc->rbc", field, offset),
        rms,
        constant,
        supported,
        float(sum(gains[power].mean() for power in supported)),
    )


def _springs(beads: BeadModel) -> StraightSprings:
    """Neighbours, and side chains with their backbones."""
    pairs = torch.cat([chain_springs(beads).pairs, chain_tethers(beads).pairs])
    sigma = torch.full((len(pairs),), SPRING)
    sigma[: len(bonded_residues(beads))] = BOND
    return StraightSprings("neighbour", beads.position, pairs, sigma)


def _fields(
    surface: Surface, place: Float[Tensor, "particle k"]
) -> tuple[Float[Tensor, "feature field"], Int[Tensor, "field"]]:
    """Uncorrelated combinations of the surface's features, and the order of each.

    Their mean square over particles is 1.

    They are of the first motions alone, and none of them is constant: that is the base model.
    """
    number = torch.arange(min(MOST_WIDE, len(surface.scale)))
    i, j = torch.triu_indices(len(surface.scale), len(surface.scale))
    square = torch.nonzero(j < MOST_WIDE)[:, 0]
    used = torch.cat([torch.tensor([0]), 1 + number, 1 + len(surface.scale) + square])
    held = surface.features(place)[:, used].double()
    root = torch.linalg.cholesky(
        held.T @ held / len(held) + 1e-6 * torch.eye(len(used), dtype=torch.float64)
    )
    field = torch.zeros(1 + len(surface.scale) + len(i), len(used))
    field[used] = torch.linalg.inv(root).T.float()
    return field, torch.cat(
        [torch.zeros(1, dtype=torch.long), torch.ones_like(number), torch.full_like(square, 2)]
    )


def _part(
    half: HalfSet,
    state: FitState,
    latent: Float[Tensor, "particle latent"],
    weight: Float[Tensor, "particle field"],
) -> Part:
    return Part(half.model, half.state(state), latent[half.particle], weight[half.particle])

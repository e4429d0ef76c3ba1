"""What is likely before any image is seen: the motions that the base model's own shape allows."""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...structure.beads import BeadModel
from ...structure.contacts import bond_pairs, elastic_pairs
from ...structure.motion.deformation import Deformation
from ...structure.motion.segment_deformation import OCCUPANCY_UNIT, TWIST, SegmentDeformation
from .population import Population, PopulationPrior

# Standard deviations, A. What holds a domain to the next is the number of its contacts: with 3 A a
# contact, a hinge of about ten contacts may turn by some ten degrees and an interface of a hundred
# hardly moves. A chain stays whole. Poses are known, so that the molecule as a whole moves little.
CONTACT_SIGMA, BOND_SIGMA, WHOLE_SIGMA, LONGEST_SIGMA = 3.0, 1.0, 1.0, 20.0
# A fit that starts narrow lags behind the resolution: the widest motion starts with at least this,
# A r.m.s. of the trace.
SMALLEST_START = 2.0
# Of occupancies: what segments that lie near each other have in common (falling by e over 30 A, so
# that domains go together), what each has of its own, and the mean of all, which is brightness and
# the contrasts' business.
SHARED_OCCUPANCY, OWN_OCCUPANCY, MEAN_OCCUPANCY, NEIGHBOURHOOD = 0.3, 0.1, 0.15, 30.0
# what contacts are loosened by, up to a thousand
SOFTNESS = [10 ** (step / 4) for step in range(13)]
ROWS_AT_ONCE = 20_000
# The population's prior: for every two numbers of the latent as if one particle had been seen that
# hardly moves, with half a hundredth of the variances of an elastic network. Twenty particles need
# strong evidence to be spread out; a thousand do not feel it but where images say nothing.
PRIOR_PARTICLES, PRIOR_SHARE = 0.5, 0.005


def start_and_prior(
    deformation: Deformation, beads: BeadModel, mean: Float[Tensor, "latent"] | None = None
) -> tuple[Population, PopulationPrior]:
    """Population and prior of a fit that begins at a conformation, by default the base model's."""
    elastic = elastic_population(deformation, beads, mean)
    prior = PopulationPrior(
        elastic.mean,
        elastic.covariance,
        PRIOR_SHARE * elastic.covariance,
        PRIOR_PARTICLES * deformation.n_latent,
    )
    return starting_population(deformation, beads, mean), prior


def elastic_population(
    deformation: Deformation, beads: BeadModel, mean: Float[Tensor, "latent"] | None = None
) -> Population:
    """A Gaussian over motions from an elastic network between the segments.

    Soft hinges are wide, broad interfaces are stiff. Where something else moves, the network is
    that of all pairs which it can strain.

    The low-frequency modes of an elastic network of rigid blocks resemble the motions that proteins
    make.

    Parameters
    ----------
    deformation, beads
        What moves of the base model.
    mean : (latent,), optional
        Whose conformation the network is that of, A; by default the base model.

    References
    ----------
    Tama et al., Proteins 41:1 (2000): rotation-translation of blocks. Atilgan et al., Biophys. J.
    80:505 (2001): the network.
    """
    return _population(deformation, beads, mean, lambda contacts, bonds, metric: contacts + bonds)


def starting_population(
    deformation: Deformation, beads: BeadModel, mean: Float[Tensor, "latent"] | None = None
) -> Population:
    """The elastic population, loosened until a fit can catch on.

    Its contacts are loosened until its widest motion is wide enough.
    """
    return _population(deformation, beads, mean, _loosened)


def _loosened(
    contacts: Float[Tensor, "latent latent"],
    bonds: Float[Tensor, "latent latent"],
    metric: Float[Tensor, "latent latent"],
) -> Float[Tensor, "latent latent"]:
    for softness in SOFTNESS:
        covariance = torch.linalg.inv(contacts / softness + bonds)
        if float(torch.linalg.eigvals(covariance @ metric).real.max()) > SMALLEST_START**2:
            break
    return contacts / softness + bonds


def _population(
    deformation: Deformation,
    beads: BeadModel,
    mean: Float[Tensor, "latent"] | None,
    precision_of: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Population:
    """A Gaussian about a mean, with the precision of contacts, bonds and trace.

    The metric of the trace is added.
    """
    mean = torch.zeros(deformation.n_latent) if mean is None else mean
    motions, moving = deformation.motions_alone, mean[deformation.motion_numbers]
    metric = motions.trace_metric(beads.trace_index, moving).double()
    precision = precision_of(
        _contact_precision(motions, beads, moving), _bond_precision(motions, beads, moving), metric
    )
    value, vector = torch.linalg.eigh(torch.linalg.inv(precision))
    root = (vector * value.clamp_min(0).sqrt()).float()
    if isinstance(deformation, SegmentDeformation) and deformation.composition:
        root = _with_occupancies(root, deformation, beads)
    return Population(mean, root)


def _with_occupancies(
    of_motions: Float[Tensor, "motion motion"], deformation: SegmentDeformation, beads: BeadModel
) -> Float[Tensor, "latent latent"]:
    """The root of motions, and of occupancies that go together.

    These do where segments are neighbours.
    """
    centroid = deformation.centroid[deformation.free].double()
    mass = (beads.amplitude @ deformation.weight)[deformation.free].double()
    near = torch.exp(-torch.cdist(centroid, centroid) / NEIGHBOURHOOD)
    covariance = SHARED_OCCUPANCY**2 * near + OWN_OCCUPANCY**2 * torch.eye(
        len(near), dtype=torch.float64
    )
    share = mass / mass.sum()
    seen = covariance @ share
    covariance = covariance - torch.outer(seen, seen) / (share @ seen + MEAN_OCCUPANCY**2)
    root = torch.zeros(deformation.n_latent, deformation.n_latent)
    number = torch.arange(deformation.n_latent).view(-1, deformation.numbers)
    moving, present = number[:, :TWIST].flatten(), number[:, TWIST]
    root[moving[:, None], moving] = of_motions
    root[present[:, None], present] = (torch.linalg.cholesky(covariance) / OCCUPANCY_UNIT).float()
    return root


def _contact_precision(
    deformation: Deformation, beads: BeadModel, latent: Float[Tensor, "latent"]
) -> Float[Tensor, "latent latent"]:
    """Precision of motions of segments that touch, against each other."""
    touching = elastic_pairs(replace(beads, position=deformation.conformation(latent).position))
    rows = _strained(deformation, touching, latent)
    return (
        torch.diag(deformation.unit_lengths(latent).double() ** 2) / LONGEST_SIGMA**2
        + rows.T @ rows / CONTACT_SIGMA**2
    )


def _bond_precision(
    deformation: Deformation, beads: BeadModel, latent: Float[Tensor, "latent"]
) -> Float[Tensor, "latent latent"]:
    """Precision of motions that tear chains, and of the molecule as a whole."""
    rows, whole = (
        _strained(deformation, bond_pairs(beads), latent),
        _whole_motion(deformation, beads, latent),
    )
    return rows.T @ rows / BOND_SIGMA**2 + whole.T @ whole / WHOLE_SIGMA**2


def _strained(
    deformation: Deformation, pairs: Int[Tensor, "pair 2"], latent: Float[Tensor, "latent"]
) -> Float[Tensor, "row latent"]:
    """Rows of the pairs that some motion can strain: those not wholly in one segment."""
    weight = deformation.membership
    if weight is not None:
        pairs = pairs[(weight[pairs[:, 0]] * weight[pairs[:, 1]]).sum(1) < 1]
    position, rows = deformation.conformation(latent).position, []
    for part in pairs.split(ROWS_AT_ONCE):
        apart = position[part[:, 0]] - position[part[:, 1]]
        direction = apart / apart.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        rows.append(
            deformation.pair_rows(latent[None], part[:, 0], part[:, 1], direction=direction[None])[
                0
            ].double()
        )
    return torch.cat(rows) if rows else latent.new_zeros(1, len(latent)).double()


def _whole_motion(
    deformation: Deformation, beads: BeadModel, latent: Float[Tensor, "latent"]
) -> Float[Tensor, "6 latent"]:
    """Mean shift of the molecule and its mean turn (times its radius of gyration).

    As far as small motions make them.
    """
    trace = beads.trace_index
    moved = deformation.bead_jacobian(latent, trace).double()
    position = deformation.conformation(latent).position[trace]
    arm = (position - position.mean(0)).double()
    inertia = (arm**2).sum() * torch.eye(3, dtype=torch.float64) - arm.T @ arm
    turn = torch.linalg.solve(
        inertia, torch.linalg.cross(arm[..., None].expand_as(moved), moved, dim=1).sum(0)
    )
    return torch.cat([moved.mean(0), turn * arm.norm(dim=-1).square().mean().sqrt()])

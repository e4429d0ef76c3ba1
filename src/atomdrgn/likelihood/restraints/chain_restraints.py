"""What holds a model together that may itself be wrong: its lengths are believed as far as it looks
like a chain.
"""

from dataclasses import dataclass

import gemmi
import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from ...structure.beads import BeadModel
from ...structure.contacts import ELASTIC_CUTOFF, LONGEST_BOND, bond_pairs, tether_pairs
from ...structure.neighbours import NeighbourSearch
from .restraints import (
    BOND_SIGMA,
    CLASH_DISTANCE,
    CLASH_SIGMA,
    ELASTIC_SIGMA,
    TETHER_SIGMA,
    clash,
    distances,
    tether,
)

# A, shortest, median and longest bond between consecutive trace beads: 99 in 100 of the 5,049 of
# amino acids in 1AKE, 4AKE, 2DHB, 1IGY and 7PBL, whole residues and backbones; all 28 of
# nucleotides in 7PBL, whole ones and sugars with phosphates, with room for phosphorus atoms alone,
# which are up to 7.5 A apart.
BOND_LENGTHS = {
    "residue": (3.2, 4.8, 7.4),
    "backbone": (2.8, 3.3, 4.0),
    "nucleotide": (4.3, 5.1, 7.5),
    "sugar": (5.0, 6.1, 7.5),
}
# along a chain: what is nearer keeps its shape when a structure changes (see restraints.py)
LOCAL_PLACES = 8
CONTACT_SIGMA = 3.0  # A: what is near in space only, as in the population's elastic network
# times the r.m.s. error of bonds: by how much a bond of scattered residues may be too long
SCATTER = 3.0
FAR_OUTSIDE = 1.0  # A: a bond that misses the usual lengths by more says nothing of its own
# A: 99 in 100 side chains are nearer to their backbone (the same structures; arginine 5.6)
LONGEST_TETHER = 5.5


@dataclass(frozen=True, eq=False)
class ChainRestraints:
    """Bonds, side chains, an elastic network and clashes of a model; calling it gives half their
    strain over sigma squared.

    Parameters
    ----------
    pairs : (pair, 2)
        Beads that are held by springs: bonds first, then the elastic network.
    length : (pair,)
        Their length without strain, A.
    sigma : (pair,)
        Standard deviation of that, A.
    tethers : (tether, 2)
        Side chains with their backbones.
    longest : (tether,)
        Up to where these are free, A.
    nearest : (bead, 3)
        The model: what is nearer to each other in it than CLASH_DISTANCE may stay as near.
    neighbours : NeighbourSearch
        Finds beads that may clash.
    bond_error : float
        By how much the model's bonds miss the lengths that chains have, r.m.s., A; 0: it looks like
        a chain.
    """

    pairs: Int[Tensor, "pair 2"]
    length: Float[Tensor, "pair"]
    sigma: Float[Tensor, "pair"]
    tethers: Int[Tensor, "tether 2"]
    longest: Float[Tensor, "tether"]
    nearest: Float[Tensor, "bead 3"]
    neighbours: NeighbourSearch
    bond_error: float

    def __call__(self, position: Float[Tensor, "*batch bead 3"]) -> Float[Tensor, "*batch"]:
        """Strain of each conformation, in units of a log likelihood."""
        springs = 0.5 * ((distances(position, self.pairs) - self.length) / self.sigma).square().sum(
            -1
        )
        held = tether(position, self.tethers, longest=self.longest, sigma=TETHER_SIGMA)
        each = position.reshape(-1, *position.shape[-2:])
        conformation, near = self._clashing(each)
        pushed = clash(each, conformation, near, nearest=self._allowed(near), sigma=CLASH_SIGMA)
        return springs + held + pushed.view(position.shape[:-2])

    def curvature(
        self, position: Float[Tensor, "bead 3"]
    ) -> Float[Tensor, "coordinate coordinate"]:
        """Gauss-Newton matrix of the strain in x, y, z of all beads, 1/A^2, double precision."""
        stretched = distances(position, self.tethers) > self.longest
        _, near = self._clashing(position[None])
        near = near[distances(position, near) < self._allowed(near)]
        pairs = torch.cat([self.pairs, self.tethers[stretched], near])
        sigma = torch.cat(
            [
                self.sigma,
                self.sigma.new_full((int(stretched.sum()),), TETHER_SIGMA),
                self.sigma.new_full((len(near),), CLASH_SIGMA),
            ]
        )
        return spring_curvature(position, pairs, sigma)

    def _clashing(self, position):
        return self.neighbours(position.detach().float().contiguous(), CLASH_DISTANCE)

    def _allowed(self, pairs):
        return distances(self.nearest, pairs).clamp_max(CLASH_DISTANCE)


def spring_curvature(
    position: Float[Tensor, "bead 3"], pairs: Int[Tensor, "pair 2"], sigma: Float[Tensor, "pair"]
) -> Float[Tensor, "coordinate coordinate"]:
    """Gauss-Newton matrix of ``0.5 (stretch / sigma)^2`` of pairs in x, y, z of all beads, 1/A^2,
    double precision.
    """
    arm = (position[pairs[:, 0]] - position[pairs[:, 1]]).double()
    arm = arm / torch.linalg.vector_norm(arm, dim=1, keepdim=True).clamp_min(1e-3)
    block = sigma.double()[:, None, None] ** -2 * arm[:, :, None] * arm[:, None, :]
    matrix = torch.zeros(len(position), len(position), 3, 3, dtype=torch.float64)
    i, j = pairs.T
    for row, column, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
        matrix.index_put_((row, column), sign * block, accumulate=True)
    return matrix.transpose(1, 2).reshape(3 * len(position), -1)


def make_chain_restraints(
    beads: BeadModel, *, bonds: bool = True, contacts: bool = True
) -> ChainRestraints:
    """Restraints of a base model whose beads are moved one by one.

    A bond has the model's length where chains have such lengths, else the nearest of these, or
    their median if it is far outside. The model's bonds tell how far its local shape can be
    believed: the variance of what they miss is added to that of every other spring, so that a model
    with the shape of a chain keeps it, and one of scattered residues is held by its bonds.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    bonds : bool
        False: nothing holds residues to each other; side chains are held to their backbones all the
        same.
    contacts : bool
        False: residues that are near in space only are not held to each other, because domains may
        part.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), equation 3:
    bonds of one length between backbones, side chains up to a longest distance.
    """
    pairs = bonded_residues(beads)
    length, error = _bond_lengths(beads, pairs)
    springs, sigma = _network(beads, pairs, contacts=contacts)
    sigma = (sigma**2 + error**2).sqrt()
    position, tethers = beads.position, tether_pairs(beads)
    count = (len(pairs) + len(springs)) if bonds else 0
    return ChainRestraints(
        pairs=torch.cat([pairs, springs])[:count],
        length=torch.cat([length, distances(position, springs)])[:count],
        sigma=torch.cat([torch.full_like(length, BOND_SIGMA), sigma])[:count],
        tethers=tethers,
        longest=distances(position, tethers).clamp_max(LONGEST_TETHER),
        nearest=position,
        neighbours=NeighbourSearch(beads),
        bond_error=error,
    )


def bonded_residues(beads: BeadModel) -> Int[Tensor, "pair 2"]:
    """Trace beads that follow each other in a chain and are near each other.

    Where nothing is missing by their numbers, they may be as far apart as the model's other bonds
    say that it is scattered.
    """
    pairs = bond_pairs(beads, longest=float("inf"))
    apart = distances(beads.position, pairs)
    near = apart < LONGEST_BOND
    _, error = _bond_lengths(beads, pairs[near])
    number = torch.from_numpy(np.asarray(beads.residue, dtype=np.int64))
    follows = (number[pairs[:, 1]] - number[pairs[:, 0]]).abs() <= 1
    return pairs[near | follows & (apart < LONGEST_BOND + SCATTER * error)]


def _bond_lengths(beads, pairs):
    """Length of each bond without strain, and the r.m.s. by which the model's bonds are outside of
    what chains have, A.
    """
    nucleotide = torch.from_numpy(_in_nucleic_acids(beads))[pairs[:, 0]]
    two = bool((beads.partner != np.arange(len(beads))).any())
    protein, other = ("backbone", "sugar") if two else ("residue", "nucleotide")
    low, median, high = (
        torch.where(nucleotide, b, a)
        for a, b in zip(BOND_LENGTHS[protein], BOND_LENGTHS[other], strict=True)
    )
    found = distances(beads.position, pairs)
    usual = torch.minimum(torch.maximum(found, low), high)
    missed = found - usual
    error = float(missed.square().mean().sqrt()) if len(pairs) else 0.0
    return torch.where(missed.abs() < FAR_OUTSIDE, usual, median), error


def _in_nucleic_acids(beads):
    """(bead,) bool: most listed residues of the bead's chain are nucleotides; modified ones have
    names of their own.
    """
    listed = {
        name: gemmi.find_tabulated_residue(name).is_nucleic_acid()
        for name in np.unique(beads.residue_name).tolist()
    }
    nucleotide = np.array([listed[name] for name in beads.residue_name.tolist()])
    chain = np.unique(beads.chain, return_inverse=True)[1]
    share = np.bincount(chain, nucleotide & beads.trace) / np.maximum(
        np.bincount(chain, beads.trace), 1
    )
    return share[chain] > 0.5


def _network(beads, bonds, *, contacts):
    """Springs between residues, ligands and the like that are near each other in the model, and
    their standard deviations.
    """
    body = np.flatnonzero(beads.partner == np.arange(len(beads)))
    place = beads.position.numpy()[body]
    pairs = body[cKDTree(place).query_pairs(ELASTIC_CUTOFF, output_type="ndarray")].reshape(-1, 2)
    key = {tuple(sorted(pair)) for pair in bonds.tolist()}
    pairs = np.array(
        [pair for pair in pairs.tolist() if tuple(sorted(pair)) not in key], dtype=np.int64
    ).reshape(-1, 2)
    i, j = pairs.T
    same = (beads.chain[i] == beads.chain[j]) & (
        np.abs(beads.order[i] - beads.order[j]) <= LOCAL_PLACES
    )
    held = same | (beads.anchor[i] == j) | (beads.anchor[j] == i)
    sigma = np.where(held, ELASTIC_SIGMA, CONTACT_SIGMA)
    kept = held | contacts
    return torch.from_numpy(pairs[kept]), torch.from_numpy(sigma[kept]).float()

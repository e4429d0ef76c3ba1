"""What holds a model together that may itself be wrong.

Its lengths are believed as far as it looks like a chain.
"""

from collections.abc import Callable

import gemmi
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from ...structure.beads import BeadModel
from ...structure.contacts import ELASTIC_CUTOFF, LONGEST_BOND, bond_pairs, tether_pairs
from .pair_restraints import Clashes, Springs, Tethers, distances
from .restraint import Restraint
from .segment_restraints import BOND_SIGMA, ELASTIC_SIGMA, TETHER_SIGMA, Restraints, clashes

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
CHAIN = "spring"  # what springs between residues are called
# along a chain: what is nearer keeps its shape when a structure changes (see segment_restraints.py)
LOCAL_PLACES = 8
CONTACT_SIGMA = 3.0  # A: what is near in space only, as in the population's elastic network
# times the r.m.s. error of bonds: by how much a bond of scattered residues may be too long
SCATTER = 3.0
FAR_OUTSIDE = 1.0  # A: a bond that misses the usual lengths by more says nothing of its own
# A: 99 in 100 side chains are nearer to their backbone (the same structures; arginine 5.6)
LONGEST_TETHER = 5.5


def chain_springs(beads: BeadModel, *, bonds: bool = True, contacts: bool = True) -> Springs:
    """Bonds first, then an elastic network.

    A bond has the model's length where chains have such lengths, else the nearest of these, or
    their median if it is far outside. The model's bonds tell how far its local shape can be
    believed: the variance of what they miss is added to that of every other spring, so that a model
    with the shape of a chain keeps it, and one of scattered residues is held by its bonds.
    """
    pairs = bonded_residues(beads)
    length, error = _bond_lengths(beads, pairs)
    springs, sigma = _network(beads, pairs, contacts=contacts)
    sigma = (sigma**2 + error**2).sqrt()
    count = (len(pairs) + len(springs)) if bonds else 0
    return Springs(
        CHAIN,
        torch.cat([pairs, springs])[:count],
        torch.cat([length, distances(beads.position, springs)])[:count],
        torch.cat([torch.full_like(length, BOND_SIGMA), sigma])[:count],
    )


def chain_tethers(beads: BeadModel, **_: bool) -> Tethers:
    """Side chains, which are no further from their backbone than in the model or than they are."""
    pairs = tether_pairs(beads)
    longest = distances(beads.position, pairs).clamp_max(LONGEST_TETHER)
    return Tethers("tether", pairs, longest, TETHER_SIGMA)


def chain_clashes(beads: BeadModel, **_: bool) -> Clashes:
    """Beads of residues that are no neighbours in their chain."""
    return clashes(beads)


# What holds a base model together whose beads are moved one by one. A further restraint is one more
# line: what makes it is called with the beads, and with `bonds` and `contacts` by name.
OF_BEADS: list[Callable[..., Restraint]] = [chain_springs, chain_tethers, chain_clashes]


def make_chain_restraints(
    beads: BeadModel, *, bonds: bool = True, contacts: bool = True
) -> Restraints:
    """Restraints of a base model whose beads are moved one by one: the terms of :data:`OF_BEADS`.

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
    return Restraints(tuple(make(beads, bonds=bonds, contacts=contacts) for make in OF_BEADS))


def bond_error(beads: BeadModel) -> float:
    """R.m.s. by which a model's bonds miss the lengths of chains, A.

    It is 0 where the model looks like a chain.
    """
    return _bond_lengths(beads, bonded_residues(beads))[1]


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


def _bond_lengths(
    beads: BeadModel, pairs: Int[Tensor, "pair 2"]
) -> tuple[Float[Tensor, "pair"], float]:
    """Length of each bond without strain, and by how much the model's miss (r.m.s., A)."""
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


def _in_nucleic_acids(beads: BeadModel) -> Bool[np.ndarray, "bead"]:
    """(bead,) bool: most listed residues of the bead's chain are nucleotides.

    Modified ones have names of their own.
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


def _network(
    beads: BeadModel, bonds: Int[Tensor, "bond 2"], *, contacts: bool
) -> tuple[Int[Tensor, "spring 2"], Float[Tensor, "spring"]]:
    """Springs between residues, ligands and the like near each other, and standard deviations."""
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

"""Pairs of beads: bonds along chains, neighbours in the base model, and neighbours in a conformation as it stands."""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from .beads import BeadModel

# Centroids of amino acids in one chain stand up to 8 A apart (1AON, 1IGY), those of 99 in 100 nucleotides 10.7 A (50S).
# What is further apart is a gap in the model, and its length says nothing.
LONGEST_BOND = 10.0      # A
ELASTIC_CUTOFF = 10.0    # A


def bond_pairs(beads: BeadModel, *, longest: float = LONGEST_BOND) -> Int[Tensor, "pair 2"]:
    """Trace beads of residues that follow each other in a chain, nearer to each other than `longest` (A) in the base model."""
    trace = np.flatnonzero(beads.trace)
    order, chain = beads.order[trace], beads.chain[trace]
    by_chain = np.lexsort((order, chain))
    first, second = trace[by_chain[:-1]], trace[by_chain[1:]]
    position = beads.position.cpu().numpy()
    near = np.linalg.norm(position[first] - position[second], axis=1) < longest
    kept = (beads.chain[first] == beads.chain[second]) & near
    return torch.from_numpy(np.stack([first[kept], second[kept]], 1))


def tether_pairs(beads: BeadModel) -> Int[Tensor, "pair 2"]:
    """Side-chain (or base) beads, each with its backbone bead."""
    side = np.flatnonzero(beads.partner != np.arange(len(beads)))
    return torch.from_numpy(np.stack([side, beads.partner[side]], 1))


def elastic_pairs(beads: BeadModel, *, cutoff: float = ELASTIC_CUTOFF) -> Int[Tensor, "pair 2"]:
    """Trace beads within `cutoff` (A) of each other in the base model, but for residues that follow each other in a chain."""
    trace = np.flatnonzero(beads.trace)
    pairs = trace[cKDTree(beads.position.cpu().numpy()[trace]).query_pairs(cutoff, output_type="ndarray")].reshape(-1, 2)
    return torch.from_numpy(pairs[~along_chain(beads, pairs, residues=1)])


def along_chain(beads: BeadModel, pairs: np.ndarray, *, residues: int) -> np.ndarray:
    """(pair,) bool: the beads belong to, or follow, residues of one chain at most this many places apart."""
    chain, order = beads.chain[beads.anchor], beads.order
    i, j = pairs.T
    return (chain[i] == chain[j]) & (np.abs(order[i] - order[j]) <= residues)


def neighbour_pairs(position: Float[Tensor, "batch bead 3"], cutoff: float, *, beads: BeadModel, residues: int = 2,
                    ) -> tuple[Int[Tensor, "pair"], Int[Tensor, "pair 2"]]:
    """Beads nearer to each other than `cutoff` in each conformation as it stands, all conformations in one list.

    Parameters
    ----------
    position : (batch, bead, 3)
        A.
    cutoff : float
        A.
    beads : BeadModel
        Says which beads are neighbours along a chain.
    residues : int
        Beads of residues at most this many places apart in a chain are left out.

    Returns
    -------
    conformation : (pair,)
        Which conformation a pair belongs to, rising.
    pairs : (pair, 2)
        The two beads, the lower number first.
    """
    found = []
    for conformation, points in enumerate(position.detach().cpu().numpy()):
        pairs = cKDTree(points).query_pairs(cutoff, output_type="ndarray").reshape(-1, 2)
        pairs = pairs[~along_chain(beads, pairs, residues=residues)]
        found.append(np.concatenate([np.full((len(pairs), 1), conformation), pairs], 1))
    together = torch.from_numpy(np.concatenate([np.empty((0, 3)), *found]).astype(np.int64)).to(position.device)
    return together[:, 0], together[:, 1:]

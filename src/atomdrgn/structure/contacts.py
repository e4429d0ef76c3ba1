"""Pairs of beads that the base model holds together: bonds along chains, side chains, neighbours in
space.
"""

import numpy as np
import torch
from jaxtyping import Int
from scipy.spatial import cKDTree
from torch import Tensor

from .beads import BeadModel

# Centroids of amino acids in one chain stand up to 8 A apart (1AON, 1IGY), those of 99 in 100
# nucleotides 10.7 A (50S). What is further apart is a gap in the model, and its length says
# nothing.
LONGEST_BOND = 10.0  # A
ELASTIC_CUTOFF = 10.0  # A


def bond_pairs(beads: BeadModel, *, longest: float = LONGEST_BOND) -> Int[Tensor, "pair 2"]:
    """Trace beads of residues that follow each other in a chain, nearer to each other than
    `longest` (A) in the base model.
    """
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
    """Trace beads within `cutoff` (A) of each other in the base model, but for residues that follow
    each other in a chain.
    """
    trace = np.flatnonzero(beads.trace)
    pairs = trace[
        cKDTree(beads.position.cpu().numpy()[trace]).query_pairs(cutoff, output_type="ndarray")
    ].reshape(-1, 2)
    i, j = pairs.T
    order = beads.order
    bonded = (beads.chain[i] == beads.chain[j]) & (np.abs(order[i] - order[j]) <= 1)
    return torch.from_numpy(pairs[~bonded])

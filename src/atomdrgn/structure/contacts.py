"""Pairs of beads that the base model holds together.

They are bonds along chains, side chains, and neighbours in space.
"""

import numpy as np
import torch
from jaxtyping import Int
from scipy.spatial import cKDTree
from torch import Tensor

from .beads import BeadModel

# Centroids of amino acids in one chain stand up to 8 A apart (1AON, 1IGY), those of
# 99 in 100 nucleotides 10.7 A (50S). What is further apart is a gap in the model,
# and its length says nothing.
LONGEST_BOND = 10.0  # A
ELASTIC_CUTOFF = 10.0  # A


def bond_pairs(beads: BeadModel, *, longest: float = LONGEST_BOND) -> Int[Tensor, "pair 2"]:
    """Trace beads of residues that follow each other in a chain and are near each other.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    longest : float
        Pairs that are farther from each other in the base model are left out, A.

    Returns
    -------
    (pair, 2)
        Numbers of the beads.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> bond_pairs(coarse_grain(read_structure("model.pdb")))[:2]
    tensor([[0, 1],
            [1, 2]])
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
    """Side-chain (or base) beads, each with its backbone bead.

    Parameters
    ----------
    beads : BeadModel
        The base model.

    Returns
    -------
    (pair, 2)
        Numbers of the beads.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> tether_pairs(coarse_grain(read_structure("model.pdb"), beads=2))[:2]
    tensor([[1, 0],
            [3, 2]])
    """
    side = np.flatnonzero(beads.partner != np.arange(len(beads)))
    return torch.from_numpy(np.stack([side, beads.partner[side]], 1))


def elastic_pairs(beads: BeadModel, *, cutoff: float = ELASTIC_CUTOFF) -> Int[Tensor, "pair 2"]:
    """Trace beads that are near each other, but for residues that follow each other in a chain.

    Parameters
    ----------
    beads : BeadModel
        The base model.
    cutoff : float
        How far the beads of a pair are from each other in the base model at most, A.

    Returns
    -------
    (pair, 2)
        Numbers of the beads, the lower one first.

    Examples
    --------
    >>> from atomdrgn import coarse_grain, read_structure
    >>> len(elastic_pairs(coarse_grain(read_structure("model.pdb")), cutoff=8.0))
    62
    """
    trace = np.flatnonzero(beads.trace)
    pairs = trace[
        cKDTree(beads.position.cpu().numpy()[trace]).query_pairs(cutoff, output_type="ndarray")
    ].reshape(-1, 2)
    i, j = pairs.T
    order = beads.order
    bonded = (beads.chain[i] == beads.chain[j]) & (np.abs(order[i] - order[j]) <= 1)
    return torch.from_numpy(pairs[~bonded])

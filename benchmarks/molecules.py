"""Molecules that are made up, so that a benchmark needs no files: chains that fill a ball as
densely as proteins do.
"""

import numpy as np
import torch

from atomdrgn.structure.beads import (
    AMINO_ACID_SPREAD,
    ATOMIC_BLUR,
    MEAN_AMINO_ACID_ELECTRONS,
    BeadModel,
)

RESIDUE_VOLUME = 135.0  # A^3: 110 Da at 1.35 g/cm^3
JITTER = 0.4  # A on each axis: a lattice has no chance contacts


def globular_protein(residues: int, *, chains: int = 1, generator: torch.Generator) -> BeadModel:
    """One bead a residue: a chain that follows Hilbert's curve through a ball, cut into chains of
    equal length.

    Consecutive residues are neighbours (but where the curve leaves the ball), and a stretch of the
    chain is a compact domain.
    """
    spacing = RESIDUE_VOLUME ** (1 / 3)
    order = int(np.ceil(np.log2(1.3 * residues ** (1 / 3))))
    curve = hilbert_curve(order).astype(np.float32)
    curve -= curve.mean(0)
    inside = np.sort(np.argsort((curve**2).sum(1), kind="stable")[:residues])
    position = spacing * torch.from_numpy(curve[inside])
    position += JITTER * torch.randn(position.shape, generator=generator)
    index, everything = np.arange(residues), np.ones(residues, dtype=bool)
    chain = np.array([f"C{number}" for number in index * chains // residues])
    return BeadModel(
        position=position,
        sigma=torch.full((residues,), float(np.hypot(ATOMIC_BLUR, AMINO_ACID_SPREAD))),
        amplitude=torch.full((residues,), MEAN_AMINO_ACID_ELECTRONS),
        chain=chain,
        residue=index,
        icode=np.full(residues, ""),
        residue_name=np.full(residues, "ALA"),
        polymer=everything,
        trace=everything,
        anchor=index,
        bead_of_atom=index,
    )


def hilbert_curve(order: int) -> np.ndarray:
    """Points (8**order, 3) of the cube of edge 2**order, each next to the one before.

    References
    ----------
    Skilling, AIP Conf. Proc. 707:381 (2004), from the transposed index to axes.
    """
    number = np.arange(8**order)
    axis = [
        sum(((number >> (3 * bit + 2 - k)) & 1) << bit for bit in range(order)) for k in range(3)
    ]
    axis = [axis[0] ^ (axis[2] >> 1), axis[1] ^ axis[0], axis[2] ^ axis[1]]
    for bit in range(1, order):
        low = (1 << bit) - 1
        for k in (2, 1, 0):
            set_ = (axis[k] >> bit) & 1 == 1
            swap = np.where(set_, 0, (axis[0] ^ axis[k]) & low)
            axis[0] = np.where(set_, axis[0] ^ low, axis[0] ^ swap)
            axis[k] = axis[k] ^ swap
    return np.stack(axis, 1)

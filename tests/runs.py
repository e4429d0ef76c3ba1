"""A finished run with motions that are known, without a fit."""

import hashlib

import numpy as np
import torch

from atomdrgn.run import (
    BASE,
    FORMAT,
    LATENTS,
    MODEL,
    MOTIONS,
    PARTICLES,
    SETTINGS,
    SUMMARY,
    Run,
    open_run,
    write_arrays,
    write_base,
    write_json,
    write_table,
)
from atomdrgn.structure.beads import coarse_grain


def write_run(folder, structure, particle_file, *, part, rotation, translation, first_row=None, rows=None, columns=None) -> Run:
    """A run of two segments: `part` (atom,) bool moves about its own centroid, the rest stays.

    Parameters
    ----------
    rotation, translation : (particle, 4), (particle, 3)
        Unit quaternion and shift, A, of the part.
    first_row, rows : (particle,), optional
        Of particles.csv; one row a particle by default.
    columns : dict, optional
        More columns of particles.csv.
    """
    folder.mkdir()
    count, beads = len(rotation), coarse_grain(structure)
    weight = torch.zeros(len(beads), 2)
    moves = torch.zeros(len(beads), dtype=torch.bool)
    moves[torch.from_numpy(beads.bead_of_atom)[torch.from_numpy(part)]] = True
    weight[~moves, 0], weight[moves, 1] = 1, 1
    centroid = (weight / weight.sum(0)).T @ beads.position
    turn = np.tile(np.array([1.0, 0, 0, 0]), (count, 2, 1))
    shift = np.zeros((count, 2, 3))
    turn[:, 1], shift[:, 1] = rotation, translation
    write_base(folder, structure)
    write_arrays(folder / MODEL, bead=beads.position.numpy(), sigma=beads.sigma.numpy(), amplitude=beads.amplitude.numpy(),
                 bead_of_atom=beads.bead_of_atom, trace=beads.trace, centroid=centroid.numpy(), weight=weight.numpy())
    write_arrays(folder / LATENTS, latent=np.zeros((count, 1)), latent_sd=np.ones((count, 1)))
    write_arrays(folder / MOTIONS, rotation=turn.astype(np.float32), translation=shift.astype(np.float32))
    write_table(folder / PARTICLES, {
        "particle": range(count), "first_row": range(count) if first_row is None else first_row,
        "rows": [1] * count if rows is None else rows, **(columns or {})})
    digest = hashlib.sha256(particle_file.read_bytes()).hexdigest()
    write_json(folder / SETTINGS, {"format": FORMAT, "version": "0", "fit": {"beads": 1},
                                   "input": {"particles": str(particle_file), "particles_sha256": digest}})
    write_json(folder / SUMMARY, {"groups": [{"number": 1, "selection": "A:1-12"}, {"number": 2, "selection": "A:13-24"}],
                                  "base": BASE})
    return open_run(folder)

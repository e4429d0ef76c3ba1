"""A finished run with motions that are known, without a fit."""

import hashlib

import numpy as np
import torch

from atomdrgn.runs.run import (
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


def write_run(
    folder,
    structure,
    particle_file,
    *,
    part,
    rotation,
    translation,
    first_row=None,
    rows=None,
    columns=None,
) -> Run:
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
    write_arrays(
        folder / MOTIONS, rotation=turn.astype(np.float32), translation=shift.astype(np.float32)
    )
    table = {
        "first_row": range(count) if first_row is None else first_row,
        "rows": [1] * count if rows is None else rows,
        **(columns or {}),
    }
    return _written(
        folder,
        structure,
        beads,
        particle_file,
        np.zeros((count, 1)),
        table,
        centroid=centroid.numpy(),
        weight=weight.numpy(),
    )


def write_bead_run(folder, structure, particle_file, *, mode, feature) -> Run:
    """A run whose beads move one by one, by `feature` (particle, latent) times `mode` (latent,
    bead, 3), A; no places between.
    """
    folder.mkdir()
    count = len(feature)
    write_arrays(folder / MOTIONS, feature=np.asarray(feature, np.float32))
    mode = np.asarray(mode, np.float32)
    return _written(
        folder,
        structure,
        coarse_grain(structure),
        particle_file,
        np.zeros((count, 1)),
        {"first_row": range(count), "rows": [1] * count},
        mode=mode,
        shift=np.zeros_like(mode[0]),
    )


def _written(folder, structure, beads, particle_file, latent, table, **model):
    write_base(folder, structure)
    write_arrays(
        folder / MODEL,
        bead=beads.position.numpy(),
        sigma=beads.sigma.numpy(),
        amplitude=beads.amplitude.numpy(),
        bead_of_atom=beads.bead_of_atom,
        trace=beads.trace,
        **model,
    )
    write_arrays(folder / LATENTS, latent=latent, latent_sd=np.ones_like(latent))
    write_table(folder / PARTICLES, {"particle": range(len(latent)), **table})
    digest = hashlib.sha256(particle_file.read_bytes()).hexdigest()
    write_json(
        folder / SETTINGS,
        {
            "format": FORMAT,
            "version": "0",
            "fit": {"beads": 1},
            "input": {"particles": str(particle_file), "particles_sha256": digest},
        },
    )
    write_json(
        folder / SUMMARY,
        {
            "groups": [{"number": 1, "selection": "A:1-12"}, {"number": 2, "selection": "A:13-24"}],
            "base": BASE,
        },
    )
    return open_run(folder)

"""Runs as a fit leaves them, of a molecule whose conformations are known: one part turns about a
hinge.
"""

from pathlib import Path

import numpy as np
import torch

from atomdrgn import coarse_grain, open_run, read_structure
from atomdrgn.runs.run import write_arrays, write_base, write_json, write_table
from atomdrgn.structure.motion.motion import screw_motion, twists
from atomdrgn.structure.selection import describe_residues
from molecules import helix, write_pdb

AXIS = np.array([0.0, 1.0, 0.0])
DEGREES_PER_UNIT = 4.0  # of a place: so many degrees the second helix turns


def two_helices(folder: Path, *, length: int = 20):
    """One chain A of two helices; the second is what turns, about the point :data:`hinge_of` it."""
    lines = helix("A", length, start=(0, 0, -15)) + helix(
        "A", length, first=length + 1, start=(12, 0, -15)
    )
    return read_structure(write_pdb(folder / "two_helices.pdb", lines))


def hinge_of(structure) -> np.ndarray:
    """A point of the axis that the second helix turns about."""
    trace = structure.atom_name == "CA"
    return structure.position[torch.from_numpy(trace)].numpy()[trace.sum() // 2]


def hinged_run(
    folder: Path,
    structure,
    place: np.ndarray,
    *,
    sd: float = 0.2,
    draws: int = 20,
    seed: int = 0,
    supported: int = 1,
    name: str = "particles.fit",
    present: np.ndarray | None = None,
    composition: dict | None = None,
    moving: np.ndarray | None = None,
    flexing: np.ndarray | None = None,
    columns: dict | None = None,
):
    """An opened run in which the particles stand at `place` (particle,): turned by DEGREES_PER_UNIT
    times that, exactly.

    `moving` (bead,) is the second half by default, and there is no `flexing` (feature, bead, 3).
    `columns` are further ones of particles.csv, or others in place of its own.
    With `supported` 0 nothing moves, whatever `place` says.
    """
    folder, rng = folder / name, np.random.default_rng(seed)
    folder.mkdir()
    beads = coarse_grain(structure)
    moving = np.arange(len(beads)) >= len(beads) // 2 if moving is None else moving
    weight = torch.from_numpy(np.stack([~moving, moving], 1)).float()
    mass = weight / weight.sum(0)
    centroid = mass.T @ beads.position
    radius = (mass * (beads.position[:, None] - centroid).square().sum(-1)).sum(0).sqrt()
    k = min(supported, 1)
    place = place[:, None] if k else np.zeros((len(place), 0))
    # of the second segment alone: its centroid's speed and its rotation vector, for a turn about an
    # axis that is not its own
    vector = np.radians(DEGREES_PER_UNIT) * AXIS
    speed = np.cross(vector, centroid[1].numpy() - hinge_of(structure))
    coefficient = np.zeros((3 if k else 1, 12))
    if k:
        coefficient[1] = np.concatenate([np.zeros(6), speed, vector * radius[1].item()])
    latent = torch.tensor(
        place @ coefficient[1:2] if k else np.zeros((len(place), 12)), dtype=torch.float32
    )
    motion = screw_motion(*twists(latent, free=torch.arange(2), radius=radius))
    number = rng.permuted(np.tile((np.arange(draws) + 0.5) / draws, (len(place), 1)), axis=1)
    normal = np.sqrt(2) * torch.erfinv(torch.from_numpy(2 * number - 1)).numpy()
    some = place[:, None] + sd * normal[..., None] if k else np.zeros((len(place), draws, 0))
    write_base(folder, structure)
    write_arrays(
        folder / "model.npz",
        bead=beads.position.numpy(),
        sigma=beads.sigma.numpy(),
        amplitude=beads.amplitude.numpy(),
        bead_of_atom=beads.bead_of_atom,
        trace=beads.trace,
        centroid=centroid.numpy(),
        weight=weight.numpy(),
        radius=radius.numpy(),
        free=np.arange(2),
        surface_scale=np.ones(k, np.float32),
        surface_coefficient=coefficient.astype(np.float32),
        half_error=np.full(len(beads), 0.1, np.float32),
        **({} if flexing is None else {"flexing": flexing.astype(np.float32)}),
    )
    write_arrays(
        folder / "latents.npz",
        latent=place.astype(np.float32),
        latent_sd=np.full(place.shape, sd, np.float32),
        draws=some.astype(np.float32),
    )
    write_arrays(
        folder / "motions.npz",
        rotation=motion.rotation.numpy(),
        translation=motion.translation.numpy(),
        **({} if present is None else {"present": present.astype(np.float32)}),
    )
    rows = range(len(place))
    along = {"motion1": place[:, 0].tolist(), "sd1": [sd] * len(place)} if k else {}
    write_table(
        folder / "particles.csv",
        {
            "particle": rows,
            "first_row": rows,
            "rows": [1] * len(place),
            "log_likelihood_gain": rng.normal(20, 3, len(place)).tolist(),
            "outlier_score": rng.normal(0, 1, len(place)).tolist(),
            **along,
            "state": [1] * len(place),
            **(columns or {}),
        },
    )
    groups = [~moving, moving] if k else [moving | True]
    trace = np.flatnonzero(beads.trace)
    write_table(
        folder / "residues.csv",
        {
            "chain": beads.chain[trace].tolist(),
            "residue": beads.residue[trace].tolist(),
            "icode": beads.icode[trace].tolist(),
            "group": (1 + (moving[trace] if k else 0 * trace)).astype(int).tolist(),
            "motion": [1.0] * len(trace),
            "posterior_error": [0.2] * len(trace),
            "half_set_error": [0.1] * len(trace),
        },
    )
    write_table(
        folder / "history.csv",
        {
            "half": [1, 1, 2, 2, 0],
            "step": [1, 2, 1, 2, 3],
            "resolution": [60.0, 8, 60, 8, 8],
            "evidence": [1.0, 9, 2, 8, 9],
            "variance1": [2.0, 3, 2, 3, 3],
        },
    )
    rows = (
        [
            {
                "number": 1,
                "variance": float(place.var()),
                "share": 0.95,
                "median_sd": sd,
                "half_set_agreement": 0.99,
                "held_out_gain": [5.0, 6.0],
                "held_out_gain_error": [0.5, 0.5],
            }
        ]
        if k
        else []
    )
    summary = {
        "particles": len(place),
        "images": len(place),
        "segments": 2,
        "residues": len(trace),
        "chains": 1,
        "beads": len(beads),
        "resolution": 8.0,
        "motions_supported": supported,
        "motions": rows,
        "groups": [
            {
                "number": number + 1,
                "selection": describe_residues(beads, own),
                "residues": int((own & beads.trace).sum()),
                "motion": 5.0 * number,
            }
            for number, own in enumerate(groups)
        ],
        "states": [],
        "half_set_error": 0.1,
        "mean_log_likelihood_gain": 20.0,
        "bead_width": 2.0,
        "contrast_sd": 0.0,
        "unmodelled": [],
        "warnings": [],
        "passes": 3,
        "base": "base.cif",
    }
    write_json(
        folder / "summary.json",
        summary | ({} if composition is None else {"composition": composition}),
    )
    write_json(
        folder / "run.json",
        {
            "format": 1,
            "version": "0.1.0",
            "fit": {"inference": "closed-form", "beads": 1},
            "input": {"structure": structure.name},
            "command": "atomdrgn fit base.pdb particles.star",
            "reading": {"origin": [100.0, 50.0, 25.0]},
        },
    )
    return open_run(folder)

"""What a fit writes when it is done: the files that others read."""

from pathlib import Path

import numpy as np
import torch

from ..reporting import Reporter
from ..run import BASE, LATENTS, MODEL, MOTIONS, PARTICLES, SUMMARY, write_arrays, write_json, write_table
from ..structure.atoms import Structure
from ..structure.beads import unmodelled
from .composition import composition_columns, composition_summary, find_composition
from .misfit import misfits
from .model import FitModel
from .motions import Motions, motions_of
from .state import FitState


def write_results(folder: Path, model: FitModel, state: FitState, *, structure: Structure, reporter: Reporter) -> None:
    """Write what was found; summary.json, last, says that the run is whole."""
    composition = None
    if model.deformation.composition:
        state, composition = find_composition(model, state, reporter)
    gain, outlier = _judge(model, state, model.images.disc, reporter)
    if not model.processes.first:
        return
    motions = motions_of(model, state.population)
    motion = model.deformation.motion(state.latent)
    beads = model.bright_beads(state)
    write_arrays(folder / MODEL, bead=beads.position.numpy(), sigma=beads.sigma.numpy(), amplitude=beads.amplitude.numpy(),
                 bead_of_atom=model.beads.bead_of_atom, trace=model.beads.trace, centroid=model.deformation.centroid.numpy(),
                 weight=model.deformation.weight.numpy())
    write_arrays(folder / LATENTS, latent=motions.place(state.latent).numpy(), latent_sd=state.latent_sd.numpy())
    present = {} if composition is None else {"present": composition.present.numpy()}
    write_arrays(folder / MOTIONS, rotation=motion.rotation.numpy(), translation=motion.translation.numpy(), **present)
    last = torch.full((model.n_particles,), torch.iinfo(torch.int64).max)
    first = last.scatter_reduce(0, model.particle, model.images.stack.row, "amin")
    write_table(folder / PARTICLES, {
        "particle": range(model.n_particles), "first_row": first.tolist(), "rows": model.rows.tolist(),
        "log_likelihood_gain": np.round(gain.numpy(), 3).tolist(), "outlier_score": np.round(outlier.numpy(), 3).tolist(),
        **({} if composition is None else composition_columns(composition))})
    parts = {} if composition is None else {"composition": composition_summary(model, composition)}
    write_json(folder / SUMMARY, _summary(model, state, motions, structure=structure, gain=gain) | parts)


def _judge(model, state, disc, reporter):
    """Of each particle: how much likelier its images are at its conformation than at the base, and how odd what is left is."""
    reporter.start("judging", len(model.my_images))
    (fitted, base), count = misfits(model, state, disc, [state.latent, torch.zeros_like(state.latent)], advance=reporter.advance)
    reporter.finish()
    excess = (fitted - count) / (2 * count).clamp_min(1).sqrt()
    spread = 1.4826 * (excess - excess.median()).abs().median()
    return 0.5 * (base - fitted), (excess - excess.median()) / spread.clamp_min(1e-3)


def _summary(model, state, motions: Motions, *, structure, gain):
    left_out = unmodelled(structure)
    stack = model.images.stack
    return {
        "particles": model.n_particles, "images": len(model.images), "segments": model.deformation.n_segments,
        "residues": int(model.beads.trace.sum()), "chains": len(set(model.beads.chain.tolist())), "beads": len(model.beads),
        "resolution": round(model.images.disc.resolution, 3),
        "motions": _motion_rows(motions, state.latent_sd),
        "mean_log_likelihood_gain": round(float(gain.mean()), 3),
        "bead_width": round(model.bead_width(state), 3),
        "contrast_sd": round(state.contrast_sd, 4),
        "unmodelled": left_out, "warnings": list(stack.warnings), "passes": state.step, "base": BASE,
    }


def _motion_rows(motions, latent_sd):
    columns = zip(motions.variance.tolist(), motions.share.tolist(), latent_sd.median(0).values.tolist(), strict=True)
    return [{"number": number + 1, "variance": round(variance, 3), "share": round(share, 4), "median_sd": round(sd, 3)}
            for number, (variance, share, sd) in enumerate(columns)]

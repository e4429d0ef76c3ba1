"""The closed-form population fit: from a base structure and particle images to a run."""

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError
from ..likelihood.restraints import make_restraints
from ..particles.stack import ParticleStack
from ..physics.disc import FourierDisc
from ..reporting import Reporter
from ..run import (
    BASE,
    CHECKPOINT,
    FORMAT,
    HISTORY,
    LATENTS,
    MODEL,
    MOTIONS,
    PARTICLES,
    SETTINGS,
    SUMMARY,
    Run,
    create_run_folder,
    open_run,
    read_settings,
    write_arrays,
    write_base,
    write_json,
    write_table,
)
from ..structure.atoms import Structure
from ..structure.beads import coarse_grain, unmodelled
from ..structure.deformation import SegmentDeformation
from ..structure.placement import require_inside
from ..structure.segmentation import TEMPERATURE, make_segments
from .calibration import calibrate
from .images import FourierImages
from .linearisation import linearise
from .misfit import misfits
from .model import FitModel
from .motions import Motions, principal_motions
from .population import Posterior, fit_population, posterior
from .schedule import finest_resolution, resolutions, search_after
from .search import look_widely
from .start import elastic_population
from .state import FitState, load_state, save_state

logger = logging.getLogger(__name__)
START_CONTRAST_SD = 0.2


def fit(structure: Structure, particles: ParticleStack, out, *, segments: int = 20, beads: int = 1, temperature: float | None = None,
        parts: Sequence[str] | None = None, fixed: str | None = None, resolution: float | None = None, seed: int = 0, resume: bool = False,
        overwrite: bool = False, settings: dict | None = None, reporter: Reporter | None = None) -> Run:
    """Find how the parts of a structure moved in every particle, and leave it in a folder.

    Every particle's conformation is linearised, the motions of all particles are one Gaussian population with closed-form posteriors, every
    particle moves to its posterior mean, and the resolution is raised: Gauss-Newton with a learned prior, coarse to fine. The same seed gives
    the same result.

    Parameters
    ----------
    structure : Structure
        The base model, placed: the poses turn about its origin.
    particles : ParticleStack
        Images with poses and CTF.
    out : path
        Folder of the run.
    segments : int
        Parts that move as rigid bodies.
    beads : {1, 2}
        Of a residue.
    temperature : float, optional
        Sharpness of the borders between segments (see :func:`atomdrgn.make_segments`).
    parts, fixed : optional
        Selections that are segments of their own, and what does not move.
    resolution : float, optional
        Finest that is used, A; by default Nyquist's or 5 A, whichever is coarser.
    seed : int
        For the images of which noise and brightness are measured.
    resume : bool
        Go on from the run's checkpoint.
    overwrite : bool
        Replace a run that is there.
    settings : dict, optional
        More that run.json shall say, such as how the files were read.
    reporter : Reporter, optional
        Is told how far it is.

    Raises
    ------
    InputError
        Settings out of range, a model outside the box, or a run of other settings to resume.
    OutputExistsError
        The folder holds something.
    FileFormatError
        An image that is empty or not finite.

    References
    ----------
    docs/design.md says where each part comes from.
    """
    reporter = reporter or Reporter()
    model = _assemble(structure, particles, segments=segments, beads=beads, temperature=temperature, parts=parts, fixed=fixed,
                      resolution=resolution)
    made = _settings(structure, particles, model, segments=segments, beads=beads, parts=parts, fixed=fixed, seed=seed, more=settings or {})
    folder, state, history = _begin(Path(out), made, model, structure=structure, resume=resume, overwrite=overwrite, reporter=reporter)
    if state is None:
        return open_run(folder)
    passes = resolutions(particles.grid, model.images.disc.resolution)
    if state.step < len(passes):
        model.images.load(lambda batches: reporter.watch(batches, "reading images", len(batches)))
    for step in range(state.step, len(passes)):
        started = time.monotonic()
        disc = model.images.disc.coarser(passes[step])
        state, row = _pass(model, state, disc, seed=seed, reporter=reporter)
        row["moved_by_search"] = 0
        if step + 1 in search_after(passes):
            state, row["moved_by_search"] = look_widely(model, state, disc, reporter)
        history.append(row | {"seconds": round(time.monotonic() - started, 2)})
        save_state(state, folder / CHECKPOINT)
        write_table(folder / HISTORY, {name: [row[name] for row in history] for name in history[0]})
    _finish(folder, model, state, structure=structure, reporter=reporter)
    return open_run(folder)


def _assemble(structure, particles, *, segments, beads, temperature, parts, fixed, resolution) -> FitModel:
    bead_model = coarse_grain(structure, beads=beads)
    require_inside(bead_model, particles.grid)
    segmentation = make_segments(bead_model, segments, parts=parts, fixed=fixed, temperature=TEMPERATURE if temperature is None else temperature)
    deformation = SegmentDeformation(bead_model, segmentation)
    if not deformation.n_latent:
        raise InputError("every segment is fixed: leave something free to move")
    restraints = make_restraints(bead_model, segmentation)
    # what an elastic network knows is in the population's start; as a restraint on every particle it would hold hinges shut
    restraints = replace(restraints, elastic=restraints.elastic[:0])
    number = torch.unique(particles.particle, return_inverse=True)[1]
    images = FourierImages(particles, finest_resolution(particles.grid, resolution))
    return FitModel(images, number, bead_model, deformation, restraints)


def _settings(structure, particles, model, *, segments, beads, parts, fixed, seed, more):
    """run.json: what decides the result, and what tells where it came from."""
    packages = ("atomdrgn", "torch", "numpy", "scipy", "gemmi", "biotite")
    return {
        "format": FORMAT, "version": version("atomdrgn"), "versions": {name: version(name) for name in packages},
        "fit": {"segments": segments, "beads": beads, "parts": list(parts) if parts else None, "fixed": fixed,
                "resolution": round(model.images.disc.resolution, 4), "seed": seed, "box_size": particles.grid.box_size,
                "pixel_size": round(particles.grid.pixel_size, 6), "images": len(particles), "particles": model.n_particles},
        "input": {"structure": structure.name, "structure_sha256": _hash(structure), "particles": str(particles.source),
                  "particles_sha256": hashlib.sha256(Path(particles.source).read_bytes()).hexdigest()},
        **more,
    }


def _hash(structure):
    text = "\n".join(" ".join(map(str, atom)) for atom in zip(structure.chain, structure.residue, structure.atom_name, strict=True))
    return hashlib.sha256(text.encode() + structure.position.numpy().round(3).tobytes()).hexdigest()


def _begin(folder, settings, model, *, structure, resume, overwrite, reporter):
    """The folder, the state to go on from (None: nothing is left to do) and the history so far."""
    if resume and folder.is_dir() and any(folder.iterdir()):
        before = read_settings(folder)
        _require_same(before, settings, folder)
        if (folder / SUMMARY).exists():
            reporter.say(f"{folder} is complete: there is nothing to resume")
            return folder, None, []
        state = load_state(folder / CHECKPOINT) if (folder / CHECKPOINT).exists() else _start(model)
        return folder, state, _read_history(folder, state.step)
    folder = create_run_folder(folder, overwrite=overwrite)
    write_json(folder / SETTINGS, settings)
    write_base(folder, structure)
    return folder, _start(model), []


def _require_same(before, now, folder):
    different = [f"{name} was {before[part].get(name)!r} and is {now[part][name]!r}"
                 for part in ("fit", "input") for name in now[part] if before.get(part, {}).get(name) != now[part][name] and name != "particles"]
    if different:
        raise InputError(f"{folder} was begun with other settings: {'; '.join(different)}; resume with the same command, or start again with --overwrite")


def _read_history(folder, steps):
    path = folder / HISTORY
    if not path.exists():
        return []
    header, *rows = [line.split(",") for line in path.read_text().splitlines()]
    return [{name: float(value) for name, value in zip(header, row, strict=True)} for row in rows[:steps]]


def _start(model) -> FitState:
    population = elastic_population(model.deformation, model.beads)
    rank = population.root.shape[1]
    n_groups = int(model.images.group.max()) + 1
    return FitState(step=0, latent=torch.zeros(model.n_particles, model.deformation.n_latent), population=population,
                    uncertainty=torch.zeros(model.n_particles, rank, rank), spectrum=torch.ones(n_groups, 1),
                    contrast=torch.ones(len(model.images)), contrast_sd=START_CONTRAST_SD, amplitude=1.0, width2=0.0)


def _pass(model: FitModel, state: FitState, disc: FourierDisc, *, seed: int, reporter: Reporter) -> tuple[FitState, dict]:
    """One pass at one resolution: scales, normal equations, population, and every particle to its posterior mean."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + state.step)
    for _ in range(2 if state.step == 0 else 1):      # the first gain is measured with a wrong noise spectrum
        state = calibrate(model, state, disc, generator)
    found = linearise(model, state, disc, reporter)
    population, evidence = fit_population(found.matrix, found.target, state.population)
    each = posterior(found.matrix, found.target, population)
    widest = torch.linalg.eigvalsh(population.covariance).flip(0)[:3].tolist()
    row = {"step": state.step + 1, "resolution": round(disc.resolution, 3), "evidence": round(evidence[-1], 4),
           "amplitude": state.amplitude, "bead_width": math.sqrt(max(0.0, float((model.beads.sigma**2).median()) + state.width2)),
           "contrast_sd": found.contrast_sd} | {f"variance{k + 1}": value for k, value in enumerate(widest)}
    logger.info("%s", row)
    return replace(state, step=state.step + 1, latent=each.mean, population=population, uncertainty=each.whitened,
                   contrast=found.contrast, contrast_sd=found.contrast_sd), row


def _finish(folder, model: FitModel, state: FitState, *, structure, reporter):
    """Write what was found; summary.json, last, says that the run is whole."""
    if model.images.kept is None:
        model.images.load()
    metric = model.deformation.trace_metric(torch.from_numpy(model.beads.trace), state.population.mean)
    motions = principal_motions(state.population, Posterior(state.latent, state.uncertainty), metric)
    gain, outlier = _judge(model, state, model.images.disc, reporter)
    motion = model.deformation.motion(state.latent)
    beads = model.bright_beads(state)
    write_arrays(folder / MODEL, bead=beads.position.numpy(), sigma=beads.sigma.numpy(), amplitude=beads.amplitude.numpy(),
                 bead_of_atom=model.beads.bead_of_atom, trace=model.beads.trace, centroid=model.deformation.centroid.numpy(),
                 weight=model.deformation.weight.numpy())
    write_arrays(folder / LATENTS, latent=motions.latent.numpy(), latent_sd=motions.latent_sd.numpy())
    write_arrays(folder / MOTIONS, rotation=motion.rotation.numpy(), translation=motion.translation.numpy())
    first = torch.full((model.n_particles,), torch.iinfo(torch.int64).max).scatter_reduce(0, model.particle, model.images.stack.row, "amin")
    write_table(folder / PARTICLES, {
        "particle": range(model.n_particles), "first_row": first.tolist(), "rows": torch.bincount(model.particle).tolist(),
        "log_likelihood_gain": np.round(gain.numpy(), 3).tolist(), "outlier_score": np.round(outlier.numpy(), 3).tolist()})
    write_json(folder / SUMMARY, _summary(model, state, motions, structure=structure, gain=gain))


def _judge(model, state, disc, reporter):
    """Of each particle: how much likelier its images are at its conformation than at the base, and how odd what is left of them."""
    reporter.start("judging", len(model.images))
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
        "motions": [{"number": k + 1, "variance": round(float(v), 3), "share": round(float(s), 4), "median_sd": round(float(sd), 3)}
                    for k, (v, s, sd) in enumerate(zip(motions.variance, motions.share, motions.latent_sd.median(0).values, strict=True))],
        "mean_log_likelihood_gain": round(float(gain.mean()), 3),
        "bead_width": round(math.sqrt(float((model.beads.sigma**2).median()) + state.width2), 3), "contrast_sd": round(state.contrast_sd, 4),
        "unmodelled": left_out, "warnings": list(stack.warnings), "passes": state.step, "base": BASE,
    }

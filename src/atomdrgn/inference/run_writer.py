"""What a fit writes when it is done: the files that others read."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..particles.stack.stack import ParticleStack
from ..runs.run import (
    BASE,
    BLOBS,
    LANDSCAPE,
    LATENTS,
    MODEL,
    MOTIONS,
    PARTICLES,
    PLACED,
    POSES,
    RESIDUAL_MAPS,
    RESIDUES,
    SUMMARY,
    write_arrays,
    write_json,
    write_table,
)
from ..structure.beads import BeadModel, unmodelled
from ..structure.density_map import DensityMap, write_density_map
from ..structure.motion.kinds import to_arrays
from .base_model.base_correction import BaseCorrection
from .base_model.segment_bending import FoundFlexing
from .findings.base_comparison import AgainstBase
from .findings.composition import composition_columns, composition_summary
from .findings.conformational_states import SMALLEST, find_states
from .findings.ensemble import Ensemble
from .findings.groups import Groups, find_groups
from .findings.held_out_support import TestedMotion
from .findings.junk import Junk, junk_columns, junk_summary
from .findings.particle_results import (
    MOST_ODD,
    particle_columns,
    pose_columns,
    rounded,
    spread_of,
    write_results_of,
)
from .fit_stages import FitProgress
from .placing.everyone import Everyone
from .placing.learned import names_of_groups, pose_errors_of
from .population.latent_density import Density
from .population.pose_corrections import PoseCorrections
from .posterior.pose_errors import Play
from .posterior.pose_verdict import kind_after_fit
from .problem.fit_problem import FitModel
from .problem.fit_state import FitState
from .problem.half_sets import part_of
from .problem.misfit import misfits
from .residual.found_residual import FoundResidual, find_residual

FEWEST_OF_STATE = 20  # particles: fewer show no state of their own


def write_results(progress: FitProgress) -> None:
    """Write what a fit has found; summary.json, last, says that the run is whole."""
    model, state, ensemble = progress.model, progress.state, progress.found_ensemble
    folder, composition, correction = progress.folder, progress.composition, progress.correction
    gain, outlier = _judge_all(progress) if progress.everyone is None else (None, None)
    groups = find_groups(model, state, ensemble)
    residual = find_residual(model, state, groups.of_trace) if model.finds_residual else None
    if not model.processes.first:
        return
    beads, surface = model.bright_beads(state), ensemble.surface
    write_arrays(
        folder / MODEL,
        bead=beads.position.numpy(),
        sigma=beads.sigma.numpy(),
        amplitude=beads.amplitude.numpy(),
        bead_of_atom=model.beads.bead_of_atom,
        trace=model.beads.trace,
        **to_arrays(model.deformation),
        surface_scale=surface.scale.numpy(),
        surface_coefficient=surface.coefficient[:, model.deformation.motion_numbers].numpy(),
        half_error=_of_beads(model, ensemble.half_error),
        **_base_shift(correction),
        **_flexing(progress.flexing),
    )
    write_arrays(folder / LANDSCAPE, **landscape_arrays(model, ensemble))
    if progress.everyone is None:
        assert gain is not None and outlier is not None  # of these particles, judged above
        found = _write_own(progress, gain=gain, outlier=outlier)
    else:
        found = write_placed(folder, progress.everyone)
    _write_residues(folder, model, ensemble, groups, correction)
    if residual is not None:
        write_residual(folder, residual)
    parts = {} if composition is None else {"composition": composition_summary(model, composition)}
    said = _summary(progress, found, groups=groups)
    corrected = {} if state.poses is None else {"pose_correction": _pose_summary(state.poses)}
    far, flexing = progress.far, progress.flexing
    begun = (
        {}
        if far is None
        else {"far_start": {"selection": far.selection, "turn": round(far.turn, 1)}}
    )
    moved = (
        {} if correction is None else {"base_correction": _correction_summary(model, correction)}
    )
    flexes = {} if flexing is None else {"flexing": _flexing_summary(flexing)}
    compared = progress.against_base
    against = {} if compared is None else {"against_base": _against_base(compared)}
    astray = {} if ensemble.play is None else {"pose_errors": _pose_errors(ensemble.play)}
    asked = progress.options.poses != "auto" or progress.options.asks_poses
    written = {"poses": _pose_kind(progress)} if asked else {}
    besides = {} if residual is None else {"residual": residual.summary(progress.structure.name)}
    more = besides | against | begun | moved | flexes | parts | corrected | astray | written
    write_json(folder / SUMMARY, said | more)
    remove_placed(folder)


def remove_placed(folder: Path) -> None:
    """Remove files of placed particles, once all that they say is in the run."""
    for path in folder.glob(PLACED):
        path.unlink()


@dataclass(frozen=True, eq=False)
class FoundOfAll:
    """What summary.json says of all particles.

    Parameters
    ----------
    particles, images : int
        How many there are.
    density : Density or None
        Of particles over latent coordinates.
    sd : (particle, k)
        Of each along each motion.
    states : list of dict
        Rows of the states.
    junk : Junk
        Which are junk.
    gain : float
        Log-likelihood that a particle gains over the base model, on average.
    said : tuple of str
        What was odd about images that were placed.
    """

    particles: int
    images: int
    density: Density | None
    sd: Float[Tensor, "particle k"]
    states: list[dict]
    junk: Junk
    gain: float
    said: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """What summary.json says of them, but for the motions."""
        return {
            "particles": self.particles,
            "images": self.images,
            "states": self.states,
            "junk": junk_summary(self.junk),
            "mean_log_likelihood_gain": round(self.gain, 3),
        }

    def variance(self, of_motions: Float[Tensor, "k"]) -> Float[Tensor, "k"]:
        """Of the particles along each motion, whatever the shape of their distribution, A^2."""
        variance = of_motions.clone()
        if self.density is not None:
            wide = self.density.variance()
            variance[: len(wide)] = wide
        return variance


def _write_own(
    progress: FitProgress, *, gain: Float[Tensor, "particle"], outlier: Float[Tensor, "particle"]
) -> FoundOfAll:
    """Files of particles that were all learned on."""
    folder, model, state = progress.folder, progress.model, progress.state
    ensemble, composition = progress.found_ensemble, progress.composition
    write_arrays(
        folder / LATENTS,
        latent=ensemble.place.numpy(),
        latent_sd=ensemble.sd.numpy(),
        draws=ensemble.draws.numpy(),
    )
    present = {} if composition is None else {"present": composition.present.numpy()}
    write_arrays(
        folder / MOTIONS,
        **model.deformation.motion_arrays(ensemble.latent),
        **present,
    )
    states = find_states(
        ensemble.density, ensemble.looked, particles=model.n_particles, seen=model.seen
    )
    write_particles(
        folder,
        model.images.stack,
        model.particle,
        gain=gain,
        outlier=outlier,
        place=ensemble.place,
        sd=ensemble.sd,
        state=states.of_particle,
        more=states.columns()
        | junk_columns(progress.found_junk)
        | left_out_column(model.particle, model.images.spoilt)
        | ({} if composition is None else composition_columns(composition)),
    )
    if state.poses is not None:
        write_poses(folder, model, state.poses)
    return FoundOfAll(
        model.n_particles,
        len(model.images),
        ensemble.density,
        ensemble.sd,
        states.rows,
        progress.found_junk,
        float(gain[model.seen].mean()),
    )


def write_placed(folder: Path, everyone: Everyone) -> FoundOfAll:
    """Write the files of particles that were placed, some thousand at a time."""
    totals, deformation = everyone.totals, everyone.learned.model.deformation
    left_out = sum(int(placed.left_out.sum()) for placed in everyone.placed())
    write_results_of(folder, everyone.results(), deformation, any_left_out=left_out > 0)
    return FoundOfAll(
        len(totals.seen),
        len(everyone.particles),
        totals.density,
        totals.sd,
        totals.states.rows,
        totals.junk,
        totals.gain,
        _said_of(left_out, everyone.particles),
    )


def _said_of(left_out: int, particles: ParticleStack) -> tuple[str, ...]:
    """What is said of images that were given no weight as they were placed."""
    if not left_out:
        return ()
    said = (
        f"{particles.source.name}: {left_out:,} of {len(particles):,} images "
        f"{'are' if left_out > 1 else 'is'} nothing like the others in power or in single pixels, "
        "and given no weight (images_left_out in particles.csv)"
    )
    warnings.warn(said, stacklevel=2)
    return (said,)


def landscape_arrays(model: FitModel, ensemble: Ensemble) -> dict[str, np.ndarray]:
    """What landscape.npz says, by which further particles are placed."""
    names = names_of_groups(model.images.stack)
    held = {
        "group_name": np.array([name for name, _ in names]),
        "group_tilt": np.array([tilt for _, tilt in names]),
    }
    pose_sd, density = pose_errors_of(model, ensemble), ensemble.density
    if pose_sd is not None:
        held["pose_sd"] = pose_sd.numpy()
    if density is not None:
        held |= {name: getattr(density, name).numpy() for name in ("weight", "mean", "root")}
    return held


def _judge_all(
    progress: FitProgress,
) -> tuple[Float[Tensor, "particle"], Float[Tensor, "particle"]]:
    """As :func:`_judge`, junk as if it were particles."""
    model = progress.model
    judged = model.leaving_out(torch.zeros(model.n_particles, dtype=torch.bool))
    return _judge(judged, progress.state, progress.found_ensemble.latent)


def write_residual(folder: Path, found: FoundResidual) -> None:
    """residual.mrc with its half-maps and mask, and blobs.csv, where any density stands out."""
    if found.maps is None:
        return
    maps, voxel = found.maps, found.maps.voxel_size
    for name, density in zip(RESIDUAL_MAPS, (maps.density, *maps.halves, maps.mask), strict=True):
        write_density_map(folder / name, DensityMap(density, voxel))
    write_table(folder / BLOBS, found.columns())


def left_out_column(
    particle: Int[Tensor, "image"], left_out: Bool[Tensor, "image"]
) -> dict[str, list]:
    """A column of particles.csv: images of each particle without weight, if there is any."""
    count = torch.bincount(particle[left_out], minlength=int(particle.max()) + 1)
    return {"images_left_out": count.tolist()} if left_out.any() else {}


def write_poses(folder: Path, model: FitModel, poses: PoseCorrections) -> None:
    """poses.csv: a line for each image, in the order of the particle file."""
    columns = pose_columns(model.images.stack, model.particle, value=poses.value, sd=poses.sd)
    write_table(folder / POSES, columns)


def _pose_summary(poses: PoseCorrections) -> dict[str, float]:
    """What summary.json says of the corrections: r.m.s. about an axis, A and degrees."""
    shift, turn = (part.square().mean().sqrt() for part in poses.value.split([2, 3], 1))
    return {"shift": round(float(shift), 3), "turn": round(float(torch.rad2deg(turn)), 3)}


def _pose_errors(play: Play) -> dict[str, float]:
    """What summary.json says of errors that are left in the poses.

    They are standard deviations for an axis, in A and degrees.
    """
    return {"shift": round(play.shift, 3), "turn": round(math.degrees(play.turn), 3)}


def _against_base(compared: AgainstBase) -> dict[str, Any]:
    """What summary.json says of the comparison with the base model, log likelihoods a particle."""
    return {
        "kept_base": compared.worse,
        "held_out_gain": round(compared.held_out, 4),
        "held_out_gain_error": round(compared.error, 4),
        "fitted_gain": round(compared.fitted, 4),
    }


def _pose_kind(progress: FitProgress) -> dict[str, Any]:
    """What summary.json says of the kind of the poses, and what it is read from."""
    asked, found = progress.options.poses, progress.poses
    if found is None:
        kind, slopes = asked, None
    else:
        kind, slopes = kind_after_fit(found, progress.found_ensemble.play), found.slopes
    return {
        "asked": asked,
        "kind": kind,
        "integrated": progress.model.unknown_poses,
    } | ({} if slopes is None else slopes.as_rounded())


def _base_shift(correction: BaseCorrection | None) -> dict[str, np.ndarray]:
    """What model.npz says of the base model's correction, if there is one."""
    return (
        {"base_shift": correction.shift.numpy()}
        if correction is not None and correction.supported
        else {}
    )


def _flexing(flexing: FoundFlexing | None) -> dict[str, np.ndarray]:
    """What model.npz says of beads that move within their segments, if they do."""
    return {"flexing": flexing.offset.numpy()} if flexing is not None and flexing.orders else {}


def _flexing_summary(flexing: FoundFlexing) -> dict[str, Any]:
    """What summary.json says of what beads do within their segments.

    The length is in A, the gain in units of a log likelihood an image.
    """
    return {
        "supported": bool(flexing.orders),
        "orders": flexing.orders,
        "rms": round(flexing.rms, 3),
        "constant": round(flexing.constant, 3),
        "held_out_gain": round(flexing.gain, 4),
    }


def _correction_summary(model: FitModel, correction: BaseCorrection) -> dict[str, Any]:
    """What summary.json says of the correction of the base model.

    Lengths are in A, the gain is in units of a log likelihood an image.
    """
    length = correction.length[model.beads.trace_index]
    return {
        "supported": correction.supported,
        "rms": round(float(length.square().mean().sqrt()), 3),
        "largest": round(float(length.max()), 3),
        "held_out_gain": round(correction.gain, 4),
    }


def _of_beads(model: FitModel, of_trace: Float[Tensor, "trace"]) -> np.ndarray:
    """What is known of each residue's trace bead, for all its beads."""
    values = torch.zeros(len(model.beads))
    values[model.beads.trace_index] = of_trace.nan_to_num()
    return values[torch.from_numpy(model.beads.anchor)].numpy()


def _write_residues(
    folder: Path,
    model: FitModel,
    ensemble: Ensemble,
    groups: Groups,
    correction: BaseCorrection | None,
) -> None:
    """residues.csv: how far each residue moves, and how well that is known."""
    moved = (
        {}
        if correction is None
        else {"base_correction": rounded(correction.length[model.beads.trace_index])}
    )
    write_table(
        folder / RESIDUES,
        residue_names(model.beads)
        | {
            "group": [group + 1 for group in groups.of_trace.tolist()],
            "motion": rounded(ensemble.trace_motion2().sqrt()),
            "posterior_error": rounded(ensemble.trace_error2().sqrt()),
            "half_set_error": [
                "" if value != value else round(value, 3) for value in ensemble.half_error.tolist()
            ],
            **moved,
        },
    )


def residue_names(beads: BeadModel) -> dict[str, list]:
    """The first columns of residues.csv.

    They are chain, number and insertion code of each residue of a polymer.
    """
    number = beads.trace_index.numpy()
    return {name: getattr(beads, name)[number].tolist() for name in ("chain", "residue", "icode")}


def write_particles(  # noqa: PLR0913 - a keyword a column
    folder: Path,
    stack: ParticleStack,
    particle: Int[Tensor, "image"],
    *,
    gain: Float[Tensor, "particle"],
    outlier: Float[Tensor, "particle"],
    place: Float[Tensor, "particle k"],
    sd: Float[Tensor, "particle k"],
    state: Int[Tensor, "particle"] | None = None,
    more: dict[str, list] | None = None,
) -> None:
    """particles.csv.

    Parameters
    ----------
    folder : Path
        Of the run.
    stack : ParticleStack
        The images.
    particle : (image,)
        Whose each image is, from 0.
    gain, outlier : (particle,)
        Log-likelihood gained over the base, and :func:`outlier_scores`.
    place, sd : (particle, k)
        Along each motion, and its standard deviation.
    state : (particle,), optional
        Number of the state that it is in, from 1.
    more : dict, optional
        Further columns.
    """
    columns = particle_columns(stack, particle, gain=gain, outlier=outlier, place=place, sd=sd)
    write_table(
        folder / PARTICLES,
        {
            **columns,
            **({} if state is None else {"state": state.tolist()}),
            **(more or {}),
        },
    )


def outlier_scores(
    misfit: Float[Tensor, "particle"], count: Float[Tensor, "particle"]
) -> Float[Tensor, "particle"]:
    """How odd what is left of each particle is.

    It is its distance from the median in robust standard deviations.

    Parameters
    ----------
    misfit, count : (particle,)
        Weighted squares of what is left, and the numbers that they are of.
    """
    excess = (misfit - count) / (2 * count).clamp_min(1).sqrt()
    middle, width = spread_of(excess)
    return (excess - middle) / width


def _judge(
    model: FitModel, state: FitState, latent: Float[Tensor, "particle latent"]
) -> tuple[Float[Tensor, "particle"], Float[Tensor, "particle"]]:
    """How much each image gains at its particle's conformation, and how odd the rest is.

    The gain is over the base model; what is odd is what is left of the image.
    """
    model.reporter.start("judging", len(model.my_images))
    (fitted, base), count = misfits(
        model,
        state,
        model.images.disc,
        [latent, torch.zeros_like(latent)],
        advance=model.reporter.advance,
    )
    model.reporter.finish()
    gain, outlier = 0.5 * (base - fitted), outlier_scores(fitted, count)
    if not model.seen.all():
        outlier[~model.seen] = _scores_of_left_out(model, state, fitted, count)
    return gain, outlier


def _scores_of_left_out(
    model: FitModel,
    state: FitState,
    misfit: Float[Tensor, "particle"],
    count: Float[Tensor, "particle"],
) -> Float[Tensor, "left_out"]:
    """How odd the particles are of which no image counts, by these images.

    They are judged among the others, whose misfits and counts are given.
    """
    out = part_of(model, torch.nonzero(~model.seen)[:, 0])
    out.model.images.left_out[:] = False
    own = out.state(state)
    (of_these,), of_numbers = misfits(out.model, own, model.images.disc, [own.latent])
    misfit, count = (
        torch.cat([misfit[model.seen], of_these]),
        torch.cat([count[model.seen], of_numbers]),
    )
    return (
        outlier_scores(misfit, count)[-len(of_these) :]
        .abs()
        .nan_to_num(MOST_ODD)
        .clamp_max(MOST_ODD)
    )


def _summary(progress: FitProgress, found: FoundOfAll, *, groups: Groups) -> dict[str, Any]:
    """What summary.json says of any fit."""
    model, state, ensemble = progress.model, progress.state, progress.found_ensemble
    left_out = unmodelled(progress.structure)
    stack, motions = model.images.stack, ensemble.motions
    rows = motion_rows(found.variance(motions.variance), motions.share, found.sd)
    for number, row in enumerate(rows):
        if ensemble.tested:
            row["half_set_agreement"] = round(float(ensemble.agreement[number]), 3)
            row |= _worth(ensemble.tested[number])
    return {
        **found.facts(),
        **_learned_on(progress),
        "segments": model.n_segments,
        "residues": int(model.beads.trace.sum()),
        "chains": len(set(model.beads.chain.tolist())),
        "beads": len(model.beads),
        "resolution": round(model.images.disc.resolution, 3),
        "motions_supported": ensemble.supported,
        "motions": rows,
        "motions_tested": tested_rows(ensemble.tested),
        "groups": groups.rows,
        "half_set_error": _known_error(ensemble) if ensemble.tested else None,
        "bead_width": round(model.bead_width(state), 3),
        "contrast_sd": round(state.contrast_sd, 4),
        "unmodelled": left_out,
        "warnings": list(dict.fromkeys([*stack.warnings, *progress.warned, *found.said])),
        "passes": state.step,
        "base": BASE,
    }


def _learned_on(progress: FitProgress) -> dict[str, Any]:
    """What summary.json says of the particles that were learned on, where these are not all."""
    if progress.everyone is None:
        return {}
    ensemble, count = progress.found_ensemble, progress.model.n_particles
    return {
        "learned_on": {
            "particles": count,
            "own_error": round(float(ensemble.trace_error2().mean().sqrt()), 3),
            "rarest_state": round(max(SMALLEST, FEWEST_OF_STATE / count), 5),
        }
    }


def _known_error(ensemble: Ensemble) -> float | None:
    """What summary.json says of the half-sets' difference, A.

    It is that of the residues of which it is known, if there are any.
    """
    square = ensemble.half_error[ensemble.half_error.isfinite()].square()
    return round(float(square.mean().sqrt()), 3) if len(square) else None


def _worth(motion: TestedMotion) -> dict[str, list[float]]:
    """What summary.json says of what a motion is worth to the images of each half-set."""
    return {
        "held_out_gain": [round(gain, 4) for gain in motion.gain],
        "held_out_gain_error": [round(error, 4) for error in motion.error],
    }


def tested_rows(tested: Sequence[TestedMotion]) -> list[dict[str, Any]]:
    """What summary.json says of every motion that half-sets were asked about, and why."""
    return [
        {"number": number, "verdict": motion.verdict, "why": motion.why}
        | _worth(motion)
        | {"half_sets_alike": round(motion.alike, 3)}
        for number, motion in enumerate(tested, 1)
    ]


def motion_rows(
    variance: Float[Tensor, "k"], share: Float[Tensor, "k"], latent_sd: Float[Tensor, "particle k"]
) -> list[dict]:
    """What summary.json says of each motion.

    It is variance (A^2), share of all variance, and median error (A).
    """
    columns = zip(
        variance.tolist(), share.tolist(), latent_sd.median(0).values.tolist(), strict=True
    )
    return [
        {
            "number": number + 1,
            "variance": round(variance, 3),
            "share": round(share, 4),
            "median_sd": round(sd, 3),
        }
        for number, (variance, share, sd) in enumerate(columns)
    ]

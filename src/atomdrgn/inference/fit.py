"""The population fit: from a base structure and particle images to a run.

What a fit does is :data:`STAGES`, at the end: from top to bottom as the method goes.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..devices import PROCESSOR
from ..parallel import Processes, whole_batches_on_threads
from ..particles.stack.stack import ParticleStack
from ..reporting import Reporter
from ..runs import run_contents as contents
from ..runs.run import (
    BORDERS,
    CHECKPOINT,
    CORRECTION,
    HALVES,
    HISTORY,
    JUNK,
    PART,
    POSE_VERDICT,
    Run,
    open_run,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
)
from ..runs.run_folder import (
    begin_run,
    forget_steps,
    only_writer,
    read_history,
    require_beginning,
    run_settings,
)
from ..structure.atoms import Structure
from ..structure.motion.lifting import lift_residues
from .base_model.base_correction import BaseCorrection, correct_base
from .base_model.segment_bending import find_flexing
from .base_model.shared_offsets import MOST_BEADS
from .choice_of_method import choose_method
from .findings.base_comparison import against_base, at_base, conformations_over_base
from .findings.composition import find_composition
from .findings.ensemble import agreement_of_halves, make_ensemble
from .findings.groups import cut_at_groups
from .findings.held_out_support import WORSE_THAN_BASE, judge_motions, mean_is_supported
from .findings.junk import find_junk, place_junk
from .fit_assembly import assemble, first_state
from .fit_options import FitOptions
from .fit_stages import ALL_PARTICLES, FitProgress, Stage, go_on, go_through, write_history
from .images.faults_before_fit import read_images
from .placing.everyone import Everyone
from .placing.learned import learned_from
from .placing.part_choice import PartSize, choose_part
from .posterior.gauge import in_gauge
from .posterior.pose_verdict import REFINED, PoseVerdict, judge_poses
from .posterior_method import Borders
from .problem.fit_problem import FitModel
from .problem.fit_state import FitState, load_state, save_state
from .problem.half_sets import half_sets, join
from .problem.principal_motions import motions_of
from .problem.resegmentation import carried_over, with_base, with_borders
from .run_writer import remove_placed, write_results

STATES = (CHECKPOINT, *HALVES)  # files of all particles and of each half-set


def fit(  # noqa: PLR0913 - a keyword a setting of the command
    structure: Structure,
    particles: ParticleStack,
    out: str | PathLike,
    options: FitOptions | None = None,
    *,  # how it runs, which decides nothing that it finds: no options
    memory: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
    processes: Processes | None = None,
    device: torch.device = PROCESSOR,
    **choices: Any,
) -> Run:
    """Find how the parts of a structure moved in every particle, and leave it in a folder.

    Every particle's conformation is linearised, the motions of all particles are one Gaussian
    population with closed-form posteriors, every particle moves to its posterior mean, and the
    resolution is raised: Gauss-Newton with a learned prior, coarse to fine; each half-set apart,
    then both together. Motions that make the images of the other half-set likelier are kept, and
    along them likelihoods are looked at widely. The same seed gives the same result.

    Parameters
    ----------
    structure : Structure
        The base model, placed: the poses turn about its origin.
    particles : ParticleStack
        Images with poses and CTF.
    out : path
        Folder of the run.
    options : FitOptions, optional
        What decides the result.
    memory : float, optional
        GB that each process may take; by default half the machine's memory. Less of it costs time;
        where the equations of fewer than some thousand particles fit, the population is fitted to
        these alone.
    resume : bool
        Go on from the run's checkpoint.
    overwrite : bool
        Replace a run that is there.
    settings : dict, optional
        More that run.json shall say, such as how the files were read.
    reporter : Reporter, optional
        Is told how far it is.
    processes : Processes, optional
        That do this together, all with the same arguments; the first of them writes (see
        :func:`atomdrgn.parallel.joined_processes`).
    device : torch.device
        Where batches of images are worked on (see :func:`atomdrgn.devices.choose_device`). It
        changes the result by rounding alone.
    **choices
        Options by their names, such as ``segments=20``, in place of those of `options`: see
        :class:`atomdrgn.FitOptions`.

    Raises
    ------
    InputError
        Settings out of range, a model outside the box, images of inverted contrast, or a run of
        other settings to resume.
    OutputExistsError
        The folder holds something.
    FileFormatError
        An image that is empty or not finite.

    References
    ----------
    docs/method.md says where each part comes from.

    Examples
    --------
    >>> from atomdrgn import read_particles, read_structure
    >>> base, particles = read_structure("base.pdb"), read_particles("particles.star")
    >>> run = fit(base, particles, "particles.fit", segments=2, resolution=10.0)
    >>> run.n_particles, run.summary["segments"]
    (8, 2)
    """
    options = replace(options or FitOptions(), **choices)
    folder, processes = Path(out), processes or Processes()
    reporter = reporter if reporter and processes.first else Reporter()
    if processes.first:
        require_beginning(folder, structure, resume=resume, overwrite=overwrite)
    with whole_batches_on_threads():
        size = _part_size(particles, options, folder, resume=resume)
        part = choose_part(particles, size.count, seed=options.seed)
        model = assemble(
            structure,
            part,
            options,
            memory=memory,
            reporter=reporter,
            processes=processes,
            device=device,
        )
        made = run_settings(
            structure,
            particles,
            more=settings or {},
            choices=options.as_settings(model.images.disc.resolution),
        )
        # before there is a folder, so that none is left where images are refused
        warned = () if resume else _read(model)
        with only_writer(folder, reporter, processes):
            if begin_run(
                folder,
                made,
                structure,
                resume=resume,
                overwrite=overwrite,
                reporter=reporter,
                processes=processes,
            ):
                begun = FitProgress(
                    folder,
                    structure,
                    options,
                    model,
                    history=tuple(read_history(folder / HISTORY, None)),
                    warned=_read(model) if resume else warned,
                    particles=None if part is particles else particles,
                )
                learned = _learn(begun, size, partial(assemble, memory=memory))
                write_results(go_through(STAGES, learned, first=LEARNING))
                processes.wait()
            elif processes.first:
                remove_placed(folder)  # of a fit that was stopped as it had written its results
    return open_run(folder)


# ---- how many particles are learned on


def _part_size(
    particles: ParticleStack, options: FitOptions, folder: Path, *, resume: bool
) -> PartSize:
    """The number of particles that a fit begins with, or goes on with."""
    count = particles.n_particles
    first = PartSize.first(options.learn_on, count, composition=options.composition)
    if resume and (folder / PART).exists():
        reached = int(read_json(folder / PART, contents.PART)["particles"])
        return PartSize(reached, True).up_to(count)
    return first


def _learn(
    progress: FitProgress, size: PartSize, assemble_part: Callable[..., FitModel]
) -> FitProgress:
    """The fit of as many particles as are enough; it begins again with each larger number."""
    while True:
        progress = go_through(STAGES, progress, last=LEARNING)
        everyone = progress.particles
        if everyone is None:
            return progress
        larger = size.larger(progress.found_ensemble, everyone.n_particles)
        if larger is None:
            return progress
        model, options = progress.model, progress.options
        model.reporter.say(
            f"half-sets of {size.count:,} particles differ by more than their own errors allow: "
            f"learning on {larger.count:,}"
        )
        model.processes.wait()  # until each has read what was there
        if model.processes.first:
            forget_steps(progress.folder)
            write_json(progress.folder / PART, {"particles": larger.count})
        model.processes.wait()
        size, part = larger, choose_part(everyone, larger.count, seed=options.seed)
        again = assemble_part(
            progress.structure,
            part,
            options,
            reporter=model.reporter,
            processes=model.processes,
        )
        progress = FitProgress(
            progress.folder,
            progress.structure,
            options,
            again,
            warned=_read(again),
            particles=None if part is everyone else everyone,
        )


def _read(model: FitModel) -> tuple[str, ...]:
    """What is odd about the images, which are in memory then, and about the base model."""
    return read_images(
        model.images,
        model.beads,
        index=model.my_images,
        memory=model.memory.images,
        portions=model.portions,
        reporter=model.reporter,
    )


# ---- which kind of poses images come with


def _judge_poses(progress: FitProgress) -> Iterator[FitProgress]:
    if progress.poses is None:
        yield _with_poses(progress, judge_poses(progress.model))


def _with_poses(progress: FitProgress, found: PoseVerdict) -> FitProgress:
    model = replace(progress.model, unknown_poses=found.unknown)
    return replace(progress, poses=found, model=model)


def _load_poses(progress: FitProgress) -> FitProgress:
    path = progress.folder / POSE_VERDICT
    if not path.exists():
        return progress
    return _with_poses(progress, PoseVerdict.from_json(read_json(path, contents.POSE_VERDICT)))


def _save_poses(progress: FitProgress) -> None:
    found = progress.poses
    assert found is not None, "saved before it is found"
    write_json(progress.folder / POSE_VERDICT, found.as_json())


# ---- how particles are found, and where the fit begins


def _begin(progress: FitProgress) -> Iterator[FitProgress]:
    begun = choose_method(progress.model)
    kind = progress.options.poses if progress.poses is None else progress.poses.kind
    integrated = begun.method.integrates_poses(refined=kind == REFINED)
    model = replace(begun.model, unknown_poses=begun.model.unknown_poses and integrated)
    yield replace(
        progress,
        method=begun.method,
        model=model,
        far=begun.far,
        halves=tuple(half_sets(model)),
    )


# ---- steps of each half-set apart, then of all particles


def _has_halves(progress: FitProgress) -> bool:
    return bool(progress.halves)


def _fit_half(
    number: int, progress: FitProgress, *, last: Callable[[FitProgress], int | None]
) -> Iterator[FitProgress]:
    half, method = progress.halves[number - 1], progress.chosen_method
    steps = method.steps(half.model, apart=True)[: last(progress)]
    return go_on(
        progress,
        number,
        steps,
        lambda: method.begin(half.model, half.state(first_state(progress.model))),
    )


def _fit_all(progress: FitProgress) -> Iterator[FitProgress]:
    model, method = progress.model, progress.chosen_method

    def begin() -> FitState:
        if not progress.halves:
            return method.begin(model, first_state(model))
        return method.together(model, progress.halves, progress.half_states, progress.supports)

    return go_on(progress, ALL_PARTICLES, method.steps(model, apart=False), begin)


def _load_state(number: int, progress: FitProgress) -> FitProgress:
    path, model = progress.folder / STATES[number], progress.model_of(number)
    if progress.states[number] is not None or not path.exists():
        return progress
    state = load_state(path, particles=model.n_particles, images=len(model.images))
    return progress.with_state(number, state)


def _save_state(number: int, progress: FitProgress) -> None:
    # before the checkpoint, which says how much of it counts: the fit may be stopped between them
    write_history(progress)
    save_state(progress.state_of(number), progress.folder / STATES[number])


# ---- borders between segments where images want them


def _learns_borders(progress: FitProgress) -> bool:
    return (
        progress.options.learns_borders
        and _has_halves(progress)
        and progress.chosen_method.borders(progress.model) is not None
    )


def _borders(progress: FitProgress) -> Borders:
    """When they are learned, of a fit that learns them."""
    borders = progress.chosen_method.borders(progress.model)
    assert borders is not None, "a fit that learns no borders"
    return borders


def _to_borders(progress: FitProgress) -> int:
    return _borders(progress).after


def _learn_borders(progress: FitProgress) -> Iterator[FitProgress]:
    if progress.borders is not None:
        return
    model, borders = progress.model, _borders(progress)
    label = model.segment_of_trace
    if all(state.step == borders.after for state in progress.half_states):
        joined = join(model, progress.halves, progress.half_states, step=borders.after)
        label = cut_at_groups(model, joined, model.images.disc.coarser(borders.resolution))
    yield _with_borders(progress, label)


def _with_borders(progress: FitProgress, label: Int[Tensor, "trace"]) -> FitProgress:
    """With other borders; states that have gone further are of those."""
    before, model = progress.model, with_borders(progress.model, label)
    after = _borders(progress).after
    states = (
        carried_over(state, before, model) if state.step == after else state
        for state in progress.half_states
    )
    return replace(
        progress,
        borders=label,
        model=model,
        halves=tuple(half_sets(model)),
        states=(progress.states[ALL_PARTICLES], *states),
    )


def _load_borders(progress: FitProgress) -> FitProgress:
    path = progress.folder / BORDERS
    if not path.exists():
        return progress
    sizes = {"residue": len(progress.model.segment_of_trace)}
    label = torch.from_numpy(read_arrays(path, contents.BORDERS, sizes=sizes)["segment"])
    return _with_borders(progress, label)


def _save_borders(progress: FitProgress) -> None:
    label = progress.borders
    assert label is not None, "saved before they are learned"
    write_arrays(progress.folder / BORDERS, segment=label.numpy())


# ---- particles whose images show nothing, or something else


def _to_junk(progress: FitProgress) -> int | None:
    return progress.chosen_method.junk_after(progress.model)


def _puts_junk_aside(progress: FitProgress) -> bool:
    return _has_halves(progress) and _to_junk(progress) is not None


def _put_junk_aside(progress: FitProgress) -> Iterator[FitProgress]:
    """Each half-set's junk, by its own fit."""
    if progress.put_aside is not None:
        return
    junk = torch.zeros(progress.model.n_particles, dtype=torch.bool)
    if all(state.step == _to_junk(progress) for state in progress.half_states):
        for half, state in zip(progress.halves, progress.half_states, strict=True):
            junk[half.particle] = find_junk(half.model, state).without_weight
    yield _without_junk(progress, junk)


def _without_junk(progress: FitProgress, junk: Bool[Tensor, "particle"]) -> FitProgress:
    model = progress.model.leaving_out(junk)
    return replace(progress, put_aside=junk, model=model, halves=tuple(half_sets(model)))


def _load_junk(progress: FitProgress) -> FitProgress:
    path = progress.folder / JUNK
    if not path.exists():
        return progress
    held = read_arrays(path, contents.JUNK, sizes={"particle": progress.model.n_particles})
    return _without_junk(progress, torch.from_numpy(held["junk"]))


def _save_junk(progress: FitProgress) -> None:
    junk = progress.put_aside
    assert junk is not None, "saved before it is looked for"
    write_arrays(progress.folder / JUNK, junk=junk.numpy())


def _find_junk(progress: FitProgress) -> Iterator[FitProgress]:
    """Junk by the fit of all particles, which is the last word on it."""
    junk = find_junk(progress.model, progress.state)
    yield replace(progress, junk=junk, model=progress.model.leaving_out(junk.without_weight))


# ---- what the motions of one half-set are worth to the other


def _judge(progress: FitProgress) -> Iterator[FitProgress]:
    first, second = progress.half_states
    supports = (
        progress.chosen_method.support(half, own, other)
        for half, own, other in zip(progress.halves, (first, second), (second, first), strict=True)
    )
    yield replace(progress, supports=tuple(supports))


# ---- where the base model is wrong in all particles alike


def _corrects_base(progress: FitProgress) -> bool:
    return (
        progress.options.corrects_base
        and len(progress.model.beads) <= MOST_BEADS
        and _has_halves(progress)
        and progress.chosen_method.corrects_base
    )


def _correct(progress: FitProgress) -> Iterator[FitProgress]:
    if progress.correction is None:
        found = correct_base(progress.structure, progress.halves, progress.half_states)
        yield _corrected(progress, found)


def _corrected(progress: FitProgress, found: BaseCorrection) -> FitProgress:
    before = progress.model
    model = with_base(before, before.beads.position + found.shift)
    states = (carried_over(state, before, model) for state in progress.half_states)
    return replace(
        progress,
        correction=found,
        uncorrected=before.beads,
        model=model,
        halves=tuple(half_sets(model)),
        states=(progress.states[ALL_PARTICLES], *states),
    )


def _load_correction(progress: FitProgress) -> FitProgress:
    path = progress.folder / CORRECTION
    if not path.exists():
        return progress
    held = read_arrays(
        path, contents.CORRECTION, sizes={"half": 2, "bead": len(progress.model.beads)}
    )
    shifts = torch.from_numpy(held["shifts"])
    found = BaseCorrection(shifts, float(held["gain"]), bool(held["supported"]))
    return _corrected(progress, found)


def _save_correction(progress: FitProgress) -> None:
    found = progress.correction
    assert found is not None, "saved before it is found"
    write_arrays(
        progress.folder / CORRECTION,
        shifts=found.shifts.numpy(),
        gain=np.array(found.gain),
        supported=np.array(found.supported),
    )


# ---- what all particles together say


def _find_absent_parts(progress: FitProgress) -> Iterator[FitProgress]:
    state, composition = find_composition(progress.model, progress.state)
    yield replace(progress.with_state(ALL_PARTICLES, state), composition=composition)


def _place(progress: FitProgress) -> Iterator[FitProgress]:
    model, method, supports = progress.model, progress.chosen_method, progress.supports
    motions, supported = method.motions(model, progress.state), None
    populations, tested = [state.population for state in progress.half_states], []
    if supports:
        tested = judge_motions(supports, agreement_of_halves(model, motions, populations))
        supported = sum(motion.counts for motion in tested)
        motions = motions.first(supported)
        # where nothing moves, the base model stays unless images clearly want the mean conformation
        if (
            method.judges_mean
            and not supported
            and not mean_is_supported(progress.halves, progress.half_states)
        ):
            motions = replace(motions, mean=torch.zeros_like(motions.mean))
    placed = method.place(model, progress.state, motions, supported=supported)
    if model.integrates_poses:
        placed, state = in_gauge(model, progress.state, placed)
        progress = progress.with_state(ALL_PARTICLES, state)
    placed = place_junk(model, progress.state, placed)
    ensemble = make_ensemble(model, progress.state, motions, placed, populations, tested)
    if progress.correction is not None:
        ensemble = ensemble.with_base_error(progress.correction.error[model.beads.trace_index])
    yield replace(progress, ensemble=ensemble)


def _compare_with_base(progress: FitProgress) -> Iterator[FitProgress]:
    """What half-sets found is asked against the base model, which stays where it is better."""
    model, state, ensemble = progress.model, progress.state, progress.found_ensemble
    if not ensemble.supported and not ensemble.latent.any():
        return
    start = progress.model
    if progress.uncorrected is not None:
        start = with_base(model, progress.uncorrected.position)
    starts = half_sets(start)
    begun = [carried_over(each, model, start) for each in progress.half_states]
    first, second = progress.half_states
    gains = [
        progress.chosen_method.over_base(
            half, own, other, start=at, begun=there, motions=len(ensemble.motions.variance)
        )
        for half, own, other, at, there in zip(
            progress.halves, (first, second), (second, first), starts, begun[::-1], strict=True
        )
    ]
    fitted = conformations_over_base(model, state, ensemble.latent, start=start)
    found = against_base(torch.cat(gains), fitted)
    progress = replace(progress, against_base=found)
    yield _at_base(progress, start) if found.worse else progress


def _at_base(progress: FitProgress, start: FitModel) -> FitProgress:
    """The fit that ends where it began: every particle at the base model as it was given.

    It is warned of where motions would have been reported: a mean conformation of images that show
    nothing is no better than the base model, which is nothing odd.
    """
    said = (
        f"{progress.structure.name}: the fit explains images worse than this base model does, "
        "which is kept, without motions (against_base in summary.json says by how much); do "
        "contrast, pixel size and solvent suit the model, and is much mass not in it?"
    )
    odd = bool(progress.found_ensemble.supported)
    if odd and progress.model.processes.first:
        warnings.warn(said, stacklevel=2)
    state = at_base(start, carried_over(progress.state, progress.model, start))
    motions = motions_of(start, state.population).first(0)
    placed = progress.chosen_method.place(start, state, motions, supported=0)
    ensemble = make_ensemble(
        start,
        state,
        motions,
        placed,
        [each.population for each in progress.half_states],
        [motion.refused(WORSE_THAN_BASE) for motion in progress.found_ensemble.tested],
    )
    return replace(
        progress.with_state(ALL_PARTICLES, state),
        model=start,
        far=None,
        correction=None,
        uncorrected=None,
        ensemble=ensemble,
        warned=(*progress.warned, said) if odd else progress.warned,
    )


def _bend_segments(progress: FitProgress) -> Iterator[FitProgress]:
    base, model, beads = progress.structure, progress.model, progress.uncorrected
    assert beads is not None, "segments bend about a corrected base model"
    corrected = base.moved(lift_residues(base.position, beads, model.beads.position))
    flexing = find_flexing(corrected, model, progress.state, progress.found_ensemble)
    yield replace(progress, flexing=flexing)


# ---- particles that were not learned on


def _place_everyone(progress: FitProgress) -> Iterator[FitProgress]:
    particles, model = progress.particles, progress.model
    assert particles is not None, "there are others than were learned on"
    learned = learned_from(model, progress.state, progress.found_ensemble)
    learned = learned.with_noise_of(particles)
    everyone = Everyone(learned, particles, progress.folder)
    everyone.place(model.reporter)
    yield replace(progress, everyone=everyone)


def _half_set(
    number: int,
    what: str = "to the end",
    *,
    last: Callable[[FitProgress], int | None] = lambda progress: None,
    when: Callable[[FitProgress], bool] = _has_halves,
    share: float = 2.0,
) -> Stage:
    """The steps of a half-set: up to the `last` of some, or all that are left."""
    return Stage(
        f"half-set {number}, {what}",
        partial(_fit_half, number, last=last),
        load=partial(_load_state, number),
        save=partial(_save_state, number),
        when=when,
        share=share,
    )


STAGES = (
    Stage(
        "which kind of poses",
        _judge_poses,
        _load_poses,
        _save_poses,
        when=lambda progress: progress.options.asks_poses,
        share=1.4,
    ),
    Stage("method, and where it begins", _begin, share=4.0),
    _half_set(1, "to where borders are learned", last=_to_borders, when=_learns_borders),
    _half_set(2, "to where borders are learned", last=_to_borders, when=_learns_borders),
    Stage("borders", _learn_borders, _load_borders, _save_borders, when=_learns_borders),
    _half_set(1, "to where junk is looked for", last=_to_junk, when=_puts_junk_aside, share=0.1),
    _half_set(2, "to where junk is looked for", last=_to_junk, when=_puts_junk_aside, share=0.1),
    Stage("junk of half-sets", _put_junk_aside, _load_junk, _save_junk, when=_puts_junk_aside),
    _half_set(1),
    _half_set(2),
    Stage("support", _judge, when=_has_halves),
    Stage("base model", _correct, _load_correction, _save_correction, when=_corrects_base),
    Stage(
        "all particles",
        _fit_all,
        load=partial(_load_state, ALL_PARTICLES),
        save=partial(_save_state, ALL_PARTICLES),
        share=3.5,
    ),
    Stage("junk of all particles", _find_junk),
    Stage(
        "absent parts",
        _find_absent_parts,
        when=lambda progress: progress.options.composition,
    ),
    Stage("conformations of all particles", _place, share=6.5),
    Stage("comparison with the base model", _compare_with_base, when=_has_halves),
    Stage(
        "bends of segments",
        _bend_segments,
        when=lambda progress: bool(progress.correction and progress.found_ensemble.supported),
    ),
    Stage(
        "placing all particles",
        _place_everyone,
        when=lambda progress: progress.particles is not None,
        share=3.0,
    ),
)
LEARNING = len(STAGES) - 1  # stages before all particles are placed

"""The closed-form population fit: from a base structure and particle images to a run."""

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
    Run,
    open_run,
    read_arrays,
    write_arrays,
    write_table,
)
from ..runs.run_folder import (
    begin_run,
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
from .far_start.far_start import find_far_start
from .findings.composition import find_composition
from .findings.ensemble import judge_support, make_ensemble
from .findings.groups import cut_at_groups
from .findings.held_out_support import count_supported, mean_is_supported
from .fit_assembly import assemble, first_state
from .fit_options import FitOptions
from .images.faults_before_fit import read_images
from .images.resolution_schedule import (
    coarsest_resolution,
    resolutions,
    search_after,
)
from .population.elastic_prior import beginning
from .posterior.gauss_newton_pass import run_pass
from .posterior.grid_search import look_widely
from .posterior.low_snr import (
    SECOND_AFTER,
    finest_if_weak,
    first_mapping,
    map_round,
    resolutions_of_rounds,
    surfaces_are_for,
    with_mapping,
    with_second_motion,
)
from .problem.fit_state import FitState, load_state, save_state
from .problem.half_sets import half_sets, join, part_of
from .problem.misfit import misfits
from .problem.resegmentation import carried_over, with_base, with_borders
from .problem.significance import is_clear
from .run_writer import write_results

logger = logging.getLogger(__name__)
NEAR = 1 / 3  # of the coarsest resolution: as far as a step of the linearised fit reaches
# Starts are compared by so many particles and at the last resolution of their passes that is not
# finer, A.
TRIED, TRIAL = 500, 10.0
AFTER_CUT = 4  # passes that half-sets make with learned borders between segments
# passes over all particles, after both half-sets have gone through all of them apart
TOGETHER = 3


def fit(
    structure: Structure,
    particles: ParticleStack,
    out: str | PathLike,
    options: FitOptions | None = None,
    *,
    memory: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
    processes: Processes | None = None,
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
    """
    options = replace(options or FitOptions(), **choices)
    folder, processes = Path(out), processes or Processes()
    reporter = reporter if reporter and processes.first else Reporter()
    if processes.first:
        require_beginning(folder, structure, resume=resume, overwrite=overwrite)
    with whole_batches_on_threads():
        model = assemble(
            structure, particles, options, memory=memory, reporter=reporter, processes=processes
        )
        made = run_settings(
            structure,
            particles,
            more=settings or {},
            choices=options.as_settings(model.images.disc.resolution),
        )
        # before there is a folder, so that none is left where images are refused
        warned = () if resume else _read(model, reporter)
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
                _run(
                    model,
                    folder,
                    structure=structure,
                    seed=options.seed,
                    learn_borders=options.learns_borders,
                    keep_base=not options.corrects_base or len(model.beads) > MOST_BEADS,
                    warned=_read(model, reporter) if resume else warned,
                    reporter=reporter,
                )
                processes.wait()
    return open_run(folder)


def _read(model, reporter) -> tuple[str, ...]:
    return read_images(
        model.images,
        model.beads,
        index=model.my_images,
        memory=model.memory.images,
        portions=model.portions,
        reporter=reporter,
    )


def _run(model, folder, *, structure, seed, learn_borders, keep_base, warned, reporter) -> None:
    """Both half-sets apart, then all particles, then what is supported.

    Each pass is on disk before the next begins.
    """
    log, far = _Log(folder, model.processes), None
    finest = (
        finest_if_weak(model, first_state(model), seed=seed)
        if surfaces_are_for(model) and half_sets(model)
        else None
    )
    if finest is None:
        how = _Passes(
            seed,
            reporter,
            coarsest_resolution(model.images.stack.grid, model.images.disc.resolution),
        )
        model, how, far = _well_begun(model, how)
    else:
        how = _Rounds(seed, reporter, finest)
    start = first_state(model)

    def apart(halves, states, until):
        """The half-sets' states when each has gone through its steps, one after the other.

        Until so many.
        """
        return [
            _go_through(
                how.steps(half.model, apart=True)[:until], state, folder / name, log, half=number
            )
            for number, half, state, name in zip((1, 2), halves, states, HALVES, strict=False)
        ]

    halves = half_sets(model)
    states = [
        _begun(folder / name, half.model, partial(how.begin, half.model, half.state(start)))
        for half, name in zip(halves, HALVES, strict=False)
    ]
    if halves and learn_borders and finest is None:
        passes = how.resolutions(model)[:-AFTER_CUT]
        states = apart(halves, states, len(passes))
        model, halves, states = _cut_again(
            model, halves, states, folder / BORDERS, passes=passes, reporter=reporter
        )
    states = apart(halves, states, None)
    supports, correction, flexing, uncorrected = (
        judge_support(halves, states, reporter),
        None,
        None,
        model.beads,
    )
    if halves and finest is None and not keep_base:
        correction = _correction(
            structure, halves, states, folder / CORRECTION, seed=seed, reporter=reporter
        )
        new = with_base(model, model.beads.position + correction.shift)
        states = [carried_over(state, model, new) for state in states]
        model, halves = new, half_sets(new)
    begin = (
        partial(how.together, model, halves, states, supports)
        if halves
        else partial(how.begin, model, start)
    )
    state = _go_through(
        how.steps(model, apart=False),
        _begun(folder / CHECKPOINT, model, begin),
        folder / CHECKPOINT,
        log,
        half=0,
    )
    composition = None
    if model.deformation.composition:
        state, composition = find_composition(model, state, reporter)
    # where nothing moves, the base model stays unless images clearly want the mean conformation
    at_base = (
        bool(halves)
        and finest is None
        and not count_supported(supports)
        and not mean_is_supported(halves, states, reporter)
    )
    ensemble = make_ensemble(
        model,
        state,
        [each.population for each in states],
        supports,
        seed=seed,
        reporter=reporter,
        at_base=at_base,
    )
    if correction is not None:
        ensemble = ensemble.with_base_error(correction.error[model.beads.trace_index])
        if ensemble.supported:
            moved = structure.moved(
                lift_residues(structure.position, uncorrected, model.beads.position)
            )
            flexing = find_flexing(moved, model, state, ensemble, seed=seed, reporter=reporter)
    write_results(
        folder,
        model,
        state,
        ensemble,
        composition=composition,
        far=far,
        correction=correction,
        flexing=flexing,
        structure=structure,
        warned=warned,
        reporter=reporter,
    )


def _well_begun(model, how):
    """The fit, its passes and where they begin if that is far from the base model.

    Which is where most particles have to be.
    """
    far = find_far_start(
        model, first_state(model), near=NEAR * how.coarsest, seed=how.seed, reporter=how.reporter
    )
    if far is None:
        return model, how, None
    start, prior = beginning(model.deformation, model.beads, far.latent)
    there, how_there = (
        replace(model, start=start, prior=prior),
        replace(how, coarsest=far.resolution),
    )
    better = _is_better(model, how, there, how_there)
    logger.info(
        "most particles seem to have turned %s, by %.0f degrees; a fit that begins there is %s",
        far.selection,
        far.turn,
        "better" if better else "no better",
    )
    return (there, how_there, far) if better else (model, how, None)


def _is_better(model, how, there, how_there) -> bool:
    """Whether passes from another start leave less of some particles' images.

    Under the noise that the first one leaves.
    """
    some = model.evenly_spread(TRIED)
    ends = []
    for each, passes in ((model, how), (there, how_there)):
        part = part_of(each, some)
        state, steps = part.state(first_state(each)), passes.steps(part.model, apart=True)
        for step in steps[
            : sum(resolution >= TRIAL for resolution in passes.resolutions(part.model))
        ]:
            state, row = step(state)
        ends.append((part.model, state, row["resolution"]))
    disc = model.images.disc.coarser(max(resolution for *_, resolution in ends))
    first, second = (
        misfits(part, replace(state, spectrum=ends[0][1].spectrum), disc, [state.latent])[0][0]
        for part, state, _ in ends
    )
    gain = 0.5 * (first - second)
    return is_clear(gain)


def _cut_again(model, halves, states, path, *, passes, reporter):
    """The fit, its half-sets and their states after some passes.

    With segments cut where images want borders.

    The file at `path` remembers the borders: states that have gone further are of those.
    """
    before, disc = len(passes), model.images.disc.coarser(passes[-1])
    if path.exists():
        label = torch.from_numpy(
            read_arrays(path, contents.BORDERS, sizes={"residue": len(model.segment_of_trace)})[
                "segment"
            ]
        )
    else:
        label = model.segment_of_trace
        if all(state.step == before for state in states):
            label = cut_at_groups(model, join(model, halves, states, step=before), disc, reporter)
        if model.processes.first:
            write_arrays(path, segment=label.numpy())
    new = with_borders(model, label)
    states = [
        carried_over(state, model, new) if state.step == before else state for state in states
    ]
    return new, half_sets(new), states


def _correction(structure, halves, states, path, *, seed, reporter) -> BaseCorrection:
    """How the base model is corrected.

    The file at `path` remembers it: the state of all particles is of that base.
    """
    if path.exists():
        sizes = {"half": 2, "bead": len(halves[0].model.beads)}
        held = {
            name: torch.from_numpy(array)
            for name, array in read_arrays(path, contents.CORRECTION, sizes=sizes).items()
        }
        return BaseCorrection(held["shifts"], float(held["gain"]), bool(held["supported"]))
    found = correct_base(structure, halves, states, seed=seed, reporter=reporter)
    if halves[0].model.processes.first:
        write_arrays(
            path,
            shifts=found.shifts.numpy(),
            gain=np.array(found.gain),
            supported=np.array(found.supported),
        )
    return found


def _begun(path, model, begin) -> FitState:
    """The state in a file, or the first one."""
    return (
        load_state(path, particles=model.n_particles, images=len(model.images))
        if path.exists()
        else begin()
    )


def _go_through(steps, state, path, log, *, half) -> FitState:
    """The state after all steps that it has not gone through yet."""
    # nothing is left that would leave a file
    if log.processes.first and not path.exists() and state.step == len(steps):
        save_state(state, path)
    log.rewind(half, state.step)
    for step in steps[state.step :]:
        started = time.monotonic()
        state, row = step(state)
        # before the checkpoint, which says how much of it counts: the fit may be stopped between
        # the two
        log.add({"half": half} | row | {"seconds": round(time.monotonic() - started, 2)})
        if log.processes.first:
            save_state(state, path)
    return state


@dataclass(frozen=True)
class _Passes:
    """Every particle is moved, pass by pass: where each tells of its own conformation."""

    seed: int
    reporter: Reporter
    coarsest: float  # A

    def begin(self, model, start) -> FitState:
        return start

    def together(self, model, halves, states, supports) -> FitState:
        return join(
            model, halves, states, step=max(0, len(self.steps(model, apart=False)) - TOGETHER)
        )

    def resolutions(self, model) -> list[float]:
        """Of each pass, A."""
        return resolutions(self.coarsest, model.images.disc.resolution)

    def steps(self, model, *, apart) -> list:
        """The same for a half-set and for all particles."""
        passes = self.resolutions(model)
        return [partial(self._step, model, passes, number) for number in range(len(passes))]

    def _step(self, model, passes, number, state):
        disc, searches = model.images.disc.coarser(passes[number]), search_after(passes)
        state, row = run_pass(
            model,
            state,
            disc,
            seed=self.seed,
            last=number + 1 == len(passes),
            reporter=self.reporter,
        )
        moved = 0
        if number + 1 in searches:
            state, moved = look_widely(
                model, state, disc, self.reporter, together=number + 1 == searches[-1]
            )
        return state, row | {"moved_by_search": moved}


@dataclass(frozen=True)
class _Rounds:
    """One surface of conformations is fitted.

    Round by round: where single particles tell next to nothing.
    """

    seed: int
    reporter: Reporter
    finest: float  # A

    def begin(self, model, start) -> FitState:
        return first_mapping(
            model,
            start,
            resolutions_of_rounds(self.finest)[0],
            seed=self.seed,
            reporter=self.reporter,
        )

    def together(self, model, halves, states, supports) -> FitState:
        """From where the first half-set has ended, with the motions that count.

        There is nothing to fit without one.
        """
        rounds, supported = len(resolutions_of_rounds(self.finest)), count_supported(supports)
        state = join(model, halves, states, step=rounds - TOGETHER if supported else rounds)
        return with_mapping(model, state, states[0].mapping.first(max(1, supported)))

    def steps(self, model, *, apart) -> list:
        """A second motion is looked for in half-sets alone.

        It counts if it means something to the other.
        """
        rounds = resolutions_of_rounds(self.finest)
        return [
            partial(
                self._step,
                model,
                resolution,
                number + 1 == len(rounds),
                apart and number == SECOND_AFTER,
            )
            for number, resolution in enumerate(rounds)
        ]

    def _step(self, model, resolution, last, second, state):
        disc = model.images.disc.coarser(resolution)
        if second:
            state = with_second_motion(model, state, disc, seed=self.seed, reporter=self.reporter)
        state, row = map_round(
            model, state, disc, seed=self.seed, last=last, reporter=self.reporter
        )
        return state, row | {"moved_by_search": 0}


class _Log:
    """history.csv: a line for each pass."""

    def __init__(self, folder, processes):
        self.path, self.processes = folder / HISTORY, processes
        self.rows = read_history(self.path, None)

    def rewind(self, half, step):
        """Forget lines of passes that are done again."""
        self.rows = [row for row in self.rows if row["half"] != half or row["step"] <= step]

    def add(self, row):
        self.rows.append(row)
        if self.processes.first:
            write_table(
                self.path, {name: [row[name] for row in self.rows] for name in self.rows[0]}
            )

"""A fit as a list of named stages, each of which goes on from what it left on disk.

Resume is this one loop: every stage loads what is there of it, and does what is left.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from jaxtyping import Bool, Int
from torch import Tensor

from ..particles.stack.stack import ParticleStack
from ..runs.run import HISTORY, write_table
from ..structure.atoms import Structure
from ..structure.beads import BeadModel
from .base_model.base_correction import BaseCorrection
from .base_model.segment_bending import FoundFlexing
from .far_start.far_start import FarStart
from .findings.base_comparison import AgainstBase
from .findings.composition import Composition
from .findings.ensemble import Ensemble
from .findings.junk import Junk
from .fit_options import FitOptions
from .placing.everyone import Everyone
from .posterior.pose_verdict import PoseVerdict
from .posterior_method import PosteriorMethod, Step
from .problem.fit_problem import FitModel
from .problem.fit_state import FitState
from .problem.half_sets import HalfSet
from .problem.significance import MotionSupport

logger = logging.getLogger(__name__)
T = TypeVar("T")
ALL_PARTICLES = 0  # in place of the number of a half-set: all particles


@dataclass(frozen=True, eq=False)
class FitProgress:
    """What a fit has found so far.

    What a later stage asks for is there: its properties say so, and raise where it is not.

    Parameters
    ----------
    folder : Path
        Of the run.
    structure : Structure
        The base model, as it was given.
    options : FitOptions
        What was chosen.
    model : FitModel
        The fit of all particles, with borders and base model as far as they are learned.
    history : tuple of dict
        Lines of history.csv.
    warned : tuple of str
        What was odd about images or model.
    poses : PoseVerdict, optional
        What images say of their poses, where they were asked.
    method : PosteriorMethod
        How particles are found; none until it is chosen.
    far : FarStart, optional
        Where the fit begins, if that is far from the base model.
    halves : tuple of HalfSet
        Two, or none where there are too few particles.
    states : tuple of FitState
        Of all particles, and of each half-set; none of what has not begun.
    borders : (trace,), optional
        The segment of each trace bead, where that was learned.
    put_aside : (particle,), optional
        Particles without weight, where half-sets have found them to be junk.
    supports : tuple of MotionSupport
        What the motions of each half-set are worth to the images of the other.
    correction : BaseCorrection, optional
        How the base model is corrected, where that was looked at.
    uncorrected : BeadModel, optional
        Its beads before.
    junk : Junk, optional
        Which particles are junk, in the end.
    composition : Composition, optional
        Which segments are absent from which particles, where that was asked.
    ensemble : Ensemble
        The conformations of all particles; none until they are found.
    against_base : AgainstBase, optional
        How much better images are explained than by the base model, where half-sets were asked.
    flexing : FoundFlexing, optional
        How beads move within their segments, where that was looked at.
    particles : ParticleStack, optional
        All particles, where only some of them are learned on.
    everyone : Everyone, optional
        These on what was learned, once they are placed.
    """

    folder: Path
    structure: Structure
    options: FitOptions
    model: FitModel
    history: tuple[dict[str, Any], ...] = ()
    warned: tuple[str, ...] = ()
    poses: PoseVerdict | None = None
    method: PosteriorMethod | None = None
    far: FarStart | None = None
    halves: tuple[HalfSet, ...] = ()
    states: tuple[FitState | None, ...] = (None, None, None)
    borders: Int[Tensor, "trace"] | None = None
    put_aside: Bool[Tensor, "particle"] | None = None
    supports: tuple[MotionSupport, ...] = ()
    correction: BaseCorrection | None = None
    uncorrected: BeadModel | None = None
    junk: Junk | None = None
    composition: Composition | None = None
    ensemble: Ensemble | None = None
    against_base: AgainstBase | None = None
    flexing: FoundFlexing | None = None
    particles: ParticleStack | None = None
    everyone: Everyone | None = None

    @property
    def state(self) -> FitState:
        """Of all particles."""
        return self.state_of(ALL_PARTICLES)

    @property
    def half_states(self) -> tuple[FitState, ...]:
        """Of each half-set; none where there are no half-sets."""
        return tuple(self.state_of(number) for number in (1, 2)) if self.halves else ()

    @property
    def chosen_method(self) -> PosteriorMethod:
        """The method, once it is chosen."""
        return _there(self.method, "the posterior method")

    @property
    def found_ensemble(self) -> Ensemble:
        """The ensemble, once it is found."""
        return _there(self.ensemble, "the conformations of all particles")

    @property
    def found_junk(self) -> Junk:
        """Which particles are junk, once that is known."""
        return _there(self.junk, "which particles are junk")

    def state_of(self, number: int) -> FitState:
        """The state of a half-set by its number, or of all particles, once there is one."""
        return _there(self.states[number], "the state")

    def model_of(self, number: int) -> FitModel:
        """The fit of a half-set by its number, or of all particles."""
        return self.model if number == ALL_PARTICLES else self.halves[number - 1].model

    def with_state(self, number: int, state: FitState) -> "FitProgress":
        """With another state of a half-set, or of all particles."""
        return replace(self, states=(*self.states[:number], state, *self.states[number + 1 :]))


def _there(found: T | None, what: str) -> T:
    """What an earlier stage has found."""
    if found is None:
        raise RuntimeError(f"{what}: asked for before the stage that finds it")
    return found


def _always(progress: FitProgress) -> bool:
    return True


def _nothing(progress: FitProgress) -> FitProgress:
    return progress


def _nowhere(progress: FitProgress) -> None:
    return None


@dataclass(frozen=True)
class Stage:
    """A part of a fit that can be gone on with.

    Parameters
    ----------
    name : str
        What it does.
    compute : callable
        Yields the progress after each part of the stage that is worth keeping, from where it was
        loaded; nothing where nothing is left to do.
    load : callable
        The progress with what the stage has left on disk, if anything.
    save : callable
        Writes what `load` reads: whole files, after each part. Of several processes the first one
        does.
    when : callable
        Whether the fit has this stage at all.
    share : float
        Its processor time beside that of the other stages, for the time that is left: as measured
        of 400 particles in 9 passes, rounded.
    """

    name: str
    compute: Callable[[FitProgress], Iterable[FitProgress]]
    load: Callable[[FitProgress], FitProgress] = _nothing
    save: Callable[[FitProgress], None] = _nowhere
    when: Callable[[FitProgress], bool] = _always
    share: float = 0.5


def go_through(
    stages: Sequence[Stage], progress: FitProgress, *, first: int = 0, last: int | None = None
) -> FitProgress:
    """The progress after some stages, each gone on with from what is on disk of it.

    Parameters
    ----------
    stages : sequence of Stage
        All of a fit.
    progress : FitProgress
        Before the first of these.
    first, last : int, optional
        From which of them on, and up to which; by default all.
    """
    ends = list(accumulate(stage.share for stage in stages))
    for number, stage in list(enumerate(stages))[first:last]:
        if not stage.when(progress):
            continue
        logger.debug("stage: %s", stage.name)
        title = f"stage {number + 1} of {len(stages)}, {stage.name}"
        progress.model.reporter.stage(
            title, (ends[number] - stage.share) / ends[-1], ends[number] / ends[-1]
        )
        progress = stage.load(progress)
        for reached in stage.compute(progress):
            progress = reached
            if progress.model.processes.first:
                stage.save(progress)
    return progress


def go_on(
    progress: FitProgress,
    number: int,
    steps: Sequence[Step],
    begin: Callable[[], FitState],
) -> Iterator[FitProgress]:
    """The progress after each step that a half-set, or all particles, have not gone through yet.

    Parameters
    ----------
    progress : FitProgress
        Lines of its history of steps that are done again are forgotten.
    number : int
        Of the half-set, or ALL_PARTICLES.
    steps : sequence of Step
        All of them, from the first.
    begin : callable
        Makes the state before the first one, where there is none yet.
    """
    state = progress.states[number]
    if state is None:
        state = begin()
        if state.step == len(steps):  # nothing is left that would leave a file
            yield progress.with_state(number, state)
    history = [
        row for row in progress.history if row["half"] != number or row["step"] <= state.step
    ]
    for step in steps[state.step :]:
        progress.model.reporter.part("pass", state.step + 1, len(steps))
        started = time.monotonic()
        state, row = step(state)
        seconds = round(time.monotonic() - started, 2)
        history.append({"half": number} | row | {"seconds": seconds})
        yield replace(progress.with_state(number, state), history=tuple(history))


def write_history(progress: FitProgress) -> None:
    """Write history.csv: a line for each step of half-sets and of all particles."""
    if progress.history:
        columns = {name: [row[name] for row in progress.history] for name in progress.history[0]}
        write_table(progress.folder / HISTORY, columns)

"""Every particle is moved, pass by pass: where each tells of its own conformation."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

from jaxtyping import Float
from torch import Tensor

from .far_start.far_start import find_far_start
from .findings.base_comparison import population_over_base
from .findings.held_out_support import held_out_support
from .fit_assembly import first_state
from .images.resolution_schedule import coarsest_resolution, resolutions, search_after
from .population.elastic_prior import start_and_prior
from .posterior.gauss_newton_pass import run_pass
from .posterior.grid_search import look_widely
from .posterior.importance_sampling import WideFit, place_along
from .posterior_method import Begun, Borders, PosteriorMethod, Step
from .problem.fit_problem import FitModel
from .problem.fit_state import FitState
from .problem.half_sets import HalfSet, join, part_of
from .problem.misfit import misfits
from .problem.principal_motions import Motions, motions_of
from .problem.significance import MotionSupport, is_clear
from .residual.residual_density import with_first_residual

logger = logging.getLogger(__name__)
NEAR = 1 / 3  # of the coarsest resolution: as far as a step of the linearised fit reaches
# Starts are compared by so many particles and at the last resolution of their
# passes that is not finer, A.
TRIED, TRIAL = 500, 10.0
AFTER_CUT = 4  # passes that half-sets make with learned borders between segments
# passes over all particles, after both half-sets have gone through all of them apart
TOGETHER = 3


@final
@dataclass(frozen=True)
class Passes(PosteriorMethod):
    """Gauss-Newton passes over the images, from coarse to fine.

    Parameters
    ----------
    coarsest : float
        The resolution that they begin at, A.
    """

    coarsest: float
    corrects_base = True
    judges_mean = True

    @classmethod
    def suited(cls, model: FitModel) -> Begun:
        """The passes, from where most particles are: that may be far from the base model."""
        here = cls(coarsest_resolution(model.images.stack.grid, model.images.disc.resolution))
        far = find_far_start(model, first_state(model), near=NEAR * here.coarsest)
        if far is None:
            return Begun(here, model)
        start, prior = start_and_prior(model.deformation, model.beads, far.latent)
        there, moved = cls(far.resolution), replace(model, start=start, prior=prior)
        better = _is_better(model, here, moved, there)
        logger.info(
            "most particles seem to have turned %s, by %.0f degrees; a fit that begins there is %s",
            far.selection,
            far.turn,
            "better" if better else "no better",
        )
        return Begun(there, moved, far) if better else Begun(here, model)

    def integrates_poses(self, *, refined: bool) -> bool:
        """Also where it cannot be told whether they were refined."""
        return True

    def resolutions(self, model: FitModel) -> list[float]:
        """Of each pass, A."""
        return resolutions(self.coarsest, model.images.disc.resolution)

    def begin(self, model: FitModel, start: FitState) -> FitState:
        """The start, with what the base model lacks: the first pass measures all else."""
        return with_first_residual(model, start)

    def steps(self, model: FitModel, *, apart: bool) -> Sequence[Step]:
        """The same for a half-set and for all particles."""
        passes = self.resolutions(model)
        return [partial(_pass, model, passes, number) for number in range(len(passes))]

    def borders(self, model: FitModel) -> Borders:
        """Before the last passes, by images as fine as those of the pass before."""
        before = self.resolutions(model)[:-AFTER_CUT]
        return Borders(len(before), before[-1])

    def junk_after(self, model: FitModel) -> int:
        """Before the last passes, as borders are learned."""
        return self.borders(model).after

    def support(self, half: HalfSet, own: FitState, other: FitState) -> MotionSupport:
        """By each particle's likelihood, integrated over the other half-set's population."""
        return held_out_support(half, own, other, half.model.images.disc)

    def over_base(
        self,
        half: HalfSet,
        own: FitState,
        other: FitState,
        *,
        start: HalfSet,
        begun: FitState,
        motions: int,
    ) -> Float[Tensor, "some"]:
        """By each particle's likelihood, integrated over the other half-set's population."""
        return population_over_base(half, own, other, start=start, begun=begun, motions=motions)

    def together(
        self,
        model: FitModel,
        halves: Sequence[HalfSet],
        states: Sequence[FitState],
        supports: Sequence[MotionSupport],
    ) -> FitState:
        """From where both have ended, with the last passes before it."""
        return join(
            model, halves, states, step=max(0, len(self.steps(model, apart=False)) - TOGETHER)
        )

    def motions(self, model: FitModel, state: FitState) -> Motions:
        """Those of the Gaussian population."""
        return motions_of(model, state.population)

    def place(
        self, model: FitModel, state: FitState, motions: Motions, *, supported: int | None
    ) -> WideFit:
        """By importance sampling along the leading motions, where there are half-sets."""
        return place_along(model, state, motions, wide=supported is not None)


def _pass(
    model: FitModel, passes: Sequence[float], number: int, state: FitState
) -> tuple[FitState, dict[str, Any]]:
    """A pass at one of the resolutions, after some of them with a wide look."""
    disc, searches = model.images.disc.coarser(passes[number]), search_after(passes)
    state, row = run_pass(model, state, disc, last=number + 1 == len(passes))
    moved = 0
    if number + 1 in searches:
        state, moved = look_widely(model, state, disc, together=number + 1 == searches[-1])
    return state, row | {"moved_by_search": moved}


def _is_better(model: FitModel, here: Passes, moved: FitModel, there: Passes) -> bool:
    """Whether passes from elsewhere leave less of some particles' images.

    Both are judged under the noise that passes from here leave.
    """
    some = model.evenly_spread(TRIED)
    ends = []
    for each, passes in ((model, here), (moved, there)):
        part = part_of(each, some)
        state = passes.begin(part.model, part.state(first_state(each)))
        tried = sum(resolution >= TRIAL for resolution in passes.resolutions(part.model))
        for step in passes.steps(part.model, apart=True)[:tried]:
            state, row = step(state)
        ends.append((part.model, state, row["resolution"]))
    disc = model.images.disc.coarser(max(resolution for *_, resolution in ends))
    first, second = (
        misfits(part, replace(state, spectrum=ends[0][1].spectrum), disc, [state.latent])[0][0]
        for part, state, _ in ends
    )
    return is_clear(0.5 * (first - second))

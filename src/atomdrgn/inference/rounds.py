"""One surface of conformations is fitted, round by round.

This is for particles that tell next to nothing one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

from jaxtyping import Float
from torch import Tensor

from .findings.held_out_support import count_supported
from .fit_assembly import first_state
from .posterior.importance_sampling import WideFit, place_along
from .posterior.low_snr import (
    SECOND_AFTER,
    finest_if_weak,
    first_mapping,
    map_round,
    mapped_support,
    mapping_over_base,
    motions_of_mapping,
    place_on_mapping,
    resolutions_of_rounds,
    surfaces_are_for,
    with_mapping,
    with_second_motion,
)
from .posterior_method import Begun, PosteriorMethod, Step
from .problem.fit_problem import FitModel
from .problem.fit_state import FitState
from .problem.half_sets import HalfSet, half_sets, join
from .problem.principal_motions import Motions
from .problem.significance import MotionSupport

# rounds over all particles, after both half-sets have gone through all of them apart
TOGETHER = 3


@final
@dataclass(frozen=True)
class Rounds(PosteriorMethod):
    """Rounds of expectation and maximisation, each particle spread over a grid on the surface.

    Parameters
    ----------
    finest : float
        The resolution that they end at, A.
    """

    finest: float
    corrects_base = False
    judges_mean = False

    @classmethod
    def suited(cls, model: FitModel) -> Begun | None:
        """The rounds, where there are many particles in two half-sets, and each tells little.

        They have no residual density, which is all that explains what is outside of a mask.
        """
        if model.outside is not None or not (surfaces_are_for(model) and half_sets(model)):
            return None
        finest = finest_if_weak(model, first_state(model))
        return None if finest is None else Begun(cls(finest), model)

    def begin(self, model: FitModel, start: FitState) -> FitState:
        """With the motion that the scores of all images show at the coarsest resolution."""
        return first_mapping(model, start, resolutions_of_rounds(self.finest)[0])

    def steps(self, model: FitModel, *, apart: bool) -> Sequence[Step]:
        """A round at each resolution.

        A second motion is looked for in half-sets alone: it counts if it means something to the
        other.
        """
        rounds = resolutions_of_rounds(self.finest)
        return [
            partial(
                _round,
                model,
                resolution,
                last=number + 1 == len(rounds),
                second=apart and number == SECOND_AFTER,
            )
            for number, resolution in enumerate(rounds)
        ]

    def integrates_poses(self, *, refined: bool) -> bool:
        """Of poses that may be exact, images as weak as these tell too little to give them up."""
        return refined

    def borders(self, model: FitModel) -> None:
        """None: no particle tells enough of its own conformation."""
        return None

    def junk_after(self, model: FitModel) -> int:
        """Before the last rounds."""
        return len(resolutions_of_rounds(self.finest)) - TOGETHER

    def support(self, half: HalfSet, own: FitState, other: FitState) -> MotionSupport:
        """By each particle's likelihood, summed over the other half-set's surface."""
        return mapped_support(half.model, own, other.spread)

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
        """By each particle's likelihood, summed over the other half-set's surface."""
        return mapping_over_base(half.model, own, other.spread, motions=motions)

    def together(
        self,
        model: FitModel,
        halves: Sequence[HalfSet],
        states: Sequence[FitState],
        supports: Sequence[MotionSupport],
    ) -> FitState:
        """Where the fit of all particles begins: where the first half-set has ended.

        It has the motions that count; there is nothing to fit without one.
        """
        rounds, supported = len(resolutions_of_rounds(self.finest)), count_supported(supports)
        state = join(model, halves, states, step=rounds - TOGETHER if supported else rounds)
        return with_mapping(model, state, states[0].spread.first(max(1, supported)))

    def motions(self, model: FitModel, state: FitState) -> Motions:
        """Those of the particles along the surface."""
        return motions_of_mapping(model, state.spread)

    def place(
        self, model: FitModel, state: FitState, motions: Motions, *, supported: int | None
    ) -> WideFit:
        """On the surface, if anything moves."""
        if supported:
            kept = state.spread.first(min(supported, state.spread.k))
            return place_on_mapping(model, replace(state, mapping=kept))
        return place_along(model, state, motions, wide=supported is not None)


def _round(
    model: FitModel, resolution: float, state: FitState, *, last: bool, second: bool
) -> tuple[FitState, dict[str, Any]]:
    """A round at one of the resolutions, before one of them with a look for a second motion."""
    disc = model.images.disc.coarser(resolution)
    if second:
        state = with_second_motion(model, state, disc)
    state, row = map_round(model, state, disc, last=last)
    return state, row | {"moved_by_search": 0}

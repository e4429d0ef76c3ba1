"""What of a fit depends on how the molecule is cut into segments.

It also says how a fit goes on with other borders or another base.
"""

from dataclasses import replace

from jaxtyping import Float, Int
from torch import Tensor

from ...likelihood.restraints import segment_restraints as restraints
from ...structure.beads import BeadModel
from ...structure.motion.deformation import Deformation
from ...structure.motion.segment_deformation import SegmentDeformation
from ...structure.segmentation import Segmentation, cut_again
from ..population.elastic_prior import start_and_prior
from ..population.population import Population
from .fit_problem import FitModel
from .fit_state import FitState


def cut(
    beads: BeadModel,
    segmentation: Segmentation,
    deformation: Deformation,
    mean: Float[Tensor, "latent"] | None = None,
) -> dict:
    """The fields of a :class:`FitModel` that its segments decide.

    The fit begins at a conformation, by default the base model. Pairs of one segment strain nothing
    where the fit moves these segments; another deformation may strain any.
    """
    moved = segmentation if isinstance(deformation, SegmentDeformation) else None
    start, prior = start_and_prior(deformation, beads, mean)
    return {
        "segmentation": segmentation,
        "deformation": deformation,
        "start": start,
        "prior": prior,
        "restraints": restraints.make_restraints(beads, moved, restraints.OF_SEGMENTS),
    }


def with_borders(model: FitModel, label: Int[Tensor, "trace"]) -> FitModel:
    """The fit with other borders between its segments.

    `label` is the segment of each trace bead.
    """
    return _with_segments(model, model.beads, cut_again(model.segmentation, model.beads, label))


def with_base(model: FitModel, position: Float[Tensor, "bead 3"]) -> FitModel:
    """The fit with the beads of its base model elsewhere, segments cut as they were."""
    return _with_segments(model, replace(model.beads, position=position), model.segmentation)


def _with_segments(model: FitModel, beads: BeadModel, segmentation: Segmentation) -> FitModel:
    """The fit of other beads or segments, which begins with the same motions."""
    deformation = SegmentDeformation(beads, segmentation, composition=model.segments.composition)
    mean = deformation.latents_of(model.segments) @ model.start.mean
    return replace(model, beads=beads, **cut(beads, segmentation, deformation, mean))


def carried_over(state: FitState, before: FitModel, model: FitModel) -> FitState:
    """The state with every segment moved as it was with other borders, or another base model."""
    if model.deformation is before.deformation:
        return state
    new = model.segments.latents_of(before.segments)
    population = Population(new @ state.population.mean, new @ state.population.root)
    return replace(
        state,
        latent=state.latent @ new.T,
        population=population,
        uncertainty=new @ state.uncertainty,
    )

"""What a fit says in the end of the density that its base model lacks."""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Int
from torch import Tensor

from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState
from .blobs import Blob, find_blobs, in_words, near_residues
from .residual_density import ResidualMaps, residual_of

DENSE = 0.1  # of the largest density of the beads: what is less is ringing
AVERAGED = 200  # particles, of which the mean positions of residues are


@dataclass(frozen=True, eq=False)
class FoundResidual:
    """The residual density of all particles, its halves those of the half-sets.

    Parameters
    ----------
    maps : ResidualMaps, optional
        None where nothing stands out.
    blobs : list of Blob
        Its parts, the largest first.
    """

    maps: ResidualMaps | None
    blobs: list[Blob]

    def summary(self, name: str) -> dict[str, Any]:
        """What summary.json says of it."""
        if self.maps is None:
            power = 0.0
        else:
            residual, beads = (
                float(each.square().sum()) for each in (self.maps.density, self.maps.beads)
            )
            power = residual / (residual + beads)
        share = sum(blob.share for blob in self.blobs)
        return {
            "said": in_words(self.blobs, name=name),
            "share_of_density": round(share / (1 + share), 4),
            "share_of_power": round(power, 4),
            "blobs": len(self.blobs),
        }

    def columns(self) -> dict[str, list]:
        """The columns of blobs.csv: lengths in A."""
        columns: dict[str, list] = {"blob": list(range(1, len(self.blobs) + 1))}
        for axis, name in enumerate("xyz"):
            columns[name] = [round(blob.centre[axis], 2) for blob in self.blobs]
        columns["across"] = [round(blob.across, 1) for blob in self.blobs]
        columns["share"] = [round(blob.share, 4) for blob in self.blobs]
        columns["significance"] = [round(blob.significance, 1) for blob in self.blobs]
        columns["near"] = [blob.near for blob in self.blobs]
        columns["group"] = [blob.group or "" for blob in self.blobs]
        return columns


def find_residual(model: FitModel, state: FitState, group: Int[Tensor, "trace"]) -> FoundResidual:
    """The residual density that all images show where particles are in the end.

    Parameters
    ----------
    model, state
        The fit of all particles.
    group : (trace,)
        The group that each residue moves with, from 0.
    """
    maps = residual_of(model, state, model.images.disc)
    if model.outside is None:
        return FoundResidual(maps, _blobs(model, state, maps, group))
    # what the base model has outside is nothing that it lacks
    whole = replace(model, outside=None)
    beyond = residual_of(whole, state, model.images.disc)
    return FoundResidual(maps, _blobs(whole, state, beyond, group))


def _blobs(
    model: FitModel, state: FitState, maps: ResidualMaps | None, group: Int[Tensor, "trace"]
) -> list[Blob]:
    """The parts of a residual density, with the residues that are near."""
    if maps is None:
        return []
    trace = _mean_trace(model, state).numpy()
    blobs = []
    for points, blob in find_blobs(
        maps.density,
        maps.signal,
        voxel_size=maps.voxel_size,
        level=maps.level,
        whole=float(maps.beads[maps.beads > DENSE * maps.beads.max()].sum()) * maps.voxel_size**3,
    ):
        near, its_group = near_residues(points, model.beads, trace, group)
        blobs.append(replace(blob, near=near, group=its_group))
    return blobs


def _mean_trace(model: FitModel, state: FitState) -> Tensor:
    """Where the residues are on average, (trace, 3), A."""
    some: Int[Tensor, some] = model.evenly_spread(AVERAGED)
    position = model.deformation.conformation(state.latent[some]).position
    return position[:, model.beads.trace_index].mean(0)

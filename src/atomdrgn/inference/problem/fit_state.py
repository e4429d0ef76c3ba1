"""What a fit knows between two passes over the images, and its file."""

from dataclasses import dataclass, fields
from os import PathLike
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import FileFormatError
from ...io.run_formats.tensors import read_tensors, write_tensors
from ...physics.maps.still_density import StillDensity
from ...structure.motion.surface import Surface
from ..population.conformation_surface import Mapping
from ..population.latent_density import Density
from ..population.population import Population
from ..population.pose_corrections import PoseCorrections


@dataclass(frozen=True)
class FitState:
    """Everything that the next pass starts from.

    Parameters
    ----------
    step : int
        Passes done.
    latent : (particle, latent)
        Motions of each particle, A.
    population : Population
        Of all of them.
    latent_sd : (particle, motion)
        Posterior standard deviation along each of the population's leading motions, A r.m.s. of the
        trace.
    freedom : (particle,)
        How many numbers an image of a particle determines: the power that uncertainty hides in its
        prediction.
    uncertainty : (latent, latent)
        Root of the mean posterior covariance of the particles, A.
    spectrum : (group, shell)
        Noise power, up to the resolution of the last pass.
    contrast : (image,)
        Strength of the signal; 1 on average.
    contrast_sd : float
        Of the contrast over the images.
    amplitude, width2 : float
        The beads' amplitudes are multiplied by the one, their squared widths raised by the other
        (A^2).
    poses : PoseCorrections, optional
        Of all images, where and as soon as poses are refined.
    mapping : Mapping, optional
        The surface that particles are spread over, where single particles tell next to nothing.
    gain : (ring,), optional
        What images show of the beads besides amplitude and width, ring by ring, as far as it was
        measured, which may be less far than the spectrum; none where that is 1.
    residual : StillDensity, optional
        What images show that the beads are not, in the frame of the poses, where that is clear.
    """

    step: int
    latent: Float[Tensor, "particle latent"]
    population: Population
    latent_sd: Float[Tensor, "particle motion"]
    freedom: Float[Tensor, "particle"]
    uncertainty: Float[Tensor, "latent latent"]
    spectrum: Float[Tensor, "group shell"]
    contrast: Float[Tensor, "image"]
    contrast_sd: float
    amplitude: float
    width2: float
    poses: PoseCorrections | None = None
    mapping: Mapping | None = None
    gain: Float[Tensor, "ring"] | None = None
    residual: StillDensity | None = None

    def drawn(self, generator: torch.Generator) -> Float[Tensor, "particle latent"]:
        """Each particle at a draw from its posterior.

        Means spread less than particles do where images are noisy.
        """
        white = torch.randn(self.latent.shape, generator=generator)
        return self.latent + white @ self.uncertainty.T

    @property
    def spread(self) -> Mapping:
        """The surface that particles are spread over, of a fit that has one."""
        assert self.mapping is not None, "particles that are spread over no surface"
        return self.mapping


NUMBERS = ("step", "contrast_sd", "amplitude", "width2")
TENSORS = ("latent", "latent_sd", "freedom", "uncertainty", "spectrum", "contrast")
MAPPING = {"surface": Surface, "density": Density}


def save_state(state: FitState, path: str | PathLike[str]) -> None:
    """Write a state whole or not at all."""
    tensors = {name: getattr(state, name).contiguous() for name in TENSORS}
    tensors |= {
        f"population.{f.name}": getattr(state.population, f.name).contiguous()
        for f in fields(state.population)
    }
    tensors |= {name: torch.tensor(getattr(state, name), dtype=torch.float64) for name in NUMBERS}
    if state.mapping is not None:
        tensors |= {
            f"mapping.{part}.{f.name}": getattr(getattr(state.mapping, part), f.name).contiguous()
            for part, kind in MAPPING.items()
            for f in fields(kind)
        }
    if state.gain is not None:
        tensors["gain"] = state.gain.contiguous()
    if state.residual is not None:
        tensors["residual.density"] = state.residual.density.contiguous()
        tensors["residual.voxel_size"] = torch.tensor(
            state.residual.voxel_size, dtype=torch.float64
        )
    if state.poses is not None:
        tensors |= {
            f"poses.{name}": getattr(state.poses, name).contiguous() for name in ("value", "sd")
        }
    write_tensors(path, tensors)


def load_state(
    path: str | PathLike[str], *, particles: int | None = None, images: int | None = None
) -> FitState:
    """Read what :func:`save_state` wrote.

    Parameters
    ----------
    path : path
    particles, images : int, optional
        That it has to be of.

    Raises
    ------
    FileFormatError
        The file is none, is damaged, or is of another number of particles or images.
    """
    try:
        held = read_tensors(path)
        population = Population(*(held[f"population.{f.name}"] for f in fields(Population)))
        numbers = {name: float(held[name]) for name in NUMBERS}
        step = int(numbers.pop("step"))
        poses = (
            PoseCorrections(held["poses.value"], held["poses.sd"])
            if "poses.value" in held
            else None
        )
        mapping = (
            Mapping(
                **{
                    part: kind(*(held[f"mapping.{part}.{f.name}"] for f in fields(kind)))
                    for part, kind in MAPPING.items()
                }
            )
            if "mapping.surface.scale" in held
            else None
        )
        residual = (
            StillDensity(held["residual.density"], float(held["residual.voxel_size"]))
            if "residual.density" in held
            else None
        )
        given: dict[str, Any] = {name: held[name] for name in TENSORS} | numbers
        given |= {"gain": held.get("gain"), "residual": residual}
        state = FitState(step=step, population=population, poses=poses, mapping=mapping, **given)
        for what, expected, there in (
            ("particles", particles, state.latent),
            ("images", images, state.contrast),
        ):
            if expected is not None and len(there) != expected:
                raise FileFormatError(
                    f"it is of {len(there)} {what}, where {expected} are expected"
                )
    except KeyError as error:
        raise FileFormatError(
            f"{path}: not a checkpoint of a fit (it has no {error}); start again with --overwrite"
        ) from error
    # also of numbers that are none, or shapes that are others
    except (FileFormatError, RuntimeError, ValueError) as error:
        raise FileFormatError(
            f"{path}: not a checkpoint of a fit, or damaged ({error}); start again with --overwrite"
        ) from error
    return state

"""What a fit knows between two passes over the images, and its file."""

import os
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import FileFormatError
from ..io.whole_file import whole_file
from ..structure.surface import Surface
from .density import Density
from .mapping import Mapping
from .population import Population
from .poses import PoseCorrections


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
        Posterior standard deviation along each of the population's leading motions, A r.m.s. of the trace.
    freedom : (particle,)
        How many numbers an image of a particle determines: the power that uncertainty hides in its prediction.
    uncertainty : (latent, latent)
        Root of the mean posterior covariance of the particles, A.
    spectrum : (group, shell)
        Noise power, up to the resolution of the last pass.
    contrast : (image,)
        Strength of the signal; 1 on average.
    contrast_sd : float
        Of the contrast over the images.
    amplitude, width2 : float
        The beads' amplitudes are multiplied by the one, their squared widths raised by the other (A^2).
    poses : PoseCorrections, optional
        Of all images, where and as soon as poses are refined.
    mapping : Mapping, optional
        The surface that particles are spread over, where single particles tell next to nothing.
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


NUMBERS = ("step", "contrast_sd", "amplitude", "width2")
TENSORS = ("latent", "latent_sd", "freedom", "uncertainty", "spectrum", "contrast")
MAPPING = {"surface": Surface, "density": Density}


def save_state(state: FitState, path) -> None:
    """Write a state whole or not at all."""
    tensors = {name: getattr(state, name).contiguous() for name in TENSORS}
    tensors |= {f"population.{f.name}": getattr(state.population, f.name).contiguous() for f in fields(state.population)}
    tensors |= {name: torch.tensor(getattr(state, name), dtype=torch.float64) for name in NUMBERS}
    if state.mapping is not None:
        tensors |= {f"mapping.{part}.{f.name}": getattr(getattr(state.mapping, part), f.name).contiguous()
                    for part, kind in MAPPING.items() for f in fields(kind)}
    if state.poses is not None:
        tensors |= {f"poses.{name}": getattr(state.poses, name).contiguous() for name in ("value", "sd")}
    write_tensors(path, tensors)


def write_tensors(path, tensors: dict[str, Tensor]) -> None:
    """Write tensors whole or not at all: the file before stays until the new one is complete and on the disk."""
    with whole_file(path) as temporary:
        save_file(tensors, temporary)
        temporary.chmod(0o666 & ~_umask())      # the library makes files that none but the owner can read
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def load_state(path) -> FitState:
    """Read what :func:`save_state` wrote.

    Raises
    ------
    FileFormatError
        The file is none, or is damaged.
    """
    try:
        held = read_tensors(path)
        population = Population(*(held[f"population.{f.name}"] for f in fields(Population)))
        numbers = {name: float(held[name]) for name in NUMBERS}
        numbers["step"] = int(numbers["step"])
        poses = PoseCorrections(held["poses.value"], held["poses.sd"]) if "poses.value" in held else None
        mapping = Mapping(**{part: kind(*(held[f"mapping.{part}.{f.name}"] for f in fields(kind)))
                             for part, kind in MAPPING.items()}) if "mapping.surface.scale" in held else None
        return FitState(**{name: held[name] for name in TENSORS}, population=population, poses=poses, mapping=mapping, **numbers)
    except (SafetensorError, KeyError) as error:
        raise FileFormatError(f"{path}: not a checkpoint of a fit ({error}); start again with --overwrite") from error


def read_tensors(path) -> dict[str, Tensor]:
    """Read what :func:`write_tensors` wrote."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}

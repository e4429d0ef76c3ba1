"""The files of a run of ``atomdrgn volume`` in closed form."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..backprojection.backprojection import Reconstruction, finish, write_correlation
from ..backprojection.slice_sum import empty_sum
from ..backprojection.weighted_images import Target, add_images
from ..inference.run_writer import left_out_column
from ..reporting import Reporter
from ..runs.run import (
    CORRELATION,
    HALF_MAPS,
    HISTORY,
    LATENTS,
    MAP,
    MASK,
    MEAN,
    PARTICLES,
    POPULATION,
    SUMMARY,
    component_file,
    write_arrays,
    write_json,
    write_table,
)
from ..structure.density_map import DensityMap, write_density_map
from .component_fit import Components
from .component_grid import resized
from .whitened_images import WhitenedImages

if TYPE_CHECKING:
    from .subspace_fit import Subspace


def write_results(
    folder: Path,
    found: "Subspace",
    images: WhitenedImages,
    spectrum: Float[Tensor, "group shell"],
    *,
    seed: int,
    summary: dict,
    began: float,
    reporter: Reporter,
) -> None:
    """What was found; summary.json, last, says that the run is whole.

    Parameters
    ----------
    folder : Path
        Of the run.
    found : Subspace
    images : WhitenedImages
    spectrum : (group, shell)
        Noise of the images.
    seed : int
        For random phases.
    summary : dict
        What summary.json shall say besides.
    began : float
        Processor time at which the run began, s.
    reporter : Reporter
        Watches.
    """
    mean = _mean_map(found, images, spectrum, seed=seed, reporter=reporter)
    write_density_map(folder / MEAN, mean.map)
    for name, half in zip(HALF_MAPS, mean.halves, strict=True):
        write_density_map(folder / name, half)
    write_density_map(folder / MASK, mean.mask)
    write_correlation(folder / CORRELATION, mean.correlation)
    for number, density in enumerate(component_maps(found.components, images), 1):
        write_density_map(
            folder / component_file(number),
            DensityMap(density, mean.map.voxel_size, name=component_file(number)),
        )
    if not found.components.count:
        write_density_map(folder / MAP, mean.map)
    _write_latents(folder, found, images)
    write_table(folder / HISTORY, _tested_columns(found))
    supported = [each for each in found.tested if each.supported]
    write_json(
        folder / SUMMARY,
        {
            "particles": images.n_particles,
            "images": len(images.images),
            "tilts": images.images.stack.n_tilts,
            "latent": found.components.count,
            "tried": len(found.tested),
            "gain": [[round(value, 4) for value in each.gain] for each in supported],
            "gain_error": [[round(value, 4) for value in each.error] for each in supported],
            "box_size": mean.map.box_size,
            "voxel_size": mean.map.voxel_size,
            "resolution": round(images.disc.resolution, 3),
            "mean_resolution": mean.summary["resolution"],
            "contrast_sd": round(float(np.sqrt(found.components.covariance[0, 0])), 4),
            "junk": round(float(found.junk.mean()), 4),
            "cpu_seconds": round(time.process_time() - began, 2),
            **summary,
        },
    )


def component_maps(
    components: Components, images: WhitenedImages
) -> Float[Tensor, "component z y x"]:
    """How density changes by one standard deviation of each latent, on the images' voxels.

    Contrast that goes with a latent is part of the change.
    """
    with_latents = torch.from_numpy(components.covariance[0, 1:]).float()
    change = components.volumes[1:] + with_latents[:, None, None, None] * components.volumes[0]
    return resized(change, images.disc.grid.box_size)


def _mean_map(
    found: "Subspace",
    images: WhitenedImages,
    spectrum: Float[Tensor, "group shell"],
    *,
    seed: int,
    reporter: Reporter,
) -> Reconstruction:
    """The regularised backprojection of all that is no junk, and its half-maps."""
    stack, good = images.images.stack, torch.from_numpy(1 - found.junk).float()
    strength = good[images.particle] * ~images.images.left_out
    sums = [empty_sum(stack.grid) for _ in range(2)]
    add_images(
        stack,
        [
            Target(total, strength * (stack.half == number + 1), stack.pose)
            for number, total in enumerate(sums)
        ],
        spectrum=spectrum,
        title="mean volume",
        reporter=reporter,
    )
    return finish(*sums, seed=seed)


def _write_latents(folder: Path, found: "Subspace", images: WhitenedImages) -> None:
    latent, covariance = (
        each.astype(np.float32) for each in (found.latents.mean, found.latents.covariance)
    )
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).copy()
    write_arrays(
        folder / LATENTS,
        latent=latent,
        latent_sd=sd,
        latent_covariance=covariance,
        contrast=found.contrast.astype(np.float32),
    )
    write_arrays(
        folder / POPULATION,
        weight=found.population.weight,
        mean=found.population.mean,
        covariance=found.population.covariance,
    )
    stack, particle = images.images.stack, images.particle
    first = torch.full((images.n_particles,), torch.iinfo(torch.int64).max)
    first = first.scatter_reduce(0, particle, stack.row, "amin")
    columns = {
        f"{name}{k + 1}": [f"{value:.5g}" for value in column.tolist()]
        for name, values in (("z", latent), ("sd", sd))
        for k, column in enumerate(values.T)
    }
    write_table(
        folder / PARTICLES,
        {
            "particle": range(images.n_particles),
            "first_row": first.tolist(),
            "rows": particle.bincount().tolist(),
            **columns,
            "contrast": [f"{value:.4f}" for value in found.contrast.tolist()],
            "junk": [f"{value:.4f}" for value in found.junk.tolist()],
            **left_out_column(particle, images.images.left_out),
        },
    )


def _tested_columns(found: "Subspace") -> dict[str, list]:
    """A row a component of the half-sets: what it is worth to images of the other."""
    columns: dict[str, list] = {"component": list(range(1, 1 + len(found.tested)))}
    for half in range(2):
        columns[f"gain{half + 1}"] = [f"{each.gain[half]:.5g}" for each in found.tested]
        columns[f"error{half + 1}"] = [f"{each.error[half]:.3g}" for each in found.tested]
    return columns | {"supported": [int(each.supported) for each in found.tested]}

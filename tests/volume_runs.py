"""A finished run of volumes with latents that are chosen, without training: its field has weights
at random.
"""

import torch
from numpy import ndarray

from atomdrgn import ImageGrid
from atomdrgn.io.run_formats.tensors import write_tensors
from atomdrgn.networks.positional_encoding import gaussian_points
from atomdrgn.networks.volume_field import VolumeField
from atomdrgn.runs.run import (
    FIELD,
    FORMAT,
    HISTORY,
    LATENTS,
    MEAN,
    PARTICLES,
    SETTINGS,
    SUMMARY,
    VOLUME,
    write_arrays,
    write_json,
    write_table,
)
from atomdrgn.runs.volume_run import VolumeRun, open_volume_run
from atomdrgn.structure.density_map import DensityMap, write_density_map


def write_volume_run(folder, latent: ndarray, *, box: int = 12, gain=(), change=()) -> VolumeRun:
    """A run of volumes of 4 A a voxel; `gain` and `change` are those of the epochs of its history."""
    folder.mkdir()
    grid, generator = ImageGrid(box, 4.0), torch.Generator().manual_seed(0)
    field = VolumeField(
        gaussian_points(grid, generator),
        torch.ones(box // 2 + 1),
        extent=grid.extent,
        n_latent=latent.shape[1],
        width=16,
        depth=1,
        generator=generator,
    )
    field.last.data = torch.randn(field.last.shape, generator=generator)
    write_tensors(
        folder / FIELD,
        {f"field.{name}": value.contiguous() for name, value in field.state_dict().items()},
    )
    write_density_map(
        folder / MEAN, DensityMap(torch.randn(box, box, box, generator=generator), 4.0)
    )
    write_arrays(
        folder / LATENTS,
        latent=latent.astype("float32"),
        latent_sd=0 * latent.astype("float32") + 1,
    )
    write_table(
        folder / PARTICLES,
        {
            "particle": range(len(latent)),
            "first_row": range(len(latent)),
            "rows": [1] * len(latent),
            **{f"z{k + 1}": column for k, column in enumerate(latent.T)},
        },
    )
    write_table(
        folder / HISTORY,
        {"epoch": range(1, 1 + len(gain)), "error_gain": gain, "latent_change": change},
    )
    write_json(folder / SETTINGS, {"format": FORMAT, "version": "0", "fit": {"inference": VOLUME}})
    write_json(folder / SUMMARY, {"particles": len(latent)})
    return open_volume_run(folder)

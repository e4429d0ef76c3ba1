"""What `atomdrgn volume` leaves on disk, and how to open it again.

A folder that other programs can read: run.json (settings, versions, command, hashes of the input),
mean.mrc (the mean volume), what is added to it (component1.mrc and so on, or field.safetensors, a
network with its encoder), map.mrc (where there is one volume for all), latents.npz, particles.csv,
history.csv, summary.json (what was found), checkpoints. Nothing in it is executed when it is
opened.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import FileFormatError, MissingFileError
from ..io.run_formats.tensors import read_tensors
from ..networks.volume_field import VolumeField, field_from_tensors
from ..structure.density_map import DensityMap, read_density_map
from .run import (
    FIELD,
    HISTORY,
    MEAN,
    VOLUME,
    AnyRun,
    Run,
    component_file,
    open_run,
    read_numbers_table,
    read_settings,
    read_summary,
)

# what run.json says as `latents` of a run in closed form, and of one on latents of a file
SUBSPACE, GIVEN = "subspace", "given"


class VolumeRun(AnyRun):
    """A volume for every particle.

    Parameters
    ----------
    folder : Path
        Where it lies.
    settings : dict
        How it was made: run.json.
    summary : dict
        What was found: summary.json.

    Examples
    --------
    >>> run = open_volume_run("field")
    >>> run.n_particles, run.latent.shape, run.mean.box_size
    (8, (8, 2), 12)
    """

    @cached_property
    def mean(self) -> DensityMap:
        """The mean volume, in the frame of the poses."""
        return read_density_map(self.folder / MEAN).in_pose_frame()

    @property
    def closed_form(self) -> bool:
        """Whether it has components, and no network."""
        return self.settings.get("fit", {}).get("latents") in (SUBSPACE, GIVEN)

    @property
    def centre(self) -> Float[np.ndarray, "latent"]:
        """The latent at which the volume is the mean."""
        said = self.summary.get("latent_centre")
        return np.zeros(self.latent.shape[1]) if said is None else np.array(said, dtype=float)

    @cached_property
    def components(self) -> Float[Tensor, "latent z y x"]:
        """What one unit of each latent adds to the mean volume, of a run in closed form.

        Raises
        ------
        MissingFileError
            The file of one is missing.
        FileFormatError
            One is on other voxels than the mean.
        """
        result = torch.zeros(self.latent.shape[1], *self.mean.density.shape)
        for number in range(len(result)):
            path = self.folder / component_file(number + 1)
            if not path.exists():
                raise MissingFileError(
                    f"{path} is missing: the run is not whole; run it again with --overwrite"
                )
            density = read_density_map(path).density
            if density.shape != result.shape[1:]:
                raise FileFormatError(
                    f"{path}: {tuple(density.shape)} voxels, where the mean has "
                    f"{tuple(result.shape[1:])}; run it again with --overwrite"
                )
            result[number] = density
        return result

    @property
    def latent_covariance(self) -> Float[np.ndarray, "particle latent latent"]:
        """Of the errors of `latent`; without a network's, whose errors are taken as independent."""
        held = self._latents.get("latent_covariance")
        return (
            np.einsum("pk,kl->pkl", self.latent_sd**2, np.eye(self.latent.shape[1]))
            if (held is None)
            else held
        )

    @cached_property
    def field(self) -> VolumeField:
        """What is added to the mean volume at a latent."""
        path = self.folder / FIELD
        if not path.exists():
            raise MissingFileError(
                f"{path} is missing: the run is not whole; train again with --overwrite"
            )
        try:
            held = read_tensors(path)
            tensors = {
                name.removeprefix("field."): value
                for name, value in held.items()
                if name.startswith("field.")
            }
            return field_from_tensors(tensors, extent=self.mean.box_size * self.mean.voxel_size)
        except (FileFormatError, KeyError, RuntimeError, ValueError) as error:
            raise FileFormatError(
                f"{path}: damaged ({error}); train again with --overwrite"
            ) from error

    @cached_property
    def history(self) -> dict[str, np.ndarray]:
        """Columns of history.csv, one row an epoch."""
        return read_numbers_table(self.folder / HISTORY)


def open_volume_run(folder: Path | str) -> VolumeRun:
    """Open a finished run of `atomdrgn volume`.

    Raises
    ------
    MissingFileError
        The folder is none, or its training did not end.
    FileFormatError
        It is another kind of run, was written by a later version, or is damaged.

    Examples
    --------
    >>> open_volume_run("field").summary["particles"]
    8
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder}: there is no such folder; a volume run is the folder that `atomdrgn volume` "
            "wrote"
        )
    settings = read_settings(folder)
    if settings.get("fit", {}).get("inference") != VOLUME:
        raise FileFormatError(
            f"{folder}: a run of `atomdrgn fit`, which has structures and no volumes (see "
            "`atomdrgn export`); a run of `atomdrgn volume` is needed here"
        )
    return VolumeRun(folder, settings, read_summary(folder))


def open_either_run(folder: Path | str) -> Run | VolumeRun:
    """Open a finished run of `atomdrgn fit` or of `atomdrgn volume`, whichever it is.

    Raises
    ------
    MissingFileError
        The folder is none, or its fit did not end.
    FileFormatError
        It was written by a later version, or is damaged.
    """
    folder = Path(folder)
    of_volumes = folder.is_dir() and read_settings(folder).get("fit", {}).get("inference") == VOLUME
    return open_volume_run(folder) if of_volumes else open_run(folder)

"""What images say of particles, on disk: one file for some thousand particles.

A fit that was stopped goes on with those that are not there.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import FileFormatError
from ...io.run_formats.tensors import read_tensors, write_tensors
from ...runs.run import placed_file
from ..posterior.poses_along_motions import PosesAlong
from .coarse_to_fine import Placement


@dataclass(frozen=True, eq=False)
class Placed:
    """Some particles that were placed.

    Parameters
    ----------
    image : (image,)
        Numbers of their images among all, rising.
    particle : (image,)
        Whose each is, from 0.
    left_out : (image,)
        Images that have no weight.
    placement : Placement
        Where they may be.
    poses : PosesAlong, optional
        Where images have their poses, where these are integrated out.
    pose_sd : (image, 5), optional
        How sure they are at a known coordinate.
    """

    image: Int[Tensor, "image"]
    particle: Int[Tensor, "image"]
    left_out: Tensor
    placement: Placement
    poses: PosesAlong | None = None
    pose_sd: Float[Tensor, "image 5"] | None = None

    @property
    def seen(self) -> Tensor:
        """Which particles have an image that counts."""
        count = torch.bincount(self.particle[~self.left_out], minlength=len(self.placement.centre))
        return count > 0


def save_placed(folder: Path, number: int, placed: Placed) -> None:
    """Write a file of particles, whole or not at all."""
    tensors = {name: getattr(placed, name) for name in ("image", "particle", "left_out")}
    tensors |= _of_record("placement", placed.placement)
    if placed.poses is not None and placed.pose_sd is not None:
        tensors |= _of_record("poses", placed.poses) | {"pose_sd": placed.pose_sd}
    held = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_tensors(folder / placed_file(number), held)


def _of_record(name: str, record: Placement | PosesAlong) -> dict[str, Tensor]:
    return {f"{name}.{field.name}": getattr(record, field.name) for field in fields(record)}


def load_placed(
    folder: Path, number: int, image: Int[Tensor, "image"] | None = None
) -> Placed | None:
    """Read what :func:`save_placed` wrote; None where it is not there.

    Parameters
    ----------
    folder : Path
        Of the run.
    number : int
        Of the file.
    image : (image,), optional
        The images that it has to be of.

    Raises
    ------
    FileFormatError
        The file is damaged, or of other images.
    """
    path = folder / placed_file(number)
    if not path.exists():
        return None
    try:
        held = read_tensors(path)
        if image is not None and not torch.equal(held["image"], image):
            raise FileFormatError("it is of other images")
        placement = Placement(*(held[f"placement.{field.name}"] for field in fields(Placement)))
        if "pose_sd" not in held:
            return Placed(held["image"], held["particle"], held["left_out"], placement)
        poses = PosesAlong(*(held[f"poses.{field.name}"] for field in fields(PosesAlong)))
        return Placed(
            held["image"], held["particle"], held["left_out"], placement, poses, held["pose_sd"]
        )
    except (FileFormatError, KeyError) as error:
        raise FileFormatError(
            f"{path}: no particles that were placed, or damaged ({error}); remove this file and go "
            "on with --resume"
        ) from error

"""The volumes of a trained field as density maps."""

import torch
from jaxtyping import Float
from torch import Tensor

from ..networks.volume_field import VolumeField
from ..physics.grid import ImageGrid


def field_map(
    field: VolumeField,
    mean: Float[Tensor, "box box box"],
    latent: Float[Tensor, "latent"],
    grid: ImageGrid,
) -> Float[Tensor, "box box box"]:
    """The volume at a latent: the mean volume and what the field adds to it, density per A^3.

    Parameters
    ----------
    field : VolumeField
    mean : (box, box, box)
        The mean volume that the field was trained to add to.
    latent : (latent,)
    grid : ImageGrid
        Of the mean volume's edges.
    """
    box = grid.box_size
    index = torch.stack(
        torch.meshgrid(
            *[torch.fft.fftfreq(box, 1 / box)] * 2, torch.arange(box // 2 + 1.0), indexing="ij"
        ),
        -1,
    )
    radius = index.norm(dim=-1)
    inside = (radius > 0) & (radius < box / 2)
    coefficient = torch.zeros(inside.shape, dtype=torch.complex64)
    # an image shows a coefficient times the pixel (line integrals) over the box (the disc's scale)
    coefficient[inside] = field.coefficients(index[inside].flip(-1) / grid.extent, latent) * (
        box / grid.pixel_size
    )
    return mean + torch.fft.fftshift(torch.fft.irfftn(coefficient, s=(box,) * 3))

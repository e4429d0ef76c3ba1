"""Projections of a density map, as central slices through its Fourier transform."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from ...errors import InputError
from ..disc import FourierDisc
from ..fourier import inverse_transform
from ..grid import ImageGrid
from ..pose import Pose

# Coefficients of padded images held at a time (32 MiB in single precision).
CHUNK_COEFFICIENTS = 2**22


def project_volume(
    volume: Float[Tensor, "box box box"], pose: Pose, grid: ImageGrid, *, padding: int = 2
) -> Float[Tensor, "*batch box box"]:
    """Line integrals of a map along the camera's z at each pose, axes y, x.

    Frequencies from the pixel's Nyquist on, in every direction, are left out. What is turned or
    shifted out of the box is lost; nothing comes back at the other side. Differentiable in the map
    and the pose.

    Parameters
    ----------
    volume : (box, box, box)
        Density per A^3, axes z, y, x; the molecule's origin is voxel ``box // 2``.
    pose : Pose
        (*batch,) rotations and shifts.
    grid : ImageGrid
        Of the map and of the images alike.
    padding : int
        Edge of the box in which slices are interpolated, in boxes; at least 2. Errors fall with its
        square.

    Returns
    -------
    (*batch, box, box)

    Raises
    ------
    InputError
        If the map is not a cube of the grid's box size, or the padding is below 2.

    References
    ----------
    Penczek, Methods in Enzymology 482 (2010), 1-33: the central section theorem and direct Fourier
    interpolation.

    Examples
    --------
    >>> upright = Pose(torch.eye(3), torch.zeros(2))
    >>> project_volume(torch.zeros(8, 8, 8), upright, ImageGrid(8, 2.0)).shape
    torch.Size([8, 8])
    """
    _check(volume, grid, padding)
    transform = padded_transform(volume, padding)
    rotation, shift = pose.rotation.reshape(-1, 3, 3), pose.shift.reshape(-1, 2)
    poses = max(1, CHUNK_COEFFICIENTS // (padding * grid.box_size) ** 2)
    images = [
        _project(transform, *chunk, grid)
        for chunk in zip(rotation.split(poses), shift.split(poses), strict=True)
    ]
    return torch.cat(images).reshape(*pose.rotation.shape[:-2], grid.box_size, grid.box_size)


class SliceSource:
    """A map of which many central slices are asked: its padded transform is made once.

    Parameters
    ----------
    volume : (box, box, box)
        Density per A^3, axes z, y, x; the molecule's origin is voxel ``box // 2``.
    disc : FourierDisc
        Which coefficients are asked, of images with the map's box.
    padding : int
        As for :func:`project_volume`.

    Raises
    ------
    InputError
        If the map is not a cube of the grid's box size, or the padding is below 2.

    Examples
    --------
    >>> from atomdrgn.physics.disc import make_disc
    >>> source = SliceSource(torch.zeros(8, 8, 8), make_disc(ImageGrid(8, 2.0), 6.0))
    >>> source.slices(torch.eye(3)[None]).shape
    torch.Size([1, 12])
    """

    def __init__(
        self, volume: Float[Tensor, "box box box"], disc: FourierDisc, *, padding: int = 2
    ) -> None:
        _check(volume, disc.grid, padding)
        self.transform = padded_transform(volume, padding) * (
            disc.grid.pixel_size / disc.grid.box_size
        )
        index = torch.stack([disc.x_index, disc.y_index, torch.zeros_like(disc.x_index)], -1).to(
            volume.dtype
        )
        self.cycles = padding * index

    def slices(self, rotation: Float[Tensor, "image 3 3"]) -> Complex[Tensor, "image frequency"]:
        """Coefficients of projections of the centred molecule, as a disc has those of images."""
        return _interpolate(self.transform, self.cycles @ rotation)


def _check(volume: Float[Tensor, "z y x"], grid: ImageGrid, padding: int) -> None:
    if set(volume.shape) != {grid.box_size}:
        raise InputError(
            f"the map has {tuple(volume.shape)} voxels and the grid a box of {grid.box_size}: a "
            "cube of the same box size is needed"
        )
    if padding < 2:
        raise InputError(
            f"padding {padding}: at least 2 is needed, or a turned map comes back at the other "
            "side of its box"
        )


def padded_transform(
    volume: Float[Tensor, "box box box"], padding: int
) -> Float[Tensor, "2 padded padded half"]:
    """Real and imaginary part of the zero-padded map's transform for kx >= 0.

    ky and kz rise along their axes from below zero. It is made for trilinear interpolation: what
    that does to the box is undone beforehand.

    Parameters
    ----------
    volume : (box, box, box)
        Axes z, y, x; the molecule's origin is voxel ``box // 2``.
    padding : int
        Edge of the padded box, in boxes.

    Returns
    -------
    (2, padded, padded, half)

    Examples
    --------
    >>> padded_transform(torch.ones(4, 4, 4), 2).shape
    torch.Size([2, 8, 8, 5])
    """
    box_size = volume.shape[-1]
    padded = padding * box_size
    before = padded // 2 - box_size // 2
    after = padded - box_size - before
    # the triangle that interpolates between frequencies dims the padded box as sinc^2 along each
    # axis: undone beforehand
    dimming = (
        torch.sinc(
            (torch.arange(box_size, dtype=volume.dtype, device=volume.device) - box_size // 2)
            / padded
        )
        ** 2
    )
    volume = volume / (dimming[:, None, None] * dimming[:, None] * dimming)
    coefficient = torch.fft.rfftn(torch.fft.ifftshift(pad(volume, (before, after) * 3)))
    return torch.view_as_real(torch.fft.fftshift(coefficient, dim=(0, 1))).movedim(-1, 0)


def _project(
    transform: Float[Tensor, "2 padded padded half"],
    rotation: Float[Tensor, "image 3 3"],
    shift: Float[Tensor, "image 2"],
    grid: ImageGrid,
) -> Float[Tensor, "image box box"]:
    padded = transform.shape[-2]
    kx, ky = ImageGrid(padded, grid.pixel_size).frequencies(transform.device)
    cycles = torch.stack([kx, ky, torch.zeros_like(kx)], -1).to(transform.dtype) * (
        padded * grid.pixel_size
    )
    # one step inside Nyquist's circle each point still lies between eight coefficients
    inside = cycles.norm(dim=-1) <= padded / 2 - 1
    cycles = cycles[inside]
    coefficient = _interpolate(transform, cycles @ rotation)
    phase = -2 * math.pi / (padded * grid.pixel_size) * (cycles[:, :2] @ shift[..., None])[..., 0]
    images = torch.zeros(
        len(rotation), *inside.shape, dtype=coefficient.dtype, device=coefficient.device
    )
    images[:, inside] = coefficient * torch.polar(torch.ones_like(phase), phase)
    first = padded // 2 - grid.box_size // 2
    kept = slice(first, first + grid.box_size)
    return inverse_transform(images, padded)[:, kept, kept] * grid.pixel_size


def _interpolate(
    transform: Float[Tensor, "2 padded padded half"], cycles: Float[Tensor, "image frequency 3"]
) -> Complex[Tensor, "image frequency"]:
    """Trilinear values at frequencies xyz, cycles a padded box.

    Those with kx < 0 are conjugates of their opposites.
    """
    mirrored = cycles[..., 0] < 0
    cycles = torch.where(mirrored[..., None], -cycles, cycles)
    size = torch.tensor(transform.shape[:0:-1], dtype=cycles.dtype, device=cycles.device)
    zero_frequency = torch.stack([torch.zeros_like(size[0]), size[1] // 2, size[2] // 2])
    location = 2 * (cycles + zero_frequency) / (size - 1) - 1
    real, imaginary = grid_sample(
        transform[None], location[None, None], mode="bilinear", align_corners=True
    )[0, :, 0]
    return torch.complex(real, torch.where(mirrored, -imaginary, imaginary))

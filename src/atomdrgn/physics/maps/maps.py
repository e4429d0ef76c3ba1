"""Maps filtered, cropped, mirrored and brought to other voxels.

The molecule's origin is voxel ``n // 2`` before and after.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ...errors import InputError


def map_frequencies(
    shape: Sequence[int], voxel_size: float, device: torch.device | str | None = None
) -> Float[Tensor, "z y half"]:
    """Length of the frequency of each coefficient of rfftn, 1/A.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels along each axis.
    voxel_size : float
        A.
    device : optional
        Where the result is wanted.

    Returns
    -------
    (z, y, half)

    Examples
    --------
    >>> map_frequencies((2, 2, 4), 2.0)[0, 0]
    tensor([0.0000, 0.1250, 0.2500])
    """
    kz, ky = (torch.fft.fftfreq(n, voxel_size, device=device) for n in shape[:2])
    kx = torch.fft.rfftfreq(shape[2], voxel_size, device=device)
    return (kz[:, None, None] ** 2 + ky[:, None] ** 2 + kx**2).sqrt()


def filtered(
    density: Float[Tensor, "z y x"], factor: Float[Tensor, "z y half"]
) -> Float[Tensor, "z y x"]:
    """A map whose coefficients (of rfftn) are multiplied by a real factor.

    Parameters
    ----------
    density : (z, y, x)
        A map.
    factor : (z, y, half)
        Of each coefficient.

    Returns
    -------
    (z, y, x)

    Examples
    --------
    >>> filtered(torch.ones(4, 4, 4), torch.full((4, 4, 3), 0.5)).unique()
    tensor([0.5000])
    """
    return torch.fft.irfftn(torch.fft.rfftn(density) * factor, s=density.shape)


def low_pass(
    density: Float[Tensor, "z y x"], *, voxel_size: float, resolution: float, edge: float = 0.1
) -> Tensor:
    """A map without what is finer than a resolution.

    Amplitudes fall as a raised cosine about it.

    Parameters
    ----------
    density : (z, y, x)
        A map.
    voxel_size : float
        A.
    resolution : float
        A.
    edge : float
        Width of the fall, as a share of the frequency.

    Returns
    -------
    (z, y, x)

    Raises
    ------
    InputError
        The resolution is not positive.

    Examples
    --------
    >>> smooth = low_pass(torch.ones(4, 4, 4), voxel_size=2.0, resolution=8.0)
    >>> smooth.mean().item()
    1.0
    """
    if resolution <= 0:
        raise InputError(f"a low-pass to {resolution} A: choose a positive resolution")
    relative = map_frequencies(density.shape, voxel_size, density.device) * resolution
    return filtered(
        density,
        0.5 + 0.5 * torch.cos(math.pi * ((relative - 1) / max(edge, 1e-6) + 0.5).clamp(0, 1)),
    )


def fourier_crop(density: Float[Tensor, "z y x"], box_size: int) -> Float[Tensor, "new new new"]:
    """A cube cropped in Fourier space: the same extent on fewer voxels, values kept.

    Voxels are then box / new times larger.

    Parameters
    ----------
    density : (box, box, box)
        A cube.
    box_size : int
        Voxels along an edge of the result.

    Returns
    -------
    (new, new, new)

    Raises
    ------
    InputError
        The map is no cube, or the new box is larger.

    Examples
    --------
    >>> fourier_crop(torch.ones(8, 8, 8), 6).shape
    torch.Size([6, 6, 6])
    """
    old = density.shape[-1]
    if set(density.shape) != {old}:
        raise InputError(f"a map of {tuple(density.shape)} voxels is no cube; cut it to one first")
    if not 2 <= box_size <= old:
        raise InputError(
            f"a map of {old} voxels cannot be cropped to {box_size}: choose 2 to {old}"
        )
    if box_size == old:
        return density
    coefficient = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(density)))
    first = old // 2 - box_size // 2
    kept = coefficient[(slice(first, first + box_size),) * 3] * (box_size / old) ** 3
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(kept))).real.contiguous()


def window(density: Float[Tensor, "z y x"], shape: tuple[int, int, int]) -> Tensor:
    """A map cut, or padded with zeros, to another number of voxels of the same size.

    Voxel ``n // 2`` stays voxel ``n // 2``.

    Parameters
    ----------
    density : (z, y, x)
        A map.
    shape : tuple of int
        Voxels of the result along z, y and x.

    Returns
    -------
    Tensor
        Of that shape.

    Examples
    --------
    >>> window(torch.ones(2, 2, 2), (4, 4, 4)).sum().item()
    8.0
    """
    padding = []
    for old, new in zip(density.shape[::-1], shape[::-1], strict=True):
        before = new // 2 - old // 2
        padding += [before, new - old - before]
    return pad(density, padding)  # negative padding cuts


def mirrored(density: Float[Tensor, "z y x"]) -> Float[Tensor, "z y x"]:
    """The other hand: z becomes -z about voxel ``n // 2``.

    Parameters
    ----------
    density : (z, y, x)
        A map.

    Returns
    -------
    (z, y, x)

    Examples
    --------
    >>> mirrored(torch.tensor([1.0, 2.0, 3.0])[:, None, None]).flatten()
    tensor([3., 2., 1.])
    """
    n = density.shape[0]
    return density[(2 * (n // 2) - torch.arange(n)) % n]


def resampled(
    density: Float[Tensor, "z y x"], *, voxel_size: float, target_voxel_size: float, box_size: int
) -> Tensor:
    """A map on a cube of other voxels, values kept.

    Its Fourier transform is evaluated at the new frequencies, exactly.

    What the map does not hold is zero: frequencies beyond its Nyquist, and places beyond its edge.

    Parameters
    ----------
    density : (z, y, x)
        A map.
    voxel_size, target_voxel_size : float
        A.
    box_size : int
        Voxels along an edge of the result.

    Returns
    -------
    (box, box, box)

    Examples
    --------
    >>> density = torch.ones(8, 8, 8)
    >>> resampled(density, voxel_size=1.0, target_voxel_size=2.0, box_size=4).shape
    torch.Size([4, 4, 4])
    """
    if target_voxel_size == voxel_size:
        return window(density, (box_size,) * 3)
    frequency = torch.fft.fftfreq(box_size, target_voxel_size, dtype=torch.float64)
    coefficient = density.to(torch.complex64)
    for axis, n in enumerate(density.shape):
        position = (torch.arange(n, dtype=torch.float64) - n // 2) * voxel_size
        held = (frequency.abs() * 2 * voxel_size <= 1 + 1e-9)[:, None] & (
            position.abs() <= box_size * target_voxel_size / 2 + 1e-6
        )
        phase = -2 * math.pi * frequency[:, None] * position
        wave = (
            torch.where(held, torch.polar(torch.ones_like(phase), phase), 0)
            .to(torch.complex64)
            .to(density.device)
        )
        coefficient = torch.tensordot(wave, coefficient, ([1], [axis])).movedim(0, axis)
    ratio = (voxel_size / target_voxel_size) ** 3
    return torch.fft.fftshift(torch.fft.ifftn(coefficient * ratio)).real.contiguous()

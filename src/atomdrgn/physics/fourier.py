"""Fourier transforms of images about their origin, cropping, and sums over the half-plane."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from .grid import ImageGrid


def transform(image: Float[Tensor, "*batch box box"]) -> Complex[Tensor, "*batch box half"]:
    """Fourier coefficients of images on the half-plane of rfft2.

    Phases are about pixel ``box // 2``; coefficients are not normalised.

    Parameters
    ----------
    image : (*batch, box, box)
        Images, axes y, x.

    Returns
    -------
    (*batch, box, half)
        ``half`` is ``box // 2 + 1``.

    Examples
    --------
    >>> point = torch.zeros(4, 4)
    >>> point[2, 2] = 1
    >>> bool((transform(point) == 1).all())
    True
    """
    if image.numel() == 0:  # some of the libraries behind torch.fft refuse an empty batch
        return image.new_zeros(
            *image.shape[:-1], image.shape[-1] // 2 + 1, dtype=image.dtype.to_complex()
        )
    return torch.fft.rfft2(torch.fft.ifftshift(image, dim=(-2, -1)))


def inverse_transform(
    coefficient: Complex[Tensor, "*batch box half"], box_size: int
) -> Float[Tensor, "*batch box box"]:
    """Images whose :func:`transform` this is.

    Parameters
    ----------
    coefficient : (*batch, box, half)
        As :func:`transform` gives them.
    box_size : int
        Pixels along an edge: half-planes do not say whether it is even.

    Returns
    -------
    (*batch, box, box)

    Examples
    --------
    >>> image = torch.arange(25.0).reshape(5, 5)
    >>> torch.allclose(inverse_transform(transform(image), 5), image, atol=1e-5)
    True
    """
    if coefficient.numel() == 0:
        return coefficient.new_zeros(
            *coefficient.shape[:-1], box_size, dtype=coefficient.dtype.to_real()
        )
    return torch.fft.fftshift(torch.fft.irfft2(coefficient, s=(box_size, box_size)), dim=(-2, -1))


def crop(
    coefficient: Complex[Tensor, "*batch box half"], box_size: int, *, new_box_size: int
) -> Complex[Tensor, "*batch new_box new_half"]:
    """Coefficients of the image cropped in Fourier space: lower frequencies only, the mean kept.

    Where the new box is even its Nyquist rows and columns keep the real part that a smaller image
    can hold.

    Parameters
    ----------
    coefficient : (*batch, box, half)
        As :func:`transform` gives them.
    box_size, new_box_size : int
        Pixels along an edge before and after.

    Returns
    -------
    (*batch, new_box, new_half)

    Examples
    --------
    >>> coefficient = transform(torch.ones(6, 6))
    >>> inverse_transform(crop(coefficient, 6, new_box_size=4), 4).mean().item()
    1.0
    """
    if new_box_size == box_size:
        return coefficient
    positive, negative = (new_box_size + 1) // 2, new_box_size // 2
    rows = torch.cat(
        [coefficient[..., :positive, :], coefficient[..., coefficient.shape[-2] - negative :, :]],
        -2,
    )
    return rows[..., : new_box_size // 2 + 1] * (new_box_size / box_size) ** 2


def crop_image(image: Float[Tensor, "*batch box box"], new_box_size: int) -> Tensor:
    """Images cropped in Fourier space: the same extent on fewer pixels, the mean kept.

    Parameters
    ----------
    image : (*batch, box, box)
        Images, axes y, x.
    new_box_size : int
        Pixels along an edge of the result.

    Returns
    -------
    (*batch, new_box, new_box)

    Examples
    --------
    >>> crop_image(torch.ones(2, 8, 8), 6).shape
    torch.Size([2, 6, 6])
    """
    box_size = image.shape[-1]
    if new_box_size == box_size:
        return image
    return inverse_transform(
        crop(transform(image), box_size, new_box_size=new_box_size), new_box_size
    )


def half_plane_weight(
    grid: ImageGrid, device: torch.device | str | None = None
) -> Float[Tensor, "box half"]:
    """How often each coefficient of the half-plane counts in a sum over the plane.

    It is 2, or 1 in columns that are their own mirror.

    ``(weight * abs(transform(image))**2).sum() / box**2`` is the image's sum of squares (Parseval).

    Parameters
    ----------
    grid : ImageGrid
        Of the images.
    device : optional
        Where the result is wanted.

    Returns
    -------
    (box, half)

    Examples
    --------
    >>> half_plane_weight(ImageGrid(4, 1.0))[0]
    tensor([1., 2., 1.])
    """
    weight = torch.full((grid.box_size, grid.box_size // 2 + 1), 2.0, device=device)
    weight[:, 0] = 1
    if grid.box_size % 2 == 0:
        weight[:, -1] = 1
    return weight

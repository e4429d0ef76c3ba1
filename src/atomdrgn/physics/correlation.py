"""How alike two images or two maps are: over pixels, and at each resolution."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .fourier import half_plane_weight
from .grid import ImageGrid


def normalized_cross_correlation(
    first: Float[Tensor, "*#batch box box"], second: Float[Tensor, "*#batch box box"]
) -> Float[Tensor, "*batch"]:
    """Pearson correlation of the pixels of each pair of images, -1 to 1.

    It is 0 where an image is constant.

    Parameters
    ----------
    first, second : (*batch, box, box)
        Images; their leading dimensions are broadcast.

    Returns
    -------
    (*batch,)

    Examples
    --------
    >>> image = torch.arange(9.0).reshape(3, 3)
    >>> normalized_cross_correlation(image, -2 * image).item()
    -1.0
    """
    first = first - first.mean((-2, -1), keepdim=True)
    second = second - second.mean((-2, -1), keepdim=True)
    product = (first * second).sum((-2, -1))
    return _ratio(product, (first**2).sum((-2, -1)), (second**2).sum((-2, -1)))


def fourier_ring_correlation(
    first: Float[Tensor, "*#batch box box"], second: Float[Tensor, "*#batch box box"]
) -> Float[Tensor, "*batch shell"]:
    """Correlation of the Fourier coefficients of each pair of images, one value a ring.

    Ring i holds the frequencies nearest to ``i / grid.extent``, i from 0 to ``box // 2``; corners
    beyond are left out.

    Parameters
    ----------
    first, second : (*batch, box, box)
        Images; their leading dimensions are broadcast.

    Returns
    -------
    (*batch, shell)
        -1 to 1; 0 where an image has nothing in the ring.

    References
    ----------
    Saxton & Baumeister, J. Microsc. 127 (1982), 127-138.

    Examples
    --------
    >>> image = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    >>> fourier_ring_correlation(image, 2 * image).round(decimals=3)
    tensor([1., 1., 1., 1., 1.])
    """
    return _correlation_of_shells(first, second, dimensions=2)


def fourier_shell_correlation(
    first: Float[Tensor, "*#batch box box box"], second: Float[Tensor, "*#batch box box box"]
) -> Float[Tensor, "*batch shell"]:
    """Correlation of the Fourier coefficients of each pair of maps, one value a shell.

    Shell i holds the frequencies nearest to ``i / grid.extent``, i from 0 to ``box // 2``; corners
    beyond are left out.

    Parameters
    ----------
    first, second : (*batch, box, box, box)
        Maps; their leading dimensions are broadcast.

    Returns
    -------
    (*batch, shell)
        -1 to 1; 0 where a map has nothing in the shell.

    References
    ----------
    Harauz & van Heel, Optik 73 (1986), 146-156.

    Examples
    --------
    >>> density = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(0))
    >>> fourier_shell_correlation(density, -density).round(decimals=3)
    tensor([-1., -1., -1., -1.])
    """
    return _correlation_of_shells(first, second, dimensions=3)


def shell_frequencies(box_size: int, voxel_size: float) -> Float[Tensor, "shell"]:
    """Frequency of each shell of a correlation, ``i / extent`` for i from 0 to ``box // 2``, 1/A.

    Parameters
    ----------
    box_size : int
        Voxels along an edge.
    voxel_size : float
        A.

    Returns
    -------
    (shell,)
        1/A.

    Examples
    --------
    >>> shell_frequencies(4, 2.5)
    tensor([0.0000, 0.1000, 0.2000])
    """
    return torch.arange(box_size // 2 + 1) / (box_size * voxel_size)


def resolution_at(
    frequency: Float[Tensor, "shell"], correlation: Float[Tensor, "shell"], threshold: float
) -> float:
    """Resolution at which a shell correlation first falls below a threshold, A.

    The crossing is interpolated between two shells. Shell 0, the mean, does not count.

    Parameters
    ----------
    frequency : (shell,)
        1/A, as :func:`shell_frequencies` gives it.
    correlation : (shell,)
        Of each shell.
    threshold : float
        Such as 0.143 between half-maps.

    Returns
    -------
    float
        The finest frequency's where it never falls below, infinity where it starts below.

    Examples
    --------
    >>> frequency = shell_frequencies(8, 1.0)
    >>> round(resolution_at(frequency, torch.tensor([1.0, 1.0, 0.5, 0.0, 0.0]), 0.25), 2)
    3.2
    """
    frequency, correlation = frequency.double()[1:], correlation.double()[1:]
    below = torch.nonzero(correlation < threshold)[:, 0]
    if len(below) == 0:
        return 1 / float(frequency[-1])
    i = int(below[0])
    if i == 0:
        return math.inf
    share = (correlation[i - 1] - threshold) / (correlation[i - 1] - correlation[i])
    return 1 / float(frequency[i - 1] + share * (frequency[i] - frequency[i - 1]))


def _correlation_of_shells(
    first: Tensor, second: Tensor, *, dimensions: int
) -> Float[Tensor, "*batch shell"]:
    box_size = first.shape[-1]
    axes = tuple(range(-dimensions, 0))
    a, b = torch.fft.rfftn(first, dim=axes), torch.fft.rfftn(second, dim=axes)
    shell = shell_index(box_size, dimensions, device=a.device)
    multiplicity = half_plane_weight(ImageGrid(box_size, 1.0), a.device)[0]

    def total(product: Tensor) -> Tensor:
        return _sum_over_shells(multiplicity * product, shell, dimensions)

    return _ratio(total((a * b.conj()).real), total(a.abs() ** 2), total(b.abs() ** 2)).to(
        first.dtype
    )


def shell_index(box_size: int, dimensions: int, device: torch.device | str | None = None) -> Tensor:
    """Number of the ring or shell of each coefficient of rfftn.

    It is the radius in units of one over the extent, rounded.

    Parameters
    ----------
    box_size : int
        Pixels or voxels along an edge.
    dimensions : int
        2 for rings of an image, 3 for shells of a map.
    device : optional
        Where the result is wanted.

    Returns
    -------
    (box, half) or (box, box, half)
        Integers.

    Examples
    --------
    >>> shell_index(4, 2)
    tensor([[0, 1, 2],
            [1, 1, 2],
            [2, 2, 3],
            [1, 1, 2]])
    """
    full = torch.fft.fftfreq(box_size, 1 / box_size, device=device)
    half = torch.fft.rfftfreq(box_size, 1 / box_size, device=device)
    components = torch.meshgrid(*[full] * (dimensions - 1), half, indexing="ij")
    return (
        sum((component**2 for component in components), torch.zeros((), device=device))
        .sqrt()
        .round()
        .long()
    )


def _sum_over_shells(
    value: Tensor, shell: Tensor, dimensions: int
) -> Float[Tensor, "*batch shell"]:
    # in double precision: a shell of a large map has a million coefficients
    flat = value.flatten(-dimensions).double()
    total = torch.zeros(
        *flat.shape[:-1], int(shell.max()) + 1, dtype=flat.dtype, device=flat.device
    )
    return total.index_add(-1, shell.flatten(), flat)[..., : value.shape[-dimensions] // 2 + 1]


def _ratio(
    product: Float[Tensor, "*#shape"],
    first_power: Float[Tensor, "*#shape"],
    second_power: Float[Tensor, "*#shape"],
) -> Float[Tensor, "*shape"]:
    power = (first_power * second_power).sqrt()
    return torch.where(power > 0, product / torch.where(power > 0, power, 1), 0)

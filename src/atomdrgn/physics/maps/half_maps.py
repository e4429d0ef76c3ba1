"""What two half-maps say of their own resolution.

Shell correlations with a mask are corrected for what the mask itself brings.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import InputError
from ..correlation import fourier_shell_correlation, resolution_at, shell_frequencies, shell_index

# of the correlation without a mask: phases are random from there on (as
# RELION's postprocess has it)
RANDOMISED_BELOW = 0.8
# shells behind that frequency in which the mask still mixes true phases with random ones
MARGIN = 2


@dataclass(frozen=True, eq=False)
class HalfMapCorrelation:
    """Shell correlations of two half-maps.

    Parameters
    ----------
    frequency : (shell,)
        1/A.
    unmasked, masked : (shell,)
        As they are, and both multiplied by the mask.
    randomised : (shell,)
        With the mask, after the phases beyond `randomised_from` were drawn at random: what the mask
        alone brings.
    corrected : (shell,)
        ``(masked - randomised) / (1 - randomised)`` beyond that frequency, `masked` before.
    randomised_from : float
        1/A.

    Examples
    --------
    >>> shells = dict.fromkeys(("unmasked", "masked", "corrected"), torch.tensor([1.0, 1.0, 0.0]))
    >>> found = HalfMapCorrelation(
    ...     torch.tensor([0.0, 0.1, 0.2]),
    ...     **shells,
    ...     randomised=torch.zeros(3),
    ...     randomised_from=0.2,
    ... )
    >>> round(found.resolution(0.5), 2)
    6.67
    """

    frequency: Float[Tensor, "shell"]
    unmasked: Float[Tensor, "shell"]
    masked: Float[Tensor, "shell"]
    randomised: Float[Tensor, "shell"]
    corrected: Float[Tensor, "shell"]
    randomised_from: float

    def resolution(self, threshold: float = 0.143) -> float:
        """Where the corrected correlation falls below the threshold, A."""
        return resolution_at(self.frequency, self.corrected, threshold)


def correlate_half_maps(
    first: Tensor,
    second: Tensor,
    *,
    voxel_size: float,
    mask: Tensor,
    randomised_from: float | None = None,
    seed: int = 0,
) -> HalfMapCorrelation:
    """Shell correlations of two half-maps, with a mask corrected by random phases.

    Parameters
    ----------
    first, second : (box, box, box)
        Of independent halves of the images.
    voxel_size : float
        A.
    mask : (box, box, box)
        0 to 1, with a soft edge.
    randomised_from : float, optional
        Frequency from which phases are drawn at random, 1/A; by default where the correlation
        without a mask falls below 0.8.
    seed : int
        For the random phases.

    Returns
    -------
    HalfMapCorrelation

    Raises
    ------
    InputError
        The shapes differ, or the mask is empty.

    References
    ----------
    Chen et al., Ultramicroscopy 135 (2013), 24-35: FSC_true = (FSC_t - FSC_n) / (1 - FSC_n).

    Examples
    --------
    >>> half = torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> correlate_half_maps(half, half, voxel_size=2.0, mask=torch.ones(8, 8, 8)).resolution()
    4.0
    """
    if not first.shape == second.shape == mask.shape:
        raise InputError(
            f"half-maps of {tuple(first.shape)} and {tuple(second.shape)} voxels and a mask of "
            f"{tuple(mask.shape)}: all three have to have one shape"
        )
    if not mask.any():
        raise InputError("the mask is empty: nothing is left to compare")
    frequency = shell_frequencies(first.shape[-1], voxel_size)
    unmasked = fourier_shell_correlation(first, second)
    masked = fourier_shell_correlation(first * mask, second * mask)
    coarse = (
        unmasked >= RANDOMISED_BELOW if randomised_from is None else frequency < randomised_from
    )
    below = torch.nonzero(~coarse[1:])[:, 0] + 1
    start = int(below[0]) if len(below) else len(unmasked) - 1
    generator = torch.Generator().manual_seed(seed)
    noise = [randomise_phases(half, start, generator=generator) * mask for half in (first, second)]
    randomised = fourier_shell_correlation(*noise)
    corrected = masked.clone()
    behind = torch.arange(len(masked)) >= start + MARGIN
    corrected[behind] = (masked - randomised)[behind] / (1 - randomised)[behind].clamp_min(1e-3)
    return HalfMapCorrelation(
        frequency, unmasked, masked, randomised, corrected, float(frequency[start])
    )


def randomise_phases(
    density: Float[Tensor, "box box box"], shell: int, *, generator: torch.Generator
) -> Float[Tensor, "box box box"]:
    """The map with its amplitudes, and with phases drawn at random from a shell on.

    Parameters
    ----------
    density : (box, box, box)
        A map.
    shell : int
        The first with random phases.
    generator : torch.Generator
        Of the phases.

    Returns
    -------
    (box, box, box)

    Examples
    --------
    >>> density = torch.ones(4, 4, 4)
    >>> same = randomise_phases(density, 5, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(same, density)
    True
    """
    coefficient = torch.fft.rfftn(density)
    # the phases of a real map of white noise are uniform and obey Friedel's law
    noise = torch.fft.rfftn(
        torch.randn(density.shape, generator=generator, dtype=density.dtype).to(density.device)
    )
    random = coefficient.abs() * torch.exp(1j * noise.angle())
    kept = shell_index(density.shape[-1], 3, device=density.device) < shell
    return torch.fft.irfftn(torch.where(kept, coefficient, random), s=density.shape)

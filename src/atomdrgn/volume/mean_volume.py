"""The mean volume that a volume field adds to, and the noise about it."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..backprojection.backprojection import FLOOR
from ..backprojection.filtering import regularisation
from ..backprojection.noise_spectra import measure_noise
from ..backprojection.slice_sum import empty_sum
from ..backprojection.weighted_images import Target, add_images
from ..particles.stack.stack import ParticleStack
from ..physics.correlation import fourier_shell_correlation
from ..reporting import Reporter


def mean_volume(
    stack: ParticleStack,
    *,
    seed: int = 0,
    counts: Bool[Tensor, "image"] | None = None,
    reporter: Reporter | None = None,
) -> tuple[Float[Tensor, "z y x"], Float[Tensor, "group shell"]]:
    """The regularised backprojection of all images (density per A^3), and their noise spectra.

    What two parts of the particles, taken by turns, have in common says how far each shell is to be
    trusted: the half-sets of the file play no part, so that this can be done for each of them
    alone.

    Parameters
    ----------
    stack : ParticleStack
    seed : int
        For the sample that noise is measured on.
    counts : (image,), optional
        Which images count; all by default.
    reporter : Reporter, optional
        Watches.
    """
    spectrum = measure_noise(stack, seed=seed, counts=counts)
    strength = torch.ones(len(stack)) if counts is None else counts.float()
    number = torch.unique(stack.particle, return_inverse=True)[1]
    sums = [empty_sum(stack.grid) for _ in range(2)]
    add_images(
        stack,
        [
            Target(total, strength * (number % 2 == part), stack.pose)
            for part, total in enumerate(sums)
        ],
        spectrum=spectrum,
        title="mean volume",
        reporter=reporter,
    )
    parts = [total.density(FLOOR * total.shell_weight()) for total in sums]
    whole = sums[0].plus(sums[1])
    return whole.density(
        regularisation(fourier_shell_correlation(*parts), whole.shell_weight())
    ), spectrum

"""Noise spectra of images without a model.

They are what is left of the images' power without the signal that half-sets share.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..devices import PROCESSOR, moved
from ..likelihood.noise import noise_groups
from ..parallel import in_order
from ..particles.stack.stack import ParticleStack
from ..physics.correlation import shell_index
from ..physics.fourier import half_plane_weight, transform
from .filtering import shell_mean
from .slice_sum import empty_sum
from .weighted_images import Target, add_images, batches_of

SAMPLE = 1000  # images of each group that are measured
FLOOR = 0.05  # of the images' power: no noise is smaller


def measure_noise(
    stack: ParticleStack,
    *,
    seed: int = 0,
    counts: Bool[Tensor, "image"] | None = None,
    device: torch.device = PROCESSOR,
) -> Float[Tensor, "group shell"]:
    """Noise power of a coefficient for each pair of optics group and tilt, and ring of frequencies.

    Power and CTF^2 are measured on a sample of images. Their signal is what two half-maps of that
    sample have in common, shell by shell: noise does not correlate between them.

    Parameters
    ----------
    stack : ParticleStack
    seed : int
        For the sample.
    counts : (image,), optional
        Which images count; all by default.
    device : torch.device
        Where images are transformed and added; the spectra are on the processor.

    Returns
    -------
    (group, shell)
        Scaled so that white noise of unit variance a pixel is 1; 1 for a group of which no image
        counts.
    """
    if counts is not None and not counts.all():
        some, group = stack[counts], noise_groups(stack.optics_group, stack.tilt)
        result = torch.ones(int(group.max()) + 1, stack.grid.box_size // 2 + 1)
        result[group[counts]] = measure_noise(some, seed=seed, device=device)[
            noise_groups(some.optics_group, some.tilt)
        ]
        return result
    group = noise_groups(stack.optics_group, stack.tilt)
    sample = _sample(group, seed)
    some, group = stack[sample], group[sample]
    power, seen, signal_seen = _powers(some, group, device)
    total = power / seen.clamp_min(1e-12)
    halves = [empty_sum(stack.grid, device) for _ in range(2)]
    add_images(
        some,
        [
            Target(half, (some.half == number + 1).float(), some.pose)
            for number, half in enumerate(halves)
        ],
        spectrum=total,
        title="measuring the noise",
    )
    signal = (
        shared_power([half.density(0.01 * half.shell_weight()) for half in halves])
        * stack.grid.pixel_size**2
        / (stack.grid.box_size**2)
    )
    return (
        (total - signal * signal_seen / seen.clamp_min(1e-12))
        .clamp_min(FLOOR * total)
        .clamp_min(1e-12)
    )


def shared_power(halves: list[Float[Tensor, "box box box"]]) -> Float[Tensor, "shell"]:
    """Mean product of coefficients of one half-map and the other in each shell, at least 0."""
    first, second = (torch.fft.rfftn(half) for half in halves)
    return shell_mean((first * second.conj()).real, halves[0].shape[-1]).clamp_min(0)


def _sample(group: Tensor, seed: int) -> Tensor:
    """Images of each group, chosen at random, in the order of the file."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randperm(len(group), generator=generator)
    kept = [
        mine[torch.argsort(place[mine])[:SAMPLE]]
        for mine in (torch.nonzero(group == g)[:, 0] for g in group.unique())
    ]
    return torch.cat(kept).sort().values


def _powers(stack: ParticleStack, group: Tensor, device: torch.device) -> Tensor:
    """Sums over images and ring, for each group.

    They are power, how much noise of unit power it would hold, and how much signal.
    """
    n_shells = stack.grid.box_size // 2 + 1
    ring = shell_index(stack.grid.box_size, 2, device).clamp_max(n_shells - 1)
    multiplicity = half_plane_weight(stack.grid, device)
    kx, ky = stack.grid.frequencies(device)

    def measure(index: Tensor) -> tuple[Tensor, Tensor]:
        some = stack[index]
        ctf, premultiplied, image = moved((some.ctf, some.premultiplied, some.read()), device)
        oscillation, envelope = ctf.oscillation(kx, ky), ctf.envelope(kx, ky)
        noise = torch.where(premultiplied[:, None, None], oscillation**2, 1.0)
        power = (transform(image) / stack.grid.box_size).abs() ** 2
        sums = (
            torch.stack([power, noise.expand_as(power), noise * (oscillation * envelope) ** 2])
            * multiplicity
        )
        of_rings = sums.new_zeros(3, len(index), n_shells)
        return index, of_rings.index_add_(2, ring.flatten(), sums.flatten(2)).cpu()

    result = torch.zeros(3, int(group.max()) + 1, n_shells)
    for index, sums in in_order(measure, batches_of(stack, torch.arange(len(stack)))):
        result.index_add_(1, group[index], sums)
    return result

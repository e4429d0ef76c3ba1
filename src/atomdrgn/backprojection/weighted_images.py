"""Images as backprojection takes them.

They are coefficients times the CTF over the noise, and CTF^2 over the noise.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from ..devices import moved
from ..likelihood.noise import noise_groups
from ..parallel import in_order
from ..particles.stack.stack import ParticleStack
from ..physics.correlation import shell_index
from ..physics.fourier import transform
from ..physics.pose import Pose
from ..reporting import Reporter
from .slice_sum import PADDING, SliceSum, padded_grid

BATCH_BYTES = 2**24  # of the coefficients of a batch


@dataclass(frozen=True, eq=False)
class Target:
    """A sum that images are added to.

    Parameters
    ----------
    total : SliceSum
    strength : (image,)
        Weight of each image of the stack; those of 0 are left out.
    pose : Pose (image,)
        Of each image of the stack, as this sum is to see the molecule.
    """

    total: SliceSum
    strength: Float[Tensor, "image"]
    pose: Pose


def batches_of(stack: ParticleStack, used: Int[Tensor, "some"]) -> Iterator[Int[Tensor, "batch"]]:
    """Numbers of the images in use, in the order of the file, as many as are held at a time."""
    size = max(1, BATCH_BYTES // (8 * padded_grid(stack.grid).box_size ** 2))
    yield from used.split(size)


def add_images(
    stack: ParticleStack,
    targets: Iterable[Target],
    *,
    spectrum: Float[Tensor, "group shell"],
    title: str = "backprojecting",
    reporter: Reporter | None = None,
) -> None:
    """Read the images once, in order, and add each to every target that wants it.

    They are transformed and added on the device of the targets' sums.

    Parameters
    ----------
    stack : ParticleStack
    targets : iterable of Target
    spectrum : (group, shell)
        Noise power of a coefficient for each pair of optics group and tilt.
    title : str
        What the reporter shows.
    reporter : Reporter, optional
        Watches.
    """
    targets, reporter = list(targets), reporter or Reporter()
    device = targets[0].total.sums.device
    used = torch.nonzero(torch.stack([target.strength for target in targets]).sum(0) > 0)[:, 0]
    group = noise_groups(stack.optics_group, stack.tilt)
    # a frequency between two rings of the box counts to the nearer one
    fine = padded_grid(stack.grid).box_size
    ring = (shell_index(fine, 2).float() / PADDING).round().long().clamp_max(spectrum.shape[1] - 1)

    def prepare(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return index, *weighted(stack[index], spectrum[group[index]][:, ring].to(device))

    reporter.start(title, len(used))
    for index, value, weight in in_order(prepare, batches_of(stack, used)):
        for target in targets:
            of_target = moved((target.pose[index], target.strength[index]), device)
            target.total.add(value, weight, *of_target)
        reporter.advance(len(index))
    reporter.finish()


def weighted(stack: ParticleStack, noise: Float[Tensor, "image y half"]) -> tuple[Tensor, Tensor]:
    """What padded images say of the molecule's transform times its weight, and the weight.

    An image is C F + n, or C (C F + n) where it was premultiplied: the weighted sum of least
    squares is C X / noise in the first case and, but for the envelope, the image itself over the
    noise in the second; the weight is C^2 / noise in both.

    Parameters
    ----------
    stack : ParticleStack
        Of these images.
    noise : (image, y, half)
        Power of a coefficient; on its device all is done.

    Returns
    -------
    value : (image, y, half) complex
    weight : (image, y, half)
    """
    grid, box = padded_grid(stack.grid), stack.grid.box_size
    before = grid.box_size // 2 - box // 2
    ctf, premultiplied, image = moved((stack.ctf, stack.premultiplied, stack.read()), noise.device)
    coefficient = transform(pad(image, (before, grid.box_size - box - before) * 2))
    kx, ky = grid.frequencies(noise.device)
    oscillation, envelope = ctf.oscillation(kx, ky), ctf.envelope(kx, ky)
    factor = torch.where(premultiplied[:, None, None], envelope, oscillation * envelope)
    return coefficient * (factor / noise), (oscillation * envelope) ** 2 / noise

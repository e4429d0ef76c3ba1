"""Images as the closed form sees them: whitened, centred coefficients up to a resolution."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..inference.images.fourier_images import FourierImages
from ..likelihood.noise import Noise
from ..parallel import in_order
from ..physics.disc import FourierDisc

AT_ONCE = 256  # images of a batch
MEMORY = 2**31  # bytes of coefficients that are kept
BYTES = 6  # of a coefficient that is kept: two numbers and a transfer, in half precision


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Some images, for the loops.

    Parameters
    ----------
    image : (image,)
        Their numbers.
    rotation : (image, 3, 3) float32
        Molecule to microscope.
    transfer : (image, frequency) float32
        What a coefficient of the molecule is multiplied by.
    data : (image, frequency, 2) float32
        Whitened coefficients about the molecule's origin.
    """

    image: Int[np.ndarray, "image"]
    rotation: Float[np.ndarray, "image 3 3"]
    transfer: Float[np.ndarray, "image frequency"]
    data: Float[np.ndarray, "image frequency 2"]


@dataclass(frozen=True, eq=False)
class WhitenedImages:
    """All images of a set; their coefficients are kept where there is memory, else made each time.

    Parameters
    ----------
    images : FourierImages
        Screened.
    noise : Noise
    disc : FourierDisc
        The frequencies in use.
    kept_disc : FourierDisc
        Those that are kept.
    kept : (transfer, data) or None
    particle : (image,)
        The particle that each image shows, from 0.
    """

    images: FourierImages
    noise: Noise
    disc: FourierDisc
    kept_disc: FourierDisc
    kept: tuple[Tensor, Tensor] | None
    particle: Int[Tensor, "image"]

    def coarser(self, resolution: float) -> "WhitenedImages":
        """The same images to a coarser resolution."""
        return replace(self, disc=self.kept_disc.coarser(resolution))

    @property
    def n_particles(self) -> int:
        """Particles of all images."""
        return int(self.particle.max()) + 1

    @property
    def seen(self) -> Bool[Tensor, "particle"]:
        """Which particles have an image that counts."""
        seen = torch.zeros(self.n_particles, dtype=torch.bool)
        seen[self.particle[~self.images.left_out]] = True
        return seen

    def batches(self, particle: Int[Tensor, "some"]) -> list[Int[Tensor, "image"]]:
        """Images of some particles in batches, those of a particle never in two of them."""
        order = torch.argsort(self.particle, stable=True)
        order = order[torch.isin(self.particle[order], particle)]
        number = self.particle[order]
        count = torch.unique_consecutive(number, return_counts=True)[1]
        batch = torch.repeat_interleave((count.cumsum(0) - 1) // AT_ONCE, count)
        return list(order.split(torch.unique_consecutive(batch, return_counts=True)[1].tolist()))

    def batch(self, image: Int[Tensor, "image"]) -> ImageBatch:
        """Coefficients of some images."""
        if self.kept is None:
            transfer, data = _whitened(self.images, self.noise, self.disc, image)
        elif len(self.disc) == len(self.kept_disc):
            transfer, data = (each[image].float() for each in self.kept)
        else:
            index = self._index
            transfer, data = (each[image][:, index].float() for each in self.kept)
        return ImageBatch(
            image.numpy(),
            self.images.stack.pose.rotation[image].float().numpy(),
            transfer.contiguous().numpy(),
            data.contiguous().numpy(),
        )

    @property
    def _index(self) -> Int[Tensor, "frequency"]:
        """Of the frequencies in use among those that are kept."""
        kept = torch.hypot(self.kept_disc.x_index.float(), self.kept_disc.y_index.float())
        return torch.nonzero(kept <= self.kept_disc.grid.extent / self.disc.resolution)[:, 0]


def whiten_images(
    images: FourierImages,
    spectrum: Float[Tensor, "group shell"],
    disc: FourierDisc,
    *,
    memory: int = MEMORY,
) -> WhitenedImages:
    """Whitened coefficients of all images.

    Parameters
    ----------
    images : FourierImages
        Screened.
    spectrum : (group, shell)
        Noise power for each pair of optics group and tilt, from frequency 0.
    disc : FourierDisc
        The finest that will be asked for.
    memory : int
        Bytes that may be kept.
    """
    stack = images.stack
    noise = Noise(spectrum[:, 1:], images.group, stack.premultiplied, images.left_out)
    kept = None
    if BYTES * len(stack) * len(disc) <= memory:
        kept = (
            torch.empty(len(stack), len(disc), dtype=torch.float16),
            torch.empty(len(stack), len(disc), 2, dtype=torch.float16),
        )
        batches = torch.arange(len(stack)).split(AT_ONCE)
        made = in_order(lambda some: _whitened(images, noise, disc, some), batches)
        for some, (transfer, data) in zip(batches, made, strict=True):
            kept[0][some], kept[1][some] = transfer.half(), data.half()
    particle = torch.unique(stack.particle, return_inverse=True)[1]
    return WhitenedImages(images, noise, disc, disc, kept, particle)


def _whitened(
    images: FourierImages, noise: Noise, disc: FourierDisc, index: Int[Tensor, "image"]
) -> tuple[Tensor, Tensor]:
    some = images.stack[index]
    transfer, data = noise.whiten(images.coefficients(index, disc), some.ctf, index, disc=disc)
    turn = 2 * torch.pi * (some.pose.shift @ torch.stack([disc.kx, disc.ky]))
    centred = torch.complex(data[:, 0], data[:, 1]) * torch.polar(torch.ones_like(turn), turn)
    return transfer, torch.view_as_real(centred)

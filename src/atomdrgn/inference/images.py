"""The images of a fit: Fourier coefficients up to the resolution in use, kept in memory or read again each time."""

import logging
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..likelihood.noise import noise_groups
from ..parallel import in_order
from ..particles.stack import ParticleStack
from ..physics.disc import FourierDisc, make_disc

logger = logging.getLogger(__name__)
READ_AT_ONCE = 128                # images
BYTES_A_COEFFICIENT = 4           # two numbers of half precision


class FourierImages:
    """Fourier coefficients of a particle set.

    The coarsest coefficients of each image, as many as there is memory for, are kept in half precision: coarse passes read no
    file. What is finer is read again in each pass, in order.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    resolution : float
        The finest that will be asked for, A.
    """

    def __init__(self, stack: ParticleStack, resolution: float):
        self.stack = stack
        self.disc = make_disc(stack.grid, resolution)
        self.group = noise_groups(stack.optics_group, stack.tilt)
        self.kept = torch.empty(0, 2, 0, dtype=torch.float16)
        self.scale = torch.empty(0)
        self.place = torch.full((len(stack),), -1)      # of each image in `kept`

    def __len__(self) -> int:
        return len(self.stack)

    def load(self, index: Int[Tensor, "some"] | None = None, memory: float = math.inf, progress=iter) -> None:
        """Read images once and keep the coarsest coefficients of each.

        Parameters
        ----------
        index : (some,), optional
            Which images, rising; by default all.
        memory : float
            Bytes that may be kept.
        progress : callable
            Wraps the iteration over batches.
        """
        index = torch.arange(len(self)) if index is None else index
        count = int(min(len(self.disc), memory / (BYTES_A_COEFFICIENT * max(1, len(index)))))
        if count < len(self.disc):
            logger.info("%d of %d coefficients an image are kept in memory", count, len(self.disc))
        by_rank = torch.argsort(self.disc.rank)[:count]
        self.kept, self.scale = torch.empty(len(index), 2, count, dtype=torch.float16), torch.empty(len(index))
        self.place[index] = torch.arange(len(index))

        def read(batch):
            coefficient = self.disc.parts(self.stack.read(batch))[..., by_rank]
            # in units of their own r.m.s.: half precision spans nine decades about one
            scale = coefficient.square().mean((1, 2)).sqrt().clamp_min(1e-30)
            return (coefficient / scale[:, None, None]).half(), scale

        batches = index.split(READ_AT_ONCE) if count else ()
        start = 0
        for coefficient, scale in in_order(read, progress(batches)):
            end = start + len(scale)
            self.kept[start:end], self.scale[start:end] = coefficient, scale
            start = end

    def part(self, index: Int[Tensor, "some"]) -> "FourierImages":
        """Some of the images; what is kept of them is shared."""
        part = FourierImages(self.stack[index], self.disc.resolution)
        part.kept, part.scale, part.place = self.kept, self.scale, self.place[index]
        return part

    def coefficients(self, index: Int[Tensor, "batch"], disc: FourierDisc) -> Float[Tensor, "batch 2 frequency"]:
        """Of some images, on this disc or a coarser one."""
        if len(disc) > self.kept.shape[2]:
            return disc.parts(self.stack.read(index))
        place = self.place[index]
        return self.kept[place][..., disc.rank].float().mul_(self.scale[place, None, None])

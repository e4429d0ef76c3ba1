"""The images of a fit: Fourier coefficients up to the resolution in use, kept in memory or read again each time."""

import logging

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..likelihood.noise import noise_groups
from ..particles.stack import ParticleStack
from ..physics.disc import FourierDisc, make_disc

logger = logging.getLogger(__name__)
READ_AT_ONCE = 512                # images
LARGEST_IN_MEMORY = 4 * 2**30     # bytes of coefficients that are kept


class FourierImages:
    """Fourier coefficients of a particle set, ordered from coarse to fine.

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
        self.kept: Tensor | None = None

    def __len__(self) -> int:
        return len(self.stack)

    def load(self, progress=iter) -> None:
        """Read all images once and keep their coefficients, where they fit into memory.

        Parameters
        ----------
        progress : callable
            Wraps the iteration over batches.
        """
        if 8 * len(self) * len(self.disc) > LARGEST_IN_MEMORY:
            logger.info("%d images of %d coefficients are read from disk in every pass", len(self), len(self.disc))
            return
        kept = torch.empty(len(self), 2, len(self.disc))
        for start in progress(range(0, len(self), READ_AT_ONCE)):
            kept[start:start + READ_AT_ONCE] = self._read(torch.arange(start, min(start + READ_AT_ONCE, len(self))))
        self.kept = kept

    def _read(self, index):
        return self.disc.parts(self.stack.read(index))

    def coefficients(self, index: Int[Tensor, "batch"], disc: FourierDisc) -> Float[Tensor, "batch 2 frequency"]:
        """Of some images, on this disc or a coarser one."""
        whole = self._read(index) if self.kept is None else self.kept[index]
        return whole[..., :len(disc)]

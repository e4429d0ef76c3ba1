"""The images of a fit: Fourier coefficients up to the resolution in use, kept in memory or read again each time."""

import logging
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..likelihood.noise import noise_groups
from ..parallel import Portions, in_order
from ..particles.images import list_rows
from ..particles.stack import ParticleStack
from ..physics.disc import FourierDisc, make_disc
from .screening import Figures, figures_of, find_ramps, ramp, replaced, stand_out

logger = logging.getLogger(__name__)
READ_AT_ONCE = 128                # images
BYTES_A_COEFFICIENT = 4           # two numbers of half precision


class FourierImages:
    """Fourier coefficients of a particle set.

    The coarsest coefficients of each image, as many as there is memory for, are kept in half precision: coarse passes read no
    file. What is finer is read again in each pass, in order.

    :meth:`load` also screens the images. One that stands out from the others is left out: its coefficients are zero, and whoever
    compares it with something leaves it out too (:class:`~atomdrgn.likelihood.noise.Noise`). A ramp of brightness that stands
    out is taken off.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    resolution : float
        The finest that will be asked for, A.

    Attributes
    ----------
    left_out : (image,) bool
        Which images stand out from the others.
    warnings : tuple of str
        What was found when images were screened.
    """

    def __init__(self, stack: ParticleStack, resolution: float):
        self.stack = stack
        self.disc = make_disc(stack.grid, resolution)
        self.group = noise_groups(stack.optics_group, stack.tilt)
        self.kept = torch.empty(0, 2, 0, dtype=torch.float16)
        self.scale = torch.empty(0)
        self.place = torch.full((len(stack),), -1)      # of each image in `kept`
        self.left_out = torch.zeros(len(stack), dtype=torch.bool)
        self.slope = torch.zeros(len(stack), 2)         # of the ramp that is taken off each image
        self.warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stack)

    def load(self, index: Int[Tensor, "some"] | None = None, memory: float = math.inf, progress=iter,
             portions: Portions | None = None) -> None:
        """Read images once, keep the coarsest coefficients of each, and screen them.

        Parameters
        ----------
        index : (some,), optional
            Which images, rising; by default all.
        memory : float
            Bytes that may be kept.
        progress : callable
            Wraps the iteration over batches.
        portions : Portions, optional
            Of the images, which several processes read together; by default this one is alone.

        Raises
        ------
        InputError
            Pixels so large or small that no sum of their squares can be made.
        """
        index = torch.arange(len(self)) if index is None else index
        portions = portions or Portions.one(len(self))
        count = int(min(len(self.disc), memory / (BYTES_A_COEFFICIENT * max(1, len(index)))))
        if count < len(self.disc):
            logger.info("%d of %d coefficients an image are kept in memory", count, len(self.disc))
        self.kept, self.scale = torch.empty(len(index), 2, count, dtype=torch.float16), torch.empty(len(index))
        self.place[index] = torch.arange(len(index))
        self.slope, self.left_out = torch.zeros_like(self.slope), torch.zeros_like(self.left_out)
        figures = self._figures_of_all(index, portions, progress)
        screened = torch.nonzero(figures.power)[:, 0]
        self.slope[screened] = find_ramps(figures[screened], self.group[screened], self.stack.grid.box_size).float()
        if self.slope.any():
            leaning = torch.nonzero(self.slope.any(1))[:, 0]
            again = self._figures_of_all(index[torch.isin(index, leaning)], portions)
            figures = replaced(figures, leaning, again[leaning])
        self.left_out[screened] = stand_out(figures[screened], group=self.group[screened], tilt=self.stack.tilt[screened])
        self.warnings = self._findings()

    def _figures_of_all(self, index, portions, progress=iter) -> Figures:
        """Of images that each process reads some of, keeping the coarsest coefficients; zero of those that none reads."""
        count = self.kept.shape[2]
        by_rank = torch.argsort(self.disc.rank)[:count]

        def read(batch):
            images = self._read(batch)
            figures = figures_of(images)
            if not count:
                return figures, None, None
            coefficient = self.disc.parts(images)[..., by_rank]
            # in units of their own r.m.s.: half precision spans nine decades about one
            scale = coefficient.square().mean((1, 2)).sqrt().clamp_min(1e-30)
            return figures, (coefficient / scale[:, None, None]).half(), scale

        batches = portions.batches(index, READ_AT_ONCE)
        found = Figures(*torch.zeros(2, len(self), dtype=torch.float64), torch.zeros(len(self), 2, dtype=torch.float64))
        for batch, (figures, coefficient, scale) in zip(batches, in_order(read, progress(batches)), strict=True):
            found.power[batch], found.extreme[batch], found.slope[batch] = figures.power, figures.extreme, figures.slope
            if count:
                self.kept[self.place[batch]], self.scale[self.place[batch]] = coefficient, scale
        total = portions.processes.total
        return Figures(total(found.power), total(found.extreme), total(found.slope))

    def _read(self, index) -> Float[Tensor, "batch box box"]:
        """Pixels of some images, without their ramps."""
        images, slope = self.stack.read(index), self.slope[index]
        return images - ramp(slope, self.stack.grid.box_size) if slope.any() else images

    def _findings(self) -> tuple[str, ...]:
        """What screening has found, in sentences."""
        name, found = self.stack.source.name, []
        for which, what in ((self.left_out, "nothing like the others in power or in single pixels, and given no weight"),
                            (self.slope.any(1) & ~self.left_out, "brighter on one side, and a ramp of brightness was taken off")):
            number = int(which.sum())
            if number:
                rows = "" if number == len(self) else f" ({list_rows(self.stack.row[which])})"
                found.append(f"{name}: {number:,} of {len(self):,} images{rows} {'are' if number > 1 else 'is'} {what}")
        return tuple(found)

    def part(self, index: Int[Tensor, "some"]) -> "FourierImages":
        """Some of the images; what is kept of them is shared."""
        part = FourierImages(self.stack[index], self.disc.resolution)
        part.kept, part.scale, part.place = self.kept, self.scale, self.place[index]
        part.left_out, part.slope = self.left_out[index], self.slope[index]
        return part

    def coefficients(self, index: Int[Tensor, "batch"], disc: FourierDisc) -> Float[Tensor, "batch 2 frequency"]:
        """Of some images, on this disc or a coarser one; zero of images that are left out."""
        place = self.place[index]
        if len(disc) > self.kept.shape[2] or (place < 0).any():
            found = disc.parts(self._read(index))
        else:
            found = self.kept[place][..., disc.rank].float().mul_(self.scale[place, None, None])
        out = self.left_out[index]
        if out.any():
            found[out] = 0.0
        return found

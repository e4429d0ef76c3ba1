"""The images of a fit.

They are Fourier coefficients up to the resolution in use, kept in memory or read each time.
"""

import copy
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...devices import moved
from ...likelihood.noise import noise_groups
from ...parallel import Portions, in_order
from ...particles.stack.corrections import Corrections
from ...particles.stack.image_files import list_rows
from ...particles.stack.stack import ParticleStack
from ...physics.disc import FourierDisc, make_disc
from .outlying_images import (
    Figures,
    figures_of,
    find_backgrounds,
    find_faulty_pixels,
    find_scales,
    share_of_mean,
    stand_out,
)

logger = logging.getLogger(__name__)
READ_AT_ONCE = 128  # images
BYTES_A_COEFFICIENT = 4  # two numbers of half precision


class FourierImages:
    """Fourier coefficients of a particle set.

    The coarsest coefficients of each image, as many as there is memory for, are kept in half
    precision: coarse passes read no file. What is finer is read again in each pass, in order.

    :meth:`load` also screens the images. One that stands out from the others is left out: its
    coefficients are zero, and whoever compares it with something leaves it out too
    (:class:`~atomdrgn.likelihood.noise.Noise`). What images can be freed of is corrected whenever
    they are read from `stack`.

    Parameters
    ----------
    stack : ParticleStack
        The images.
    resolution : float
        The finest that will be asked for, A.

    Attributes
    ----------
    stack : ParticleStack
        The images, with their corrections once they are loaded.
    spoilt : (image,) bool
        Which images stand out from the others.
    left_out : (image,) bool
        Which images have no weight: those, and what :meth:`leaving_out` leaves out.
    warnings : tuple of str
        What was found when images were screened.
    """

    def __init__(self, stack: ParticleStack, resolution: float) -> None:
        self.stack = stack
        self.disc = make_disc(stack.grid, resolution)
        self.group = noise_groups(stack.optics_group, stack.tilt)
        self.kept = torch.empty(0, 2, 0, dtype=torch.float16)
        self.scale = torch.empty(0)
        self.place = torch.full((len(stack),), -1)  # of each image in `kept`
        self.left_out = self.spoilt = torch.zeros(len(stack), dtype=torch.bool)
        self.warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stack)

    def load(
        self,
        index: Int[Tensor, "some"] | None = None,
        memory: float = math.inf,
        progress: Callable[[Sequence[Tensor]], Iterable[Tensor]] = iter,
        portions: Portions | None = None,
    ) -> None:
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
        self.kept, self.scale = (
            torch.empty(len(index), 2, count, dtype=torch.float16),
            torch.empty(len(index)),
        )
        self.place[index] = torch.arange(len(index))
        self.left_out = torch.zeros_like(self.left_out)
        self._correct(**vars(Corrections.none(len(self))))
        figures, mean = self._figures_of_all(index, portions, progress)
        screened = torch.nonzero(figures.power)[:, 0]
        compared = {"group": self.group[screened], "tilt": self.stack.tilt[screened]}
        faulty = find_faulty_pixels(
            mean / max(1, len(screened)), self.stack.pose.rotation[screened]
        )
        if faulty:
            self._correct(faulty=faulty)
            figures, _ = self._figures_of_all(index, portions)
        for name, find in (
            (
                "background",
                lambda found: find_backgrounds(found, compared["group"], self.stack.grid.box_size),
            ),
            ("scale", lambda found: find_scales(found, **compared)),
        ):
            before = getattr(self.stack.corrections, name)
            after = before.index_copy(0, screened, find(figures[screened]).float())
            changed = torch.nonzero((after != before).reshape(len(self), -1).any(1))[:, 0]
            if len(changed):
                self._correct(**{name: after})
                again, _ = self._figures_of_all(index[torch.isin(index, changed)], portions)
                figures.put(changed, again[changed])
        self.left_out[screened] = stand_out(figures[screened], **compared)
        self.spoilt = self.left_out
        self.warnings = self._findings()

    def _correct(self, **changes: Any) -> None:
        """Change some of the stack's corrections."""
        self.stack = replace(
            self.stack,
            corrections=replace(self.stack.corrections or Corrections.none(len(self)), **changes),
        )

    def _figures_of_all(
        self,
        index: Int[Tensor, "some"],
        portions: Portions,
        progress: Callable[[Sequence[Tensor]], Iterable[Tensor]] = iter,
    ) -> tuple[Figures, Float[Tensor, "box box"]]:
        """Figures of all images, of which each process reads some.

        It keeps the coarsest coefficients; zero of those that none reads.
        """
        count, found = self.kept.shape[2], Figures.none(len(self))
        by_rank = torch.argsort(self.disc.rank)[:count]

        def read(
            batch: Int[Tensor, "batch"],
        ) -> tuple[Figures, Tensor, Tensor | None, Tensor | None]:
            images = self.stack.read(batch)
            figures = figures_of(images)
            share = share_of_mean(images, figures.rms)
            if not count:
                return figures, share, None, None
            coefficient = self.disc.parts(images)[..., by_rank]
            # in units of their own r.m.s.: half precision spans nine decades about one
            scale = coefficient.square().mean((1, 2)).sqrt().clamp_min(1e-30)
            return figures, share, (coefficient / scale[:, None, None]).half(), scale

        def shares(batches: Sequence[Tensor]) -> Iterator[tuple[int, tuple[Tensor]]]:
            for batch, (figures, share, coefficient, scale) in zip(
                batches, in_order(read, progress(batches)), strict=True
            ):
                found.put(batch, figures)
                if coefficient is not None and scale is not None:
                    self.kept[self.place[batch]], self.scale[self.place[batch]] = coefficient, scale
                yield portions.of(batch), (share,)

        box = self.stack.grid.box_size
        (total,) = portions.sum(
            shares(portions.batches(index, READ_AT_ONCE)),
            [torch.zeros(box, box, dtype=torch.float64)],
        )
        return Figures(
            *(portions.processes.total(getattr(found, each.name)) for each in fields(found))
        ), total

    def _findings(self) -> tuple[str, ...]:
        """What screening has found, in sentences."""
        name, corrections, found = self.stack.source.name, self.stack.corrections, []
        assert corrections is not None  # made as images are screened
        counts = ~self.left_out
        if corrections.faulty:
            number = len(corrections.faulty)
            pixels = f"{number:,} pixels are" if number > 1 else "a pixel is"
            found.append(
                f"{name}: {pixels} nothing like those around in all images alike, and filled in "
                "from these"
            )
        for which, what in (
            (
                self.left_out,
                "nothing like the others in power or in single pixels, and given no weight",
            ),
            (
                (corrections.scale != 1) & counts,
                "of another scale than the others, and brought to theirs",
            ),
            (
                corrections.background.any(1) & counts,
                "brighter on one side or in the middle, and that background was taken off",
            ),
        ):
            number = int(which.sum())
            if number:
                rows = (
                    "" if number == len(self) else f" ({list_rows(self.stack.row[which].numpy())})"
                )
                found.append(
                    f"{name}: {number:,} of {len(self):,} images{rows} "
                    f"{'are' if number > 1 else 'is'} {what}"
                )
        return tuple(found)

    def part(self, index: Int[Tensor, "some"]) -> "FourierImages":
        """Some of the images; what is kept of them is shared."""
        part = FourierImages(self.stack[index], self.disc.resolution)
        part.kept, part.scale, part.place = self.kept, self.scale, self.place[index]
        part.left_out, part.spoilt = self.left_out[index], self.spoilt[index]
        return part

    def leaving_out(self, which: Bool[Tensor, "image"]) -> "FourierImages":
        """The same images, of which these have no weight, and spoilt ones as before.

        What is kept of them is shared.
        """
        others = copy.copy(self)
        others.left_out = self.spoilt | which
        return others

    def coefficients(
        self, index: Int[Tensor, "batch"], disc: FourierDisc
    ) -> Float[Tensor, "batch 2 frequency"]:
        """Of some images, on this disc or a coarser one; zero of images that are left out.

        They are on the device of the disc.
        """
        place = self.place[index]
        if len(disc) > self.kept.shape[2] or (place < 0).any():
            found = disc.parts(self.stack.read(index).to(disc.rank.device))
        else:
            kept, scale = moved((self.kept[place], self.scale[place]), disc.rank.device)
            found = kept[..., disc.rank].float().mul_(scale[:, None, None])
        out = self.left_out[index]
        if out.any():
            found[out] = 0.0
        return found

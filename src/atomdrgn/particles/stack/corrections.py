"""What is corrected in images as they are read.

It is pixels that are faulty in all, brightness that varies smoothly, and the scale.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...physics.record import Record

# of a background: x, y, x y, x^2 - 1/3, y^2 - 1/3
TERMS = 5
# of each term over the image
MEAN_SQUARE = torch.tensor([1 / 3, 1 / 3, 1 / 9, 4 / 45, 4 / 45], dtype=torch.float64)


@dataclass(frozen=True)
class Corrections(Record):
    """Corrections of some images, made in the order of the parameters.

    Parameters
    ----------
    background : (image, term)
        Coefficients of the surface that is taken off (see :func:`background_terms`).
    scale : (image,)
        What pixels are multiplied by.
    faulty : tuple of int
        Numbers of the pixels that are faulty in all images, row by row; filled in first, from the
        sound ones about them.
    """

    background: Float[Tensor, "image term"]
    scale: Float[Tensor, "image"]
    faulty: tuple[int, ...] = ()

    @classmethod
    def none(cls, images: int) -> "Corrections":
        """That leave so many images as they are."""
        return cls(torch.zeros(images, TERMS), torch.ones(images))

    def apply(self, pixels: Float[Tensor, "image box box"]) -> Float[Tensor, "image box box"]:
        """The images corrected; where there is nothing to correct, the same pixels."""
        box = pixels.shape[-1]
        if self.faulty:
            pixels = (
                pixels.flatten(1)
                .index_copy(1, torch.tensor(self.faulty), filling(pixels, self.faulty))
                .view_as(pixels)
            )
        if self.background.any():
            pixels = pixels - (self.background.float() @ background_terms(box)).unflatten(
                1, (box, box)
            )
        if (self.scale != 1).any():
            pixels = pixels * self.scale[:, None, None]
        return pixels


@lru_cache(maxsize=4)
def background_terms(box: int) -> Float[Tensor, "term pixel"]:
    """The terms of a background at each pixel.

    They are x, y, x y, x^2 - 1/3 and y^2 - 1/3, with x and y from -1 at one edge to 1 at the other.
    """
    line = torch.linspace(-1, 1, box)
    y, x = (each.flatten() for each in torch.meshgrid(line, line, indexing="ij"))
    return torch.stack([x, y, x * y, x.square() - 1 / 3, y.square() - 1 / 3])


def filling(
    pixels: Float[Tensor, "image box box"], faulty: tuple[int, ...]
) -> Float[Tensor, "image faulty"]:
    """What faulty pixels would have been: the mean of the nearest sound ones."""
    place, weight = _nearest_sound(pixels.shape[-1], faulty)
    return (pixels.flatten(1)[:, place] * weight).sum(-1)


@lru_cache(maxsize=4)
def _nearest_sound(
    box: int, faulty: tuple[int, ...]
) -> tuple[Int[Tensor, "faulty near"], Float[Tensor, "faulty near"]]:
    """Numbers and weights of the sound pixels about each faulty one.

    They are in the smallest square about it that has any.
    """
    sound = torch.ones(box, box, dtype=torch.bool)
    sound.view(-1)[list(faulty)] = False
    number = torch.arange(box * box).view(box, box)

    def about(place: int) -> Int[Tensor, "near"]:
        y, x = divmod(place, box)
        for reach in range(1, box):
            square = (
                slice(max(0, y - reach), y + reach + 1),
                slice(max(0, x - reach), x + reach + 1),
            )
            if sound[square].any():
                return number[square][sound[square]]
        return number[y, x][None]  # nothing is sound: as it is

    near = [about(place) for place in faulty]
    weight = [torch.full((len(each),), 1 / len(each)) for each in near]
    return pad_sequence(near, batch_first=True), pad_sequence(weight, batch_first=True)

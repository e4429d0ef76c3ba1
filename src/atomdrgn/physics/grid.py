"""The pixels of an image, and the frequencies of its Fourier transform."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class ImageGrid:
    """A square image: its origin is pixel ``box_size // 2`` in y and x.

    Parameters
    ----------
    box_size : int
        Pixels along an edge.
    pixel_size : float
        Edge of a pixel, A.

    Raises
    ------
    InputError
        The box is below 2, or the pixel is not positive.

    Examples
    --------
    >>> grid = ImageGrid(64, 1.5)
    >>> grid.extent, grid.nyquist, grid.cropped(48).pixel_size
    (96.0, 3.0, 2.0)
    """

    box_size: int
    pixel_size: float

    def __post_init__(self) -> None:
        if self.box_size < 2 or self.pixel_size <= 0:
            raise InputError(
                f"an image of {self.box_size} pixels of {self.pixel_size} A: the box has to be at "
                "least 2 and the pixel positive"
            )

    @property
    def extent(self) -> float:
        """Edge of the box, A."""
        return self.box_size * self.pixel_size

    @property
    def nyquist(self) -> float:
        """The finest resolution that the pixels hold, A: two pixels."""
        return 2 * self.pixel_size

    def coordinates(self, device: torch.device | str | None = None) -> Float[Tensor, "box"]:
        """Position of each column (or row), A; the origin is at ``box_size // 2``."""
        return (
            torch.arange(self.box_size, device=device, dtype=torch.float32) - self.box_size // 2
        ) * self.pixel_size

    def frequencies(
        self, device: torch.device | str | None = None
    ) -> tuple[Float[Tensor, "box half"], Float[Tensor, "box half"]]:
        """Frequencies (kx, ky) of the half-plane in the order of ``torch.fft.rfft2``, 1/A."""
        ky = torch.fft.fftfreq(self.box_size, self.pixel_size, device=device)
        kx = torch.fft.rfftfreq(self.box_size, self.pixel_size, device=device)
        ky, kx = torch.meshgrid(ky, kx, indexing="ij")
        return kx, ky

    def cropped(self, box_size: int) -> "ImageGrid":
        """The grid after cropping in Fourier space: the same extent, fewer and larger pixels.

        Raises
        ------
        InputError
            The box would be larger.
        """
        if box_size > self.box_size:
            raise InputError(
                f"a box of {self.box_size} pixels cannot be cropped to {box_size}: choose at most "
                f"{self.box_size}"
            )
        return ImageGrid(box_size, self.extent / box_size)

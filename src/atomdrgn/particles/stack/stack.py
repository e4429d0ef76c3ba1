"""A set of particle images in our conventions."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation
from torch import Tensor

from ...errors import FileFormatError
from ...io.notebook_display import data_frame, facts_as_html, facts_in_line
from ...physics.ctf import CTF
from ...physics.grid import ImageGrid
from ...physics.pose import Pose
from ...physics.record import Record
from .corrections import Corrections
from .image_files import ImageFiles
from .resampling import resample

if TYPE_CHECKING:
    import pandas

# of pixels, and of their range: sums of their squares stay within single precision
LARGEST, SMALLEST = 1e15, 1e-15


@dataclass(frozen=True, repr=False)
class ParticleStack(Record):
    """Images with what is known of each; images of a tilt series share a particle.

    ``stack[index]`` picks images; they keep their particle numbers, so that a batch can be looked
    up in a table of latents.

    Parameters
    ----------
    images : ImageFiles
        Where the pixels are; :meth:`read` reads them.
    grid : ImageGrid
        The pixels of every image that :meth:`read` returns.
    pose : Pose (image,)
        Molecule to microscope.
    ctf : CTF (image,)
        Of each image.
    particle : (image,)
        Number of the molecule; numbered from 0 by first row in the file.
    row : (image,)
        Row of the source table, from 0.
    half : (image,)
        Half-set, 1 or 2; the same for all images of a particle.
    optics_group : (image,)
        Index into `optics_group_names`, from 0.
    tilt : (image,)
        Order by dose among the images of the particle; 0 for a single image.
    premultiplied : (image,)
        Whether the image has been multiplied by its CTF.
    optics_group_names : tuple of str
        As the file has them.
    optics_group_grids : tuple of ImageGrid
        The pixels as they lie on disk.
    source : Path
        The particle file.
    format : str
        What it was recognised as.
    warnings : tuple of str
        What was odd about it; each was also issued as a warning when it was read.
    corrections : Corrections (image,), optional
        What :meth:`read` frees images of; nothing by default.

    Examples
    --------
    >>> from atomdrgn import read_particles
    >>> stack = read_particles("particles.star")
    >>> stack.grid, stack.n_particles, stack[:3].read().shape
    (ImageGrid(box_size=24, pixel_size=2.0), 8, torch.Size([3, 24, 24]))
    """

    images: ImageFiles
    grid: ImageGrid
    pose: Pose
    ctf: CTF
    particle: Int[Tensor, "image"]
    row: Int[Tensor, "image"]
    half: Int[Tensor, "image"]
    optics_group: Int[Tensor, "image"]
    tilt: Int[Tensor, "image"]
    premultiplied: Bool[Tensor, "image"]
    optics_group_names: tuple[str, ...]
    optics_group_grids: tuple[ImageGrid, ...]
    source: Path
    format: str
    warnings: tuple[str, ...] = ()
    corrections: Corrections | None = None

    def __len__(self) -> int:
        return len(self.particle)

    @property
    def n_particles(self) -> int:
        """How many molecules the images show."""
        return len(self.particle.unique())

    @property
    def table(self) -> "pandas.DataFrame":
        """What is known of each image, a row an image, in our conventions.

        Defocus and shifts are in A, angles in degrees, dose in e/A^2; `turn_x`, `turn_y` and
        `turn_z` are the rotation from molecule to camera as a rotation vector, degrees.
        """
        turn = Rotation.from_matrix(self.pose.rotation.double().numpy()).as_rotvec(degrees=True)
        ctf = self.ctf
        return data_frame(
            {
                "particle": self.particle.numpy(),
                "row": self.row.numpy(),
                "half_set": self.half.numpy(),
                "tilt": self.tilt.numpy(),
                "optics_group": [self.optics_group_names[i] for i in self.optics_group.tolist()],
                **{f"turn_{axis}": turn[:, i] for i, axis in enumerate("xyz")},
                **{f"shift_{axis}": self.pose.shift[:, i].numpy() for i, axis in enumerate("xy")},
                "defocus_u": ctf.defocus_u.numpy(),
                "defocus_v": ctf.defocus_v.numpy(),
                "defocus_angle": ctf.defocus_angle.rad2deg().numpy(),
                "phase_shift": ctf.phase_shift.rad2deg().numpy(),
                "dose": ctf.dose.numpy(),
            }
        )

    def _facts(self) -> dict[str, object]:
        return {
            "images": f"{len(self):,}",
            "particles": f"{self.n_particles:,}",
            "box": f"{self.grid.box_size} pixels of {self.grid.pixel_size:.4g} A",
            "format": self.format,
        }

    def __repr__(self) -> str:
        return facts_in_line("ParticleStack", str(self.source), self._facts())

    def _repr_html_(self) -> str:
        return facts_as_html(str(self.source), self._facts())

    @property
    def n_tilts(self) -> int:
        """The most images that one molecule has."""
        return int(self.particle.bincount().max()) if len(self) else 0

    def __getitem__(self, index: Any) -> "ParticleStack":
        if isinstance(index, int):
            index = torch.tensor([index])  # a stack of one image is still a stack
        return super().__getitem__(index)

    def of_particles(self, particles: Any) -> "ParticleStack":
        """The images of these particles, in their order here.

        Parameters
        ----------
        particles : (particle,) int
            Particle numbers.

        Returns
        -------
        ParticleStack
        """
        return self[
            torch.isin(self.particle, torch.as_tensor(particles, device=self.particle.device))
        ]

    def read(self, index: Any = slice(None)) -> Float[Tensor, "image box box"]:
        """Images as float32 on `grid`, protein white.

        Parameters
        ----------
        index : int tensor, mask or slice
            Which images; all where it is left out.

        Returns
        -------
        (image, box, box) float32

        Raises
        ------
        FileFormatError
            If an image is empty (constant) or holds values that are not finite, or too large or too
            much alike for the arithmetic; its row and its stack are named.
        """
        chosen = self[index]
        result = torch.empty(len(chosen), self.grid.box_size, self.grid.box_size)
        group = chosen.optics_group.cpu()
        for number in group.unique().tolist():
            mine = torch.nonzero(group == number)[:, 0]
            part = chosen.images.to("cpu")[mine]
            pixels = part.read()
            chosen._check(pixels, part, chosen.row.cpu()[mine])
            result[mine] = resample(pixels, self.optics_group_grids[number], self.grid)
        return result if chosen.corrections is None else chosen.corrections.to("cpu").apply(result)

    def _check(self, pixels: Tensor, part: ImageFiles, row: Tensor) -> None:
        low, high = pixels.flatten(1).amin(1), pixels.flatten(1).amax(1)
        # amin and amax hand NaN on
        finite = torch.isfinite(low) & torch.isfinite(high)
        size = torch.maximum(low.abs(), high.abs())
        bad = torch.nonzero(~finite | (low == high) | (size > LARGEST) | (high - low < SMALLEST))[
            :, 0
        ].tolist()
        if bad:
            fault = _fault(low[bad[0]].item(), high[bad[0]].item())
            more = f"; {len(bad) - 1} more images of this batch are as bad" if len(bad) > 1 else ""
            raise FileFormatError(
                f"{self.source.name} row {int(row[bad[0]]) + 1}: {part.describe(bad[0])} "
                f"{fault}{more}; extract it again or leave the row out"
            )

    def _mapped(self, function: Callable[[Tensor], Tensor]) -> "ParticleStack":
        records = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Record)
        }
        return replace(
            super()._mapped(function),
            **{name: record._mapped(function) for name, record in records.items()},
        )


def _fault(low: float, high: float) -> str:
    """What is wrong with an image of these lowest and highest values, for a message."""
    if not math.isfinite(low + high):
        return "holds values that are not finite"
    if low == high:
        return "is constant, so it is empty"
    return (
        f"holds values from {low:.4g} to {high:.4g}: expected less than {LARGEST:g}, and that they "
        f"differ by more than {SMALLEST:g}"
    )

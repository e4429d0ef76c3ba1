"""How images are taken: poses, CTF, pixels and stacks.

They are at random, as tilt series, or like those of a particle file.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import InputError
from ..particles.formats.particle_format import ParticleFile
from ..particles.reading import read_particles
from ..particles.subsets import open_particle_file
from ..physics.ctf import CTF
from ..physics.grid import ImageGrid
from ..physics.pose import Pose
from ..physics.rotations import matrix_from_quaternion, matrix_from_vector

DEFOCUS_RANGE = 8000.0, 25000.0  # A
# A, standard deviation of half the difference of the two defoci
ASTIGMATISM = 200.0
SHIFT_SPREAD = 1.0  # pixels, standard deviation along x and y
TILT_SHIFT_SPREAD = 0.3  # pixels: tilts are aligned to each other to less than a pixel
TILT_DEFOCUS_SPREAD = 200.0  # A
REACH, TOTAL_DOSE = 54.0, 110.0  # degrees to either side; e/A^2
# ways of reading that say whose rows are
OF_ROWS = ("tilt_series", "passthrough", "tomograms", "data_folder")


@dataclass(frozen=True)
class Microscope:
    """Settings that all images share.

    Parameters
    ----------
    voltage_kv, spherical_aberration_mm, amplitude_contrast : float
        Of all images.
    defocus : (2,)
        Least and largest, A; drawn evenly between.

    Raises
    ------
    InputError
        A setting is out of range.

    Examples
    --------
    >>> Microscope(voltage_kv=200.0).defocus
    (8000.0, 25000.0)
    """

    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1
    defocus: tuple[float, float] = DEFOCUS_RANGE

    def __post_init__(self) -> None:
        low, high = self.defocus
        if not 0 < low <= high:
            raise InputError(
                f"a defocus from {low:g} to {high:g} A: expected two positive numbers, the smaller "
                "one first"
            )
        if not (
            self.voltage_kv > 0
            and self.spherical_aberration_mm >= 0
            and 0 <= self.amplitude_contrast < 1
        ):
            raise InputError(
                f"{self.voltage_kv:g} kV, a spherical aberration of "
                f"{self.spherical_aberration_mm:g} mm and an amplitude contrast of "
                f"{self.amplitude_contrast:g}: expected a positive voltage and a part of 1"
            )


@dataclass(frozen=True)
class Stack:
    """A stack of images to be written.

    Parameters
    ----------
    name : str
        In the folder of the particle file.
    count : int
        How many images.
    grid : ImageGrid
        Their pixels.

    Examples
    --------
    >>> Stack("particles.mrcs", 100, ImageGrid(64, 1.5)).count
    100
    """

    name: str
    count: int
    grid: ImageGrid


@dataclass(frozen=True)
class Imaging:
    """How each image is taken, and where it lies.

    Parameters
    ----------
    pose : Pose (image,)
        The true one.
    ctf : CTF (image,)
        Of each.
    particle : (image,)
        Whose image it is, from 0.
    stacks : tuple of Stack
        What is written.
    stack, section : (image,)
        Which stack, and which of its images, from 0.
    sign : (image,)
        -1 where the file takes its images for dark on light.
    premultiplied : (image,)
        Images are multiplied by their CTF once more.
    microscope : Microscope
        Of images at random.
    tilts : int
        Images a particle that are a tilt series; 0 for single images.
    file : ParticleFile, optional
        The rows of a particle file that the images are like, one an image, or one a particle where
        each has its stack.

    Examples
    --------
    >>> imaging = image_once(4, ImageGrid(16, 3.0), torch.Generator())
    >>> len(imaging), imaging.n_particles, imaging.stacks[0].name
    (4, 4, 'particles.mrcs')
    """

    pose: Pose
    ctf: CTF
    particle: Int[Tensor, "image"]
    stacks: tuple[Stack, ...]
    stack: Int[Tensor, "image"]
    section: Int[Tensor, "image"]
    sign: Float[Tensor, "image"]
    premultiplied: Bool[Tensor, "image"]
    microscope: Microscope | None = None
    tilts: int = 0
    file: ParticleFile | None = None

    def __len__(self) -> int:
        return len(self.particle)

    @property
    def n_particles(self) -> int:
        """How many particles the images are of."""
        return int(self.particle.max()) + 1

    def with_b_factor(self, b_factor: float) -> "Imaging":
        """The same with a decay exp(-b_factor k^2 / 4) of all images, A^2.

        The written file does not tell of it.
        """
        return replace(self, ctf=replace(self.ctf, b_factor=self.ctf.b_factor + b_factor))


def image_once(
    count: int, grid: ImageGrid, generator: torch.Generator, *, microscope: Microscope | None = None
) -> Imaging:
    """One image a particle, in random directions.

    Directions are uniform on the sphere, shifts normal with 1 pixel along x and y; there is a
    little astigmatism.

    Parameters
    ----------
    count : int
        Particles.
    grid : ImageGrid
        Of the images.
    generator : torch.Generator
        Of what is random.
    microscope : Microscope, optional
        The usual one by default.

    Returns
    -------
    Imaging

    Raises
    ------
    InputError
        There is no particle.

    Examples
    --------
    >>> image_once(4, ImageGrid(16, 3.0), torch.Generator()).pose.rotation.shape
    torch.Size([4, 3, 3])
    """
    _require_particles(count)
    microscope = microscope or Microscope()
    pose = _random_poses(count, grid, generator)
    return _packed(
        pose,
        _random_ctfs(count, microscope, generator),
        torch.arange(count),
        grid,
        microscope=microscope,
    )


def image_tilts(
    count: int,
    grid: ImageGrid,
    generator: torch.Generator,
    *,
    tilts: int,
    reach: float = REACH,
    dose: float = TOTAL_DOSE,
    microscope: Microscope | None = None,
) -> Imaging:
    """A dose-symmetric tilt series a particle, about the camera's y.

    Images stand in the order in which they are taken.

    Parameters
    ----------
    count : int
        Particles.
    grid : ImageGrid
        Of the images.
    generator : torch.Generator
        Of what is random.
    tilts : int
        Images of each.
    reach : float
        Largest tilt, degrees.
    dose : float
        Of the whole series, e/A^2; an image shows the damage of those before it.
    microscope : Microscope, optional
        The usual one by default.

    Returns
    -------
    Imaging

    Raises
    ------
    InputError
        Fewer than two tilts, a tilt of 90 degrees, or a negative dose.

    Examples
    --------
    >>> imaging = image_tilts(2, ImageGrid(16, 3.0), torch.Generator(), tilts=3, dose=30.0)
    >>> imaging.ctf.dose[:3], imaging.particle
    (tensor([ 0., 10., 20.]), tensor([0, 0, 0, 1, 1, 1]))
    """
    _require_particles(count)
    if tilts < 2 or not 0 < reach < 90 or dose < 0:
        raise InputError(
            f"{tilts} tilts to {reach:g} degrees with {dose:g} e/A^2: expected at least 2, less "
            "than 90, and no negative dose"
        )
    one = image_once(count, grid, generator, microscope=microscope)
    step = torch.arange(tilts)
    angle = (
        ((step + 1) // 2) * torch.where(step % 2 == 1, 1, -1) * (math.radians(reach) / (tilts // 2))
    )
    stage = matrix_from_vector(angle[:, None] * torch.tensor([0.0, 1.0, 0.0]))
    particle = torch.arange(count).repeat_interleave(tilts)
    jitter = (
        TILT_SHIFT_SPREAD * grid.pixel_size * torch.randn(len(particle), 2, generator=generator)
    )
    pose = Pose(
        stage.repeat(count, 1, 1) @ one.pose.rotation[particle], one.pose.shift[particle] + jitter
    )
    ctf, off = (
        one.ctf[particle],
        TILT_DEFOCUS_SPREAD * torch.randn(len(particle), generator=generator),
    )
    ctf = replace(
        ctf,
        defocus_u=ctf.defocus_u + off,
        defocus_v=ctf.defocus_v + off,
        scale=angle.cos().repeat(count),
        dose=(step * (dose / tilts)).repeat(count),
    )
    return _packed(pose, ctf, particle, grid, microscope=one.microscope, tilts=tilts)


def image_like(path: str | Path, **reading: Any) -> Imaging:
    """Poses, CTF, optics, pixels and contrast of a particle file.

    Its rows are written again with other images.

    Parameters
    ----------
    path : path
        A particle file of any supported format.
    **reading
        As for :func:`~atomdrgn.particles.reading.read_particles`, without a box.

    Returns
    -------
    Imaging

    Raises
    ------
    InputError, FileFormatError, MissingFileError
        As for reading the particles: the images have to be there, too.

    Examples
    --------
    >>> image_like("particles.star").n_particles
    8
    """
    like = read_particles(path, **reading)
    file: ParticleFile = open_particle_file(
        path, **{name: value for name, value in reading.items() if name in OF_ROWS}
    )
    rows = like.row.unique()
    file = file.of_rows(rows.numpy())
    # a row is a particle with a stack of tilts, which keeps its layout
    if len(file.particle) < len(like):
        stack, at = like.images.file, like.images.section
        numbers = stack.unique()
        grids = [
            like.optics_group_grids[like.optics_group[stack == number][0]] for number in numbers
        ]
        stacks = tuple(
            Stack(f"stacks/{number:06d}.mrcs", like.images.headers[number].shape[0], grid)
            for number, grid in zip(numbers.tolist(), grids, strict=True)
        )
        stack = torch.searchsorted(numbers, stack)
    else:
        stacks, stack, at = _packed_stacks(like.optics_group, like.optics_group_grids)
    return Imaging(
        like.pose,
        like.ctf,
        like.particle,
        stacks,
        stack,
        at,
        like.images.sign,
        like.premultiplied,
        file=file,
    )


def _require_particles(count: int) -> None:
    if count < 1:
        raise InputError(f"{count} particles: expected at least one")


def _packed(
    pose: Pose, ctf: CTF, particle: Int[Tensor, "image"], grid: ImageGrid, **more: Any
) -> Imaging:
    stacks, stack, section = _packed_stacks(torch.zeros_like(particle), (grid,))
    none = torch.zeros(len(particle), dtype=torch.bool)
    return Imaging(
        pose, ctf, particle, stacks, stack, section, torch.ones(len(particle)), none, **more
    )


def _packed_stacks(
    group: Int[Tensor, "image"], grids: tuple[ImageGrid, ...]
) -> tuple[tuple[Stack, ...], Int[Tensor, "image"], Int[Tensor, "image"]]:
    """One stack for each size of pixels, its images in the order of the rows."""
    kinds = list(dict.fromkeys(grids))
    kind = torch.tensor([kinds.index(grid) for grid in grids])[group]
    section = torch.empty_like(kind)
    for number in range(len(kinds)):
        mine = torch.nonzero(kind == number)[:, 0]
        section[mine] = torch.arange(len(mine))
    count = torch.bincount(kind, minlength=len(kinds)).tolist()
    names = (
        ["particles.mrcs"]
        if len(kinds) == 1
        else [f"particles_{number + 1}.mrcs" for number in range(len(kinds))]
    )
    return tuple(map(Stack, names, count, kinds)), kind, section


def _random_poses(count: int, grid: ImageGrid, generator: torch.Generator) -> Pose:
    # normal: uniform once normalised
    rotation = matrix_from_quaternion(torch.randn(count, 4, generator=generator))
    return Pose(
        rotation, SHIFT_SPREAD * grid.pixel_size * torch.randn(count, 2, generator=generator)
    )


def _random_ctfs(count: int, microscope: Microscope, generator: torch.Generator) -> CTF:
    low, high = microscope.defocus
    mean = low + (high - low) * torch.rand(count, generator=generator)
    half_difference = ASTIGMATISM * torch.randn(count, generator=generator)
    zero = torch.zeros(count)
    return CTF(
        defocus_u=mean + half_difference,
        defocus_v=mean - half_difference,
        defocus_angle=math.pi * torch.rand(count, generator=generator),
        phase_shift=zero,
        voltage_kv=zero + microscope.voltage_kv,
        spherical_aberration_mm=zero + microscope.spherical_aberration_mm,
        amplitude_contrast=zero + microscope.amplitude_contrast,
        scale=zero + 1,
        b_factor=zero,
        dose=zero,
    )

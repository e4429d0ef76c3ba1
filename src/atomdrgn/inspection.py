"""What a particle file holds, and whether its images, poses, contrast and hand fit a structure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .errors import InputError
from .likelihood.agreement.agreement import (
    AS_READ,
    BLOB,
    FAULTS,
    OTHERS,
    TILT_FAULTS,
    Agreement,
    measure_agreement,
)
from .likelihood.agreement.tilt_agreement import TiltAgreement
from .particles.stack.stack import ParticleStack
from .physics.grid import ImageGrid
from .reporting import Reporter
from .structure.atoms import Structure
from .structure.beads import coarse_grain
from .structure.placement import require_inside

IMAGES_LOOKED_AT = 200  # whose pixels are measured
# Compared before a fit: a hundredth of its time for some hundred images, less for more.


@dataclass(frozen=True)
class OpticsSummary:
    """One optics group.

    Parameters
    ----------
    name : str
        As the file has it.
    n_images : int
        How many images are of it.
    voltage_kv, spherical_aberration_mm, amplitude_contrast : float
        Of its microscope.
    grid : ImageGrid
        Pixels on disk.
    premultiplied : bool
        Whether the images were multiplied by the CTF.
    """

    name: str
    n_images: int
    voltage_kv: float
    spherical_aberration_mm: float
    amplitude_contrast: float
    grid: ImageGrid
    premultiplied: bool


class TiltCount(NamedTuple):
    """How many images particles have: the least, the median and the most."""

    least: int
    median: float
    most: int


@dataclass(frozen=True)
class Contents:
    """What a particle file holds.

    Parameters
    ----------
    source : Path
    format : str
        What it was recognised as.
    n_images, n_particles : int
    tilts : TiltCount
        Images of a particle.
    grid : ImageGrid
        As images are read.
    optics : tuple of OpticsSummary
    defocus : (least, most)
        A, underfocus positive; the mean of the two axes.
    dose : (least, most)
        e/A^2 before an image.
    half_sets : (first, second)
        Particles in each.
    image_mean, image_sd : float
        Mean of the pixels and their standard deviation within an image, in a sample of images.
    warnings : tuple of str
        What was odd about the file.
    """

    source: Path
    format: str
    n_images: int
    n_particles: int
    tilts: TiltCount
    grid: ImageGrid
    optics: tuple[OpticsSummary, ...]
    defocus: tuple[float, float]
    dose: tuple[float, float]
    half_sets: tuple[int, int]
    image_mean: float
    image_sd: float
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain numbers, texts and lists: defocus in A, dose in e/A^2."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        optics = [
            {
                field.name: getattr(group, field.name)
                for field in fields(group)
                if field.name != "grid"
            }
            | _pixels(group.grid)
            for group in self.optics
        ]
        del said["grid"]
        return said | {
            "source": str(self.source),
            "tilts": self.tilts._asdict(),
            "optics": optics,
            **_pixels(self.grid),
        }

    def lines(self) -> list[str]:
        """The same for people."""
        rows = [
            ("format", self.format),
            ("images", self._counts()),
            (
                "read as",
                f"{self.grid.box_size} x {self.grid.box_size} pixels of {self.grid.pixel_size:.4g} "
                "A",
            ),
        ]
        rows += [("optics group", _optics_line(group)) for group in self.optics]
        rows += [
            ("defocus", f"{_range([x / 1e4 for x in self.defocus], '.2f')} um"),
            ("dose", f"{_range(self.dose, '.0f')} e/A^2" if self.dose[1] > 0 else "none given"),
            ("half-sets", f"{self.half_sets[0]:,} and {self.half_sets[1]:,} particles"),
            ("pixel values", f"mean {self.image_mean:.3g}, s.d. {self.image_sd:.3g} in an image"),
        ]
        rows += [("warning", text) for text in self.warnings]
        return [str(self.source), *(f"  {title:<13} {text}" for title, text in rows)]

    def _counts(self) -> str:
        least, median, most = self.tilts
        if most == 1:
            return f"{self.n_images:,}, one a particle"
        each = (
            f"{most} of each" if least == most else f"{least} to {most} of each, median {median:g}"
        )
        return f"{self.n_images:,} of {self.n_particles:,} particles, {each}"


@dataclass(frozen=True)
class Inspection:
    """What a particle file holds, and how well a structure explains its images.

    Parameters
    ----------
    contents : Contents
    model : str or None
        Name of the structure, where there was one.
    agreement : Agreement or None
        Of the images with it.
    """

    contents: Contents
    model: str | None = None
    agreement: Agreement | None = None

    def as_json(self) -> dict[str, Any]:
        """What `contents` says, and as `against` how well the model explains the images.

        `correlations` are mean and standard error with the poses of the file and with each fault
        mended; `worse_by` is by how much each is worse than the file, in standard errors.
        """
        if self.agreement is None:
            return self.contents.as_json()
        found = self.agreement
        compared = [name for name in found.correlation if name in (AS_READ, *found.possible)]
        correlations = {name: found.mean(name) for name in compared}
        against = {
            "model": self.model,
            "images": found.n_images,
            "particles": found.n_particles,
            "resolution": found.resolution,
            "correlations": {name: _numbers(both) for name, both in correlations.items()},
            "worse_by": {
                name: _numbers([found.in_errors(AS_READ, name)])[0] for name in compared[1:]
            },
            "verdict": found.verdict,
        }
        return self.contents.as_json() | {"against": against}

    def lines(self) -> list[str]:
        """Everything for people, the verdict last."""
        if self.agreement is None:
            return self.contents.lines()
        return [*self.contents.lines(), "", *_agreement_lines(self.model, self.agreement)]


def inspect(
    particles: ParticleStack,
    structure: Structure | None = None,
    *,
    resolution: float | None = None,
    limit: int = 2000,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Inspection:
    """What a particle set holds, and how well a structure explains its images at their poses.

    Parameters
    ----------
    particles : ParticleStack
    structure : Structure, optional
        In the frame of the poses: the centre of the consensus map's box is (0, 0, 0).
    resolution : float, optional
        Finest frequencies compared, A; by default 8 A or 2.2 pixels, whichever is coarser.
    limit : int
        Images compared, of random particles.
    seed : int
        For these choices.
    reporter : Reporter, optional
        Watches.

    Returns
    -------
    Inspection
        ``lines()`` is what the command prints, ``agreement.verdict`` names the likeliest fault.

    Raises
    ------
    InputError
        More than half of the structure lies outside the images, or there is no such resolution or
        number of images.
    FileFormatError
        An image that is compared is empty or not finite.

    Examples
    --------
    >>> from atomdrgn import read_particles
    >>> for line in inspect(read_particles("particles.star")).lines()[:4]:
    ...     print(line)
    particles.star
      format        RELION 3.1 or later
      images        8, one a particle
      read as       24 x 24 pixels of 2 A
    """
    if resolution is not None and not 0 < resolution <= particles.grid.extent:
        raise InputError(
            f"a resolution of {resolution:g} A: expected a positive number, at most the width of "
            f"the images, {particles.grid.extent:g} A"
        )
    if limit < 1:
        raise InputError(f"a limit of {limit} images: expected at least 1")
    generator = torch.Generator().manual_seed(seed)
    contents = _contents(particles, generator)
    if structure is None:
        return Inspection(contents)
    beads = coarse_grain(structure)
    require_inside(beads, particles.grid)
    agreement = measure_agreement(
        particles, beads, resolution=resolution, limit=limit, generator=generator, reporter=reporter
    )
    return Inspection(contents, structure.name, agreement)


def _contents(stack: ParticleStack, generator: torch.Generator) -> Contents:
    particle, count = stack.particle.unique(return_counts=True)
    half_of_particle = torch.zeros(int(particle[-1]) + 1, dtype=torch.long).index_put_(
        (stack.particle,), stack.half
    )[particle]
    mean, sd = _pixel_values(stack, generator)
    return Contents(
        source=stack.source,
        format=stack.format,
        n_images=len(stack),
        n_particles=len(particle),
        tilts=TiltCount(int(count.min()), float(count.double().quantile(0.5)), int(count.max())),
        grid=stack.grid,
        optics=tuple(
            _optics_summary(stack, number) for number in stack.optics_group.unique().tolist()
        ),
        defocus=_least_and_most(0.5 * (stack.ctf.defocus_u + stack.ctf.defocus_v)),
        dose=_least_and_most(stack.ctf.dose),
        half_sets=(int((half_of_particle == 1).sum()), int((half_of_particle == 2).sum())),
        image_mean=mean,
        image_sd=sd,
        warnings=stack.warnings,
    )


def _pixels(grid: ImageGrid) -> dict[str, float | int]:
    return {"box_size": grid.box_size, "pixel_size": grid.pixel_size}


def _numbers(values: Sequence[float]) -> list[float | None]:
    """As JSON has them: what is not a number is null."""
    return [value if math.isfinite(value) else None for value in values]


def _optics_summary(stack: ParticleStack, number: int) -> OpticsSummary:
    mine = torch.nonzero(stack.optics_group == number)[:, 0]
    first = stack.ctf[mine[0]]
    return OpticsSummary(
        name=stack.optics_group_names[number],
        n_images=len(mine),
        voltage_kv=float(first.voltage_kv),
        spherical_aberration_mm=float(first.spherical_aberration_mm),
        amplitude_contrast=float(first.amplitude_contrast),
        grid=stack.optics_group_grids[number],
        premultiplied=bool(stack.premultiplied[mine[0]]),
    )


def _pixel_values(stack: ParticleStack, generator: torch.Generator) -> tuple[float, float]:
    chosen = torch.randperm(len(stack), generator=generator)[:IMAGES_LOOKED_AT].sort().values
    images = stack.read(chosen).double()
    return float(images.mean()), float(images.var((-2, -1)).mean().sqrt())


def _least_and_most(value: Tensor) -> tuple[float, float]:
    return float(value.min()), float(value.max())


def _range(values: Sequence[float | int], form: str) -> str:
    least, most = (format(value, form) for value in values)
    return least if least == most else f"{least} to {most}"


def _optics_line(group: OpticsSummary) -> str:
    premultiplied = ", multiplied by the CTF" if group.premultiplied else ""
    return (
        f"{group.name}: {group.n_images:,} images, {group.voltage_kv:g} kV, Cs "
        f"{group.spherical_aberration_mm:g} mm, amplitude contrast {group.amplitude_contrast:g}, "
        f"{group.grid.box_size} pixels of {group.grid.pixel_size:.4g} A{premultiplied}"
    )


def _agreement_lines(model: str | None, agreement: Agreement) -> list[str]:
    width = max(map(len, agreement.correlation)) + 2
    mean, error = agreement.mean(AS_READ)
    lines = [
        f"{model} against {agreement.n_images:,} images of {agreement.n_particles:,} particles, "
        f"down to {agreement.resolution:.3g} A",
        f"  {'poses':<{width}}{'correlation':<20}worse than as in the file by",
        f"  {AS_READ:<{width}}{mean:.4f} +- {error:.4f}",
        f"  {'contrast inverted':<{width}}{-mean:.4f} +- {error:.4f}",
    ]
    possible = [
        name for name in (OTHERS, *FAULTS, *TILT_FAULTS, BLOB) if name in agreement.possible
    ]
    lines += [f"  {name:<{width}}{_compared(agreement, name)}" for name in possible]
    tilts = [] if agreement.tilts is None else _tilt_lines(agreement.tilts.in_groups())
    return [*lines, *tilts, f"  {agreement.verdict}"]


def _tilt_lines(tilts: TiltAgreement) -> list[str]:
    """How much of the signal that the poses predict each group of tilts shows.

    It is told beside the group that tells most.
    """
    rows = [("tilt", "images", "dose", "signal", "")]
    rows += [
        (
            f"{tilts.name(i)} deg",
            f"{count:,}",
            f"{dose:.0f}",
            f"{share:.2f} +- {error:.2f}",
            str(fit),
        )
        for i, (count, dose, share, error, fit) in enumerate(
            zip(tilts.count.tolist(), tilts.dose.tolist(), *tilts.share, tilts.fits, strict=True)
        )
    ]
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    return [
        "  tilt by tilt, as in the file (signal found over signal expected; 1 at the surest tilt)",
        *(
            "    "
            + "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
    ]


def _compared(agreement: Agreement, name: str) -> str:
    mean, error = agreement.mean(name)
    difference, its_error = agreement.difference(AS_READ, name)
    value = f"{mean:.4f} +- {error:.4f}"
    worse = f"{difference:.4f} +- {its_error:.4f}"
    return f"{value:<20}{worse} ({agreement.in_errors(AS_READ, name):.1f} standard errors)"

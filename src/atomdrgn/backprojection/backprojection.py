"""A map from particle images with known poses.

It holds backprojection weighted by CTF^2 over noise, half-maps and filters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..devices import PROCESSOR
from ..errors import InputError
from ..inference.images.faults_before_fit import read_images
from ..inference.images.fourier_images import FourierImages
from ..io.whole_file import require_replaceable, whole_folder
from ..particles.stack.stack import ParticleStack
from ..physics.correlation import fourier_shell_correlation, resolution_at
from ..physics.maps.half_maps import HalfMapCorrelation, correlate_half_maps
from ..reporting import Reporter
from ..runs.run import write_json, write_table
from ..structure.density_map import DensityMap, require_same_voxels, write_density_map
from .filtering import automatic_mask, finite, guinier_b_factor, regularisation, sharpened
from .noise_spectra import measure_noise
from .slice_sum import SliceSum, empty_sum
from .weighted_images import Target, add_images

# of the mean weight of a shell is added in half-maps: what is hardly seen is not blown up
FLOOR = 0.01
MASK_SLACK = 1e-3  # rounding of values that are meant to be 0 or 1
MAP, HALVES, SHARPENED, MASK = "map.mrc", ("half1.mrc", "half2.mrc"), "sharpened.mrc", "mask.mrc"
CORRELATION, SUMMARY = "fsc.csv", "summary.json"
FILES = (MAP, *HALVES, SHARPENED, MASK, CORRELATION, SUMMARY)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A map and what its halves say of it.

    The molecule's origin is voxel ``box // 2``, which is (0, 0, 0).

    Parameters
    ----------
    map : DensityMap
        Of all images, regularised by the correlation of the half-maps, electrons per A^3 as the
        images have them.
    halves : (first, second) DensityMap
        Of each half-set, not regularised.
    sharpened : DensityMap
        Of all images, weighted by the correlation and sharpened.
    mask : DensityMap
        In which half-maps were compared.
    correlation : HalfMapCorrelation
    summary : dict
        What summary.json says.
    """

    map: DensityMap
    halves: tuple[DensityMap, DensityMap]
    sharpened: DensityMap
    mask: DensityMap
    correlation: HalfMapCorrelation
    summary: dict


def backproject(
    particles: ParticleStack,
    *,
    chosen: Sequence[int] | np.ndarray | None = None,
    weights: Tensor | np.ndarray | None = None,
    mask: DensityMap | None = None,
    b_factor: float | None = None,
    seed: int = 0,
    reporter: Reporter | None = None,
    device: torch.device = PROCESSOR,
) -> Reconstruction:
    """The map that particle images with known poses make together, and its half-maps.

    Each image counts at each frequency with CTF^2 over the noise, the CTF with its envelope: scale,
    B-factor and dose.

    Parameters
    ----------
    particles : ParticleStack
    chosen : (some,) int, optional
        Numbers of the particles that count; all by default.
    weights : (particle,) float, optional
        Weight of each particle of the stack, 0 or more; 1 by default.
    mask : DensityMap, optional
        0 to 1, on the voxels of the map, in which half-maps are compared; found from them by
        default.
    b_factor : float, optional
        By which the sharpened map is sharpened, A^2, positive; by default as its amplitudes fall
        beyond 10 A, 0 where its resolution does not tell.
    seed : int
        For samples and random phases.
    reporter : Reporter, optional
        Watches.
    device : torch.device
        Where images are transformed and added up (see :func:`atomdrgn.devices.choose_device`). It
        changes the result by rounding alone.

    Raises
    ------
    InputError
        A particle that is not there, weights of another number, negative or not finite, or a
        half-set without particles; a mask on other voxels.
    FileFormatError
        An image that is empty or not finite.

    References
    ----------
    Scheres, J. Struct. Biol. 180 (2012), 519-530: Wiener filter and regularisation. Chen et al.,
    Ultramicroscopy 135 (2013), 24-35: random phases. Rosenthal & Henderson, J. Mol. Biol. 333
    (2003), 721-745: weights by the FSC, sharpening.

    Examples
    --------
    >>> from atomdrgn import read_particles
    >>> made = backproject(read_particles("particles.star"))
    >>> made.map.density.shape, made.map.voxel_size
    (torch.Size([24, 24, 24]), 2.0)
    """
    if mask is not None:
        _require_mask(mask)
    strength = image_strength(particles, chosen=chosen, weights=weights)
    images = FourierImages(particles, particles.grid.nyquist)
    warned = read_images(
        images, None, index=torch.nonzero(strength > 0)[:, 0], reporter=reporter or Reporter()
    )
    particles, strength = images.stack, strength * ~images.left_out
    counts = require_both_halves(particles, strength)
    spectrum = measure_noise(particles[strength > 0], seed=seed, device=device)
    sums = [empty_sum(particles.grid, device) for _ in range(2)]
    # images that do not count have no group of noise: they stay outside
    some, kept = particles[strength > 0], strength[strength > 0]
    add_images(
        some,
        [
            Target(total, kept * (some.half == number + 1), some.pose)
            for number, total in enumerate(sums)
        ],
        spectrum=spectrum,
        reporter=reporter,
    )
    return finish(
        *sums,
        mask=mask,
        b_factor=b_factor,
        seed=seed,
        summary={
            "particles": sum(counts),
            "half_set_particles": counts,
            "images": len(some),
            "tilts": some.n_tilts,
            "weighted": weights is not None,
            "device": str(device),
            "warnings": [*particles.warnings, *warned],
        },
    )


def finish(
    first: SliceSum,
    second: SliceSum,
    *,
    mask: DensityMap | None = None,
    b_factor: float | None = None,
    seed: int = 0,
    summary: dict | None = None,
) -> Reconstruction:
    """The maps that two sums, one of each half-set, make.

    Parameters
    ----------
    first, second : SliceSum
    mask, b_factor, seed
        As :func:`backproject` takes them.
    summary : dict, optional
        What summary.json shall say besides.
    """
    grid = first.grid
    one, other = (total.density(FLOOR * total.shell_weight()) for total in (first, second))
    whole = first.plus(second)
    weight = whole.shell_weight()
    plain = whole.density(FLOOR * weight)
    mask = (
        DensityMap(automatic_mask(one, other, grid), grid.pixel_size, name="mask")
        if mask is None
        else mask
    )
    require_same_voxels(DensityMap(plain, grid.pixel_size, name="the reconstruction"), mask)
    found = correlate_half_maps(
        one, other, voxel_size=grid.pixel_size, mask=mask.density, seed=seed
    )
    density = whole.density(regularisation(fourier_shell_correlation(one, other), weight))
    measured = guinier_b_factor(plain * mask.density, found, voxel_size=grid.pixel_size)
    b_factor, said = (
        (
            measured or 0.0,
            "measured" if measured else "not measured: the resolution leaves no line to fit",
        )
        if b_factor is None
        else (b_factor, "given")
    )
    sharp = sharpened(plain, found.corrected, voxel_size=grid.pixel_size, b_factor=b_factor)
    named = {
        name: DensityMap(value, grid.pixel_size, name=name)
        for name, value in (
            (MAP, density),
            (HALVES[0], one),
            (HALVES[1], other),
            (SHARPENED, sharp),
        )
    }
    return Reconstruction(
        named[MAP],
        (named[HALVES[0]], named[HALVES[1]]),
        named[SHARPENED],
        mask,
        found,
        {
            "box_size": grid.box_size,
            "voxel_size": grid.pixel_size,
            **resolutions(found),
            "b_factor": round(b_factor, 1),
            "b_factor_is": said,
            "mask_share": round(float(mask.density.mean()), 4),
            **(summary or {}),
        },
    )


def resolutions(found: HalfMapCorrelation) -> dict:
    """Resolutions of half-maps for a summary, A.

    One is None where even the coarsest shell does not correlate.
    """
    return {
        "resolution": finite(found.resolution(0.143)),
        "resolution_at_half": finite(found.resolution(0.5)),
        "resolution_unmasked": finite(resolution_at(found.frequency, found.unmasked, 0.143)),
        "resolution_unmasked_at_half": finite(resolution_at(found.frequency, found.unmasked, 0.5)),
    }


def write_reconstruction(
    result: Reconstruction,
    out: Path | str,
    *,
    overwrite: bool = False,
    settings: dict | None = None,
) -> Path:
    """The maps, their correlation and summary.json in a folder, which appears whole or not at all.

    Parameters
    ----------
    result : Reconstruction
    out : path
    overwrite : bool
        Replace a reconstruction that is there.
    settings : dict, optional
        What summary.json shall say besides.

    Raises
    ------
    OutputExistsError
        The folder holds something.
    """
    out = Path(out)
    require_replaceable(out, FILES, what="a reconstruction", overwrite=overwrite)
    with whole_folder(out) as folder:
        for density_map, name in zip(
            (result.map, *result.halves, result.sharpened, result.mask),
            (MAP, *HALVES, SHARPENED, MASK),
            strict=True,
        ):
            write_density_map(folder / name, density_map)
        write_correlation(folder / CORRELATION, result.correlation)
        write_json(folder / SUMMARY, {**result.summary, **(settings or {})})
    return out


def write_correlation(path: Path, found: HalfMapCorrelation) -> None:
    """Shell correlations as CSV; the column fsc is the corrected one."""
    columns = {
        "frequency": found.frequency,
        "fsc": found.corrected,
        "fsc_unmasked": found.unmasked,
        "fsc_masked": found.masked,
        "fsc_randomised": found.randomised,
    }
    write_table(
        path,
        {name: [f"{value:.6f}" for value in column.tolist()] for name, column in columns.items()},
    )


def image_strength(
    particles: ParticleStack,
    *,
    chosen: Sequence[int] | np.ndarray | None = None,
    weights: Tensor | np.ndarray | None = None,
) -> Float[Tensor, "image"]:
    """Weight of each image, from what was chosen of the particles and their weights.

    Raises
    ------
    InputError
        As :func:`backproject`.
    """
    count = int(particles.particle.max()) + 1
    strength = torch.ones(count)
    if weights is not None:
        strength = torch.as_tensor(np.asarray(weights), dtype=torch.float32)
        if strength.shape != (count,):
            raise InputError(
                f"{len(strength)} weights for {count} particles: give one for each, in the order "
                "of the file"
            )
        if not torch.isfinite(strength).all() or (strength < 0).any():
            bad = int(torch.nonzero(~(torch.isfinite(strength) & (strength >= 0)))[0, 0])
            raise InputError(
                f"the weight of particle {bad} is {float(strength[bad]):g}: expected 0 or a "
                "positive number"
            )
        if not strength.any():
            raise InputError("all weights are 0: nothing is left to reconstruct")
    if chosen is not None:
        chosen = np.unique(np.asarray(chosen, dtype=np.int64))
        if len(chosen) == 0:
            raise InputError("no particle is chosen; leave the list out to take all")
        if chosen[0] < 0 or chosen[-1] >= count:
            raise InputError(
                f"there is no particle {chosen[0] if chosen[0] < 0 else chosen[-1]}: "
                f"{particles.source} has the particles 0 to {count - 1}"
            )
        kept = torch.zeros(count)
        kept[torch.from_numpy(chosen)] = 1
        strength = strength * kept
    return strength[particles.particle]


def require_both_halves(particles: ParticleStack, strength: Float[Tensor, "image"]) -> list[int]:
    """How many particles each half-set has among those that count.

    Raises
    ------
    InputError
        One has none.
    """
    counts = [
        int(particles.particle[(particles.half == number) & (strength > 0)].unique().numel())
        for number in (1, 2)
    ]
    if min(counts) == 0:
        empty = 1 + counts.index(0)
        raise InputError(
            f"half-set {empty} has no particle among the {sum(counts)} that count, so there are no "
            "half-maps to compare; choose particles of both (rlnRandomSubset says which is whose)"
        )
    return counts


def _require_mask(mask: DensityMap) -> None:
    low, high = float(mask.density.min()), float(mask.density.max())
    if low < -MASK_SLACK or high > 1 + MASK_SLACK:
        raise InputError(
            f"{mask.name}: values from {low:.4g} to {high:.4g}, where a mask has 0 to 1; this "
            "looks like a density"
        )

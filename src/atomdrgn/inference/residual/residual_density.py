"""The density that images show and the beads do not: a map in the frame of the poses.

The least-squares sum of what the beads leave of the images, regularised by two halves of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...backprojection.filtering import regularisation
from ...backprojection.slice_sum import SliceSum, box_sphere, empty_sum, padded_grid
from ...devices import moved
from ...likelihood.normal_equations import predict
from ...parallel import in_order
from ...physics.correlation import fourier_shell_correlation
from ...physics.disc import FourierDisc
from ...physics.grid import ImageGrid
from ...physics.maps.atom_density import density_of_atoms
from ...physics.maps.maps import low_pass
from ...physics.maps.masks import density_mask
from ...physics.maps.still_density import StillDensity
from ...physics.pose import Pose
from ...structure.beads import BeadModel
from ..problem.calibration import calibrate
from ..problem.fit_problem import FitModel
from ..problem.fit_state import FitState

# A, of the map: what is finer of it no motion is mistaken for, and images that are coarser do not
# tell it from the beads (a belt at 60 A made them nearly twice as bright)
FINEST, COARSEST = 10.0, 30.0
MASK_RESOLUTION = 20.0  # A, at which what is dense is told from noise
NOISE_LEVELS = 5.0  # standard deviations of the noise that dense voxels stand above
FAINTEST = 0.1  # of the largest density at the mask's resolution: less may be ringing
# of the same of the base model, before the first pass: less may be a wide motion (0.14 and 0.21
# where a domain turns by up to 30 degrees; bound proteins and a belt come to 1.0 to 1.1)
FIRST = 0.4
DRAWS = 20  # of the first population, of which two have to reach a place
SIGMA = 0.225  # of a Gaussian that is a density at a resolution, in this
EXTEND, EDGE = 6.0, 12.0  # A: how far the mask reaches beyond dense voxels, and fades
DIMMEST = 0.01  # of the beads' electrons: images that do not show them have them no dimmer
FLOOR = (
    1e-3  # of a shell's mean weight: where no image looked, a map is not divided by next to none
)


@dataclass(frozen=True, eq=False)
class ImageSums:
    """What the images of two halves of a fit leave when the beads are taken away, in space.

    Parameters
    ----------
    left : tuple of SliceSum
        Of each half.
    beads : SliceSum
        The beads' images of both, the same way.
    """

    left: tuple[SliceSum, SliceSum]
    beads: SliceSum


def halves_of(model: FitModel) -> Bool[Tensor, "particle"]:
    """Which particles are in the second of two halves.

    They are the half-sets, or every other particle of a fit of one half-set.
    """
    half = torch.zeros(model.n_particles, dtype=torch.long)
    half[model.particle] = model.images.stack.half
    if half.min() == half.max():
        return torch.arange(model.n_particles) % 2 == 1
    return half == half.max()


def sum_images(model: FitModel, state: FitState, disc: FourierDisc) -> ImageSums:
    """What the beads leave of all images, added up in space at the poses.

    Each particle is at a draw from its posterior: at its mean, images would be sharper than what
    they are compared with, and the difference would look like density.
    """
    disc = disc.coarser(max(FINEST, disc.resolution))
    grid, second = disc.coarse_grid(), halves_of(model)
    there, drawn, its_disc = model.at_batches(_drawn(model, state), disc)
    noise, moving = there.noise(drawn.spectrum), replace(there.image_model(drawn), still=())
    place = _Placing.of(grid, its_disc)
    counts = (~model.images.left_out).float()

    def of_batch(index: Int[Tensor, "batch"]) -> tuple[Tensor, Pose, Tensor, Tensor]:
        transfer, data = there.whitened(index, its_disc, noise)
        transfer = transfer * drawn.contrast[index, None]
        pose, latent = there.pose(drawn, index), drawn.latent[model.particle[index]]
        image = predict(there.deformation, moving, latent, pose=pose, disc=its_disc)
        image = image * transfer[:, None]
        return index, pose, transfer, torch.stack([data - image, image])

    def of_portions() -> Iterator[tuple[int, list[Tensor]]]:
        found = in_order(of_batch, model.batches(disc))
        for portion, batches in groupby(found, lambda each: model.portions.of(each[0])):
            sums = [empty_sum(grid, model.device) for _ in range(3)]
            for index, pose, transfer, (left, image) in batches:
                strength, half = moved((counts[index], second[model.particle[index]]), model.device)
                weighted = place.weighted(transfer, left)
                sums[0].add(*weighted, pose, strength * ~half)
                sums[1].add(*weighted, pose, strength * half)
                sums[2].add(*place.weighted(transfer, image), pose, strength)
            yield portion, [each.sums.cpu() for each in sums]

    like = [empty_sum(grid).sums] * 3
    first, other, beads = (SliceSum(grid, each) for each in model.portions.sum(of_portions(), like))
    return ImageSums((first, other), beads)


def with_residual(model: FitModel, state: FitState, disc: FourierDisc) -> FitState:
    """The state with the residual density that images show now, or none.

    In coarse passes it stays as it is.
    """
    if disc.resolution > COARSEST:
        return state
    found = residual_of(model, state, disc)
    return replace(state, residual=None if found is None else found.still)


def residual_of(model: FitModel, state: FitState, disc: FourierDisc) -> "ResidualMaps | None":
    """The residual density that images show where particles are; None where nothing stands out."""
    sums = sum_images(model, state, disc)
    return residual_maps(sums, owned=_owned(model, sums.beads.grid))


def _owned(model: FitModel, grid: ImageGrid) -> Float[Tensor, "box box box"] | None:
    """How much of the base model's density is of beads that are no part of what images show."""
    if model.outside is None:
        return None
    whole, apart = (
        _coarse(
            replace(model.beads, amplitude=model.beads.amplitude * share),
            model.beads.position,
            grid,
        )
        for share in (1.0, model.outside)
    )
    dense = _dense(whole)
    share = (apart / whole.clamp_min(1e-3 * dense)).clamp(0, 1)
    return share * (1 - outside(whole, dense))


def _coarse(
    beads: BeadModel, position: Float[Tensor, "bead 3"], grid: ImageGrid
) -> Float[Tensor, "box box box"]:
    """The density of beads at places, at the mask's resolution."""
    wide = (beads.sigma**2 + (SIGMA * MASK_RESOLUTION) ** 2).sqrt()
    return density_of_atoms(
        position, beads.amplitude, wide, box_size=grid.box_size, voxel_size=grid.pixel_size
    )


def with_first_residual(model: FitModel, state: FitState) -> FitState:
    """A state that nothing was measured of, with the residual density that is clear already.

    A belt as heavy as the molecule would be what the first scales and motions follow. The beads
    are as bright here as images have them where they themselves are dense. It waits where all of
    it may be motions: where nothing is clear beyond the reach of the beads in the population that
    the fit begins with.
    """
    if not model.finds_residual:
        return state
    disc = model.images.disc.coarser(MASK_RESOLUTION)
    generator = torch.Generator().manual_seed(model.seed)
    noise = calibrate(model, state, disc, generator).spectrum
    anywhere = replace(state, spectrum=noise, uncertainty=model.start.root)
    amplitude = _amplitude_within(sum_images(model, anywhere, disc))
    scaled = replace(anywhere, amplitude=amplitude)
    found = residual_of(model, scaled, disc)
    if found is None:
        return state
    reach = _reach(model, scaled, disc.coarse_grid(), generator)
    beyond = float((found.signal * (1 - reach.reached)).max()) * found.noise
    if beyond < FIRST * reach.densest:
        return state
    return replace(state, amplitude=amplitude, residual=found.still)


@dataclass(frozen=True, eq=False)
class _Reach:
    """Where the beads may come to.

    Parameters
    ----------
    reached : (box, box, box)
        1 where they are dense in more than one of some draws, falling to 0 where in none.
    densest : float
        Of the base model itself, at the mask's resolution.
    """

    reached: Float[Tensor, "box box box"]
    densest: float


def _reach(model: FitModel, state: FitState, grid: ImageGrid, generator: torch.Generator) -> _Reach:
    """How far the beads reach in the population that the fit begins with."""
    beads, start = model.bright_beads(state), model.start
    white = torch.randn(DRAWS, len(start.mean), generator=generator)

    def density(latent: Float[Tensor, "latent"]) -> Float[Tensor, "box box box"]:
        return _coarse(beads, model.deformation.conformation(latent).position, grid)

    base = density(start.mean)
    drawn = torch.stack([density(start.mean + start.root @ each) for each in white])
    second = torch.maximum(drawn.sort(0).values[-2], base)
    return _Reach(1 - outside(second, _dense(base)), float(base.max()))


def _amplitude_within(sums: ImageSums) -> float:
    """What the beads have to be multiplied by where they are dense."""
    beads = _map(sums.beads)
    weight = (1 - outside(beads, _dense(beads))) * beads
    left = 0.5 * sum(float((weight * _map(each)).sum()) for each in sums.left)
    return max(1 + left / float((weight * beads).sum()), DIMMEST)


@dataclass(frozen=True, eq=False)
class ResidualMaps:
    """The residual density and what it is made of, on voxels in the frame of the poses.

    Parameters
    ----------
    density : (box, box, box)
        Regularised and masked, per A^3 in the images' units.
    halves : tuple of (box, box, box)
        What the images of each half leave, as it is.
    mask : (box, box, box)
        What stands out, with a soft edge.
    signal : (box, box, box)
        The mean of the halves at the mask's resolution, outside the beads, in standard deviations
        of the noise.
    beads : (box, box, box)
        The beads' mean map, made the same way.
    densest : float
        What the signal would be where the beads are densest.
    noise : float
        Standard deviation of the noise at the mask's resolution, per A^3.
    voxel_size : float
        A.
    """

    density: Float[Tensor, "box box box"]
    halves: tuple[Float[Tensor, "box box box"], Float[Tensor, "box box box"]]
    mask: Float[Tensor, "box box box"]
    signal: Float[Tensor, "box box box"]
    beads: Float[Tensor, "box box box"]
    densest: float
    noise: float
    voxel_size: float

    @property
    def level(self) -> float:
        """What the signal of a blob is above."""
        return max(NOISE_LEVELS, FAINTEST * max(self.densest, float(self.signal.max())))

    @property
    def still(self) -> StillDensity:
        """The density as part of what images show."""
        return StillDensity(self.density, self.voxel_size)


def residual_maps(
    sums: ImageSums,
    *,
    owned: Float[Tensor, "box box box"] | None = None,
) -> ResidualMaps | None:
    """The residual density that sums of images make; None where nothing stands out.

    It is what is dense outside the beads in both halves, weighted shell by shell by how far the
    halves agree there.

    Parameters
    ----------
    sums : ImageSums
    owned : (box, box, box), optional
        1 where the density is looked for whatever beads are near.
    """
    grid = sums.beads.grid
    one, other = (_map(each) for each in sums.left)
    beads = _map(sums.beads)
    free = outside(beads, _dense(beads))
    if owned is not None:
        free = torch.maximum(free, owned)
    signal, densest, noise = _signal(one * free, other * free, beads, grid)
    if not (signal > NOISE_LEVELS).any():
        return None
    mask = density_mask(
        signal,
        voxel_size=grid.pixel_size,
        level=NOISE_LEVELS,
        extend=EXTEND,
        edge=max(EDGE, 4 * grid.pixel_size),
    )
    mask = mask * free * box_sphere(grid)
    correlation = fourier_shell_correlation(one * mask, other * mask)
    whole = sums.left[0].plus(sums.left[1])
    density = whole.density(regularisation(correlation, whole.shell_weight())) * mask
    return ResidualMaps(density, (one, other), mask, signal, beads, densest, noise, grid.pixel_size)


def _signal(
    first: Float[Tensor, "box box box"],
    second: Float[Tensor, "box box box"],
    beads: Float[Tensor, "box box box"],
    grid: ImageGrid,
) -> tuple[Float[Tensor, "box box box"], float, float]:
    """The mean of two halves over the noise, the beads' highest over it, and that noise."""
    resolution = max(MASK_RESOLUTION, 3 * grid.pixel_size)
    coarse, noise, dense = (
        low_pass(each, voxel_size=grid.pixel_size, resolution=resolution)
        for each in (0.5 * (first + second), 0.5 * (first - second), beads)
    )
    inside = box_sphere(grid)
    sd = float(noise[inside > 0.5].std())
    return coarse * inside / sd, float(dense.max()) / sd, sd


def outside(beads: Float[Tensor, "box box box"], dense: float) -> Float[Tensor, "box box box"]:
    """1 where the beads have next to no density, falling to 0 where a fifth of what is dense."""
    return 1 - (beads / (0.2 * dense)).clamp(0, 1)


def _dense(beads: Float[Tensor, "box box box"]) -> float:
    """What beads have where they are dense."""
    return float(torch.quantile(beads.flatten(), 0.999))


def _map(total: SliceSum) -> Float[Tensor, "box box box"]:
    return total.density(FLOOR * total.shell_weight())


def _drawn(model: FitModel, state: FitState) -> FitState:
    """The state with particles and poses at a draw from their posterior."""
    random = torch.Generator().manual_seed(model.seed * 1_000_003 + state.step)
    latent, poses = state.drawn(random), state.poses
    if poses is not None:
        turned = poses.value + poses.sd * torch.randn(poses.value.shape, generator=random)
        poses = replace(poses, value=turned)
    return replace(state, latent=latent, poses=poses)


@dataclass(frozen=True)
class _Placing:
    """How coefficients on a disc become those of padded images, as sums of slices take them."""

    half_plane: Tensor  # (frequency,), where each stands in a padded image
    shape: tuple[int, int]
    root: Tensor  # (frequency,), of the multiplicity
    scale: float  # from coefficients on the disc to sums over pixels of the grid

    @classmethod
    def of(cls, grid: ImageGrid, disc: FourierDisc) -> "_Placing":
        fine = padded_grid(grid).box_size
        step = fine // grid.box_size
        shape = (fine, fine // 2 + 1)
        place = (step * disc.y_index) % fine * shape[1] + step * disc.x_index
        scale = grid.pixel_size / disc.voxel_scale(grid.pixel_size)
        return cls(place, shape, disc.multiplicity.sqrt(), scale)

    def weighted(
        self, transfer: Float[Tensor, "batch frequency"], image: Float[Tensor, "batch 2 frequency"]
    ) -> tuple[Tensor, Tensor]:
        """Padded images times the transfer function, and its square, both without multiplicity."""
        once = transfer / self.root
        value = torch.complex(image[:, 0], image[:, 1]) * (once * self.scale / self.root)
        padded = value.new_zeros(len(transfer), self.shape[0] * self.shape[1])
        weight = transfer.new_zeros(padded.shape)
        padded[:, self.half_plane], weight[:, self.half_plane] = value, once.square()
        return padded.unflatten(1, self.shape), weight.unflatten(1, self.shape)

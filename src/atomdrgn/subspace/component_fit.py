"""A mean volume and its components by expectation-maximisation, straight from images.

An image is its contrast times the mean, and a latent number times each component, seen through the
CTF, with noise. Each particle's amounts have an exact posterior; given these, each voxel of the
volumes' padded transforms has a small system of equations. A particle that shows nothing of the
mean is junk, and has no weight.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..parallel import in_order
from .component_grid import ComponentGrid, packed, resized
from .component_loops import add_to_sums
from .particle_systems import (
    Amounts,
    Systems,
    log_evidence,
    posterior,
    systems_of_batch,
)
from .whitened_images import ImageBatch, WhitenedImages

# Of the mean's power in each shell, that a component is expected to have until half-sets have been
# compared. With it for good, the axis of a hinge (SNR 0.01, 5,000 images) follows it by 0.83, with
# 0.01 by 0.89; two states in which a third of the molecule moves want 0.3.
COMPONENT_SHARE = 0.3
LEAST_SHARE = 0.01  # of the mean's power, that a component may always have
START_SHARE = 0.01  # of the mean's power, that the random numbers one starts from have
ALIKE = 0.0, 0.99  # least and most correlation of components of both half-sets
NEIGHBOURS = 2  # shells to each side that are compared together
FLOOR = 0.05  # of a shell's mean weight, added where the mean is first made
NARROWEST, WIDEST = 1e-3, 0.3  # standard deviation of the contrast of particles
JUNK_WIDTH = 0.2  # standard deviation of how much of the mean junk seems to hold
JUNK_PRIOR = (1.0, 50.0)  # particles that were seen before, as it were: junk, and all


@dataclass(frozen=True, eq=False)
class Components:
    """The mean volume and what particles differ by.

    Parameters
    ----------
    grid : ComponentGrid
        Voxels.
    volumes : (volume, z, y, x)
        The mean, then components by one standard deviation of the population, A^-3.
    power : (volume, shell)
        Mean square of each volume's coefficients that is expected before images are seen.
    covariance : (volume, volume)
        Of contrast and latents in the population; latents are independent and of variance 1.
    junk : float
        Share of particles that are junk.
    known : (shell,)
        What images say of a mode of a volume within the mask: one over its variance.
    """

    grid: ComponentGrid
    volumes: Float[Tensor, "volume z y x"]
    power: Float[np.ndarray, "volume shell"]
    covariance: Float[np.ndarray, "volume volume"]
    junk: float
    known: Float[np.ndarray, "shell"]

    @property
    def count(self) -> int:
        """Components, without the mean."""
        return len(self.volumes) - 1

    @property
    def centre(self) -> Float[np.ndarray, "volume"]:
        """Amounts of the mean particle: contrast 1, latents 0."""
        return np.eye(1 + self.count)[0]

    def first(self, count: int) -> "Components":
        """The mean and the first components alone."""
        kept = slice(0, count + 1)
        return replace(
            self,
            volumes=self.volumes[kept],
            power=self.power[kept],
            covariance=self.covariance[kept, kept],
        )

    def on(self, grid: ComponentGrid, mask: Float[Tensor, "z y x"]) -> "Components":
        """The same on other voxels."""
        volumes = resized(self.volumes, grid.grid.box_size) * mask
        power, known = (
            np.pad(each, ((0, 0), (0, grid.shells)), mode="edge")[:, : grid.shells]
            for each in (self.power, self.known[None])
        )
        return replace(self, grid=grid, volumes=volumes, power=power, known=known[0])

    def turned(self, axes: Float[np.ndarray, "component axis"]) -> "Components":
        """The same along other axes of the latents, orthogonal ones."""
        step = np.eye(1 + self.count)
        step[1:, 1:] = axes
        volumes = torch.einsum("vzyx,vw->wzyx", self.volumes, torch.from_numpy(step).float())
        return replace(self, volumes=volumes, covariance=step.T @ self.covariance @ step)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds."""
        return {
            "volumes": self.volumes.contiguous(),
            "power": torch.from_numpy(self.power),
            "covariance": torch.from_numpy(self.covariance),
            "junk": torch.tensor(self.junk, dtype=torch.float64),
            "known": torch.from_numpy(self.known),
        }

    @classmethod
    def of_tensors(cls, grid: ComponentGrid, tensors: dict[str, Tensor]) -> "Components":
        """What :meth:`tensors` gave.

        Raises
        ------
        KeyError, ValueError
            They are others.
        """
        volumes, box = tensors["volumes"], grid.grid.box_size
        if volumes.shape[1:] != (box, box, box):
            raise ValueError(f"volumes of {tuple(volumes.shape)} voxels, expected {box} an edge")
        return cls(
            grid,
            volumes,
            tensors["power"].numpy(),
            tensors["covariance"].numpy(),
            float(tensors["junk"]),
            tensors["known"].numpy(),
        )

    def amounts(self, systems: Systems) -> Amounts:
        """Posterior of contrast and latents."""
        return posterior(systems, self.centre, self.covariance)

    def log_likelihood(self, systems: Systems) -> Float[np.ndarray, "particle"]:
        """Of particles, junk or not, relative to noise alone."""
        return np.logaddexp(*self._classes(systems))

    def signal(self, systems: Systems) -> Float[np.ndarray, "particle"]:
        """Probability that each particle is none of the junk."""
        good, junk = self._classes(systems)
        return np.exp(good - np.logaddexp(good, junk))

    def _classes(self, systems: Systems) -> tuple[np.ndarray, np.ndarray]:
        good = log_evidence(systems, self.centre, self.covariance)
        junk = log_evidence(systems.first(1), np.zeros(1), np.full((1, 1), JUNK_WIDTH**2))
        return np.log1p(-self.junk) + good, np.log(self.junk) + junk


def mean_of(
    images: WhitenedImages, grid: ComponentGrid, particle: Int[Tensor, "some"]
) -> Float[Tensor, "z y x"]:
    """The mean of some particles, all alike."""
    sums = grid.empty_sums(1)
    for batch in _in_order(images, particle):
        one = np.ones((len(batch.image), 1), np.float32)
        add_batch(batch, grid, one, one, sums)
    systems = grid.collected(sums)
    weight = np.maximum(grid.mean_weight(systems), 1e-12)
    return grid.filtered(systems, 1 / (FLOOR * weight)[None])[0]


def begin(
    grid: ComponentGrid,
    mean: Float[Tensor, "z y x"],
    mask: Float[Tensor, "z y x"],
    count: int,
    generator: torch.Generator,
) -> Components:
    """A mean and components of random numbers with a little of its power."""
    volumes = (mean * mask)[None]
    power = grid.shell_power(volumes)
    if count:
        noise = torch.randn(count, *mean.shape, generator=generator)
        volumes = torch.cat([volumes, grid.with_power(noise, START_SHARE * power[0]) * mask])
        power = np.concatenate([power, np.repeat(COMPONENT_SHARE * power, count, 0)])
    covariance = np.eye(1 + count)
    covariance[0, 0] = 0.1**2
    start = JUNK_PRIOR[0] / JUNK_PRIOR[1]
    return _turned(Components(grid, volumes, power, covariance, start, np.zeros(grid.shells)))


def run_round(
    images: WhitenedImages,
    components: Components,
    particle: Int[Tensor, "some"],
    mask: Float[Tensor, "z y x"],
) -> Components:
    """One round: posterior of each particle, then the volumes that these make likeliest.

    Parameters
    ----------
    images : WhitenedImages
        On the disc of the components' grid.
    components : Components
    particle : (some,)
        That are learned from.
    mask : (z, y, x)
        In which volumes may have density.

    Returns
    -------
    Components
        Turned to principal axes.

    References
    ----------
    Tagare et al., J. Struct. Biol. 191 (2015), 245-262; Punjani & Fleet, J. Struct. Biol. 213
    (2021), 107702. Liu, Rubin & Wu, Biometrika 85 (1998), 755-770: what the prior is not met by is
    taken into the volumes (parameter expansion).
    """
    grid, count = components.grid, len(components.volumes)
    transform, sums = grid.transform(components.volumes), grid.empty_sums(count)
    weight, first, second = 0.0, np.zeros(count), np.zeros((count, count))

    def expected(image: Tensor) -> tuple[ImageBatch, np.ndarray, Amounts, np.ndarray]:
        batch = images.batch(image)
        own = np.unique(images.particle[image].numpy(), return_inverse=True)[1]
        systems = systems_of_batch(batch, own, transform, grid.place)
        return batch, own, components.amounts(systems), components.signal(systems)

    for batch, own, amounts, good in in_order(expected, images.batches(particle)):
        moment = good[:, None, None] * amounts.second
        add_batch(batch, grid, (good[:, None] * amounts.mean)[own], packed(moment)[own], sums)
        weight += good.sum()
        first += good @ amounts.mean
        second += moment.sum(0)
    systems = grid.collected(sums)
    volumes = grid.solved(systems, components.power, mask, components.volumes)
    mean = first / weight
    centred = torch.from_numpy(mean).float()
    volumes[0] = (centred[:, None, None, None] * volumes).sum(0)
    scale = np.ones(count)
    scale[0] = 1 / mean[0]
    covariance = (second / weight - np.outer(mean, mean)) * np.outer(scale, scale)
    known = grid.mean_weight(systems) * grid.spread_over(mask)
    power = components.power.copy()
    power[0] = grid.shell_power(volumes[:1])[0] + power[0] / (1 + known * power[0])
    bad = len(particle) - weight
    return _turned(
        Components(
            grid,
            volumes,
            np.maximum(power, 1e-30),
            covariance,
            (max(bad, 0.0) + JUNK_PRIOR[0]) / (len(particle) + JUNK_PRIOR[1]),
            known,
        )
    )


def agreed_power(components: Components, other: Components) -> Float[np.ndarray, "volume shell"]:
    """The power of components that is no noise, by how far those of the other half-set agree.

    Components of the other half-set are turned onto these. Of the ratio of signal and noise that
    two maps' correlation tells, and of the noise that images leave, follows the power.

    Parameters
    ----------
    components : Components
        Of one half-set; its mean keeps its power.
    other : Components
        Of the other.

    References
    ----------
    Scheres, J. Struct. Biol. 180 (2012), 519-530, equation 11: the power of the signal from half-
    maps.
    """
    own, beside = (each.volumes[1:].flatten(1) for each in (components, other))
    left, _, right = torch.linalg.svd(own @ beside.T)
    turned = (left @ right @ beside).view_as(components.volumes[1:])
    grid = components.grid
    shared, first, second = (
        _over_neighbours(each)
        for each in (
            grid.shell_product(components.volumes[1:], turned),
            grid.shell_power(components.volumes[1:]),
            grid.shell_power(turned),
        )
    )
    alike = np.clip(shared / np.sqrt(np.maximum(first * second, 1e-30)), *ALIKE)
    result = components.power.copy()
    signal = alike / (1 - alike) / np.maximum(components.known, 1e-30)
    # a component changes no more than there is
    result[1:] = np.clip(signal, LEAST_SHARE * result[0], result[0])
    return result


def _over_neighbours(power: Float[np.ndarray, "volume shell"]) -> Float[np.ndarray, "volume shell"]:
    """Sums over neighbouring shells: one alone has few modes within a mask."""
    padded = np.pad(power, ((0, 0), (NEIGHBOURS, NEIGHBOURS)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1, axis=1)
    return windows.sum(-1)


def _turned(components: Components) -> Components:
    """Components that hold nothing of the mean, by their size, of independent latents.

    What they had of the mean is a change of contrast.
    """
    count = components.count
    flat = components.volumes.flatten(1).double().numpy()
    covariance = components.covariance.copy()
    if count:
        share = flat[1:] @ flat[0] / max(flat[0] @ flat[0], 1e-300)
        flat[1:] -= share[:, None] * flat[0]
        step = np.eye(1 + count)
        step[0, 1:] = share
        covariance = step @ covariance @ step.T
        root = np.linalg.cholesky(covariance[1:, 1:] + 1e-9 * np.eye(count))
        turn, size, axis = np.linalg.svd(root.T @ flat[1:], full_matrices=False)
        sign = np.sign(axis[np.arange(count), np.abs(axis).argmax(1)])
        flat[1:] = (size * sign)[:, None] * axis
        step = np.eye(1 + count)
        step[1:, 1:] = (sign[:, None] * turn.T) @ np.linalg.inv(root)
        covariance = step @ covariance @ step.T
    return replace(
        components,
        volumes=torch.from_numpy(flat).float().view_as(components.volumes),
        covariance=_bounded(covariance),
    )


def _bounded(covariance: Float[np.ndarray, "volume volume"]) -> Float[np.ndarray, "volume volume"]:
    """Of contrast and latents, with latents of variance 1 and contrast within its bounds."""
    result = np.eye(len(covariance))
    variance = float(np.clip(covariance[0, 0], NARROWEST**2, WIDEST**2))
    with_latents = covariance[0, 1:]
    most = 0.9 * np.sqrt(variance)
    result[0, 0] = variance
    result[0, 1:] = result[1:, 0] = with_latents * min(
        1.0, most / max(float(np.linalg.norm(with_latents)), 1e-12)
    )
    return result


def _in_order(images: WhitenedImages, particle: Int[Tensor, "some"]) -> Iterator[ImageBatch]:
    return in_order(images.batch, images.batches(particle))


def add_batch(
    batch: ImageBatch,
    grid: ComponentGrid,
    amount: np.ndarray,
    moment: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add images to the systems of the voxels, with the amounts and moments of each."""
    add_to_sums(
        batch.rotation,
        grid.place,
        batch.transfer,
        batch.data,
        amount.astype(np.float32),
        moment.astype(np.float32),
        sums,
    )

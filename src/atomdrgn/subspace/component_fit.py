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

# Of the mean's power in each shell, that a component is expected to have before images are seen.
# With 0.05 the axis of a hinge (SNR 0.01, 5,000 images) follows it by 0.82, with 0.3 and with 1 by
# 0.84; powers that are learned from one half-set let all components fade.
COMPONENT_SHARE = 0.3
START_SHARE = 0.01  # of the mean's power, that the random numbers one starts from have
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
    power : (shell,)
        Of the mean's coefficients, as its prior has it.
    covariance : (volume, volume)
        Of contrast and latents in the population; latents are independent and of variance 1.
    junk : float
        Share of particles that are junk.
    """

    grid: ComponentGrid
    volumes: Float[Tensor, "volume z y x"]
    power: Float[np.ndarray, "shell"]
    covariance: Float[np.ndarray, "volume volume"]
    junk: float

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
        return replace(self, volumes=self.volumes[kept], covariance=self.covariance[kept, kept])

    def on(self, grid: ComponentGrid, mask: Float[Tensor, "z y x"]) -> "Components":
        """The same on other voxels."""
        shells = grid.shells
        power = np.pad(self.power, (0, max(0, shells - len(self.power))), mode="edge")[:shells]
        volumes = resized(self.volumes, grid.grid.box_size) * mask
        return replace(self, grid=grid, volumes=volumes, power=power)

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
        _add(batch, grid, one, one, sums)
    systems = grid.collected(sums)
    weight = np.maximum(grid.mean_weight(systems), 1e-12)
    return grid.solved(systems, 1 / (FLOOR * weight)[None])[0]


def begin(
    grid: ComponentGrid,
    mean: Float[Tensor, "z y x"],
    mask: Float[Tensor, "z y x"],
    count: int,
    generator: torch.Generator,
) -> Components:
    """A mean and components of random numbers with a little of its power."""
    volumes = (mean * mask)[None]
    power = grid.shell_power(volumes)[0]
    if count:
        noise = torch.randn(count, *mean.shape, generator=generator)
        volumes = torch.cat([volumes, grid.with_power(noise, START_SHARE * power) * mask])
    covariance = np.eye(1 + count)
    covariance[0, 0] = 0.1**2
    start = JUNK_PRIOR[0] / JUNK_PRIOR[1]
    return _turned(Components(grid, volumes, power, covariance, start))


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
        _add(batch, grid, (good[:, None] * amounts.mean)[own], packed(moment)[own], sums)
        weight += good.sum()
        first += good @ amounts.mean
        second += moment.sum(0)
    prior = np.repeat((COMPONENT_SHARE * components.power)[None], count, 0)
    prior[0] = components.power
    systems = grid.collected(sums)
    volumes = grid.solved(systems, prior) * mask
    mean = first / weight
    centred = torch.from_numpy(mean).float()
    volumes[0] = (centred[:, None, None, None] * volumes).sum(0)
    scale = np.ones(count)
    scale[0] = 1 / mean[0]
    covariance = (second / weight - np.outer(mean, mean)) * np.outer(scale, scale)
    own_power = grid.shell_power(volumes[:1])[0]
    information = np.maximum(grid.mean_weight(systems) * components.power, 1e-3)
    bad = len(particle) - weight
    return _turned(
        Components(
            grid,
            volumes,
            np.maximum(own_power * (1 + 1 / information), 1e-30),
            covariance,
            (max(bad, 0.0) + JUNK_PRIOR[0]) / (len(particle) + JUNK_PRIOR[1]),
        )
    )


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


def _add(
    batch: ImageBatch,
    grid: ComponentGrid,
    amount: np.ndarray,
    moment: np.ndarray,
    sums: np.ndarray,
) -> None:
    add_to_sums(
        batch.rotation,
        grid.place,
        batch.transfer,
        batch.data,
        amount.astype(np.float32),
        moment.astype(np.float32),
        sums,
    )

"""Volumes of the images near a latent: what is there, whatever components hold.

Each image counts as far as its particle's posterior is near. Few images are near and their map is
noisy; many are blurred. The half-sets say, shell by shell, which width of the kernel is best.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..backprojection.backprojection import Reconstruction, finish
from ..backprojection.filtering import shell_mean
from ..backprojection.noise_spectra import measure_noise
from ..backprojection.slice_sum import PADDING, SliceSum, empty_sum
from ..backprojection.weighted_images import Target, add_images
from ..errors import InputError
from ..inference.images.faults_before_fit import read_images
from ..inference.images.fourier_images import FourierImages
from ..particles.stack.stack import ParticleStack
from ..reporting import Reporter
from ..runs.volume_run import VolumeRun
from ..structure.density_map import DensityMap

# Widths of the kernel in standard deviations of the population, the narrowest first
WIDTHS = (0.1, 0.2, 0.4, 0.8, 1.6)
FEWEST = 30.0  # particles of weight 1, as it were, of each half-set: fewer make no map
SMOOTH = 2  # shells to each side over which errors are compared


@dataclass(frozen=True, eq=False)
class LocalVolume:
    """The map of the images near a latent.

    Parameters
    ----------
    reconstruction : Reconstruction
        Map, half-maps, mask and what they say of each other.
    width : (shell,)
        Of the kernel, in standard deviations of the population.
    effective_particles : float
        How many particles of weight 1 tell as much as those near, at the narrowest width in use.
    """

    reconstruction: Reconstruction
    width: Float[np.ndarray, "shell"]
    effective_particles: float


class LocalVolumes:
    """Local volumes of a run: its images are read once for each latent that is asked.

    Parameters
    ----------
    run : VolumeRun
    particles : ParticleStack
        Its images.
    mask : DensityMap, optional
        Where maps are compared; the run's own by default.
    seed : int
        For samples and random phases.

    Raises
    ------
    InputError
        The run has one volume for all.
    """

    def __init__(
        self,
        run: VolumeRun,
        particles: ParticleStack,
        *,
        mask: DensityMap | None = None,
        seed: int = 0,
    ) -> None:
        if run.latent.shape[1] == 0:
            raise InputError(f"{run.folder}: one volume for all particles; none is near a latent")
        images = FourierImages(particles, particles.grid.nyquist)
        read_images(images, None, reporter=Reporter())
        self.run, self.stack, self.mask, self.seed = run, images.stack, mask, seed
        self.particle = torch.unique(particles.particle, return_inverse=True)[1].numpy()
        self.counts = (~images.left_out).numpy()
        self.good = 1 - run.table.get("junk", np.zeros(run.n_particles))
        self.spectrum = measure_noise(self.stack, seed=seed, counts=~images.left_out)

    def at(
        self, latent: Float[np.ndarray, "latent"], *, reporter: Reporter | None = None
    ) -> LocalVolume:
        """The volume at a latent.

        Parameters
        ----------
        latent : (latent,)
        reporter : Reporter, optional
            Watches.

        Raises
        ------
        InputError
            Too few particles are near, even by the widest kernel.

        References
        ----------
        Gilles & Singer, PNAS 122 (2025) (RECOVAR), on kernels by shell: the error of one half-set's
        map is measured against the other's narrowest one, which is noisy and not blurred.
        """
        half = self.stack.half.numpy()
        half_of = np.zeros(self.run.n_particles, dtype=np.int64)
        half_of[self.particle] = half
        weights, widths = [], []
        for width in WIDTHS:
            weight = nearness(self.run.latent, self.run.latent_covariance, latent, width)
            weight = weight * self.good
            if min(effective(weight[half_of == number]) for number in (1, 2)) >= FEWEST:
                weights.append(weight)
                widths.append(width)
        if not weights:
            raise InputError(
                f"at {', '.join(f'{value:.3g}' for value in latent)}: fewer than {FEWEST:.0f} "
                "particles of each half-set are near; ask where more are, or for linear volumes"
            )
        sums = [[empty_sum(self.stack.grid) for _ in range(2)] for _ in weights]
        add_images(
            self.stack,
            [
                Target(
                    total,
                    torch.from_numpy(
                        weight[self.particle] * self.counts * (half == number)
                    ).float(),
                    self.stack.pose,
                )
                for weight, pair in zip(weights, sums, strict=True)
                for number, total in enumerate(pair, 1)
            ],
            spectrum=self.spectrum,
            title="local volume",
            reporter=reporter,
        )
        best = best_widths(sums, self._mask(sums[-1]))
        halves = [joined([pair[number] for pair in sums], best) for number in range(2)]
        return LocalVolume(
            finish(halves[0], halves[1], mask=self.mask, b_factor=0.0, seed=self.seed),
            np.array(widths)[best],
            effective(weights[int(best.min())]),
        )

    def _mask(self, widest: list[SliceSum]) -> Float[Tensor, "z y x"]:
        if self.mask is not None:
            return self.mask.density
        return finish(widest[0], widest[1], b_factor=0.0, seed=self.seed).mask.density


def nearness(
    mean: Float[np.ndarray, "particle latent"],
    covariance: Float[np.ndarray, "particle latent latent"],
    latent: Float[np.ndarray, "latent"],
    width: float,
) -> Float[np.ndarray, "particle"]:
    """How far each particle's posterior is near a latent, up to a common factor.

    Parameters
    ----------
    mean, covariance : (particle, latent), (particle, latent, latent)
        Posterior of each particle.
    latent : (latent,)
    width : float
        Standard deviation of the kernel, in those of the latents of all particles.

    Returns
    -------
    (particle,)
        The expected kernel, by the posterior; 1 for a particle that is known to be there.

    Examples
    --------
    >>> nearness(np.array([[0.0], [9.0]]), np.zeros((2, 1, 1)), np.zeros(1), 0.1).round(2)
    array([1., 0.])
    """
    kernel = width**2 * np.atleast_2d(np.cov(mean.T))
    off, whole = mean - latent, covariance + kernel
    square = (off * np.linalg.solve(whole, off[..., None])[..., 0]).sum(1)
    return np.exp(0.5 * (np.linalg.slogdet(kernel)[1] - np.linalg.slogdet(whole)[1]) - 0.5 * square)


def effective(weight: Float[np.ndarray, "particle"]) -> float:
    """How many particles of weight 1 tell as much as these."""
    return float(weight.sum() ** 2 / max((weight**2).sum(), 1e-300))


def best_widths(sums: list[list[SliceSum]], mask: Float[Tensor, "z y x"]) -> np.ndarray:
    """Which of some kernels is best in each shell, the narrowest first.

    Parameters
    ----------
    sums : list of (first, second)
        Of each kernel, by half-set.
    mask : (z, y, x)
        Where maps are compared.

    Returns
    -------
    (shell,)
    """
    shells = sums[0][0].grid.box_size // 2 + 1
    if len(sums) == 1:
        return np.zeros(shells, dtype=np.int64)
    maps = [[_transform(total, mask) for total in pair] for pair in sums]
    error = np.zeros((len(sums), shells))
    for number, pair in enumerate(maps):
        for own, other in ((0, 1), (1, 0)):
            off = (pair[own] - maps[0][other]).abs().square()
            error[number] += shell_mean(off, sums[0][0].grid.box_size).numpy()
    padded = np.pad(error, ((0, 0), (SMOOTH, SMOOTH)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * SMOOTH + 1, axis=1)
    return windows.sum(-1).argmin(0)


def joined(sums: list[SliceSum], best: np.ndarray) -> SliceSum:
    """One sum that has in each shell the coefficients of the kernel that is best there."""
    n = sums[0].sums.shape[0]
    along = (np.arange(n) - n // 2) / PADDING
    half = np.arange(sums[0].sums.shape[2]) / PADDING
    radius = np.sqrt(along[:, None, None] ** 2 + along[:, None] ** 2 + half**2)
    which = best[np.minimum(np.round(radius).astype(np.int64), len(best) - 1)]
    result = torch.zeros_like(sums[0].sums)
    for number, total in enumerate(sums):
        mine = torch.from_numpy(which == number).to(result.device)
        result[mine] = total.sums[mine]
    return SliceSum(sums[0].grid, result)


def _transform(total: SliceSum, mask: Float[Tensor, "z y x"]) -> Tensor:
    return torch.fft.rfftn(total.density(0.01 * total.shell_weight()) * mask)

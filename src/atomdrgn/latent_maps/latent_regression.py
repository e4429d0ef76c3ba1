"""``atomdrgn volume`` on latents that are given: the volumes that go with them, as a run.

With latents known there is nothing to find but the mean and what each latent number adds: systems
of equations in each voxel, which are solved once more where contrast is known better.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..backprojection.backprojection import require_both_halves
from ..backprojection.filtering import automatic_mask
from ..backprojection.noise_spectra import measure_noise
from ..errors import InputError
from ..inference.findings.held_out_support import with_tails_drawn_in
from ..inference.images.faults_before_fit import read_images
from ..inference.images.fourier_images import FourierImages
from ..inference.problem.significance import is_clear
from ..parallel import in_order, whole_batches_on_threads
from ..particles.stack.stack import ParticleStack
from ..physics.disc import make_disc
from ..reporting import Reporter
from ..runs.given_latents import GivenLatents
from ..runs.run import VOLUME
from ..runs.run_folder import begin_run, only_writer, require_beginning, run_settings
from ..runs.volume_run import GIVEN, VolumeRun, open_volume_run
from ..subspace.component_fit import (
    COMPONENT_SHARE,
    NARROWEST,
    WIDEST,
    Components,
    add_batch,
    agreed_power,
    mean_of,
)
from ..subspace.component_grid import ComponentGrid, packed
from ..subspace.component_support import ComponentSupport
from ..subspace.latent_mixture import Mixture
from ..subspace.particle_systems import Amounts, Systems, particle_systems
from ..subspace.subspace_files import write_results
from ..subspace.subspace_fit import FINE, MASK_EDGE, MASK_EXTEND, MASK_RESOLUTION, Subspace
from ..subspace.whitened_images import WhitenedImages, whiten_images

ROUNDS = 4  # contrast by the volumes, volumes by the contrast


def fit_on_latents(
    particles: ParticleStack,
    given: GivenLatents,
    out: Path | str,
    *,
    resolution: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
) -> VolumeRun:
    """The mean volume and what each number of given latents adds to it, as a run.

    Parameters
    ----------
    particles : ParticleStack
    given : GivenLatents
        Of these particles, by :func:`~atomdrgn.runs.given_latents.read_latents`.
    out : path
        Folder of the run.
    resolution : float, optional
        Finest of the volumes that are added, A; by default 14 A, or Nyquist where that is coarser.
    seed : int
        For samples and random phases.
    overwrite, settings, reporter
        As for :func:`atomdrgn.fit`.

    Raises
    ------
    InputError
        A resolution out of range, or a half-set without particles.
    OutputExistsError
        The folder holds something.

    Examples
    --------
    >>> from atomdrgn import read_particles
    >>> from atomdrgn.runs.given_latents import read_latents
    >>> particles = read_particles("particles.star")
    >>> np.save("theirs.npy", np.arange(16.0).reshape(8, 2) ** 2)
    >>> run = fit_on_latents(particles, read_latents("theirs.npy", particles), "on_theirs")
    >>> run.latent.shape, len(run.components)
    ((8, 2), 2)
    """
    folder, reporter, began = Path(out), reporter or Reporter(), time.process_time()
    if resolution is not None and resolution < particles.grid.nyquist:
        raise InputError(
            f"a resolution of {resolution} A: pixels of {particles.grid.pixel_size:.3g} A hold "
            f"{particles.grid.nyquist:.3g} A at best"
        )
    require_beginning(folder, None, resume=False, overwrite=overwrite)
    finest = max(resolution or FINE, particles.grid.nyquist)
    made = run_settings(
        None,
        particles,
        more=settings or {},
        choices={
            "inference": VOLUME,
            "latents": GIVEN,
            "latent": given.latent.shape[1],
            "resolution": resolution,
            "seed": seed,
        },
    )
    images = FourierImages(particles, finest)
    with whole_batches_on_threads():
        warned = read_images(images, None, reporter=reporter)
        require_both_halves(images.stack, (~images.left_out).float())
        with only_writer(folder, reporter):
            begin_run(folder, made, None, resume=False, overwrite=overwrite, reporter=reporter)
            spectrum = measure_noise(images.stack, seed=seed, counts=~images.left_out)
            whitened = whiten_images(images, spectrum, make_disc(particles.grid, finest))
            centre, scale = given.latent.mean(0), given.latent.std(0)
            latent = np.clip((given.latent - centre) / scale, -10, 10)
            found = _regressed(whitened, latent, reporter=reporter)
            write_results(
                folder,
                _in_their_units(found, given, scale),
                whitened,
                spectrum,
                seed=seed,
                summary={
                    "latent_centre": [round(float(each), 6) for each in centre],
                    "warnings": [*images.stack.warnings, *warned],
                },
                began=began,
                reporter=reporter,
            )
    return open_volume_run(folder)


def _regressed(
    images: WhitenedImages, latent: Float[np.ndarray, "particle latent"], *, reporter: Reporter
) -> Subspace:
    """Volumes of all particles; what they are worth is measured between half-sets."""
    half_of = torch.zeros(images.n_particles, dtype=torch.long)
    half_of[images.particle] = images.images.stack.half
    sets = [torch.nonzero(images.seen & (half_of == number))[:, 0] for number in (1, 2)]
    grid, count = ComponentGrid(images.disc), latent.shape[1]
    means = [mean_of(images, grid, particle) for particle in sets]
    mask = automatic_mask(
        means[0],
        means[1],
        grid.grid,
        resolution=MASK_RESOLUTION,
        extend=MASK_EXTEND,
        edge=MASK_EDGE,
    )
    reporter.start("volumes on latents", 3 * ROUNDS)
    halves = []
    for mean in means:
        power = grid.shell_power((mean * mask)[None])
        halves.append(
            Components(
                grid,
                torch.cat([(mean * mask)[None], torch.zeros(count, *mean.shape)]),
                np.concatenate([power, np.repeat(COMPONENT_SHARE * power, count, 0)]),
                np.diag([0.1**2, *np.ones(count)]),
                0.0,
                np.zeros(grid.shells),
            )
        )
    for number in range(ROUNDS):
        if number:
            powers = [agreed_power(*halves), agreed_power(*halves[::-1])]
            halves = [
                replace(each, power=power) for each, power in zip(halves, powers, strict=True)
            ]
        halves = [
            _round(images, each, particle, latent, mask)
            for each, particle in zip(halves, sets, strict=True)
        ]
        reporter.advance(2)
    gains = [
        _gain(other, particle_systems(images, grid, other.volumes, particle), latent[particle])
        for particle, other in zip(sets, halves[::-1], strict=True)
    ]
    whole = replace(halves[0], power=agreed_power(*halves))
    everyone = torch.nonzero(images.seen)[:, 0]
    for _ in range(ROUNDS):
        whole = _round(images, whole, everyone, latent, mask)
        reporter.advance()
    reporter.finish()
    systems = particle_systems(images, grid, whole.volumes, torch.arange(images.n_particles))
    contrast = _contrast(systems, latent, whole.covariance[0, 0])[0]
    none = Amounts(np.zeros((0, 0)), np.zeros((0, 0, 0)))
    population = Mixture(np.ones(1), np.zeros((1, count)), np.eye(count)[None])
    return Subspace(
        whole, [_support(gains)], population, none, contrast, np.zeros(images.n_particles)
    )


def _round(
    images: WhitenedImages,
    components: Components,
    particle: Int[Tensor, "some"],
    latent: Float[np.ndarray, "particle latent"],
    mask: Float[Tensor, "z y x"],
) -> Components:
    """Contrast of some particles by the volumes, and the volumes by contrast and latents."""
    grid = components.grid
    systems = particle_systems(images, grid, components.volumes, particle)
    variance = components.covariance[0, 0]
    contrast, uncertain = _contrast(systems, latent[particle], variance)
    contrast /= contrast.mean()
    amount = np.zeros((images.n_particles, 1 + latent.shape[1]))
    amount[particle, 0] = contrast
    amount[:, 1:] = latent
    moment = amount[:, :, None] * amount[:, None]
    moment[particle, 0, 0] += uncertain
    sums = grid.empty_sums(amount.shape[1])
    for batch in in_order(images.batch, images.batches(particle)):
        own = images.particle[torch.from_numpy(batch.image)].numpy()
        add_batch(batch, grid, amount[own], packed(moment[own]), sums)
    collected = grid.collected(sums)
    volumes = grid.solved(collected, components.power, mask, components.volumes)
    known = grid.mean_weight(collected) * grid.spread_over(mask)
    power = components.power.copy()
    power[0] = np.maximum(
        grid.shell_power(volumes[:1])[0] + power[0] / (1 + known * power[0]), 1e-30
    )
    covariance = components.covariance.copy()
    spread = float(contrast.var() + uncertain.mean())
    covariance[0, 0] = np.clip(spread, NARROWEST**2, WIDEST**2)
    return replace(components, volumes=volumes, power=power, known=known, covariance=covariance)


def _contrast(
    systems: Systems, latent: Float[np.ndarray, "particle latent"], variance: float
) -> tuple[Float[np.ndarray, "particle"], Float[np.ndarray, "particle"]]:
    """Posterior mean and variance of each particle's contrast, its latent known."""
    with_latents = (systems.matrix[:, 0, 1:] * latent).sum(1)
    spread = 1 / (systems.matrix[:, 0, 0] + 1 / variance)
    return spread * (systems.right[:, 0] - with_latents + 1 / variance), spread


def _gain(
    components: Components, systems: Systems, latent: Float[np.ndarray, "particle latent"]
) -> Float[np.ndarray, "particle"]:
    """How much likelier each particle is with what its latent adds, contrast integrated out."""
    variance = components.covariance[0, 0]

    def evidence(right: np.ndarray, rest: np.ndarray) -> np.ndarray:
        total = right + 1 / variance
        return 0.5 * total**2 / (systems.matrix[:, 0, 0] + 1 / variance) + rest

    added = (systems.right[:, 1:] * latent).sum(1) - 0.5 * np.einsum(
        "nk,nkl,nl->n", latent, systems.matrix[:, 1:, 1:], latent
    )
    with_latents = (systems.matrix[:, 0, 1:] * latent).sum(1)
    return evidence(systems.right[:, 0] - with_latents, added) - evidence(
        systems.right[:, 0], np.zeros(len(added))
    )


def _support(gains: list[Float[np.ndarray, "particle"]]) -> ComponentSupport:
    drawn = [with_tails_drawn_in(torch.from_numpy(gain).float()[:, None])[:, 0] for gain in gains]
    return ComponentSupport(
        tuple(float(gain.mean()) for gain in drawn),
        tuple(float(gain.std() / len(gain) ** 0.5) for gain in drawn),
        all(gain.mean() > 0 for gain in drawn) and is_clear(torch.cat(drawn)),
    )


def _in_their_units(
    found: Subspace, given: GivenLatents, scale: Float[np.ndarray, "latent"]
) -> Subspace:
    """Volumes by one unit of the given latents, and these as they were given."""
    factor = torch.from_numpy(np.concatenate([[1.0], 1 / scale])).float()
    components = replace(
        found.components, volumes=found.components.volumes * factor[:, None, None, None]
    )
    covariance = given.sd[:, :, None] * np.eye(len(scale)) * given.sd[:, None]
    mixture = Mixture(
        np.ones(1), given.latent.mean(0)[None], np.cov(given.latent.T).reshape(1, len(scale), -1)
    )
    return replace(
        found,
        components=components,
        population=mixture,
        latents=Amounts(given.latent, covariance),
    )

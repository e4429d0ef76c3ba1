"""``atomdrgn volume`` in closed form: what particles differ by, from files to a run.

Each half-set finds a mean and components of its own, coarse to fine. Those that make images of the
other half-set likelier count; the fit of all particles goes on with these.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..backprojection.backprojection import require_both_halves
from ..backprojection.filtering import automatic_mask
from ..backprojection.noise_spectra import measure_noise
from ..errors import FileFormatError, InputError
from ..inference.images.faults_before_fit import read_images
from ..inference.images.fourier_images import FourierImages
from ..io.run_formats.tensors import read_tensors, write_tensors
from ..parallel import whole_batches_on_threads
from ..particles.stack.stack import ParticleStack
from ..physics.disc import make_disc
from ..reporting import Reporter
from ..runs.run import CHECKPOINT, HALVES, VOLUME
from ..runs.run_folder import begin_run, only_writer, require_beginning, run_settings
from ..runs.volume_run import SUBSPACE, VolumeRun, open_volume_run
from .component_fit import Components, agreed_power, begin, mean_of, run_round
from .component_grid import ComponentGrid, resized
from .component_support import ComponentSupport, held_out_gains, judged
from .latent_axes import axes_by_neighbours
from .latent_mixture import Mixture, population_density, without_contrast
from .particle_systems import Amounts, particle_systems
from .subspace_files import write_results
from .whitened_images import WhitenedImages, whiten_images

LATENT = 6  # components that are tried
COARSE, FINE = 30.0, 14.0  # A: where components are found, and what they are sharpened to
# Components come out of random numbers slowly, and change little once they are there.
COARSE_ROUNDS, FINE_ROUNDS, WHOLE_ROUNDS = 20, 6, 8
LEAST_SHELLS = 6  # of the coarse rounds
# The mask, A: what is dense in both half-sets' means at the first number, with room for what moves.
MASK_RESOLUTION, MASK_EXTEND, MASK_EDGE = 30.0, 15.0, 15.0


@dataclass(frozen=True, eq=False)
class Subspace:
    """What was found.

    Parameters
    ----------
    components : Components
        Of all particles, those that count, along the axes of the latents.
    tested : list of ComponentSupport
        Of each component of the half-sets, the largest first.
    population : Mixture
        Density of the latents, freed of their errors.
    latents : Amounts
        Of each particle.
    contrast : (particle,)
    junk : (particle,)
        Probability that a particle is junk.
    """

    components: Components
    tested: list[ComponentSupport]
    population: Mixture
    latents: Amounts
    contrast: Float[np.ndarray, "particle"]
    junk: Float[np.ndarray, "particle"]


def fit_subspace(  # noqa: PLR0913 - a keyword a setting of the command
    particles: ParticleStack,
    out: Path | str,
    *,
    latent: int = LATENT,
    resolution: float | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
) -> VolumeRun:
    """Principal components of the particles' volumes, and each particle's latents, as a run.

    The same seed gives the same result, whatever the number of threads.

    Parameters
    ----------
    particles : ParticleStack
        Images are held in memory up to 2 GiB, and read again in each round beyond that.
    out : path
        Folder of the run.
    latent : int
        Components that are tried; those that half-sets do not support are left out.
    resolution : float, optional
        Finest of the components, A; by default 14 A, or Nyquist where that is coarser.
    seed : int
        For starting numbers, samples and random phases.
    resume, overwrite, settings, reporter
        As for :func:`atomdrgn.fit`.

    Raises
    ------
    InputError
        Settings out of range, a half-set without particles, or a run of other settings to resume.
    OutputExistsError
        The folder holds something.
    FileFormatError
        An image that is empty or not finite, or a damaged checkpoint.

    References
    ----------
    Tagare et al., J. Struct. Biol. 191 (2015), 245-262; Punjani & Fleet, J. Struct. Biol. 213
    (2021), 107702 (3D variability analysis); Gilles & Singer, PNAS 122 (2025) (RECOVAR), on
    contrast.

    Examples
    --------
    >>> from atomdrgn import read_particles
    >>> fit_subspace(read_particles("particles.star"), "subspace", latent=2).n_particles
    8
    """
    folder, reporter, began = Path(out), reporter or Reporter(), time.process_time()
    _require_sound(particles, latent, resolution)
    require_beginning(folder, None, resume=resume, overwrite=overwrite)
    finest = max(resolution or FINE, particles.grid.nyquist)
    made = run_settings(
        None,
        particles,
        more=settings or {},
        choices={
            "inference": VOLUME,
            "latents": SUBSPACE,
            "latent": latent,
            "resolution": resolution,
            "seed": seed,
        },
    )
    images = FourierImages(particles, finest)
    with whole_batches_on_threads():
        # before there is a folder, so that none is left where images are refused
        warned = () if resume else read_images(images, None, reporter=reporter)
        require_both_halves(images.stack, (~images.left_out).float())
        with only_writer(folder, reporter):
            if begin_run(folder, made, None, resume=resume, overwrite=overwrite, reporter=reporter):
                warned = read_images(images, None, reporter=reporter) if resume else warned
                spectrum = measure_noise(images.stack, seed=seed, counts=~images.left_out)
                whitened = whiten_images(images, spectrum, make_disc(particles.grid, finest))
                found = find_subspace(whitened, latent, folder, seed=seed, reporter=reporter)
                write_results(
                    folder,
                    found,
                    whitened,
                    spectrum,
                    seed=seed,
                    summary={"warnings": [*images.stack.warnings, *warned]},
                    began=began,
                    reporter=reporter,
                )
    return open_volume_run(folder)


def find_subspace(
    images: WhitenedImages, latent: int, folder: Path, *, seed: int, reporter: Reporter
) -> Subspace:
    """Components of all particles, as many as half-sets support, and latents of each particle.

    Parameters
    ----------
    images : WhitenedImages
        On the finest disc.
    latent : int
        Components that are tried.
    folder : Path
        Where checkpoints are written, and gone on from.
    seed : int
        For the numbers that components begin with.
    reporter : Reporter
        Watches.
    """
    half_of = torch.zeros(images.n_particles, dtype=torch.long)
    half_of[images.particle] = images.images.stack.half
    sets = [torch.nonzero(images.seen & (half_of == number))[:, 0] for number in (1, 2)]
    grid = ComponentGrid(images.disc)
    means = [mean_of(images, grid, particle) for particle in sets]
    mask = automatic_mask(
        means[0],
        means[1],
        grid.grid,
        resolution=MASK_RESOLUTION,
        extend=MASK_EXTEND,
        edge=MASK_EDGE,
    )
    halves = _kept(
        [folder / name for name in HALVES],
        grid,
        lambda: _fit_halves(images, sets, mask, latent, seed=seed, reporter=reporter),
    )
    gains = [
        held_out_gains(other, particle_systems(images, grid, other.volumes, particle))
        for particle, other in zip(sets, halves[::-1], strict=True)
    ]
    tested = judged(gains)
    count = sum(each.supported for each in tested)
    everyone = torch.nonzero(images.seen)[:, 0]

    def fit_all() -> list[Components]:
        start = replace(halves[0], power=agreed_power(*halves))
        components = start.first(count)
        for _ in reporter.watch(range(WHOLE_ROUNDS), "all particles", WHOLE_ROUNDS):
            components = run_round(images, components, everyone, mask)
        return [components]

    (components,) = _kept([folder / CHECKPOINT], grid, fit_all)
    return _placed(images, components, tested, seed=seed)


def _fit_halves(
    images: WhitenedImages,
    sets: list[Tensor],
    mask: Float[Tensor, "z y x"],
    latent: int,
    *,
    seed: int,
    reporter: Reporter,
) -> list[Components]:
    """Components of each half-set: found at a coarse resolution, then sharpened.

    Each is found without the other; which power is no noise is learned from both.
    """
    reporter.start("half-sets", len(sets) * (COARSE_ROUNDS + FINE_ROUNDS))
    fine = ComponentGrid(images.disc)
    halves = [
        _found(images, particle, mask, latent, seed=seed + number, reporter=reporter).on(fine, mask)
        for number, particle in enumerate(sets)
    ]
    for _ in range(FINE_ROUNDS):
        powers = [agreed_power(*halves), agreed_power(*halves[::-1])]
        for number, (particle, power) in enumerate(zip(sets, powers, strict=True)):
            start = replace(halves[number], power=power)
            halves[number] = run_round(images, start, particle, mask)
            reporter.advance()
    reporter.finish()
    return halves


def _found(
    images: WhitenedImages,
    particle: Int[Tensor, "some"],
    mask: Float[Tensor, "z y x"],
    latent: int,
    *,
    seed: int,
    reporter: Reporter,
) -> Components:
    """Components of some particles at a coarse resolution."""
    widest = images.disc.grid.extent / LEAST_SHELLS
    coarse_images = images.coarser(min(max(COARSE, images.disc.resolution), widest))
    coarse = ComponentGrid(coarse_images.disc)
    coarse_mask = resized(mask[None], coarse.grid.box_size)[0].clamp(0, 1)
    components = begin(
        coarse,
        mean_of(coarse_images, coarse, particle),
        coarse_mask,
        latent,
        torch.Generator().manual_seed(seed),
    )
    for _ in range(COARSE_ROUNDS):
        components = run_round(coarse_images, components, particle, coarse_mask)
        reporter.advance()
    return components


def _placed(
    images: WhitenedImages,
    components: Components,
    tested: list[ComponentSupport],
    *,
    seed: int,
) -> Subspace:
    """Latents of each particle under the density of all, along axes that follow it."""
    systems = particle_systems(
        images, components.grid, components.volumes, torch.arange(images.n_particles)
    )
    signal = components.signal(systems) * images.seen.numpy()
    contrast = components.amounts(systems).mean[:, 0]
    junk = 1 - signal
    if not components.count:
        none = Amounts(np.zeros((len(junk), 0)), np.zeros((len(junk), 0, 0)))
        alone = Mixture(np.ones(1), np.zeros((1, 0)), np.zeros((1, 0, 0)))
        return Subspace(components, tested, alone, none, contrast, junk)
    of_latents = without_contrast(systems, components.covariance)
    population = population_density(of_latents, signal, seed=seed)
    latents = population.latents(of_latents)
    axes = axes_by_neighbours(latents.mean[signal > 0.5]) if (signal > 0.5).any() else None
    axes = np.eye(components.count) if axes is None else axes
    return Subspace(
        components.turned(axes),
        tested,
        population.turned(axes),
        Amounts(latents.mean @ axes, axes.T @ latents.covariance @ axes),
        contrast,
        junk,
    )


def _kept(
    paths: list[Path], grid: ComponentGrid, fit: Callable[[], list[Components]]
) -> list[Components]:
    """Components that files hold, or those of a fit, which they hold then.

    Raises
    ------
    FileFormatError
        A file is damaged.
    """
    if not all(path.exists() for path in paths):
        made = fit()
        for path, each in zip(paths, made, strict=True):
            write_tensors(path, each.tensors())
        return made
    found = []
    for path in paths:
        try:
            found.append(Components.of_tensors(grid, read_tensors(path)))
        except (FileFormatError, KeyError, RuntimeError, ValueError) as error:
            raise FileFormatError(
                f"{path}: not a checkpoint of this run, or damaged ({error}); start again with "
                "--overwrite"
            ) from error
    return found


def _require_sound(particles: ParticleStack, latent: int, resolution: float | None) -> None:
    if len(particles) == 0:
        raise InputError(
            f"{particles.source}: no image is left; every tilt is hidden or excluded, or no "
            "particle was chosen"
        )
    if latent < 0:
        raise InputError(f"{latent} components of a latent: expected none or more")
    if resolution is not None and resolution < particles.grid.nyquist:
        raise InputError(
            f"a resolution of {resolution} A: pixels of {particles.grid.pixel_size:.3g} A hold "
            f"{particles.grid.nyquist:.3g} A at best"
        )

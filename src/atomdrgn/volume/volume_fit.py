"""A volume for every particle from its images alone.

It goes by mean volume, training and latents, from files to a run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from ..backprojection.backprojection import require_both_halves
from ..errors import InputError
from ..inference.amortised.training import Training, load_training, save_training
from ..inference.images.faults_before_fit import read_images
from ..inference.images.fourier_images import FourierImages
from ..inference.run_writer import left_out_column
from ..io.run_formats.tensors import write_tensors
from ..networks.particle_encoder import INTERMEDIATE, ParticleEncoder
from ..networks.pooling import make_pooling, require_pooling
from ..networks.positional_encoding import ENCODINGS, make_points
from ..networks.volume_field import DEPTH, WIDTH, VolumeField
from ..networks.volume_model import VolumeModel
from ..parallel import whole_batches_on_threads
from ..particles.stack.stack import ParticleStack
from ..physics.correlation import shell_index
from ..physics.grid import ImageGrid
from ..reporting import Reporter
from ..runs.run import (
    CHECKPOINT,
    FIELD,
    LATENTS,
    MAP,
    MEAN,
    PARTICLES,
    SUMMARY,
    VOLUME,
    write_arrays,
    write_json,
    write_table,
)
from ..runs.run_folder import begin_run, only_writer, require_beginning, run_settings
from ..runs.volume_run import VolumeRun, open_volume_run
from ..structure.density_map import DensityMap, write_density_map
from .field_data import FieldData, read_field_data
from .field_maps import field_map
from .field_training import Schedule, read_latents, run_epoch, start_training
from .mean_volume import mean_volume

LATENT = 8  # numbers of a latent
EPOCHS, RATE = 20, 1e-3
IMAGES_AT_ONCE = 32  # of a step, or as many particles as have them
# of an image in a step; of a particle with tilts three times as many, shared by its images
COEFFICIENTS = 256
SMALLEST_AMPLITUDE = 1e-3  # of the largest: where the mean has nothing the field may still have
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class FieldShape:
    """How the networks are built.

    Parameters
    ----------
    latent : int
        Numbers of a latent; 0: one volume for all particles.
    encoding : str
        Positional encoding: "gaussian" or "geometric".
    pooling : str
        Over the images of a particle: "concatenate", "mean", "max" or "attention".
    width, depth : int
        Of the field's hidden layers.
    """

    latent: int = LATENT
    encoding: str = "gaussian"
    pooling: str = "mean"
    width: int = WIDTH
    depth: int = DEPTH


def fit_volume(  # noqa: PLR0913 - a keyword a setting of the command
    particles: ParticleStack,
    out: Path | str,
    *,
    latent: int = LATENT,
    encoding: str = "gaussian",
    pooling: str = "mean",
    width: int = WIDTH,
    depth: int = DEPTH,
    resolution: float | None = None,
    dose_mask: bool = True,
    epochs: int = EPOCHS,
    minutes: float | None = None,
    batch: int | None = None,
    rate: float = RATE,
    coefficients: int | None = None,
    tilts: int | None = None,
    beta: float | None = None,
    precision: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
) -> VolumeRun:
    """Train a field of volumes, and an encoder that tells each particle's place in it.

    It leaves a run in a folder.

    The same seed gives the same result on the same machine, whatever the number of threads.

    Parameters
    ----------
    particles : ParticleStack
        All images are held in memory, about 15 kB each at a box of 64.
    out : path
        Folder of the run.
    latent : int
        Numbers of a latent; 0: one volume for all particles.
    encoding : {"gaussian", "geometric"}
        Positional encoding of frequencies.
    pooling : {"concatenate", "mean", "max", "attention"}
        Over the images of a particle.
    width, depth : int
        Of the field's hidden layers.
    resolution : float, optional
        Finest that is used, A; by default Nyquist.
    dose_mask : bool
        Leave out of each image the frequencies whose optimal dose it has passed.
    epochs : int
        How often each particle is seen.
    minutes : float, optional
        Training ends after the epoch in which this time is reached, that of resumed runs included.
    batch : int, optional
        Particles of a step; by default 32, or 8 with tilts.
    rate : float
        Of Adam at the start.
    coefficients : int, optional
        Of each image in a step, drawn anew each time; 0: all; by default 256, or with tilts 768
        over their number.
    tilts : int, optional
        Images of a particle in a step, drawn anew each time; by default the fewest that a particle
        has. Latents are read from all.
    beta : float, optional
        Weight of the latents' divergence against the sum of squared errors; by default one over
        `latent`.
    precision : {"auto", "bfloat16", "float32"}
        Of the field's products of matrices in training; auto: bfloat16 where the processor has it.
    seed : int
        For starting weights, the order of particles, and draws.
    resume, overwrite, settings, reporter
        As for :func:`atomdrgn.fit`.

    Raises
    ------
    InputError
        Settings out of range, no image that is like the others, or a run of other settings to
        resume.
    OutputExistsError
        The folder holds something.
    FileFormatError
        An image that is empty or not finite, or a damaged checkpoint.

    References
    ----------
    Zhong et al., CryoDRGN (2021); Powell & Davis, TomoDRGN (2024). Default beta: cryoDRGN's 1 /
    |z|, and tomoDRGN's 1 / (|z| r D^2) with errors as means over the r D^2 pixels of a particle,
    which is the same.

    Examples
    --------
    >>> from atomdrgn import read_particles
    >>> run = fit_volume(
    ...     read_particles("particles.star"), "volume", latent=2, width=16, depth=1, epochs=1
    ... )
    >>> run.latent.shape
    (8, 2)
    """
    folder, reporter = Path(out), reporter or Reporter()
    shape = FieldShape(latent, encoding, pooling, width, depth)
    schedule = fill_schedule(
        particles,
        latent,
        epochs=epochs,
        batch=batch,
        rate=rate,
        coefficients=coefficients,
        tilts=tilts,
        beta=beta,
        precision=precision,
        seed=seed,
    )
    _require_sound(particles, shape, schedule, minutes=minutes, resolution=resolution)
    require_beginning(folder, None, resume=resume, overwrite=overwrite)
    made = run_settings(
        None,
        particles,
        more=settings or {},
        choices={
            "inference": VOLUME,
            "latent": latent,
            "encoding": encoding,
            "pooling": pooling,
            "width": width,
            "depth": depth,
            "resolution": resolution,
            "dose_mask": dose_mask,
            "epochs": epochs,
            "batch": schedule.batch,
            "rate": rate,
            "coefficients": schedule.coefficients,
            "tilts": schedule.tilts,
            "beta": schedule.beta,
            "precision": str(schedule.precision).removeprefix("torch."),
            "seed": seed,
        },
    )
    images = FourierImages(particles, particles.grid.nyquist)
    with whole_batches_on_threads():
        # before there is a folder, so that none is left where images are refused
        warned = () if resume else read_images(images, None, reporter=reporter)
        with only_writer(folder, reporter):
            if begin_run(folder, made, None, resume=resume, overwrite=overwrite, reporter=reporter):
                warned = read_images(images, None, reporter=reporter) if resume else warned
                data = field_data(
                    images, resolution=resolution, dose_mask=dose_mask, seed=seed, reporter=reporter
                )
                training = start_training(new_model(data, shape, seed=seed), rate)
                if resume and (folder / CHECKPOINT).exists():
                    load_training(training, folder)
                _train(training, data, schedule, folder, minutes=minutes, reporter=reporter)
                _write_results(folder, training, data, images.left_out, warned)
    return open_volume_run(folder)


def conditioned_volumes(  # noqa: PLR0913 - a keyword a setting of the command
    particles: ParticleStack,
    latent: Float[ndarray, "particle latent"],
    at: Float[ndarray, "point k"],
    *,
    encoding: str = "gaussian",
    width: int = WIDTH,
    depth: int = DEPTH,
    resolution: float | None = None,
    epochs: int = EPOCHS,
    batch: int | None = None,
    rate: float = RATE,
    coefficients: int | None = None,
    precision: str = "auto",
    seed: int = 0,
    reporter: Reporter | None = None,
) -> Float[Tensor, "2 point box box box"]:
    """Volumes at chosen latents of fields that were trained on given latents.

    There is one for each half-set, and they share nothing.

    Latents may have any scale: for the network they are brought to a mean of 0 and a variance of 1.

    Parameters
    ----------
    particles : ParticleStack
    latent : (particle, latent)
        Of each particle, in the order of their numbers; fixed.
    at : (point, latent)
        Where volumes are asked.
    encoding, width, depth, resolution, epochs, batch, rate, coefficients, precision, seed, reporter
        As for :func:`fit_volume`.

    Returns
    -------
    (2, point, box, box, box)
        Density per A^3, of half-sets 1 and 2.

    Raises
    ------
    InputError
        Latents of another number, or not finite; a half-set without particles; settings out of
        range.

    References
    ----------
    Ducrocq et al., CryoSPHERE (2025), appendix B.2.4: volumes conditioned on the latents of a
    structural method show what its base model has put there.
    """
    reporter = reporter or Reporter()
    number = torch.unique(particles.particle)
    own, asked = (torch.as_tensor(np.asarray(value), dtype=torch.float32) for value in (latent, at))
    if len(own) != len(number):
        raise InputError(
            f"{len(own)} latents for {len(number)} particles: give one for each, in the order of "
            "the file"
        )
    if asked.ndim != 2 or asked.shape[1] != own.shape[1]:
        raise InputError(
            f"volumes are asked at latents of {asked.shape[-1]} numbers, and particles have "
            f"{own.shape[1]}"
        )
    if not own.isfinite().all() or not asked.isfinite().all():
        raise InputError("some latents are not finite: the run that they come from has diverged")
    centre = own.mean(0)
    scale = (own - centre).square().mean(0).sqrt().clamp_min(1e-6)
    shape = FieldShape(own.shape[1], encoding, width=width, depth=depth)
    schedule = fill_schedule(
        particles,
        own.shape[1],
        epochs=epochs,
        batch=batch,
        rate=rate,
        coefficients=coefficients,
        tilts=None,
        beta=None,
        precision=precision,
        seed=seed,
    )
    _require_sound(particles, shape, schedule, minutes=None, resolution=resolution)
    require_both_halves(particles, torch.ones(len(particles)))
    grid, result, images = particles.grid, [], FourierImages(particles, particles.grid.nyquist)
    with whole_batches_on_threads():
        read_images(images, None, reporter=reporter)
        for half in (1, 2):
            mine = images.part(torch.nonzero(particles.half == half)[:, 0])
            kept = torch.isin(number, mine.stack.particle)
            data = field_data(
                mine, resolution=resolution, dose_mask=True, seed=seed, reporter=reporter
            )
            model = new_model(data, shape, seed=seed, latent=((own - centre) / scale)[kept])
            training = start_training(model, rate)
            for _ in reporter.watch(range(epochs), f"half-set {half}", epochs):
                training.history.append(run_epoch(training, data, schedule))
            result.append(
                torch.stack(
                    [
                        field_map(model.field, data.mean, point, grid)
                        for point in (asked - centre) / scale
                    ]
                )
            )
    return torch.stack(result)


def chosen_precision(name: str) -> torch.dtype:
    """The precision of products of matrices.

    bfloat16 is quicker where the processor multiplies it, and slower elsewhere.

    Raises
    ------
    InputError
        There is no such precision.
    """
    if name == "auto":
        has = any(
            getattr(torch.cpu, test, bool)()
            for test in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
        return torch.bfloat16 if has else torch.float32
    if name not in PRECISIONS:
        raise InputError(f"a precision {name!r}: choose auto, {' or '.join(PRECISIONS)}")
    return PRECISIONS[name]


def field_data(
    images: FourierImages,
    *,
    resolution: float | None,
    dose_mask: bool,
    seed: int,
    reporter: Reporter,
) -> FieldData:
    """What a field is trained on.

    It is the mean volume, and what it leaves of images that have been screened.
    """
    mean, spectrum = mean_volume(
        images.stack, seed=seed, counts=~images.left_out, reporter=reporter
    )
    return read_field_data(
        images.stack,
        mean,
        spectrum,
        left_out=images.left_out,
        resolution=resolution or 0.0,
        dose_mask=dose_mask,
        reporter=reporter,
    )


def new_model(
    data: FieldData,
    shape: FieldShape,
    *,
    seed: int,
    latent: Float[Tensor, "particle latent"] | None = None,
) -> VolumeModel:
    """A model before training; with an encoder, unless latents are given or have no numbers."""
    generator = torch.Generator().manual_seed(seed)
    grid = data.disc.grid
    field = VolumeField(
        make_points(shape.encoding, grid, generator),
        amplitudes(data.mean, grid),
        extent=grid.extent,
        n_latent=shape.latent,
        generator=generator,
        width=shape.width,
        depth=shape.depth,
    )
    if latent is not None or shape.latent == 0:
        return VolumeModel(field, latent=latent)
    pooling = make_pooling(shape.pooling, INTERMEDIATE, data.image.shape[1], generator)
    return VolumeModel(field, ParticleEncoder(data.view.shape[1], shape.latent, pooling, generator))


def amplitudes(mean: Float[Tensor, "box box box"], grid: ImageGrid) -> Float[Tensor, "shell"]:
    """Size of the mean volume's coefficients in each shell, as images show them.

    The field counts in these.
    """
    coefficient = torch.fft.rfftn(mean) * (grid.pixel_size / grid.box_size)
    shell = shell_index(grid.box_size, 3).flatten()
    count = torch.bincount(shell)
    power = (
        torch.zeros(len(count)).index_add(0, shell, coefficient.abs().square().flatten()) / count
    )
    amplitude = power[: grid.box_size // 2 + 1].sqrt()
    return torch.maximum(amplitude, SMALLEST_AMPLITUDE * amplitude.max())


def fill_schedule(  # noqa: PLR0913 - a keyword a setting of the command
    particles: ParticleStack,
    n_latent: int,
    *,
    epochs: int,
    batch: int | None,
    rate: float,
    coefficients: int | None,
    tilts: int | None,
    beta: float | None,
    precision: str,
    seed: int,
) -> Schedule:
    """The schedule of :func:`fit_volume` with what was left out filled in from the particles."""
    most = max(1, particles.n_tilts)
    fewest = (
        int(torch.unique(particles.particle, return_counts=True)[1].min()) if len(particles) else 1
    )
    return Schedule(
        epochs=epochs,
        batch=batch or max(8, IMAGES_AT_ONCE // most),
        rate=rate,
        coefficients=(COEFFICIENTS if most == 1 else max(16, 3 * COEFFICIENTS // most))
        if coefficients is None
        else coefficients,
        tilts=fewest if tilts is None else tilts,
        beta=1 / max(1, n_latent) if beta is None else beta,
        precision=chosen_precision(precision),
        seed=seed,
    )


def _require_sound(
    particles: ParticleStack,
    shape: FieldShape,
    schedule: Schedule,
    *,
    minutes: float | None,
    resolution: float | None,
) -> None:
    if len(particles) == 0:
        raise InputError(
            f"{particles.source}: no image is left; every tilt is hidden or excluded, or no "
            "particle was chosen"
        )
    if shape.latent < 0 or shape.width < 1 or shape.depth < 0:
        raise InputError(
            f"{shape.latent} numbers of a latent, {shape.depth} layers of {shape.width}: expected "
            "none or more, none or more, and at least one"
        )
    if shape.encoding not in ENCODINGS:
        raise InputError(f"an encoding {shape.encoding!r}: choose {' or '.join(ENCODINGS)}")
    require_pooling(shape.pooling)
    if (
        schedule.epochs < 1
        or schedule.rate <= 0
        or schedule.batch < 1
        or minutes is not None
        and minutes < 0
    ):
        raise InputError(
            f"{schedule.epochs} epochs of batches of {schedule.batch} at a rate of {schedule.rate} "
            f"for {minutes} minutes: at least one epoch and one particle, a positive rate and no "
            "negative time are needed"
        )
    if schedule.coefficients < 0 or schedule.tilts < 1 or schedule.beta < 0:
        raise InputError(
            f"{schedule.coefficients} coefficients of {schedule.tilts} images and a beta of "
            f"{schedule.beta}: no negative numbers, and at least one image"
        )
    if resolution is not None and resolution < particles.grid.nyquist:
        raise InputError(
            f"a resolution of {resolution} A: pixels of {particles.grid.pixel_size:.3g} A hold "
            f"{particles.grid.nyquist:.3g} A at best"
        )


def _train(
    training: Training[VolumeModel],
    data: FieldData,
    schedule: Schedule,
    folder: Path,
    *,
    minutes: float | None,
    reporter: Reporter,
) -> None:
    used = training.history[-1]["seconds"] if training.history else 0.0
    cpu_used = training.history[-1]["cpu_seconds"] if training.history else 0.0
    started, cpu_started = time.monotonic(), time.process_time()
    before = read_latents(training.model, data)[0]
    reporter.start("training", schedule.epochs)
    reporter.advance(training.epoch)
    while training.epoch < schedule.epochs and not (
        training.history
        and minutes is not None
        and used + time.monotonic() - started >= 60 * minutes
    ):
        row = run_epoch(training, data, schedule)
        now = read_latents(training.model, data)[0]
        training.history.append(
            row
            | {
                "latent_change": round(relative_change(before, now), 5),
                "seconds": round(used + time.monotonic() - started, 2),
                "cpu_seconds": round(cpu_used + time.process_time() - cpu_started, 2),
            }
        )
        before = now
        save_training(training, folder)
        reporter.advance()
    reporter.finish()


def relative_change(
    before: Float[Tensor, "particle latent"], now: Float[Tensor, "particle latent"]
) -> float:
    """How far latents moved, over their distance from their mean (r.m.s.).

    It is 0 where there are none.
    """
    spread = (now - now.mean(0)).square().mean()
    if now.numel() == 0 or spread == 0:
        return 0.0
    return float(((now - before).square().mean() / spread).sqrt())


def _write_results(
    folder: Path,
    training: Training[VolumeModel],
    data: FieldData,
    left_out: Bool[Tensor, "image"],
    warned: Sequence[str],
) -> None:
    """What was found; summary.json, last, says that the run is whole."""
    stack, grid = data.stack, data.disc.grid
    latent, sd = read_latents(training.model, data)
    write_density_map(folder / MEAN, DensityMap(data.mean, grid.pixel_size, name="mean"))
    write_tensors(
        folder / FIELD,
        {name: value.contiguous() for name, value in training.model.state_dict().items()},
    )
    write_arrays(folder / LATENTS, latent=latent.numpy(), latent_sd=sd.numpy())
    first = torch.where(
        data.there, stack.row[data.image.clamp_min(0)], torch.iinfo(torch.int64).max
    ).amin(1)
    columns = {
        f"z{k + 1}": [f"{value:.5g}" for value in latent[:, k].tolist()]
        for k in range(latent.shape[1])
    }
    write_table(
        folder / PARTICLES,
        {
            "particle": range(len(data)),
            "first_row": first.tolist(),
            "rows": data.there.sum(1).tolist(),
            **columns,
            **left_out_column(torch.unique(stack.particle, return_inverse=True)[1], left_out),
        },
    )
    if latent.shape[1] == 0:
        write_density_map(
            folder / MAP,
            DensityMap(
                field_map(training.model.field, data.mean, latent[0], grid),
                grid.pixel_size,
                name="map",
            ),
        )
    last = training.history[-1]
    write_json(
        folder / SUMMARY,
        {
            "particles": len(data),
            "images": len(stack),
            "tilts": stack.n_tilts,
            "latent": latent.shape[1],
            "box_size": grid.box_size,
            "voxel_size": grid.pixel_size,
            "resolution": round(data.disc.resolution, 3),
            "epochs": training.epoch,
            "error_gain": last["error_gain"],
            "kl": last["kl"],
            "latent_change": last["latent_change"],
            "cpu_seconds": last["cpu_seconds"],
            "image_bytes": data.nbytes,
            "warnings": [*stack.warnings, *warned],
        },
    )

"""The amortised fit.

An autoencoder that moves learned segments, or every bead, trained by gradient, from files to a run.

These are the methods of cryoSPHERE (Ducrocq et al. 2025) and of Zhong et al. (2021), for comparison
with the closed form.
"""

import time
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from ...errors import InputError
from ...likelihood.restraints.chain_restraints import make_chain_restraints
from ...likelihood.restraints.segment_restraints import Restraints
from ...networks.autoencoder import MotionAutoencoder, OffsetAutoencoder
from ...parallel import whole_batches_on_threads
from ...particles.stack.stack import ParticleStack
from ...reporting import Reporter
from ...runs.run import CHECKPOINT, Run, open_run
from ...runs.run_folder import SEGMENTS, begin_run, only_writer, require_beginning, run_settings
from ...structure.atoms import Structure
from ...structure.beads import BeadModel, coarse_grain
from ...structure.placement import require_inside
from ...structure.segmentation import TEMPERATURE, make_segments
from ...structure.selection import select
from ..images.faults_before_fit import read_images
from ..images.fourier_images import FourierImages
from ..images.resolution_schedule import finest_resolution
from .training import Training, load_training, save_training
from .vae_data import VaeData, read_data
from .vae_options import VaeOptions
from .vae_results import write_results
from .vae_training import run_epoch, start_training


def fit_vae(  # noqa: PLR0913 - a keyword a setting of the command
    structure: Structure,
    particles: ParticleStack,
    out: str | PathLike,
    options: VaeOptions | None = None,
    *,  # how it runs, which decides nothing that it finds: no options
    minutes: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
    **choices: Any,
) -> Run:
    """Train an encoder of images and a decoder, and leave a run in a folder.

    The decoder leads to motions of segments and the segments themselves, or to offsets of all
    beads. The same seed gives the same result on the same machine, whatever the number of threads.

    Parameters
    ----------
    structure, particles, out
        As for :func:`atomdrgn.fit`. One image a particle; all images are held in memory.
    options : VaeOptions, optional
        What decides the result.
    minutes : float, optional
        Training ends after the epoch in which this time is reached, that of resumed runs included.
    resume, overwrite, settings, reporter
        As for :func:`atomdrgn.fit`.
    **choices
        Options by their names, such as ``epochs=100``, in place of those of `options`: see
        :class:`.VaeOptions`.

    Raises
    ------
    InputError
        Settings out of range, particles of several images, a model outside the box, images of
        inverted contrast, or a run of other settings to resume.
    OutputExistsError
        The folder holds something.
    FileFormatError
        An image that is empty or not finite, or a damaged checkpoint.

    References
    ----------
    Ducrocq et al., CryoSPHERE: single-particle heterogeneous reconstruction from cryo EM (2025);
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021).
    """
    options = replace(options or VaeOptions(), **choices)
    folder, reporter = Path(out), reporter or Reporter()
    if minutes is not None and minutes < 0:
        raise InputError(f"{minutes} minutes: no negative time is expected")
    _require_one_image_each(particles)
    require_beginning(folder, structure, resume=resume, overwrite=overwrite)
    with whole_batches_on_threads():
        beads = coarse_grain(structure, beads=options.beads)
        require_inside(beads, particles.grid)
        model, restraints = _model(beads, options, n_pixels=particles.grid.box_size**2)
        images = FourierImages(particles, finest_resolution(particles.grid, options.resolution))
        made = run_settings(
            structure,
            particles,
            more=settings or {},
            choices=options.as_settings(images.disc.resolution),
        )
        training = start_training(model, options.learning_rate)
        # before there is a folder, so that none is left where images are refused
        warned = () if resume else read_images(images, beads, reporter=reporter)
        with only_writer(folder, reporter):
            if begin_run(
                folder, made, structure, resume=resume, overwrite=overwrite, reporter=reporter
            ):
                if (folder / CHECKPOINT).exists():
                    load_training(training, folder)
                warned = read_images(images, beads, reporter=reporter) if resume else warned
                data = read_data(images, beads, loss=options.loss, restraints=restraints)
                _train(training, data, folder, options, minutes=minutes, reporter=reporter)
                write_results(
                    folder, training, data, structure=structure, warned=warned, seed=options.seed
                )
    return open_run(folder)


def _require_one_image_each(particles: ParticleStack) -> None:
    if particles.n_tilts > 1:
        raise InputError(
            f"the encoder takes one image a particle, and these have up to {particles.n_tilts}: "
            "fit tilt series with --inference closed-form"
        )


def _model(
    beads: BeadModel, options: VaeOptions, *, n_pixels: int
) -> tuple[MotionAutoencoder | OffsetAutoencoder, Restraints | None]:
    """What is trained, and what holds the beads together where each moves by itself."""
    generator = torch.Generator().manual_seed(options.seed)
    if options.deformation == SEGMENTS:
        return _moving_segments(beads, options, n_pixels=n_pixels, generator=generator), None
    fixed = _fixed_beads(beads, options.fixed)
    model = OffsetAutoencoder(beads, fixed, n_pixels=n_pixels, generator=generator)
    return model, make_chain_restraints(beads, contacts=False)


def _moving_segments(
    beads: BeadModel, options: VaeOptions, *, n_pixels: int, generator: torch.Generator
) -> MotionAutoencoder:
    segmentation = make_segments(
        beads,
        options.segments,
        parts=options.parts,
        fixed=options.fixed,
        temperature=TEMPERATURE if options.temperature is None else options.temperature,
    )
    if segmentation.fixed.all():
        raise InputError("every segment is fixed: leave something free to move")
    named = len(options.parts or [])
    return MotionAutoencoder(
        beads, segmentation, named=named, n_pixels=n_pixels, generator=generator
    )


def _fixed_beads(beads: BeadModel, selection: str | None) -> Bool[Tensor, "bead"]:
    """(bead,) bool: of the residues that a selection names, and what follows them."""
    if selection is None:
        return torch.zeros(len(beads), dtype=torch.bool)
    held = select(beads, selection) & beads.trace
    if not held.any():
        raise InputError(
            f"selection {selection!r} holds no residue of a polymer; ligands and sugars follow the "
            "residue that they stand at"
        )
    if held[beads.anchor].all():
        raise InputError("everything is fixed: leave something free to move")
    return torch.from_numpy(held[beads.anchor])


def _train(
    training: Training,
    data: VaeData,
    folder: Path,
    options: VaeOptions,
    *,
    minutes: float | None,
    reporter: Reporter,
) -> None:
    used = training.history[-1]["seconds"] if training.history else 0.0
    cpu_used = training.history[-1]["cpu_seconds"] if training.history else 0.0
    started, cpu_started = time.monotonic(), time.process_time()
    reporter.start("training", options.epochs)
    reporter.advance(training.epoch)
    while training.epoch < options.epochs and not (
        training.history
        and minutes is not None
        and used + time.monotonic() - started >= 60 * minutes
    ):
        row = run_epoch(
            training,
            data,
            batch=options.batch,
            beta=training.epoch / options.epochs,
            seed=options.seed,
        )
        training.history.append(
            row
            | {
                "seconds": round(used + time.monotonic() - started, 2),
                "cpu_seconds": round(cpu_used + time.process_time() - cpu_started, 2),
            }
        )
        save_training(training, folder)
        reporter.advance()
    reporter.finish()

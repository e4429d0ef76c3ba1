"""The amortised fit.

An autoencoder that moves learned segments, or every bead, trained by gradient, from files to a run.

These are the methods of cryoSPHERE (Ducrocq et al. 2025) and of Zhong et al. (2021), for comparison
with the closed form.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ...errors import InputError
from ...likelihood.restraints.chain_restraints import make_chain_restraints
from ...networks.autoencoder import MotionAutoencoder, OffsetAutoencoder
from ...parallel import whole_batches_on_threads
from ...particles.stack.stack import ParticleStack
from ...reporting import Reporter
from ...runs.run import CHECKPOINT, Run, open_run
from ...runs.run_folder import (
    BEADS,
    SEGMENTS,
    VAE,
    begin_run,
    only_writer,
    require_beginning,
    run_settings,
)
from ...structure.atoms import Structure
from ...structure.beads import coarse_grain
from ...structure.placement import require_inside
from ...structure.segmentation import TEMPERATURE, make_segments
from ...structure.selection import select
from ..images.faults_before_fit import read_images
from ..images.fourier_images import FourierImages
from ..images.resolution_schedule import finest_resolution
from .training import load_training, save_training
from .vae_data import LOSSES, read_data
from .vae_results import write_results
from .vae_training import run_epoch, start_training

EPOCHS = 300  # as in the example of cryoSPHERE's program


class _Published(NamedTuple):
    """Learning rate, and images of a step."""

    rate: float
    batch: int


# Ducrocq et al., CryoSPHERE (2025), appendix B.2; Zhong et al., Exploring generative atomic models
# (2021), section 4
PUBLISHED = {SEGMENTS: _Published(3e-5, 128), BEADS: _Published(1e-4, 8)}


def fit_vae(  # noqa: PLR0913 - a keyword a setting of the command
    structure: Structure,
    particles: ParticleStack,
    out,
    *,
    deformation: str = SEGMENTS,
    segments: int = 20,
    beads: int = 1,
    temperature: float | None = None,
    parts: Sequence[str] | None = None,
    fixed: str | None = None,
    resolution: float | None = None,
    loss: str = "correlation",
    epochs: int = EPOCHS,
    minutes: float | None = None,
    rate: float | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train an encoder of images and a decoder; leave a run in a folder.

    The decoder gives motions of segments, and the segments themselves, or offsets of all beads.

    The same seed gives the same result on the same machine, whatever the number of threads.

    Parameters
    ----------
    structure, particles, out, segments, beads, temperature, parts, fixed, resolution
        As for :func:`atomdrgn.fit`; segments that `parts` and `fixed` name are not learned. One
        image a particle; all images are held in memory. Where beads move, there are no segments:
        `segments`, `temperature` and `parts` are not looked at.
    deformation : {"segments", "beads"}
        What a latent moves: segments as rigid bodies, which are learned too; or every bead by
        itself, held together by restraints on bonds, side chains, the shape of the chain nearby,
        and clashes.
    loss : {"correlation", "likelihood"}
        What is compared: minus the correlation, or the likelihood under noise as measured at the
        base structure.
    epochs : int
        How often each image is seen. The divergences' weight rises linearly over all of them.
    minutes : float, optional
        Training ends after the epoch in which this time is reached, that of resumed runs included.
    rate : float, optional
        Of Adam for the networks; the segments' is ten times as large. By default 3e-5 for segments
        and 1e-4 for beads.
    seed : int
        For starting weights, the order of images, and draws.
    resume, overwrite, settings, reporter
        As for :func:`atomdrgn.fit`.

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
    folder, reporter = Path(out), reporter or Reporter()
    if deformation not in PUBLISHED:
        raise InputError(f"a deformation of {deformation!r}: choose {' or '.join(PUBLISHED)}")
    rate = PUBLISHED[deformation].rate if rate is None else rate
    _require_sound(particles, loss=loss, epochs=epochs, minutes=minutes, rate=rate)
    require_beginning(folder, structure, resume=resume, overwrite=overwrite)
    with whole_batches_on_threads():
        bead_model = coarse_grain(structure, beads=beads)
        require_inside(bead_model, particles.grid)
        given = {
            "n_pixels": particles.grid.box_size**2,
            "generator": torch.Generator().manual_seed(seed),
        }
        if deformation == SEGMENTS:
            model = _moving_segments(
                bead_model, segments, parts=parts, fixed=fixed, temperature=temperature, **given
            )
            restraints, moved = (
                None,
                {
                    "segments": segments,
                    "temperature": temperature,
                    "parts": list(parts) if parts else None,
                },
            )
        else:
            model = OffsetAutoencoder(bead_model, _fixed_beads(bead_model, fixed), **given)
            restraints, moved = make_chain_restraints(bead_model, contacts=False), {}
        images = FourierImages(particles, finest_resolution(particles.grid, resolution))
        disc = images.disc
        made = run_settings(
            structure,
            particles,
            more=settings or {},
            choices={
                "inference": VAE,
                "deformation": str(deformation),
                **moved,
                "beads": beads,
                "fixed": fixed,
                "seed": seed,
                "resolution": round(disc.resolution, 4),
                "loss": loss,
                "epochs": epochs,
                "rate": rate,
            },
        )
        training = start_training(model, rate)
        # before there is a folder, so that none is left where images are refused
        warned = () if resume else read_images(images, bead_model, reporter=reporter)
        with only_writer(folder, reporter):
            if begin_run(
                folder, made, structure, resume=resume, overwrite=overwrite, reporter=reporter
            ):
                if (folder / CHECKPOINT).exists():
                    load_training(training, folder)
                warned = read_images(images, bead_model, reporter=reporter) if resume else warned
                data = read_data(images, bead_model, loss=loss, restraints=restraints)
                _train(
                    training,
                    data,
                    folder,
                    batch=PUBLISHED[deformation].batch,
                    epochs=epochs,
                    minutes=minutes,
                    seed=seed,
                    reporter=reporter,
                )
                write_results(folder, training, data, structure=structure, warned=warned, seed=seed)
    return open_run(folder)


def _require_sound(particles, *, loss, epochs, minutes, rate):
    if loss not in LOSSES:
        raise InputError(f"a loss of {loss!r}: choose {' or '.join(LOSSES)}")
    if epochs < 1 or rate <= 0 or minutes is not None and minutes < 0:
        raise InputError(
            f"{epochs} epochs, a rate of {rate} and {minutes} minutes: at least one epoch, a "
            "positive rate and no "
            "negative time are needed"
        )
    if particles.n_tilts > 1:
        raise InputError(
            f"the encoder takes one image a particle, and these have up to {particles.n_tilts}: "
            "fit tilt series with --inference closed-form"
        )


def _moving_segments(beads, count, *, parts, fixed, temperature, **given):
    segmentation = make_segments(
        beads,
        count,
        parts=parts,
        fixed=fixed,
        temperature=TEMPERATURE if temperature is None else temperature,
    )
    if segmentation.fixed.all():
        raise InputError("every segment is fixed: leave something free to move")
    return MotionAutoencoder(beads, segmentation, named=len(parts or []), **given)


def _fixed_beads(beads, selection):
    """(bead,) bool: of the residues that a selection names, and what follows them."""
    if selection is None:
        return torch.zeros(len(beads), dtype=torch.bool)
    held = select(beads, selection) & beads.trace
    if not held.any():
        raise InputError(
            f"selection {selection!r} holds no residue of a polymer; ligands and sugars follow "
            "the residue "
            "that they stand at"
        )
    if held[beads.anchor].all():
        raise InputError("everything is fixed: leave something free to move")
    return torch.from_numpy(held[beads.anchor])


def _train(training, data, folder, *, batch, epochs, minutes, seed, reporter):
    used = training.history[-1]["seconds"] if training.history else 0.0
    cpu_used = training.history[-1]["cpu_seconds"] if training.history else 0.0
    started, cpu_started = time.monotonic(), time.process_time()
    reporter.start("training", epochs)
    reporter.advance(training.epoch)
    while training.epoch < epochs and not (
        training.history
        and minutes is not None
        and used + time.monotonic() - started >= 60 * minutes
    ):
        row = run_epoch(training, data, batch=batch, beta=training.epoch / epochs, seed=seed)
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

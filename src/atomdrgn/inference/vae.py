"""The amortised fit: an autoencoder whose decoder moves learned segments, trained by gradient, from files to a run.

It is the method of cryoSPHERE (Ducrocq et al. 2025), for comparison with the closed form.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import InputError
from ..model.autoencoder import MotionAutoencoder
from ..parallel import whole_batches_on_threads
from ..particles.stack import ParticleStack
from ..physics.disc import make_disc
from ..reporting import Reporter
from ..run import CHECKPOINT, Run, open_run, require_free
from ..structure.atoms import Structure
from ..structure.beads import coarse_grain
from ..structure.placement import require_inside
from ..structure.segmentation import TEMPERATURE, make_segments
from .folder import VAE, begin_run, run_settings
from .schedule import finest_resolution
from .training import load_training, save_training
from .vae_data import LOSSES, read_data
from .vae_results import write_results
from .vae_training import run_epoch, start_training

# Ducrocq et al., CryoSPHERE (2025), appendix B.2; the number of epochs is that of the published program's example
RATE, EPOCHS = 3e-5, 300


def fit_vae(structure: Structure, particles: ParticleStack, out, *, segments: int = 20, beads: int = 1,
            temperature: float | None = None, parts: Sequence[str] | None = None, fixed: str | None = None,
            resolution: float | None = None, loss: str = "correlation", epochs: int = EPOCHS, minutes: float | None = None,
            rate: float = RATE, seed: int = 0, resume: bool = False, overwrite: bool = False, settings: dict | None = None,
            reporter: Reporter | None = None) -> Run:
    """Train an encoder of images, a decoder to motions of segments and the segments themselves; leave a run in a folder.

    The same seed gives the same result on the same machine, whatever the number of threads.

    Parameters
    ----------
    structure, particles, out, segments, beads, temperature, parts, fixed, resolution
        As for :func:`atomdrgn.fit`; segments that `parts` and `fixed` name are not learned. One image a particle; all images
        are held in memory.
    loss : {"correlation", "likelihood"}
        What is compared: minus the correlation, or the likelihood under noise as measured at the base structure.
    epochs : int
        How often each image is seen. The divergences' weight rises linearly over all of them.
    minutes : float, optional
        Training ends after the epoch in which this time is reached, that of resumed runs included.
    rate : float
        Of Adam for the networks; the segments' is ten times as large.
    seed : int
        For starting weights, the order of images, and draws.
    resume, overwrite, settings, reporter
        As for :func:`atomdrgn.fit`.

    Raises
    ------
    InputError
        Settings out of range, particles of several images, a model outside the box, or a run of other settings to resume.
    OutputExistsError
        The folder holds something.
    FileFormatError
        An image that is empty or not finite, or a damaged checkpoint.

    References
    ----------
    Ducrocq et al., CryoSPHERE: single-particle heterogeneous reconstruction from cryo EM (2025).
    """
    folder, reporter = Path(out), reporter or Reporter()
    _require_sound(particles, loss=loss, epochs=epochs, minutes=minutes, rate=rate)
    if not resume:
        require_free(folder, overwrite=overwrite)
    with whole_batches_on_threads():
        bead_model = coarse_grain(structure, beads=beads)
        require_inside(bead_model, particles.grid)
        segmentation = make_segments(bead_model, segments, parts=parts, fixed=fixed,
                                     temperature=TEMPERATURE if temperature is None else temperature)
        if segmentation.fixed.all():
            raise InputError("every segment is fixed: leave something free to move")
        disc = make_disc(particles.grid, finest_resolution(particles.grid, resolution))
        made = run_settings(structure, particles, more=settings or {}, choices={
            "inference": VAE, "segments": segments, "beads": beads, "temperature": temperature,
            "parts": list(parts) if parts else None, "fixed": fixed, "seed": seed, "resolution": round(disc.resolution, 4),
            "loss": loss, "epochs": epochs, "rate": rate})
        model = MotionAutoencoder(bead_model, segmentation, named=len(parts or []), n_pixels=particles.grid.box_size**2,
                                  generator=torch.Generator().manual_seed(seed))
        training = start_training(model, rate)
        if begin_run(folder, made, structure, resume=resume, overwrite=overwrite, reporter=reporter):
            if (folder / CHECKPOINT).exists():
                load_training(training, folder)
            data = read_data(particles, bead_model, disc, loss=loss)
            _train(training, data, folder, epochs=epochs, minutes=minutes, seed=seed, reporter=reporter)
            write_results(folder, training, data, structure=structure, seed=seed)
    return open_run(folder)


def _require_sound(particles, *, loss, epochs, minutes, rate):
    if loss not in LOSSES:
        raise InputError(f"a loss of {loss!r}: choose {' or '.join(LOSSES)}")
    if epochs < 1 or rate <= 0 or minutes is not None and minutes < 0:
        raise InputError(f"{epochs} epochs, a rate of {rate} and {minutes} minutes: at least one epoch, a positive rate and no "
                         "negative time are needed")
    if particles.n_tilts > 1:
        raise InputError(f"the encoder takes one image a particle, and these have up to {particles.n_tilts}: "
                         "fit tilt series with --inference closed-form")


def _train(training, data, folder, *, epochs, minutes, seed, reporter):
    used = training.history[-1]["seconds"] if training.history else 0.0
    cpu_used = training.history[-1]["cpu_seconds"] if training.history else 0.0
    started, cpu_started = time.monotonic(), time.process_time()
    reporter.start("training", epochs)
    reporter.advance(training.epoch)
    while training.epoch < epochs and not (training.history and minutes is not None
                                           and used + time.monotonic() - started >= 60 * minutes):
        row = run_epoch(training, data, beta=training.epoch / epochs, seed=seed)
        training.history.append(row | {"seconds": round(used + time.monotonic() - started, 2),
                                       "cpu_seconds": round(cpu_used + time.process_time() - cpu_started, 2)})
        save_training(training, folder)
        reporter.advance()
    reporter.finish()

"""``atomdrgn volume``."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ..errors import InputError
from .failures import command, command_line
from .options import MODEL, General, Particles, Reading
from .progress import progress, told_if_slow
from .setup import require_files, settings_of, use_threads
from .terminal import shell_word

if TYPE_CHECKING:
    from ..runs.volume_run import VolumeRun

RUN, TRAINING = "The run", "Training"


class Encoding(StrEnum):
    """What the network is given of a frequency."""

    gaussian = "gaussian"
    geometric = "geometric"


class Pooling(StrEnum):
    """How the images of a particle are put together."""

    concatenate = "concatenate"
    mean = "mean"
    max = "max"
    attention = "attention"


class Precision(StrEnum):
    """Of products of matrices."""

    auto = "auto"
    bfloat16 = "bfloat16"
    float32 = "float32"


@command
def volume(
    particles: Particles,
    out: Annotated[
        Path | None,
        Option(
            "--out",
            "-o",
            metavar="RUN",
            rich_help_panel=RUN,
            show_default="the particle file's stem and .volume, here",
            help="Folder for the result.",
        ),
    ] = None,
    latent: Annotated[
        int,
        Option(
            metavar="N",
            rich_help_panel=MODEL,
            help="Numbers that tell a particle's volume; 0: one volume for all.",
        ),
    ] = 8,
    encoding: Annotated[
        Encoding,
        Option(
            metavar="gaussian|geometric",
            rich_help_panel=MODEL,
            help="Positional encoding of frequencies.",
        ),
    ] = Encoding.gaussian,
    pooling: Annotated[
        Pooling,
        Option(
            metavar="concatenate|mean|max|attention",
            rich_help_panel=MODEL,
            help="How the tilt images of a particle are put together.",
        ),
    ] = Pooling.mean,
    width: Annotated[
        int,
        Option(metavar="N", rich_help_panel=MODEL, help="Width of the network's hidden layers."),
    ] = 256,
    depth: Annotated[int, Option(metavar="N", rich_help_panel=MODEL, help="Number of them.")] = 3,
    *,
    reading: Reading,
    resolution: Annotated[
        float | None,
        Option(
            metavar="A",
            rich_help_panel=RUN,
            show_default="Nyquist",
            help="Finest resolution that is used.",
        ),
    ] = None,
    dose_mask: Annotated[
        bool,
        Option(
            "--dose-mask/--no-dose-mask",
            rich_help_panel=RUN,
            help="Leave out of each image the frequencies whose optimal dose it has passed.",
        ),
    ] = True,
    seed: Annotated[
        int, Option(metavar="N", rich_help_panel=RUN, help="The same seed gives the same result.")
    ] = 0,
    resume: Annotated[
        bool, Option("--resume", rich_help_panel=RUN, help="Go on with a run that was stopped.")
    ] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=RUN, help="Replace a run that is there.")
    ] = False,
    epochs: Annotated[
        int, Option(metavar="N", rich_help_panel=TRAINING, help="How often each particle is seen.")
    ] = 20,
    minutes: Annotated[
        float | None,
        Option(
            metavar="MIN",
            rich_help_panel=TRAINING,
            show_default="no limit",
            help="Training ends after the epoch in which this time is reached.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=TRAINING,
            show_default="32, or 8 with tilts",
            help="Particles of a step.",
        ),
    ] = None,
    rate: Annotated[
        float,
        Option(
            metavar="RATE",
            rich_help_panel=TRAINING,
            help="Learning rate at the start; it falls to nothing as a cosine.",
        ),
    ] = 1e-3,
    coefficients: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=TRAINING,
            show_default="256, or with tilts 768 over their number",
            help="Fourier coefficients of each image in a step, drawn anew each time; 0: all.",
        ),
    ] = None,
    tilts: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=TRAINING,
            show_default="the fewest that a particle has",
            help="Images of a particle in a step, drawn anew each time. Latents are read from all.",
        ),
    ] = None,
    beta: Annotated[
        float | None,
        Option(
            metavar="B",
            rich_help_panel=TRAINING,
            show_default="1 over --latent",
            help="Weight of the latents' divergence from their prior.",
        ),
    ] = None,
    precision: Annotated[
        Precision,
        Option(
            metavar="auto|bfloat16|float32",
            rich_help_panel=TRAINING,
            help="Of the network's products of matrices; auto: bfloat16 where the processor "
            "has it.",
        ),
    ] = Precision.auto,
    general: General,
) -> None:
    """A volume for every particle from its images alone: a neural field, without a model.

    A network learns what particles differ in from their mean volume; another
    one tells each particle's place among the volumes. The result is a folder:
    mean.mrc, the networks, and the latent of each particle. [bold]atomdrgn volumes[/bold]
    writes volumes. With --latent 0 there is one volume, map.mrc.

    Images of a tilt series are put together; particles may have different
    numbers of tilts. Dose and tilt weigh what an image says.

    [bold]Examples[/bold]

        atomdrgn volume particles.star --out field
        atomdrgn volume particles.star --latent 0 --out homogeneous
        atomdrgn volume tilts.star --tomograms tomograms.star --box 64
        atomdrgn volume particles.star --out field --resume
    """
    if resume and overwrite:
        raise InputError(
            "--resume goes on with a run and --overwrite replaces it: give one of them"
        )
    require_files("volume", particles=particles)
    with told_if_slow(f"reading {particles}", quiet=general.quiet):
        from ..particles.reading import read_particles
        from ..volume.volume_fit import fit_volume

        use_threads(general.threads)
        stack = read_particles(particles, **reading.named())
    settings = settings_of(particles=particles, **reading.named())
    out = out or Path(particles.with_suffix(".volume").name)
    with progress(quiet=general.quiet, compiles=True) as reporter:
        try:
            run = fit_volume(
                stack,
                out,
                latent=latent,
                encoding=encoding.value,
                pooling=pooling.value,
                width=width,
                depth=depth,
                resolution=resolution,
                dose_mask=dose_mask,
                epochs=epochs,
                minutes=minutes,
                batch=batch,
                rate=rate,
                coefficients=coefficients,
                tilts=tilts,
                beta=beta,
                precision=precision.value,
                seed=seed,
                resume=resume,
                overwrite=overwrite,
                settings=settings,
                reporter=reporter,
            )
        except KeyboardInterrupt:
            again = command_line(without=("--overwrite", "--resume"))
            raise KeyboardInterrupt(f"stopped; to go on: {again} --resume") from None
    if not general.quiet:
        print("\n".join(_closing_lines(run)))


def _closing_lines(run: "VolumeRun") -> Iterator[str]:
    """A few lines on a :class:`~atomdrgn.runs.volume_run.VolumeRun`."""
    said = run.summary
    yield (
        f"{said['images']:,} images of {said['particles']:,} particles, box {said['box_size']}, "
        f"{said['voxel_size']:.4g} A a voxel, to {said['resolution']:.1f} A; {said['epochs']} "
        f"epochs, {said['cpu_seconds']:,.0f} CPU-seconds"
    )
    if said["latent"] == 0:
        yield f"the volume is {run.folder / 'map.mrc'}"
        return
    yield (
        f"squared error below the mean volume's by {said['error_gain']:,.1f} a particle (in units "
        f"of the noise), information in its latent {said['kl']:.1f} nats; latents moved by "
        f"{100 * said['latent_change']:.1f} % of their spread in the last epoch"
    )
    yield f"volumes: atomdrgn volumes {shell_word(run.folder)} --clusters 5 --out volumes"

"""``atomdrgn volume``."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ..errors import InputError
from .failures import command, command_line
from .options import MODEL, AsJson, General, Particles, Reading
from .progress import progress, told_if_slow
from .setup import require_files, settings_of, use_threads
from .terminal import shell_word, tell

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


SUBSPACE, ENCODER = "subspace", "encoder"


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
    latents: Annotated[
        str,
        Option(
            metavar="subspace|encoder|FILE",
            rich_help_panel=MODEL,
            help="Where latents come from: principal components of the volumes, in closed form; "
            "a network with an encoder, trained together; or a file of another program, .npy, "
            ".npz, .csv or .star with a row a particle.",
        ),
    ] = SUBSPACE,
    latent: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=MODEL,
            show_default="6; 8 of an encoder",
            help="Numbers that tell a particle's volume, at most; 0: one volume for all.",
        ),
    ] = None,
    *,
    reading: Reading,
    resolution: Annotated[
        float | None,
        Option(
            metavar="A",
            rich_help_panel=RUN,
            show_default="14 A; Nyquist of an encoder",
            help="Finest resolution of what particles differ by.",
        ),
    ] = None,
    seed: Annotated[
        int, Option(metavar="N", rich_help_panel=RUN, help="The same seed gives the same result.")
    ] = 0,
    resume: Annotated[
        bool, Option("--resume", rich_help_panel=RUN, help="Go on with a run that was stopped.")
    ] = False,
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=RUN, help="Replace a run that is there.")
    ] = False,
    encoding: Annotated[
        Encoding | None,
        Option(
            metavar="gaussian|geometric",
            rich_help_panel=TRAINING,
            show_default="gaussian",
            help="Positional encoding of frequencies.",
        ),
    ] = None,
    pooling: Annotated[
        Pooling | None,
        Option(
            metavar="concatenate|mean|max|attention",
            rich_help_panel=TRAINING,
            show_default="mean",
            help="How the tilt images of a particle are put together.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=TRAINING,
            show_default="256",
            help="Width of the network's hidden layers.",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        Option(metavar="N", rich_help_panel=TRAINING, show_default="3", help="Number of them."),
    ] = None,
    dose_mask: Annotated[
        bool | None,
        Option(
            "--dose-mask/--no-dose-mask",
            rich_help_panel=TRAINING,
            show_default="dose-mask",
            help="Leave out of each image the frequencies whose optimal dose it has passed.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=TRAINING,
            show_default="20",
            help="How often each particle is seen.",
        ),
    ] = None,
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
        float | None,
        Option(
            metavar="RATE",
            rich_help_panel=TRAINING,
            show_default="0.001",
            help="Learning rate at the start; it falls to nothing as a cosine.",
        ),
    ] = None,
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
        Precision | None,
        Option(
            metavar="auto|bfloat16|float32",
            rich_help_panel=TRAINING,
            show_default="auto",
            help="Of the network's products of matrices; auto: bfloat16 where the processor "
            "has it.",
        ),
    ] = None,
    as_json: AsJson = False,
    general: General,
) -> None:
    """What particles' volumes differ by, from the images alone, without a model.

    By default in closed form: the mean volume and its principal components, of
    which those count that make images of the other half-set likelier. There may
    be none: then nothing varies that these images show. The result is a folder:
    mean.mrc, component1.mrc and so on, and the latents of each particle with
    their errors. [bold]atomdrgn volumes[/bold] writes volumes. With --latent 0 there is
    one volume, map.mrc.

    With --latents z.npy the latents are those of a file, such as cryoDRGN or
    RECOVAR have found: what volumes go with them, and whether these make held-out
    images likelier. With --latents encoder a network learns what is added to the mean volume, and
    another one tells each particle's place (cryoDRGN's and tomoDRGN's method).

    Images of a tilt series are put together; particles may have different
    numbers of tilts. Dose and tilt weigh what an image says.

    [bold]Examples[/bold]

        atomdrgn volume particles.star --out varied
        atomdrgn volume particles.star --latent 0 --out homogeneous
        atomdrgn volume tilts.star --tomograms tomograms.star --box 64
        atomdrgn volume particles.star --out varied --resume
        atomdrgn volume particles.star --latents encoder --epochs 10 --out field
        atomdrgn volume particles.star --latents z.npy --out theirs
    """
    if resume and overwrite:
        raise InputError(
            "--resume goes on with a run and --overwrite replaces it: give one of them"
        )
    training = {
        "encoding": encoding,
        "pooling": pooling,
        "width": width,
        "depth": depth,
        "dose_mask": dose_mask,
        "epochs": epochs,
        "minutes": minutes,
        "batch": batch,
        "rate": rate,
        "coefficients": coefficients,
        "tilts": tilts,
        "beta": beta,
        "precision": precision,
    }
    given = {name: value for name, value in training.items() if value is not None}
    closed_form = latents != ENCODER
    if closed_form and given:
        names = " and ".join("--" + name.replace("_", "-") for name in given)
        raise InputError(
            f"{names}: training of a network, which the closed form has none of; leave it out, or "
            "give --latents encoder"
        )
    from_file = latents not in (SUBSPACE, ENCODER)
    if from_file and (latent is not None or resume):
        raise InputError(
            f"--latents {latents} says how many numbers there are, and nothing is left to go on "
            "with: leave out --latent and --resume"
        )
    require_files("volume", particles=particles)
    with told_if_slow(f"reading {particles}", quiet=general.quiet):
        from ..latent_maps.latent_regression import fit_on_latents
        from ..particles.reading import read_particles
        from ..runs.given_latents import read_latents
        from ..subspace.subspace_fit import fit_subspace
        from ..volume.volume_fit import fit_volume

        use_threads(general.threads)
        stack = read_particles(particles, **reading.named())
        theirs = read_latents(latents, stack) if from_file else None
    settings = settings_of(particles=particles, **reading.named())
    out = out or Path(particles.with_suffix(".volume").name)
    given |= {name: value for name, value in (("latent", latent),) if value is not None}
    with progress(quiet=general.quiet, compiles=True) as reporter:
        try:
            if theirs is not None:
                run = fit_on_latents(
                    stack,
                    theirs,
                    out,
                    resolution=resolution,
                    seed=seed,
                    overwrite=overwrite,
                    settings=settings | {"latents_file": latents},
                    reporter=reporter,
                )
                return _tell(run, as_json=as_json, quiet=general.quiet)
            fit: Callable[..., VolumeRun] = fit_subspace if closed_form else fit_volume
            run = fit(
                stack,
                out,
                **{name: getattr(value, "value", value) for name, value in given.items()},
                resolution=resolution,
                seed=seed,
                resume=resume,
                overwrite=overwrite,
                settings=settings,
                reporter=reporter,
            )
        except KeyboardInterrupt:
            again = command_line(without=("--overwrite", "--resume"))
            raise KeyboardInterrupt(f"stopped; to go on: {again} --resume") from None
    _tell(run, as_json=as_json, quiet=general.quiet)


def _tell(run: "VolumeRun", *, as_json: bool, quiet: bool) -> None:
    told = {"run": run.folder, **run.summary}
    tell(_closing_lines(run), told, as_json=as_json, quiet=quiet)


def _closing_lines(run: "VolumeRun") -> Iterator[str]:
    """A few lines on a :class:`~atomdrgn.runs.volume_run.VolumeRun`."""
    said = run.summary
    trained = f"{said['epochs']} epochs, " if "epochs" in said else ""
    yield (
        f"{said['images']:,} images of {said['particles']:,} particles, box {said['box_size']}, "
        f"{said['voxel_size']:.4g} A a voxel, to {said['resolution']:.1f} A; {trained}"
        f"{said['cpu_seconds']:,.0f} CPU-seconds"
    )
    if run.closed_form:
        yield from _components(run)
    if said["latent"] == 0:
        yield f"the volume is {run.folder / 'map.mrc'}"
        return
    if not run.closed_form:
        yield (
            f"squared error below the mean volume's by {said['error_gain']:,.1f} a particle (in "
            f"units of the noise), information in its latent {said['kl']:.1f} nats; latents moved "
            f"by {100 * said['latent_change']:.1f} % of their spread in the last epoch"
        )
    yield f"volumes: atomdrgn volumes {shell_word(run.folder)} --clusters 5 --out volumes"


def _components(run: "VolumeRun") -> Iterator[str]:
    """What the closed form has found."""
    said = run.summary
    yield (
        f"contrast of particles varies by {100 * said['contrast_sd']:.0f} %; "
        f"{100 * said['junk']:.1f} % of them are junk"
    )
    if "latent_centre" in said:
        yield _of_given(run)
        return
    if said["tried"] and not said["latent"]:
        yield (
            "nothing varies: no component makes images of the other half-set likelier than the "
            "mean volume does"
        )
    elif said["latent"]:
        gains = ", ".join(f"{sum(each) / len(each):.2f}" for each in said["gain"])
        yield (
            f"{said['latent']} of {said['tried']} components make images of the other half-set "
            f"likelier, by {gains} nats a particle"
        )


def _of_given(run: "VolumeRun") -> str:
    """What latents of a file are worth."""
    gains = [run.history[name][0] for name in ("gain1", "gain2")]
    if not run.history["supported"][0]:
        return (
            "volumes that go with these latents make images of the other half-set no likelier than "
            "the mean volume does"
        )
    return (
        "volumes that go with these latents make images of the other half-set likelier, by "
        f"{sum(gains) / 2:.2f} nats a particle; some of it is chance where the latents were found "
        "on the same images"
    )

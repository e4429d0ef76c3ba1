"""``atomdrgn fit``."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from ..errors import InputError
from .failures import command, command_line
from .options import MODEL, AsJson, Base, Device, General, MapFile, Origin, Particles, Reading
from .progress import progress, told_if_slow
from .setup import (
    device_lines,
    find_device,
    is_first_process,
    read_model,
    require_files,
    settings_of,
    use_threads,
)

if TYPE_CHECKING:
    from ..inference.fit_options import FitOptions

RUN, VAE = "The run", "With --inference vae"


class Inference(StrEnum):
    """How a fit is made."""

    closed_form = "closed-form"
    vae = "vae"


class Deformation(StrEnum):
    """What a latent moves."""

    segments = "segments"
    beads = "beads"


class Poses(StrEnum):
    """What is known of poses."""

    auto = "auto"
    exact = "exact"
    independent = "independent"
    refined = "refined"


class Loss(StrEnum):
    """What predictions and images are compared by."""

    correlation = "correlation"
    likelihood = "likelihood"


@dataclass(frozen=True, kw_only=True)
class Model:
    """What moves, what of it is fitted, and where the base structure stands."""

    segments: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=MODEL,
            show_default="20",
            help="Parts of the structure that move as rigid bodies, at most: none is shorter than "
            "6 residues.",
        ),
    ] = None
    beads: Annotated[
        int,
        Option(
            metavar="1|2",
            rich_help_panel=MODEL,
            help="Beads a residue: 1, or 2 for backbone and side chain.",
        ),
    ] = 1
    parts: Annotated[
        list[str] | None,
        Option(
            metavar="SELECTION",
            rich_help_panel=MODEL,
            show_default=False,
            help="A segment of your own, such as A:1-226,B; repeat it for more, or put semicolons "
            "between them. What is left is cut automatically.",
        ),
    ] = None
    fixed: Annotated[
        str | None,
        Option(
            metavar="SELECTION",
            rich_help_panel=MODEL,
            show_default=False,
            help="What does not move, such as A:1-120.",
        ),
    ] = None
    composition: Annotated[
        bool,
        Option(
            "--composition",
            rich_help_panel=MODEL,
            help="Segments may be absent from particles: find which are.",
        ),
    ] = False
    refine_poses: Annotated[
        bool,
        Option(
            "--refine-poses",
            rich_help_panel=MODEL,
            help="Correct the pose of each image by a small turn and shift; poses.csv holds them.",
        ),
    ] = False
    poses: Annotated[
        Poses,
        Option(
            rich_help_panel=MODEL,
            help="What is known of the poses: exact, off by errors that do not know the images "
            "(independent), or refined on these images and therefore integrated out. By default "
            "the images tell.",
        ),
    ] = Poses.auto
    keep_base: Annotated[
        bool,
        Option(
            "--keep-base",
            rich_help_panel=MODEL,
            help="Leave the base model as it is and segments rigid, where by default it is "
            "corrected if images show that it is wrong in all particles alike, and residues move "
            "within segments if images show that.",
        ),
    ] = False
    no_residual: Annotated[
        bool,
        Option(
            "--no-residual",
            rich_help_panel=MODEL,
            help="Leave out what images show besides the base model, such as a bound protein or a "
            "micelle. By default its density is estimated (residual.mrc) and images are compared "
            "with it too.",
        ),
    ] = False
    mask: Annotated[
        Path | None,
        Option(
            metavar="MAP",
            rich_help_panel=MODEL,
            show_default=False,
            help="A mask in the frame of the poses, such as that of a focused refinement. Residues "
            "where it is less than a half do not move, and the residual density explains what is "
            "there.",
        ),
    ] = None
    parts_mask: Annotated[
        str | None,
        Option(
            "--parts-mask",
            metavar="SELECTION+A",
            rich_help_panel=MODEL,
            show_default=False,
            help="The same, made of residues and how many A around them, such as A:1-200+8.",
        ),
    ] = None
    temperature: Annotated[
        float | None,
        Option(
            metavar="T",
            rich_help_panel=MODEL,
            show_default=False,
            help="Sharpness of the borders between segments; larger is sharper.",
        ),
    ] = None
    map_file: MapFile = None
    origin: Origin = None


@dataclass(frozen=True, kw_only=True)
class Running:
    """How the fit is run."""

    resolution: Annotated[
        float | None,
        Option(
            metavar="A",
            rich_help_panel=RUN,
            show_default="by pixel size and model",
            help="Finest resolution that is used.",
        ),
    ] = None
    learn_on: Annotated[
        str,
        Option(
            metavar="N|all",
            rich_help_panel=RUN,
            show_default="2,000, and more until half-sets agree",
            help="Particles that motions, density and noise are learned on, chosen by half-set, "
            "optics group, view and defocus; all particles are placed on what was learned.",
        ),
    ] = "auto"
    seed: Annotated[
        int, Option(metavar="N", rich_help_panel=RUN, help="The same seed gives the same result.")
    ] = 0
    resume: Annotated[
        bool, Option("--resume", rich_help_panel=RUN, help="Go on with a run that was stopped.")
    ] = False
    overwrite: Annotated[
        bool, Option("--overwrite", rich_help_panel=RUN, help="Replace a run that is there.")
    ] = False
    memory: Annotated[
        float | None,
        Option(
            metavar="GB",
            rich_help_panel=RUN,
            show_default="half of the machine's",
            help="Memory that each process may take. Less costs time, and next to no accuracy.",
        ),
    ] = None
    device: Device = "cpu"
    inference: Annotated[
        Inference,
        Option(
            metavar="closed-form|vae",
            rich_help_panel=RUN,
            help="Closed-form population fit, or the autoencoder of cryoSPHERE with learned "
            "segments, for comparison.",
        ),
    ] = Inference.closed_form


@dataclass(frozen=True, kw_only=True)
class Training:
    """How the autoencoder is trained; None where it is as by default."""

    deformation: Annotated[
        Deformation | None,
        Option(
            metavar="segments|beads",
            rich_help_panel=VAE,
            show_default="segments",
            help="What moves: rigid segments, or every bead by itself, held by bonds, side "
            "chains, the chain's local shape and clashes (Zhong et al. 2021).",
        ),
    ] = None
    loss: Annotated[
        Loss | None,
        Option(
            metavar="correlation|likelihood",
            rich_help_panel=VAE,
            show_default="correlation",
            help="What images are compared by: correlation as published, or the likelihood under "
            "the measured noise.",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=VAE,
            show_default="300",
            help="How often each image is seen.",
        ),
    ] = None
    minutes: Annotated[
        float | None,
        Option(
            metavar="MIN",
            rich_help_panel=VAE,
            show_default="no limit",
            help="Training ends after the epoch in which this time is reached.",
        ),
    ] = None
    rate: Annotated[
        float | None,
        Option(
            metavar="RATE",
            rich_help_panel=VAE,
            show_default="3e-5, or 1e-4 with --deformation beads",
            help="Learning rate of the networks; that of the segments is ten times as large.",
        ),
    ] = None


@command
def fit(
    base: Base,
    particles: Particles,
    out: Annotated[
        Path | None,
        Option(
            "--out",
            "-o",
            metavar="RUN",
            rich_help_panel=RUN,
            show_default="the particle file's stem and .fit, here",
            help="Folder for the result.",
        ),
    ] = None,
    *,
    model: Model,
    reading: Reading,
    running: Running,
    training: Training,
    as_json: AsJson = False,
    general: General,
) -> None:
    """A structure for every particle: fit the motions of a base structure to its images.

    Their poses have to be known.

    The result is a folder: the latent of each particle with its error, the
    motions, tables and a summary. [bold]atomdrgn export[/bold] writes the structures.

    Poses turn about the box centre of the consensus map. A model that fits
    that map stands in the map's frame: give the map.

    [bold]Examples[/bold]

        atomdrgn fit base.pdb particles.star --segments 20
        atomdrgn fit base.cif particles.cs --map consensus.mrc --box 128
        atomdrgn fit base.pdb tilts.star --tomograms tomograms.star
        atomdrgn fit base.pdb particles.star --parts A:1-226,B --fixed C
        atomdrgn fit base.pdb particles.star --parts-mask A:1-226,B+8
        atomdrgn fit base.pdb particles.star --resume
        atomdrgn fit base.pdb particles.star --inference vae --epochs 100
        atomdrgn fit base.pdb particles.star --inference vae --deformation beads --beads 2

    Several processes, on one machine or more, share the particles; with
    --device cuda each has a GPU of its own:

        torchrun --nproc-per-node 4 -m atomdrgn fit base.pdb particles.star
    """
    closed_form = running.inference is Inference.closed_form
    if running.resume and running.overwrite:
        raise InputError(
            "--resume goes on with a run and --overwrite replaces it: give one of them"
        )
    learning = {name: value for name, value in asdict(training).items() if value is not None}
    if closed_form:
        _refuse_of_autoencoder(learning)
    else:
        _refuse_of_closed_form(model, running)
    if training.deformation is Deformation.beads:
        _refuse_of_segments(model)
    require_files("fit", base=base, particles=particles, mask=model.mask)
    speaks = not general.quiet and is_first_process()
    with told_if_slow(f"reading {base} and {particles}", quiet=not speaks):
        from ..parallel import joined_processes
        from ..particles.reading import read_particles
        from .summary import summary_json, summary_lines

        use_threads(general.threads)
        device = find_device(running.device if closed_form else "cpu")
        structure, centre = read_model(base, map_file=model.map_file, origin=model.origin)
        stack = read_particles(particles, **reading.named())
    out = out or Path(particles.with_suffix(".fit").name)
    how: dict[str, Any] = {
        "resume": running.resume,
        "overwrite": running.overwrite,
        "settings": {
            **settings_of(
                base=base, particles=particles, map=model.map_file, origin=centre, **reading.named()
            ),
            "device": str(device),
        },
    }
    try:
        with (
            joined_processes() as processes,
            progress(quiet=general.quiet or not processes.first, compiles=True) as reporter,
        ):
            if closed_form:
                from ..inference.fit import fit as fit_particles

                run = fit_particles(
                    structure,
                    stack,
                    out,
                    _fit_options(model, running),
                    memory=running.memory,
                    processes=processes,
                    reporter=reporter,
                    device=device,
                    **how,
                )
            elif processes.count > 1:
                raise InputError(
                    "--inference vae is the work of one process: start it without torchrun"
                )
            else:
                from ..inference.amortised.vae import fit_vae
                from ..inference.amortised.vae_options import VaeOptions

                minutes = learning.pop("minutes", None)
                options = VaeOptions(**_shared(model, running), **learning)
                run = fit_vae(
                    structure, stack, out, options, minutes=minutes, reporter=reporter, **how
                )
    except KeyboardInterrupt:
        again = command_line(without=("--overwrite", "--resume"))
        raise KeyboardInterrupt(f"stopped; to go on: {again} --resume") from None
    if processes.first and as_json:
        print(summary_json(run))
    elif processes.first and not general.quiet:
        print("\n".join([*device_lines(device), *summary_lines(run)]))


def _shared(model: Model, running: Running) -> dict[str, Any]:
    """The options that both inferences have."""
    of_segments = {} if model.segments is None else {"segments": model.segments}
    return of_segments | {
        "beads": model.beads,
        "temperature": model.temperature,
        "parts": _selections(model.parts),
        "fixed": model.fixed,
        "resolution": running.resolution,
        "seed": running.seed,
    }


def _fit_options(model: Model, running: Running) -> "FitOptions":
    """The record that a fit is made by."""
    from ..inference.fit_options import FitOptions

    return FitOptions(
        **_shared(model, running),
        composition=model.composition,
        refine_poses=model.refine_poses,
        poses=model.poses.value,
        keep_base=model.keep_base,
        no_residual=model.no_residual,
        learn_on=_learn_on(running.learn_on),
        mask=model.mask,
        parts_mask=model.parts_mask,
    )


def _learn_on(said: str) -> int | str:
    """The number of particles, or what stands for it."""
    if said in ("auto", "all"):
        return said
    try:
        return int(said)
    except ValueError:
        raise InputError(f"--learn-on {said}: expected a number of particles, or all") from None


def _refuse_of_segments(model: Model) -> None:
    """Refuse options of segments where every bead moves by itself."""
    of_segments = {
        "segments": model.segments,
        "parts": model.parts,
        "temperature": model.temperature,
    }
    given = " and ".join(f"--{name}" for name, value in of_segments.items() if value is not None)
    if given:
        raise InputError(
            f"{given} with --deformation beads: there are no segments where every bead moves by "
            "itself; leave it out, or take --deformation segments"
        )


def _refuse_of_closed_form(model: Model, running: Running) -> None:
    """Refuse options that the autoencoder does not have."""
    for name, given, instead in (
        (
            "memory",
            running.memory is not None,
            "holds all images in memory; smaller ones (--box) take less",
        ),
        (
            "device",
            running.device not in ("auto", "cpu"),
            "works on the processor; give --device cpu",
        ),
        ("refine-poses", model.refine_poses, "takes poses as they are; leave it out"),
        ("poses", model.poses is not Poses.auto, "takes poses as they are; leave it out"),
        (
            "composition",
            model.composition,
            "takes every part as present in every particle; leave it out",
        ),
        ("keep-base", model.keep_base, "never corrects the base model; leave it out"),
        ("no-residual", model.no_residual, "looks for no other density; leave it out"),
        ("learn-on", running.learn_on != "auto", "learns on all particles; leave it out"),
        ("mask", model.mask is not None, "fits the whole molecule; leave it out"),
        ("parts-mask", model.parts_mask is not None, "fits the whole molecule; leave it out"),
    ):
        if given:
            raise InputError(f"--{name} belongs to the closed form: --inference vae {instead}")


def _refuse_of_autoencoder(learning: dict[str, Any]) -> None:
    """Refuse options that only the autoencoder has."""
    if learning.get("deformation") is Deformation.beads:
        raise InputError(
            "--deformation beads needs --inference vae: the closed form moves segments"
        )
    if learning:
        names = " and ".join(f"--{name}" for name in learning) + (
            " belong" if len(learning) > 1 else " belongs"
        )
        raise InputError(
            f"{names} to --inference vae, and this is the closed form: add --inference vae or "
            "leave it out"
        )


def _selections(parts: list[str] | None) -> list[str] | None:
    """Each segment's selection, given one by one or with semicolons between them."""
    selections = [selection.strip() for text in parts or [] for selection in text.split(";")]
    return [selection for selection in selections if selection] or None

"""``atomdrgn simulate``."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from ..errors import InputError
from .failures import command, command_line
from .options import (
    AllowMissingCtf,
    AsJson,
    DataFolder,
    Debug,
    InvertContrast,
    MapFile,
    Origin,
    Passthrough,
    Quiet,
    Threads,
    TiltSeries,
    Tomograms,
)
from .progress import progress
from .terminal import shell_word, tell

WHAT, HOW, FLAWS, RESULT = "What is imaged", "How it is imaged", "What real sets have", "The result"


class Detail(StrEnum):
    """What scatters."""

    atoms = "atoms"
    residues = "residues"


@command
def simulate(
    structures: Annotated[
        list[Path],
        Argument(
            metavar="STRUCTURE...",
            show_default=False,
            help="Conformations of one molecule: structures (each model of each), a structure and "
            "its trajectories (.dcd, .xtc), or a run.",
        ),
    ],
    out: Annotated[
        Path,
        Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=RESULT,
            show_default=False,
            help="Folder for the particle set.",
        ),
    ],
    particles: Annotated[
        int | None,
        Option(
            metavar="N",
            rich_help_panel=WHAT,
            show_default="1000, or those of --like",
            help="How many particles.",
        ),
    ] = None,
    in_order: Annotated[
        bool,
        Option(
            "--in-order",
            rich_help_panel=WHAT,
            help="Particle after particle takes conformation after conformation; otherwise at "
            "random.",
        ),
    ] = False,
    populations: Annotated[
        str | None,
        Option(
            metavar="P,Q,...",
            rich_help_panel=WHAT,
            show_default="all alike",
            help="Of each conformation, a share of the particles.",
        ),
    ] = None,
    superpose: Annotated[
        bool | None,
        Option(
            "--superpose/--keep-frame",
            rich_help_panel=WHAT,
            show_default="--superpose, with --like --keep-frame",
            help="Bring each conformation onto the first coordinates, or leave it where it stands.",
        ),
    ] = None,
    map_file: MapFile = None,
    origin: Origin = None,
    like: Annotated[
        Path | None,
        Option(
            metavar="PARTICLES",
            rich_help_panel=HOW,
            show_default=False,
            help="A particle file with images: the same poses, CTF, optics, pixels and rows with "
            "other images. The structure stands in the frame of its poses (--map, --origin).",
        ),
    ] = None,
    snr: Annotated[
        float,
        Option(
            metavar="RATIO",
            rich_help_panel=HOW,
            help="Variance of the signal over that of the noise, over whole images; inf: no noise.",
        ),
    ] = 0.1,
    box: Annotated[
        int | None,
        Option(metavar="PIXELS", rich_help_panel=HOW, show_default="64", help="Of an image."),
    ] = None,
    pixel_size: Annotated[
        float | None,
        Option(metavar="A", rich_help_panel=HOW, show_default="3", help="Of an image."),
    ] = None,
    defocus: Annotated[
        str | None,
        Option(
            metavar="LOW,HIGH",
            rich_help_panel=HOW,
            show_default="8000,25000",
            help="Least and largest underfocus, A.",
        ),
    ] = None,
    voltage: Annotated[
        float | None, Option(metavar="KV", rich_help_panel=HOW, show_default="300", help="Voltage.")
    ] = None,
    spherical_aberration: Annotated[
        float | None,
        Option(metavar="MM", rich_help_panel=HOW, show_default="2.7", help="Spherical aberration."),
    ] = None,
    amplitude_contrast: Annotated[
        float | None,
        Option(metavar="W", rich_help_panel=HOW, show_default="0.1", help="Amplitude contrast."),
    ] = None,
    tilts: Annotated[
        int | None,
        Option(
            metavar="T",
            rich_help_panel=HOW,
            show_default="single images",
            help="A dose-symmetric tilt series of so many images a particle, as Warp and M 1.x "
            "write it.",
        ),
    ] = None,
    reach: Annotated[
        float | None,
        Option(metavar="DEGREES", rich_help_panel=HOW, show_default="54", help="Largest tilt."),
    ] = None,
    dose: Annotated[
        float | None,
        Option(
            metavar="DOSE",
            rich_help_panel=HOW,
            show_default="110",
            help="Of a whole tilt series, e/A^2: it damages the molecule.",
        ),
    ] = None,
    b_factor: Annotated[
        float,
        Option(
            metavar="A^2",
            rich_help_panel=HOW,
            help="Decay exp(-B k^2 / 4) of all images, which the file does not tell.",
        ),
    ] = 0.0,
    detail: Annotated[
        Detail,
        Option(
            metavar="atoms|residues",
            rich_help_panel=HOW,
            help="What scatters: each atom, or a residue as one Gaussian, which is many times "
            "quicker.",
        ),
    ] = Detail.atoms,
    contrast_error: Annotated[
        float,
        Option(
            metavar="PART",
            rich_help_panel=FLAWS,
            help="Images differ in strength: standard deviation, such as 0.2.",
        ),
    ] = 0.0,
    rotation_error: Annotated[
        float,
        Option(
            metavar="DEGREES",
            rich_help_panel=FLAWS,
            help="Written orientations are wrong: standard deviation about each axis.",
        ),
    ] = 0.0,
    shift_error: Annotated[
        float,
        Option(
            metavar="A",
            rich_help_panel=FLAWS,
            help="Written places are wrong: standard deviation along each axis.",
        ),
    ] = 0.0,
    data_folder: DataFolder = None,
    invert_contrast: InvertContrast = None,
    tilt_series: TiltSeries = False,
    tomograms: Tomograms = None,
    passthrough: Passthrough = None,
    allow_missing_ctf: AllowMissingCtf = False,
    seed: Annotated[
        int, Option(metavar="N", rich_help_panel=RESULT, help="The same seed gives the same set.")
    ] = 0,
    overwrite: Annotated[
        bool,
        Option("--overwrite", rich_help_panel=RESULT, help="Replace particles that are there."),
    ] = False,
    threads: Threads = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a particle set whose truth is known, from conformations of a molecule.

    DIR holds particles.star and particles.mrcs, which atomdrgn fit reads;
    base.pdb, the first coordinates; and truth.npz: conformation, pose and
    contrast of everything.

    [bold]Examples[/bold]

        atomdrgn simulate open.pdb closed.pdb --populations 0.7,0.3 --out set --snr 0.05
        atomdrgn simulate topology.pdb md.dcd --particles 5000 --box 128 --pixel-size 1.5 --out set
        atomdrgn simulate base.pdb md.dcd --like particles.star --out like
        atomdrgn simulate particles.fit --in-order --like particles.star --out again
        atomdrgn simulate ensemble.cif --tilts 41 --snr 0.02 --out tilts
        atomdrgn fit set/base.pdb set/particles.star
    """
    import numpy as np
    import torch

    from ..physics.grid import ImageGrid
    from ..simulate.conformations import centred, choose, read_molecule
    from ..simulate.imaging import Microscope, image_like, image_once, image_tilts
    from ..simulate.particles import Errors, require_free, simulate_particles
    from ..structure.atoms import why_no_pdb
    from .setup import box_centre, use_threads

    reading: dict[str, Any] = {
        "data_folder": data_folder,
        "invert_contrast": invert_contrast,
        "tilt_series": tilt_series,
        "tomograms": tomograms,
        "passthrough": passthrough,
        "allow_missing_ctf": allow_missing_ctf,
    }
    settings: dict[str, Any] = {
        "voltage_kv": voltage,
        "spherical_aberration_mm": spherical_aberration,
        "amplitude_contrast": amplitude_contrast,
        "defocus": None if defocus is None else _two_numbers(defocus),
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    series = {
        name: value for name, value in {"reach": reach, "dose": dose}.items() if value is not None
    }
    _refuse_what_does_not_go_together(
        like,
        tilts,
        given={
            "--particles": particles,
            "--box": box,
            "--pixel-size": pixel_size,
            "--defocus": defocus,
            "--voltage": voltage,
            "--spherical-aberration": spherical_aberration,
            "--amplitude-contrast": amplitude_contrast,
            "--tilts": tilts,
            "--reach": reach,
            "--dose": dose,
        },
        reading=reading,
        series=series,
    )
    use_threads(threads)
    errors = Errors(contrast_error, rotation_error, shift_error)
    require_free(out, overwrite=overwrite, inputs=structures)
    molecule = read_molecule(
        structures, superposed=like is None if superpose is None else superpose
    )
    centre = box_centre(map_file=map_file, origin=origin)
    if like is None or centre is not None:
        molecule = centred(molecule, centre)
    generator = torch.Generator().manual_seed(seed)
    with progress(quiet=quiet, compiles=True) as reporter:
        if like is not None:
            imaging = image_like(like, **reading)
        else:
            grid, microscope = ImageGrid(box or 64, pixel_size or 3.0), Microscope(**settings)
            count = 1000 if particles is None else particles
            imaging = (
                image_once(count, grid, generator, microscope=microscope)
                if tilts is None
                else image_tilts(
                    count, grid, generator, tilts=tilts, microscope=microscope, **series
                )
            )
        which = choose(
            len(molecule.conformations),
            imaging.n_particles,
            generator,
            in_order=in_order,
            populations=None if populations is None else _numbers(populations),
        )
        written = simulate_particles(
            molecule.structure,
            molecule.conformations,
            out,
            snr=snr,
            imaging=imaging.with_b_factor(b_factor),
            which=which,
            detail=detail.value,
            errors=errors,
            generator=generator,
            overwrite=overwrite,
            truth={"command": np.array(command_line())},
            reporter=reporter,
        )
    base = out / ("base.cif" if why_no_pdb(molecule.structure) else "base.pdb")
    told = {
        "particle_file": written,
        "base": base,
        "images": len(imaging),
        "particles": imaging.n_particles,
        "conformations": len(molecule.conformations),
    }
    lines = [
        f"wrote {len(imaging):,} images of {imaging.n_particles:,} particles to {written}; "
        f"conformations: {len(molecule.conformations):,}",
        f"a structure for each of them: atomdrgn fit {shell_word(base)} {shell_word(written)}"
        + (f" --tomograms {shell_word(tomograms)}" if tomograms else "")
        + (" --tilt-series" if tilt_series else "")
        + (" --allow-missing-ctf" if allow_missing_ctf else ""),
    ]
    tell(lines, told, as_json=as_json, quiet=quiet)


def _refuse_what_does_not_go_together(
    like: Path | None,
    tilts: int | None,
    *,
    given: Mapping[str, object],
    reading: Mapping[str, object],
    series: Mapping[str, float],
) -> None:
    named = [name for name, value in given.items() if value is not None]
    if like is not None and named:
        raise InputError(f"{' and '.join(named)}: --like takes that from {like}; leave it out")
    if like is None and any(reading.values()):
        raise InputError(
            "--data-folder, --invert-contrast, --tilt-series, --tomograms, --passthrough and "
            "--allow-missing-ctf say how the file of --like is read: give --like"
        )
    if tilts is None and series:
        raise InputError("--reach and --dose are those of tilt series: give --tilts")


def _two_numbers(text: str) -> tuple[float, float]:
    numbers = _numbers(text, "--defocus")
    if len(numbers) != 2:
        raise InputError(f"--defocus {text}: expected two numbers in A, such as 8000,25000")
    return numbers[0], numbers[1]


def _numbers(text: str, option: str = "--populations") -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text}: expected numbers with commas between them") from None

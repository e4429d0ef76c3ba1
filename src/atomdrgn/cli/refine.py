"""``atomdrgn refine``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .failures import command
from .options import MODEL, AsJson, Base, Device, General, MapFile, Origin, Particles, Reading
from .progress import progress, told_if_slow
from .setup import (
    device_lines,
    find_device,
    read_model,
    require_files,
    settings_of,
    use_threads,
)
from .terminal import tell

if TYPE_CHECKING:
    from ..inference.base_model.refinement import Refinement

RESULT = "The result"


@command
def refine(
    base: Base,
    particles: Particles,
    out: Annotated[
        Path | None,
        Option(
            "--out",
            "-o",
            metavar="DIR",
            rich_help_panel=RESULT,
            show_default="the particle file's stem and .refined, here",
            help="Folder for the result.",
        ),
    ] = None,
    beads: Annotated[
        int,
        Option(
            metavar="1|2",
            rich_help_panel=MODEL,
            help="Beads a residue: 1, or 2 for backbone and side chain.",
        ),
    ] = 2,
    no_bonds: Annotated[
        bool,
        Option(
            "--no-bonds",
            rich_help_panel=MODEL,
            help="Nothing holds residues to each other; side chains stay on their backbones.",
        ),
    ] = False,
    restraint_weight: Annotated[
        float | None,
        Option(
            metavar="W",
            rich_help_panel=MODEL,
            show_default="chosen by half-set cross-validation",
            help="Weight of bonds, side chains, local shape and clashes against the images: 1 "
            "takes them as they are, 0 leaves them out.",
        ),
    ] = None,
    map_file: MapFile = None,
    origin: Origin = None,
    *,
    reading: Reading,
    resolution: Annotated[
        float | None,
        Option(
            metavar="A",
            rich_help_panel=RESULT,
            show_default="by pixel size and model",
            help="Finest resolution that is used.",
        ),
    ] = None,
    seed: Annotated[
        int,
        Option(metavar="N", rich_help_panel=RESULT, help="The same seed gives the same result."),
    ] = 0,
    overwrite: Annotated[
        bool,
        Option("--overwrite", rich_help_panel=RESULT, help="Replace a refinement that is there."),
    ] = False,
    memory: Annotated[
        float | None,
        Option(
            metavar="GB",
            rich_help_panel=RESULT,
            show_default="half of the machine's",
            help="Memory that may be taken. With less, images are read again in each pass.",
        ),
    ] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
    general: General,
) -> None:
    """One structure for all images: correct a base structure by particle images with known poses.

    The result is a folder: refined.cif and refined.pdb with all atoms, in the
    frame of BASE; how far each residue has moved; and a summary. It can be
    the base structure of [bold]atomdrgn fit[/bold].

    Refinement goes from coarse to fine, so that a structure several A off is
    caught. The weight of the restraints is the one with which a structure
    refined on half-set 1 explains half-set 2 best.

    [bold]Examples[/bold]

        atomdrgn refine base.pdb particles.star --out refined
        atomdrgn refine base.cif particles.cs --map consensus.mrc --resolution 6
        atomdrgn refine base.pdb particles.star --beads 1 --restraint-weight 1
    """
    require_files("refine", base=base, particles=particles)
    with told_if_slow(f"reading {base} and {particles}", quiet=general.quiet):
        from ..inference.base_model.refinement import refine as refine_structure
        from ..particles.reading import read_particles

        use_threads(general.threads)
        found_device = find_device(device)
        structure, centre = read_model(base, map_file=map_file, origin=origin)
        stack = read_particles(particles, **reading.named())
    settings = settings_of(
        base=base, particles=particles, map=map_file, origin=centre, **reading.named()
    )
    out = out or Path(particles.with_suffix(".refined").name)
    with progress(quiet=general.quiet, compiles=True) as reporter:
        try:
            found = refine_structure(
                structure,
                stack,
                out,
                beads=beads,
                bonds=not no_bonds,
                weight=restraint_weight,
                resolution=resolution,
                seed=seed,
                memory=memory,
                origin=centre,
                overwrite=overwrite,
                settings=settings,
                reporter=reporter,
                device=found_device,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped; nothing was written to {out}") from None
    told = {"structure": found.folder / "refined.cif", **found.summary}
    tell(_closing_lines(found), told, as_json=as_json, quiet=general.quiet)


def _closing_lines(found: "Refinement") -> list[str]:
    """A few lines on a :class:`~atomdrgn.inference.base_model.refinement.Refinement`."""
    said = found.summary
    chosen = said["refine"]
    gained = said["log_likelihood_after"] - said["log_likelihood_before"]
    return [
        f"{said['images']:,} images, {said['residues']:,} residues, {said['beads']:,} beads, to "
        f"{chosen['resolution']:.1f} A; restraint weight {chosen['weight']:g} "
        f"({chosen['weight_chosen_by']})",
        f"moved by {said['displacement_rms']:.2f} A r.m.s., {said['displacement_largest']:.2f} A "
        f"at most; log likelihood gained over the base structure: {gained:,.1f}",
        *device_lines(said["device"]),
        f"the structure is {found.folder / 'refined.cif'}",
    ]

"""Particles of another day on the landscape of a run."""

from dataclasses import replace
from os import PathLike
from pathlib import Path

import torch

from ..errors import FileFormatError, InputError
from ..io.whole_file import whole_file
from ..parallel import Processes, whole_batches_on_threads
from ..particles.stack.stack import ParticleStack
from ..reporting import Reporter
from ..runs import run_contents as contents
from ..runs.run import (
    BLOBS,
    BORDERS,
    CHECKPOINT,
    CORRECTION,
    LANDSCAPE,
    MODEL,
    RESIDUAL_MAPS,
    RESIDUES,
    SUMMARY,
    Run,
    open_run,
    read_arrays,
    write_json,
)
from ..runs.run_folder import begin_run, only_writer, require_beginning, run_settings
from .fit_assembly import assemble
from .fit_options import FitOptions
from .placing.coarse_to_fine import landscape_of
from .placing.everyone import Everyone
from .placing.learned import Learned
from .population.latent_density import Density
from .problem.fit_state import load_state
from .problem.resegmentation import with_base, with_borders
from .run_writer import motion_rows, remove_placed, write_placed

# of the run that was learned: what is the same
COPIED = (MODEL, RESIDUES, LANDSCAPE, CHECKPOINT, BORDERS, CORRECTION, *RESIDUAL_MAPS, BLOBS)

OF_PARTICLES = ("against_base", "pose_correction", "composition")  # of those of the run alone
SAME_PIXELS = 1e-3  # relative


def fit_more(
    run: Run | str | PathLike,
    particles: ParticleStack,
    out: str | PathLike,
    *,
    resume: bool = False,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
    processes: Processes | None = None,
) -> Run:
    """Find the conformations of further particles by what a run has learned, and leave a run.

    Base model, motions, noise and the residual density are those of the run. How many particles
    stand where, states and junk are found of these particles by themselves. No motion is learned,
    and none is tested: what these particles do beyond the motions of the run is not seen.

    Parameters
    ----------
    run : Run or path
        A run of :func:`atomdrgn.fit`.
    particles : ParticleStack
        Images with poses and CTF, of the pixels that the run's images had.
    out : path
        Folder of the new run.
    resume : bool
        Go on with particles that are not placed yet.
    overwrite : bool
        Replace a run that is there.
    settings : dict, optional
        More that run.json shall say, such as how the files were read.
    reporter : Reporter, optional
        Is told how far it is.
    processes : Processes, optional
        That do this together; all have to see the folder.

    Raises
    ------
    InputError
        The run has no landscape for further particles, or images are of other pixels.
    OutputExistsError
        The folder holds something.

    Examples
    --------
    >>> from atomdrgn import fit, read_particles, read_structure
    >>> base, particles = read_structure("base.pdb"), read_particles("particles.star")
    >>> run = fit(base, particles, "learned.fit", segments=2, resolution=10.0)
    >>> fit_more(run, particles, "more.fit").n_particles
    8
    """
    run = run if isinstance(run, Run) else open_run(Path(run))
    folder, processes = Path(out), processes or Processes()
    reporter = reporter if reporter and processes.first else Reporter()
    if folder.resolve() == run.folder.resolve():
        raise InputError(f"{folder} is the run itself: name another folder for the new one")
    _require_pixels(run, particles)
    if processes.first:
        require_beginning(folder, run.structure, resume=resume, overwrite=overwrite)
    with whole_batches_on_threads():
        learned = learned_of_run(run, particles, processes)
        choices = dict(run.settings["fit"]) | {"learned_from": str(run.folder)}
        made = run_settings(run.structure, particles, more=settings or {}, choices=choices)
        with only_writer(folder, reporter, processes):
            if begin_run(
                folder,
                made,
                run.structure,
                resume=resume,
                overwrite=overwrite,
                reporter=reporter,
                processes=processes,
            ):
                processes.wait()  # until the folder is there
                everyone = Everyone(learned, particles, folder)
                everyone.place(reporter)
                if processes.first:
                    _write(run, everyone)
                processes.wait()
            elif processes.first:
                remove_placed(folder)  # of one that was stopped as it had written its results
    return open_run(folder)


def _require_pixels(run: Run, particles: ParticleStack) -> None:
    """Refuse images of other pixels than the run has learned the noise of."""
    was, grid = run.settings["fit"], particles.grid
    same = was["box_size"] == grid.box_size
    if not (same and abs(was["pixel_size"] / grid.pixel_size - 1) < SAME_PIXELS):
        raise InputError(
            f"{particles.source}: images of {grid.box_size} pixels of {grid.pixel_size:.4g} A, and "
            f"{run.folder} was learned on {was['box_size']} pixels of {was['pixel_size']:.4g} A: "
            "extract them alike, or crop with --box to the same box and pixels"
        )


def _write(run: Run, everyone: Everyone) -> None:
    """The files of the new run; summary.json, last, says that it is whole."""
    folder = everyone.folder
    for name in COPIED:
        if (run.folder / name).exists():
            with whole_file(folder / name) as temporary:
                temporary.write_bytes((run.folder / name).read_bytes())
    found, summary = write_placed(folder, everyone), dict(run.summary)
    before = summary["motions"]
    variance, share = (torch.tensor([row[n] for row in before]) for n in ("variance", "share"))
    after = motion_rows(found.variance(variance), share, found.sd)
    learned_on = summary.get("learned_on", {"particles": summary["particles"]})
    kept = {name: value for name, value in summary.items() if name not in OF_PARTICLES}
    write_json(
        folder / SUMMARY,
        kept
        | found.facts()
        | {
            "motions": [row | new for row, new in zip(before, after, strict=True)],
            "learned_on": learned_on | {"run": str(run.folder)},
            "warnings": [*everyone.particles.warnings, *found.said],
        },
    )
    remove_placed(folder)


def learned_of_run(
    run: Run, particles: ParticleStack, processes: Processes | None = None
) -> Learned:
    """What a run has learned, for other particles.

    Parameters
    ----------
    run : Run
        Of the closed form.
    particles : ParticleStack
        That are to be placed.
    processes : Processes, optional
        That do this together.

    Raises
    ------
    InputError
        Another kind of run, one with parts that may be absent, or images of other pixels.
    FileFormatError
        The run is of a version that did not keep what is needed.
    """
    options = replace(FitOptions.from_settings(run.settings), learn_on="all")
    if options.composition:
        raise InputError(
            f"{run.folder}: segments may be absent from its particles (--composition), and whether "
            "they are is not found for further ones; fit all particles together"
        )
    if not (run.folder / LANDSCAPE).exists():
        raise FileFormatError(
            f"{run.folder}: there is no {LANDSCAPE}, which fits of version 0.2.0 on write; fit "
            "again with --overwrite"
        )
    held = read_arrays(run.folder / LANDSCAPE, contents.LANDSCAPE)
    model = assemble(run.structure, particles[:1], options)
    model = replace(model, processes=processes or Processes())
    if (run.folder / BORDERS).exists():
        label = read_arrays(run.folder / BORDERS, contents.BORDERS)["segment"]
        model = with_borders(model, torch.from_numpy(label))
    if "base_shift" in run.model:
        shift = torch.from_numpy(run.model["base_shift"])
        model = with_base(model, model.beads.position + shift)
    state = replace(load_state(run.folder / CHECKPOINT), poses=None, mapping=None)
    density = None
    if "weight" in held:
        density = Density(*(torch.from_numpy(held[name]) for name in ("weight", "mean", "root")))
    pose_sd = torch.from_numpy(held["pose_sd"]) if "pose_sd" in held else None
    names = zip(held["group_name"].tolist(), held["group_tilt"].tolist(), strict=True)
    bare = Learned(
        model,
        state,
        landscape_of(run.surface, density, model.images.disc, pose_sd),
        tuple(names),
    )
    return bare.with_noise_of(particles).measured_on(particles)

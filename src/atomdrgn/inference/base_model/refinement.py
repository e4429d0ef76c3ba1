"""Homogeneous refinement: one structure for all images, from a base structure to a folder."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...devices import PROCESSOR
from ...errors import InputError
from ...io.whole_file import require_replaceable, whole_folder
from ...likelihood.restraints.chain_restraints import bond_error, make_chain_restraints
from ...likelihood.restraints.segment_restraints import Restraints
from ...parallel import whole_batches_on_threads
from ...particles.stack.stack import ParticleStack
from ...reporting import Reporter
from ...runs.run import RESIDUES, SUMMARY, write_json, write_table
from ...structure.atoms import Structure, why_no_pdb, write_structure
from ...structure.beads import coarse_grain, unmodelled
from ...structure.motion.lifting import lift_residues
from ...structure.placement import place, require_inside
from ..images.faults_before_fit import read_images
from ..images.fourier_images import FourierImages
from ..images.memory_budget import share_memory
from ..images.resolution_schedule import finest_resolution
from .bead_error import bead_error
from .shared_beads import Found, Look, SharedBeads, calibrate, refine_shared_beads, still

# Of the restraints. Their standard deviations are those of real motions: what is looser is no
# molecule. Firmer ones are tried because images hold less of some molecules than of others.
WEIGHTS = (1.0, 10.0, 100.0)
MOST_BEADS = 3000  # the metric of the descent grows with the square: 0.7 GB
MODEL_CIF, MODEL_PDB, TRIALS = "refined.cif", "refined.pdb", "weights.csv"
FILES = (MODEL_CIF, MODEL_PDB, RESIDUES, TRIALS, SUMMARY)


@dataclass(frozen=True)
class Refinement:
    """A refined structure.

    Parameters
    ----------
    folder : Path
        Where it has been written.
    structure : Structure
        All atoms, in the frame that the base structure came in.
    summary : dict
        What summary.json says.

    Examples
    --------
    >>> from atomdrgn import read_particles, read_structure
    >>> base, particles = read_structure("base.pdb"), read_particles("particles.star")
    >>> refinement = refine(base, particles, "refined", weight=1.0)
    >>> refinement.structure.position.shape == base.position.shape
    True
    >>> refinement.summary["log_likelihood_after"] > refinement.summary["log_likelihood_before"]
    True
    """

    folder: Path
    structure: Structure
    summary: dict


@dataclass(frozen=True)
class Trial:
    """A weight of the restraints, and how likely half-set 2 is with what half-set 1 gave.

    Parameters
    ----------
    weight : float
    log_likelihood : (image,)
        Of each image of half-set 2, over that of no molecule.
    """

    weight: float
    log_likelihood: Float[Tensor, "image"]

    @property
    def total(self) -> float:
        """Of the half-set."""
        return float(self.log_likelihood.sum())

    def behind(self, best: "Trial") -> tuple[float, float]:
        """By how much the half-set is less likely than in the best trial, and its error."""
        difference = best.log_likelihood - self.log_likelihood
        return float(difference.sum()), float(difference.var(correction=0).sqrt()) * len(
            difference
        ) ** 0.5


def choose(trials: Sequence[Trial]) -> Trial:
    """The firmest restraints that the other half-set does not call worse than the best.

    References
    ----------
    Breiman et al., Classification and Regression Trees (1984), section 3.4.3: the rule of one
    standard error.
    """
    best = max(trials, key=lambda trial: trial.total)
    behind = {trial.weight: trial.behind(best) for trial in trials}
    return max(
        (trial for trial in trials if behind[trial.weight][0] <= behind[trial.weight][1]),
        key=lambda trial: trial.weight,
    )


def refine(  # noqa: PLR0913 - a keyword a setting of the command
    structure: Structure,
    particles: ParticleStack,
    out: Path | str,
    *,
    beads: int = 2,
    bonds: bool = True,
    weight: float | None = None,
    resolution: float | None = None,
    seed: int = 0,
    memory: float | None = None,
    origin: Sequence[float] | None = None,
    overwrite: bool = False,
    settings: dict | None = None,
    reporter: Reporter | None = None,
    device: torch.device = PROCESSOR,
) -> Refinement:
    """Fit one structure to all images, and leave it in a folder.

    Positions of beads, and one amplitude and one width for all of them, are fitted on the
    likelihood, coarse to fine; restraints hold bonds, side chains and local shape. Their weight is
    the one with which a structure refined on one half-set explains the other half-set best. The
    same seed gives the same result.

    Parameters
    ----------
    structure : Structure
        The base model, placed: the poses turn about its origin.
    particles : ParticleStack
        Images with poses and CTF.
    out : path
        Folder for the result.
    beads : {1, 2}
        Of a residue.
    bonds : bool
        False: nothing holds residues to each other; side chains are held to their backbones all the
        same.
    weight : float, optional
        Of the restraints against the likelihood; 1 takes their standard deviations at their word.
        By default it is chosen by cross-validation.
    resolution : float, optional
        Finest that is used, A; by default Nyquist's or 5 A, whichever is coarser.
    seed : int
        For the images of which noise and brightness are measured.
    memory : float, optional
        GB that may be taken; by default half the machine's memory. With less, images are read again
        in each pass.
    origin : (3,), optional
        Where the origin of the poses stands in the frame that the structure came in, A; the result
        is written in that frame.
    overwrite : bool
        Replace a refinement that is there.
    settings : dict, optional
        More that summary.json shall say, such as how the files were read.
    reporter : Reporter, optional
        Is told how far it is.
    device : torch.device
        Where images are compared (see :func:`atomdrgn.devices.choose_device`). It changes the
        result by rounding alone.

    Raises
    ------
    InputError
        Settings out of range, a model outside the box, images of inverted contrast, or a half-set
        without images where a weight is to be chosen.
    OutputExistsError
        The folder holds something.
    FileFormatError
        An image that is empty or not finite.

    References
    ----------
    Zhong et al., Exploring generative atomic models in cryo-EM reconstruction (2021), equation 3:
    the likelihood, bonds and one-sided constraints. docs/decisions.md says what is different here.

    Examples
    --------
    >>> from atomdrgn import read_particles, read_structure
    >>> base, particles = read_structure("base.pdb"), read_particles("particles.star")
    >>> refined = refine(base, particles, "again", beads=1, weight=1.0, resolution=8.0)
    >>> sorted(path.name for path in refined.folder.iterdir())
    ['refined.cif', 'refined.pdb', 'residues.csv', 'summary.json']
    """
    folder, reporter = Path(out), reporter or Reporter()
    require_replaceable(folder, FILES, what="a refinement", overwrite=overwrite)
    if weight is not None and not 0 <= weight < float("inf"):
        raise InputError(
            f"a restraint weight of {weight}: expected 0 or a positive number; 1 takes the "
            "restraints as they are"
        )
    model = coarse_grain(structure, beads=beads)
    if len(model) > MOST_BEADS:
        raise InputError(
            f"{structure.name} has {len(model)} beads, and {MOST_BEADS} can be refined together: "
            "take one bead a residue (--beads 1), or a part of the structure"
        )
    require_inside(model, particles.grid)
    images = FourierImages(particles, finest_resolution(particles.grid, resolution))
    allowed = share_memory(
        memory, particles=particles.n_particles, images=len(particles), n_latent=0
    ).images
    with whole_batches_on_threads():
        restraints = make_chain_restraints(model, bonds=bonds)
        error = bead_error(structure, model, images.disc, torch.Generator().manual_seed(seed))
        halves = _halves(particles) if weight is None else None
        warned = read_images(images, model, memory=allowed, reporter=reporter)
        every = torch.arange(len(particles))
        problem = SharedBeads(images, every, model, still(images), device=device)
        trials = (
            []
            if halves is None
            else cross_validate(
                problem, *halves, restraints=restraints, error=error, seed=seed, reporter=reporter
            )
        )
        chosen = choose(trials).weight if weight is None else weight
        found = refine_shared_beads(
            problem,
            restraints=restraints,
            weight=chosen,
            error=error,
            seed=seed,
            watch=_watch(reporter, "refining"),
        )
        before = _base_look(problem, found, seed=seed)
        summary = _summary(
            problem,
            found,
            before,
            restraints=restraints,
            trials=trials,
            choices={
                "beads": beads,
                "bonds": bonds,
                "weight": chosen,
                "weight_chosen_by": "cross-validation" if trials else "user",
                "seed": seed,
            },
            said={
                "unmodelled": unmodelled(structure),
                "warnings": [*particles.warnings, *warned],
                "device": str(device),
                **(settings or {}),
            },
        )
    atoms = lift_residues(structure.position, model, found.position, doubt=bond_error(model))
    back = np.zeros(3) if origin is None else -np.asarray(origin, dtype=float)
    refined = place(structure.moved(atoms), back)
    require_replaceable(folder, FILES, what="a refinement", overwrite=overwrite)
    with whole_folder(folder) as temporary:
        _write(
            temporary,
            place(structure, back),
            refined,
            problem,
            found,
            trials=trials,
            summary=summary,
            reporter=reporter,
        )
    return Refinement(folder, refined, summary)


def cross_validate(
    problem: SharedBeads,
    first: Int[Tensor, "image"],
    second: Int[Tensor, "image"],
    *,
    restraints: Restraints,
    error: Float[Tensor, "shell"],
    seed: int = 0,
    weights: Sequence[float] = WEIGHTS,
    reporter: Reporter | None = None,
) -> list[Trial]:
    """How likely the second images are with structures refined on the first.

    It is told for each weight of the restraints.

    Parameters
    ----------
    problem : SharedBeads
        Beads and images.
    first, second : (image,)
        The half-sets.
    restraints, error, seed
        As :func:`~atomdrgn.inference.base_model.shared_beads.refine_shared_beads` takes them.
    weights : sequence of float
        To try.
    reporter : Reporter, optional
        Is told how far it is.
    """
    reporter, trials, spectrum = reporter or Reporter(), [], None
    training, other = replace(problem, index=first), replace(problem, index=second)
    for weight in weights:
        found = refine_shared_beads(
            training,
            restraints=restraints,
            weight=weight,
            error=error,
            seed=seed,
            watch=_watch(reporter, f"half-set 1, weight {weight:g}"),
        )
        # likelihoods of one noise can be compared
        spectrum = found.look.spectrum if spectrum is None else spectrum
        value = other.log_likelihood(
            found.position, replace(found.look, spectrum=spectrum), problem.images.disc
        )
        trials.append(Trial(weight, value))
        reporter.say(
            f"restraint weight {weight:g}: log likelihood of half-set 2 {trials[-1].total:,.1f}"
        )
    return trials


def _watch(reporter: Reporter, title: str) -> Callable[[list[float]], Iterable[float]]:
    return lambda resolutions: reporter.watch(resolutions, title, len(resolutions))


def _halves(particles: ParticleStack) -> tuple[Int[Tensor, "first"], Int[Tensor, "second"]]:
    """Images of either half-set."""
    first, second = (torch.nonzero(particles.half == half)[:, 0] for half in (1, 2))
    if not len(first) or not len(second):
        raise InputError(
            f"{particles.source.name}: all images are of one half-set, and the weight of the "
            "restraints is chosen with two; give one with --restraint-weight (1 takes them as they "
            "are)"
        )
    return first, second


def _base_look(problem: SharedBeads, found: Found, *, seed: int) -> Look:
    """How the base model fits the images best, with the noise that was found last."""
    generator = torch.Generator().manual_seed(seed)
    look = calibrate(problem, problem.beads.position, Look(), problem.images.disc, generator)
    return replace(look, spectrum=found.look.spectrum)


def _summary(
    problem: SharedBeads,
    found: Found,
    before: Look,
    *,
    restraints: Restraints,
    trials: Sequence[Trial],
    choices: dict,
    said: dict,
) -> dict:
    disc, base = problem.images.disc, problem.beads.position
    shift = (found.position - base)[problem.beads.trace_index].square().sum(1)
    beads, stack = found.look.bright(problem.beads), problem.images.stack
    was, after = (
        float(problem.log_likelihood(x, look, disc).sum())
        for x, look in ((base, before), (found.position, found.look))
    )
    return {
        "version": version("atomdrgn"),
        "refine": choices
        | {
            "resolution": round(disc.resolution, 4),
            "box_size": stack.grid.box_size,
            "pixel_size": round(stack.grid.pixel_size, 6),
        },
        "images": len(stack),
        "particles": stack.n_particles,
        "residues": int(problem.beads.trace.sum()),
        "beads": len(beads),
        "amplitude": round(found.look.amplitude, 5),
        "bead_width": round(float(beads.sigma.median()), 4),
        "width_added2": round(found.look.width2, 4),
        "log_likelihood_before": round(was, 2),
        "log_likelihood_after": round(after, 2),
        "strain_before": round(float(restraints.strain(base)), 2),
        "strain_after": round(float(restraints.strain(found.position)), 2),
        "base_bond_error": round(bond_error(problem.beads), 3),
        "displacement_rms": round(float(shift.mean().sqrt()), 4),
        "displacement_largest": round(float(shift.max().sqrt()), 4),
        "cross_validation": _trial_rows(trials),
        **said,
    }


def _trial_rows(trials: Sequence[Trial]) -> list[dict[str, float]]:
    """What each trial of a weight of the restraints has come to.

    Rows have the other half-set's log likelihood, how far it is behind the best, and that error.
    """
    if not trials:
        return []
    best = max(trials, key=lambda trial: trial.total)
    return [
        {
            "weight": trial.weight,
            "log_likelihood": round(trial.total, 2),
            "behind_best": round(behind, 2),
            "standard_error": round(error, 2),
        }
        for trial in trials
        for behind, error in [trial.behind(best)]
    ]


def _write(
    folder: Path,
    base: Structure,
    refined: Structure,
    problem: SharedBeads,
    found: Found,
    *,
    trials: Sequence[Trial],
    summary: dict,
    reporter: Reporter,
) -> None:
    write_structure(base, folder / MODEL_CIF, position=refined.position)
    reason = why_no_pdb(base, refined.position)
    if reason is None:
        write_structure(base, folder / MODEL_PDB, position=refined.position)
    else:
        reporter.say(f"{reason}: {MODEL_CIF} alone is written")
    write_table(folder / RESIDUES, _residue_columns(problem, found))
    if trials:
        rows = _trial_rows(trials)
        write_table(folder / TRIALS, {name: [row[name] for row in rows] for name in rows[0]})
    write_json(folder / SUMMARY, summary)


def _residue_columns(problem: SharedBeads, found: Found) -> dict[str, list]:
    beads, trace = problem.beads, problem.beads.trace_index
    shift = (found.position - beads.position)[trace]
    names = {
        "chain": beads.chain,
        "residue": beads.residue,
        "icode": beads.icode,
        "name": beads.residue_name,
    }
    x, y, z = shift.double().numpy().round(3).T.tolist()
    return {name: column[beads.trace].tolist() for name, column in names.items()} | {
        "dx": x,
        "dy": y,
        "dz": z,
        "displacement": torch.linalg.vector_norm(shift, dim=1).double().numpy().round(3).tolist(),
    }

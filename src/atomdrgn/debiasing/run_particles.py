"""The particles that a run was fitted to, and the motions that each half-set's own fit found."""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError, MissingFileError
from ..inference.problem.fit_state import load_state
from ..particles.reading import read_particles
from ..particles.stack.fingerprint import fingerprint
from ..particles.stack.stack import ParticleStack
from ..runs.run import HALVES, AnyRun, Run
from ..runs.run_files import (
    data_folder_of_run,
    find_file_of_run,
    passthrough_of_run,
    tomograms_of_run,
)
from ..runs.run_folder import hash_of_file
from ..structure.motion.motion import RigidMotion, screw_motion, twists
from ..structure.motion.segment_deformation import TWIST, centres, twist_maps

READING = (
    "box",
    "data_folder",
    "invert_contrast",
    "tilt_series",
    "tomograms",
    "passthrough",
    "allow_missing_ctf",
)


def particles_of_run(run: AnyRun, particle_file: Path | str | None = None) -> ParticleStack:
    """The images of a run, read as the fit read them.

    Parameters
    ----------
    run : AnyRun
    particle_file : path, optional
        Where the particle file is now, if it has moved and does not lie beside the run.

    Raises
    ------
    MissingFileError
        The particle file is neither where it was nor beside the run.
    InputError
        It is not the file that was fitted, or names other images now.
    """
    said = run.settings["input"]
    path = (
        Path(particle_file)
        if particle_file
        else find_file_of_run(
            run, said.get("particles"), what="particle file", option="--particles-file"
        )
    )
    if not path.is_file():
        raise MissingFileError(
            f"{path}: no such file; name the particle file of {run.folder} with --particles-file"
        )
    if hash_of_file(path) != said["particles_sha256"]:
        raise InputError(
            f"{path} is not the file that {run.folder} was fitted to: its content differs; name "
            "that file with --particles-file, or fit again"
        )
    reading = {
        name: value
        for name, value in run.settings.get("reading", {}).items()
        if name in READING and value is not None
    }
    if "passthrough" in reading:
        reading["passthrough"] = passthrough_of_run(run, path)
    if "data_folder" in reading:
        reading["data_folder"] = data_folder_of_run(run)
    reading["tomograms"] = tomograms_of_run(run)
    for name in ("tomograms", "passthrough"):
        file, fitted = reading.get(name), said.get(f"{name}_sha256")
        if fitted is not None and (file is None or hash_of_file(file) != fitted):
            raise InputError(
                f"{file or 'no file'} is what run.json names as {name}, and {run.folder} was "
                "fitted with a file of another content; put that one back, or fit again"
            )
    found = read_particles(path, **reading)
    # runs of earlier versions do not say
    if said.get("images_sha256") not in (None, fingerprint(found)):
        raise InputError(
            f"{path}: the images that it names are not those that {run.folder} was fitted to "
            "(their stacks have other sizes or other pixels); put those back, or fit again"
        )
    return found


def has_halves(run: Run) -> bool:
    """Whether half-sets were fitted apart, all particles in one of them."""
    return "learned_on" not in run.summary and all((run.folder / name).exists() for name in HALVES)


def particle_numbers(stack: ParticleStack) -> Int[Tensor, "image"]:
    """Place of each image's particle in the tables of a run."""
    return torch.unique(stack.particle, return_inverse=True)[1]


def half_of_particle(stack: ParticleStack) -> Int[Tensor, "particle"]:
    """Half-set of each particle, 1 or 2, in the order of the tables of a run."""
    number = particle_numbers(stack)
    half = torch.zeros(int(number.max()) + 1, dtype=torch.long)
    half[number] = stack.half
    return half


def half_latents(run: Run, stack: ParticleStack) -> Tensor:
    """Twists of each particle's segments as its half-set's fit found them, (particle, 6 free).

    Raises
    ------
    MissingFileError
        The run holds no fits of half-sets.
    InputError
        The half-sets are not those of the fit.
    """
    if not has_halves(run):
        raise MissingFileError(
            f"{run.folder}: holds no fits of half-sets of all particles ({' and '.join(HALVES)}); "
            "the closed form leaves them: fit again without --inference vae or --learn-on"
        )
    half, free = half_of_particle(stack), len(run.model["free"])
    latent = torch.zeros(len(half), TWIST * free)
    for number, name in enumerate(HALVES, 1):
        found = load_state(run.folder / name).latent
        mine = half == number
        if len(found) != int(mine.sum()):
            raise InputError(
                f"{run.folder / name} holds {len(found)} particles and half-set {number} of the "
                f"particle file has {int(mine.sum())}: the half-sets have changed since; fit again"
            )
        # with --composition an occupancy stands behind the twist of each segment
        latent[mine] = found.unflatten(1, (free, -1))[..., :TWIST].flatten(1)
    return latent if "base_shift" not in run.model else _about_corrected_base(run, latent)


def _about_corrected_base(
    run: Run, latent: Float[Tensor, "particle latent"]
) -> Float[Tensor, "particle latent"]:
    """The same motions, about the centroids of segments of the corrected base model.

    Half-sets were fitted before it was.
    """
    model = {
        name: torch.from_numpy(run.model[name])
        for name in ("bead", "base_shift", "weight", "centroid", "radius", "free")
    }
    free = model["free"]
    before = centres(model["bead"] - model["base_shift"], model["weight"])
    block = twist_maps(
        model["centroid"][free], model["radius"][free], before=(before[0][free], before[1][free])
    )
    return torch.einsum("sij,psj->psi", block, latent.unflatten(1, (len(free), TWIST))).flatten(1)


def motion_of(run: Run, latent: Tensor) -> RigidMotion:
    """Motion of each segment from the twists of the free ones."""
    free, radius = (torch.from_numpy(run.model[name]) for name in ("free", "radius"))
    return screw_motion(*twists(latent, free=free, radius=radius))

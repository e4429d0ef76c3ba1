"""Particle images of known conformations, through the same physics that a fit inverts."""

import math
from pathlib import Path

import mrcfile
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from .errors import InputError, OutputExistsError
from .io.star import StarTable, write_star
from .io.whole_file import whole_file
from .physics.ctf import CTF
from .physics.fourier import inverse_transform, transform
from .physics.grid import ImageGrid
from .physics.pose import Pose
from .physics.projection import project_beads
from .physics.rotations import euler_from_matrix, matrix_from_quaternion
from .structure.atoms import Structure, write_structure
from .structure.beads import ATOMIC_BLUR

VOLTAGE_KV, SPHERICAL_ABERRATION_MM, AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
DEFOCUS_RANGE = 8000.0, 25000.0      # A
ASTIGMATISM = 200.0                  # A, standard deviation of half the difference of the two defoci
SHIFT_SPREAD = 1.0                   # pixels, standard deviation along x and y
IMAGES_AT_A_TIME = 16


def simulate_particles(structure: Structure, conformations: Float[Tensor, "particle atom 3"], out, *, grid: ImageGrid, snr: float,
                       generator: torch.Generator | None = None, truth: dict | None = None, overwrite: bool = False) -> Path:
    """Path of the particle file of simulated images, one an entry of `conformations`, written with all that belongs to them.

    Every atom is a Gaussian of its electrons. Directions are uniform on the sphere, shifts normal with 1 pixel along x and y,
    defocus uniform from 8,000 to 25,000 A with a little astigmatism; the noise is white. The CTF acts in a box of twice the
    size, so that what it spreads beyond the image is lost, as in a micrograph.

    Parameters
    ----------
    structure : Structure
        Names and elements of the atoms; its coordinates are the base model that is written beside the images.
    conformations : (particle, atom, 3)
        Where the atoms of each particle stand, A, about the origin that the poses turn about.
    out : path
        A folder, made where it is missing: particles.star, particles.mrcs, base.pdb, and truth.npz with `conformation`,
        `rotation`, `shift`, `defocus` (u and v) and what `truth` adds.
    grid : ImageGrid
        Of the images.
    snr : float
        Variance of the signal over the pixels of all images, over the variance of the noise; infinite: no noise.
    generator : torch.Generator, optional
        Source of all that is random; a new one with seed 0 by default.
    truth : dict of arrays, optional
        To keep in truth.npz.
    overwrite : bool
        Replace particles that are there.

    Raises
    ------
    InputError
        Coordinates that are not those of the structure's atoms, or a ratio that is not positive.
    OutputExistsError
        The folder holds particles.
    """
    out = Path(out)
    if conformations.shape[1] != len(structure):
        raise InputError(f"conformations of {conformations.shape[1]} atoms for {structure.name}, which has {len(structure)}")
    if not snr > 0:
        raise InputError(f"a signal-to-noise ratio of {snr}: expected a positive number")
    if (out / "particles.star").exists() and not overwrite:
        raise OutputExistsError(f"{out} holds particles: choose another folder, or pass overwrite=True to replace them")
    generator = generator or torch.Generator().manual_seed(0)
    pose, ctf = _random_poses(len(conformations), grid, generator), _random_ctfs(len(conformations), generator)
    images = _with_noise(_signal(structure, conformations, pose=pose, ctf=ctf, grid=grid), snr, generator)
    out.mkdir(parents=True, exist_ok=True)
    write_structure(structure, out / "base.pdb")
    with whole_file(out / "particles.mrcs") as path, mrcfile.new(path, images.numpy()) as stack:
        stack.set_image_stack()
        stack.voxel_size = grid.pixel_size
    with whole_file(out / "truth.npz") as path, open(path, "wb") as file:
        np.savez(file, conformation=conformations.numpy(), rotation=pose.rotation.numpy(), shift=pose.shift.numpy(),
                 defocus=torch.stack([ctf.defocus_u, ctf.defocus_v], -1).numpy(), **(truth or {}))
    write_star(out / "particles.star", [_optics_table(grid), _particle_table(pose, ctf)])
    return out / "particles.star"


def _random_poses(count, grid, generator):
    rotation = matrix_from_quaternion(torch.randn(count, 4, generator=generator))      # normal: uniform once normalised
    return Pose(rotation, SHIFT_SPREAD * grid.pixel_size * torch.randn(count, 2, generator=generator))


def _random_ctfs(count, generator):
    low, high = DEFOCUS_RANGE
    mean = low + (high - low) * torch.rand(count, generator=generator)
    half_difference = ASTIGMATISM * torch.randn(count, generator=generator)
    zero = torch.zeros(count)
    return CTF(defocus_u=mean + half_difference, defocus_v=mean - half_difference,
               defocus_angle=math.pi * torch.rand(count, generator=generator), phase_shift=zero, voltage_kv=zero + VOLTAGE_KV,
               spherical_aberration_mm=zero + SPHERICAL_ABERRATION_MM, amplitude_contrast=zero + AMPLITUDE_CONTRAST,
               scale=zero + 1, b_factor=zero, dose=zero)


def _signal(structure, conformations, *, pose, ctf, grid) -> Float[Tensor, "particle box box"]:
    amplitude = torch.tensor(structure.element * structure.occupancy, dtype=torch.float32)
    sigma = torch.full_like(amplitude, ATOMIC_BLUR)
    images = []
    for some in torch.arange(len(conformations)).split(IMAGES_AT_A_TIME):
        camera = pose[some].apply(conformations[some].float())
        images.append(_through_the_lens(project_beads(camera, amplitude, sigma, grid), ctf[some], grid))
    return torch.cat(images)


def _through_the_lens(image, ctf, grid):
    """The CTF applied to images on a field of twice the size, then cut out again."""
    twice = ImageGrid(2 * grid.box_size, grid.pixel_size)
    before = twice.box_size // 2 - grid.box_size // 2
    after = grid.box_size - before
    plane = transform(pad(image, (before, after) * 2)) * ctf.evaluate(twice)
    kept = slice(before, before + grid.box_size)
    return inverse_transform(plane, twice.box_size)[:, kept, kept]


def _with_noise(signal, snr, generator):
    deviation = (signal.var((-2, -1)).mean() / snr).sqrt()
    return signal + deviation * torch.randn(signal.shape, generator=generator)


def _optics_table(grid):
    columns = {"rlnOpticsGroup": "1", "rlnOpticsGroupName": "opticsGroup1", "rlnVoltage": f"{VOLTAGE_KV}",
               "rlnSphericalAberration": f"{SPHERICAL_ABERRATION_MM}", "rlnAmplitudeContrast": f"{AMPLITUDE_CONTRAST}",
               "rlnImagePixelSize": f"{grid.pixel_size:.6f}", "rlnImageSize": f"{grid.box_size}", "rlnImageDimensionality": "2"}
    return StarTable("optics", {name: [value] for name, value in columns.items()}, comments=("# version 30001",))


def _particle_table(pose, ctf):
    angles = torch.rad2deg(euler_from_matrix(pose.rotation.double()))
    numbers = {"rlnAngleRot": angles[:, 0], "rlnAngleTilt": angles[:, 1], "rlnAnglePsi": angles[:, 2],
               # RELION's origin moves the particle to the centre
               "rlnOriginXAngst": -pose.shift[:, 0], "rlnOriginYAngst": -pose.shift[:, 1],
               "rlnDefocusU": ctf.defocus_u, "rlnDefocusV": ctf.defocus_v, "rlnDefocusAngle": torch.rad2deg(ctf.defocus_angle)}
    count = len(angles)
    columns = {"rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(count)]}
    columns |= {name: [f"{value:.6f}" for value in values.tolist()] for name, values in numbers.items()}
    columns |= {"rlnOpticsGroup": ["1"] * count, "rlnRandomSubset": [str(i % 2 + 1) for i in range(count)]}
    return StarTable("particles", columns, comments=("# version 30001",))

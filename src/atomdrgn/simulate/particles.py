"""Particle sets with their truth: images, particle file, base structure."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import mrcfile
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import InputError, OutputExistsError
from ..io.folder_lock import locked_folder
from ..io.mrc import read_header
from ..io.star import StarTable, write_star
from ..io.whole_file import whole_file
from ..particles.formats.format_table import endings
from ..physics.grid import ImageGrid
from ..physics.pose import Pose
from ..physics.rotations import euler_from_matrix, matrix_from_vector
from ..reporting import Reporter
from ..structure.atoms import Structure, why_no_pdb, write_pdb_or_mmcif
from .conformations import RunConformations
from .imaging import Imaging, Microscope, image_once
from .noisy_images import atoms_of, clean_images, premultiply, residues_of

IMAGES_AT_A_TIME = 16
BASE_FILES = "base.pdb", "base.cif"  # one of the two
SCATTERERS = {"atoms": atoms_of, "residues": residues_of}


@dataclass(frozen=True)
class Errors:
    """What real particle sets have and ideal ones have not; all standard deviations.

    Parameters
    ----------
    contrast : float
        Of the strength of each image's signal, as a part of it.
    rotation : float
        Of a particle's written orientation about each axis, degrees.
    shift : float
        Of its written place along each axis, A.

    Raises
    ------
    InputError
        One is negative.

    Examples
    --------
    >>> Errors(rotation=1.0, shift=0.5).contrast
    0.0
    """

    contrast: float = 0.0
    rotation: float = 0.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if min(self.contrast, self.rotation, self.shift) < 0:
            raise InputError(
                f"errors of {self.contrast:g}, {self.rotation:g} degrees and {self.shift:g} A: "
                "expected no negative ones"
            )


def simulate_particles(  # noqa: PLR0913 - a keyword a setting of the command
    structure: Structure,
    conformations: Float[Tensor, "conformation atom 3"] | RunConformations,
    out: str | PathLike[str],
    *,
    snr: float,
    grid: ImageGrid | None = None,
    imaging: Imaging | None = None,
    which: Int[Tensor, "particle"] | None = None,
    detail: str = "atoms",
    errors: Errors | None = None,
    generator: torch.Generator | None = None,
    truth: dict | None = None,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Write simulated images of known conformations, with all that belongs to them.

    Every atom is a Gaussian of its electrons; the noise is white. The CTF acts in a box of twice
    the size, so that what it spreads beyond the image is lost, as in a micrograph.

    Parameters
    ----------
    structure : Structure
        Names and elements of the atoms; its coordinates are the base model that is written beside
        the images.
    conformations : (conformation, atom, 3)
        Where the atoms stand, A, about the origin that the poses turn about.
    out : path
        A folder, made where it is missing: particles.star (or .cs), particles.mrcs, base.pdb
        (base.cif where programs would not agree on what the PDB file holds,
        :func:`~atomdrgn.structure.atoms.why_no_pdb`), and truth.npz with `rotation`, `shift`,
        `defocus` (u and v) and `contrast` of each image, `particle` (whose image it is), `which`
        (the conformation of each particle), `conformation` (not of a run, which holds them) and
        what `truth` adds.
    snr : float
        Variance of the signal over the pixels of all images, over the variance of the noise;
        infinite: no noise.
    grid : ImageGrid, optional
        Of images at random poses (:func:`.imaging.image_once`), where `imaging` does not say how
        they are taken.
    imaging : Imaging, optional
        How the images are taken.
    which : (particle,), optional
        The conformation of each particle; by default there is one for each.
    detail : {"atoms", "residues"}
        What scatters: each atom, or all of a residue as one Gaussian.
    errors : Errors, optional
        What the written file does not tell, or tells wrongly; none by default.
    generator : torch.Generator, optional
        Source of all that is random; a new one with seed 0 by default.
    truth : dict of arrays, optional
        To keep in truth.npz.
    overwrite : bool
        Replace particles that are there.
    reporter : Reporter, optional
        Is told how far it is.

    Returns
    -------
    Path
        Of the particle file.

    Raises
    ------
    InputError
        Coordinates that are not those of the structure's atoms, a ratio that is not positive,
        numbers of particles that differ.
    OutputExistsError
        The folder holds particles, or a base model that would stay beside the new one.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> structure = read_structure("model.pdb")
    >>> two = torch.stack([structure.position, 1.1 * structure.position])
    >>> simulate_particles(structure, two, "simulated", snr=0.1, grid=ImageGrid(32, 3.0)).name
    'particles.star'
    """
    out, errors = Path(out), errors or Errors()
    _check(structure, conformations, snr=snr, detail=detail, grid=grid, imaging=imaging)
    require_free(out, overwrite=overwrite)
    # which would be a second
    _refuse(out, BASE_FILES[:1] if why_no_pdb(structure) else BASE_FILES[1:], overwrite=overwrite)
    generator = generator or torch.Generator().manual_seed(0)
    if imaging is None:
        count = len(conformations) if which is None else len(which)
        # one of the two is given
        imaging = image_once(count, cast(ImageGrid, grid), generator)
    which = torch.arange(imaging.n_particles) if which is None else which
    if len(which) != imaging.n_particles or int(which.max()) >= len(conformations):
        raise InputError(
            f"conformations of {len(which)} particles (the largest number {int(which.max())} of "
            f"{len(conformations)}), but images of {imaging.n_particles}"
        )
    contrast = (1 + errors.contrast * torch.randn(len(imaging), generator=generator)).clamp_min(0.1)
    turn, shift = _pose_errors(imaging.n_particles, errors, generator)
    reporter = reporter or Reporter()
    with locked_folder(out, reporter):
        # the new particle file comes last: until then nothing here passes for a set of particles
        for name in (*_particle_files(), *(BASE_FILES if overwrite else ())):
            (out / name).unlink(missing_ok=True)
        write_pdb_or_mmcif(structure, out / "base", say=reporter.say)
        signal = _signals(structure, conformations, which, imaging, contrast, detail=detail)
        _write_stacks(out, imaging, signal, snr=snr, generator=generator, reporter=reporter)
        known: dict[str, Any] = {}
        if isinstance(conformations, Tensor):
            known["conformation"] = conformations.numpy()
        known |= {
            "which": which.numpy(),
            "particle": imaging.particle.numpy(),
            "rotation": imaging.pose.rotation.numpy(),
            "shift": imaging.pose.shift.numpy(),
            "contrast": contrast.numpy(),
            "defocus": torch.stack([imaging.ctf.defocus_u, imaging.ctf.defocus_v], -1).numpy(),
        }
        with whole_file(out / "truth.npz") as path, open(path, "wb") as file:
            np.savez(file, **known, **(truth or {}))
        return _write_particle_file(out, imaging, turn, shift)


def require_free(out: Path, *, overwrite: bool, inputs: Iterable[Path] | None = None) -> None:
    """Refuse a folder with particles, unless they may be replaced.

    Parameters
    ----------
    out : Path
        The folder.
    overwrite : bool
        Replace what is there.
    inputs : iterable of Path, optional
        Files that are read, which are never replaced; where they are given a base model that is
        there counts as particles do.

    Raises
    ------
    OutputExistsError
        There are such files, or a file has the folder's name.

    Examples
    --------
    >>> require_free(Path("new"), overwrite=False)
    """
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out} is a file: choose a folder with another name")
    read = {path.resolve() for path in inputs or ()}
    own = next((name for name in BASE_FILES if (out / name).resolve() in read), None)
    if own:
        raise OutputExistsError(
            f"{out / own} is read, and the set's own {own} would replace it: choose another folder"
        )
    _refuse(
        out,
        _particle_files() if inputs is None else (*_particle_files(), *BASE_FILES),
        overwrite=overwrite,
    )


def _refuse(out: Path, names: Iterable[str], *, overwrite: bool) -> None:
    there = next((name for name in names if (out / name).exists()), None)
    if there and not overwrite:
        raise OutputExistsError(
            f"{out} holds {there}: choose another folder, or --overwrite (overwrite=True) to "
            "replace what is there"
        )


def _check(
    structure: Structure,
    conformations: Float[Tensor, "conformation atom 3"] | RunConformations,
    *,
    snr: float | int,
    detail: str,
    grid: ImageGrid | None,
    imaging: Imaging | None,
) -> None:
    if isinstance(conformations, Tensor) and conformations.shape[1] != len(structure):
        raise InputError(
            f"conformations of {conformations.shape[1]} atoms for {structure.name}, which has "
            f"{len(structure)}"
        )
    if not snr > 0:
        raise InputError(f"a signal-to-noise ratio of {snr}: expected a positive number")
    if detail not in SCATTERERS:
        raise InputError(f"detail {detail!r}: choose one of {', '.join(SCATTERERS)}")
    if (grid is None) == (imaging is None):
        raise InputError("give the grid of the images, or all of their imaging: one of the two")


def _pose_errors(
    count: int, errors: Errors, generator: torch.Generator
) -> tuple[Float[Tensor, "particle 3 3"], Float[Tensor, "particle 3"]]:
    """Rotation and shift of each molecule, in its own frame, by which its written pose is wrong."""
    vector = math.radians(errors.rotation) * torch.randn(
        count, 3, generator=generator, dtype=torch.float64
    )
    return matrix_from_vector(vector), errors.shift * torch.randn(
        count, 3, generator=generator, dtype=torch.float64
    )


def _signals(
    structure: Structure,
    conformations: Float[Tensor, "conformation atom 3"] | RunConformations,
    which: Int[Tensor, "particle"],
    imaging: Imaging,
    contrast: Float[Tensor, "image"],
    *,
    detail: str,
) -> Callable[[Tensor], Tensor]:
    """A function from numbers of images, all of one stack, to their pixels without noise."""
    scatterers = SCATTERERS[detail](structure)

    def signal(index: Int[Tensor, "some"]) -> Float[Tensor, "some box box"]:
        grid = imaging.stacks[int(imaging.stack[index[0]])].grid
        atoms = conformations[which[imaging.particle[index]]].float()
        image = clean_images(
            scatterers, atoms, pose=imaging.pose[index], ctf=imaging.ctf[index], grid=grid
        )
        return contrast[index, None, None] * image

    return signal


def _write_stacks(
    out: Path,
    imaging: Imaging,
    signal: Callable[[Tensor], Tensor],
    *,
    snr: float | int,
    generator: torch.Generator,
    reporter: Reporter,
) -> None:
    """The signal first, which says how strong the noise is; then the noise."""
    with ExitStack() as files:
        paths = []
        for stack in imaging.stacks:
            (out / stack.name).parent.mkdir(exist_ok=True)
            paths.append(files.enter_context(whole_file(out / stack.name)))
            shape = stack.count, stack.grid.box_size, stack.grid.box_size
            with mrcfile.new_mmap(paths[-1], shape, mrc_mode=2, overwrite=True) as file:
                file.set_image_stack()
                file.voxel_size = stack.grid.pixel_size
        variance = 0.0
        reporter.start("making images", len(imaging))
        for path, batches in zip(paths, _batches(imaging), strict=True):
            with _Pixels(path) as pixels:
                for index in batches:
                    image = signal(index)
                    variance += float(image.double().var((-2, -1)).sum())
                    pixels.write(imaging.section[index].tolist(), image)
                    reporter.advance(len(index))
        reporter.finish()
        deviation = math.sqrt(variance / len(imaging) / snr)
        for path, stack, batches in zip(paths, imaging.stacks, _batches(imaging), strict=True):
            with _Pixels(path) as pixels:
                for index in batches:
                    at = imaging.section[index].tolist()
                    image = pixels.read(at)
                    image = image + deviation * torch.randn(image.shape, generator=generator)
                    again = torch.nonzero(imaging.premultiplied[index])[:, 0]
                    if len(again):
                        image[again] = premultiply(
                            image[again], imaging.ctf[index[again]], stack.grid
                        )
                    pixels.write(at, imaging.sign[index, None, None] * image)


class _Pixels:
    """The images of a stack on disk, to be read and written.

    Not through a memory map: a full disk would end the process.
    """

    def __init__(self, path: Path) -> None:
        self.header, self.file = read_header(path), open(path, "rb+")
        self.shape = self.header.shape[1:]
        self.size = self.shape[0] * self.shape[1] * self.header.dtype.itemsize

    def __enter__(self) -> "_Pixels":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, sections: list[int], images: Float[Tensor, "some y x"]) -> None:
        for section, image in zip(
            sections, images.numpy().astype(self.header.dtype, copy=False), strict=True
        ):
            self.file.seek(self.header.offset + section * self.size)
            self.file.write(image.tobytes())

    def read(self, sections: list[int]) -> Float[Tensor, "some y x"]:
        images = np.empty((len(sections), *self.shape), np.float32)
        for number, section in enumerate(sections):
            self.file.seek(self.header.offset + section * self.size)
            images[number] = np.frombuffer(self.file.read(self.size), self.header.dtype).reshape(
                self.shape
            )
        return torch.from_numpy(images)


def _batches(imaging: Imaging) -> Iterator[list[Tensor]]:
    """Of each stack, numbers of its images, some at a time."""
    for number in range(len(imaging.stacks)):
        yield list(torch.nonzero(imaging.stack == number)[:, 0].split(IMAGES_AT_A_TIME))


def _particle_files() -> list[str]:
    """What a file of particles can be called here."""
    return [f"particles{ending}" for ending in endings()]


def _write_particle_file(
    out: Path,
    imaging: Imaging,
    turn: Float[Tensor, "particle 3 3"],
    shift: Float[Tensor, "particle 3"],
) -> Path:
    if imaging.file is None:
        path = out / "particles.star"
        rotation = imaging.pose.rotation.double()
        moved = (rotation @ shift[imaging.particle][..., None])[:, :2, 0]
        written = Pose(rotation @ turn[imaging.particle], imaging.pose.shift.double() + moved)
        write_star(path, [_optics_table(imaging), _particle_table(imaging, written)])
        return path
    path = out / f"particles{imaging.file.format.ending}"
    names = [imaging.stacks[number].name for number in imaging.stack.tolist()]
    if len(imaging.file.particle) < len(imaging):  # a row names a whole stack
        file = imaging.file.with_images([stack.name for stack in imaging.stacks], None)
    else:
        file = imaging.file.with_images(names, imaging.section.tolist())
    if turn.ne(torch.eye(3)).any() or shift.any():
        file = file.following(turn.numpy(), shift.numpy())
    file.write(path)
    return path


def _optics_table(imaging: Imaging) -> StarTable:
    grid, microscope = imaging.stacks[0].grid, imaging.microscope or Microscope()
    columns = {
        "rlnOpticsGroup": "1",
        "rlnOpticsGroupName": "opticsGroup1",
        "rlnVoltage": f"{microscope.voltage_kv}",
        "rlnSphericalAberration": f"{microscope.spherical_aberration_mm}",
        "rlnAmplitudeContrast": f"{microscope.amplitude_contrast}",
        "rlnImagePixelSize": f"{grid.pixel_size:.6f}",
        "rlnImageSize": f"{grid.box_size}",
        "rlnImageDimensionality": "2",
    }
    return StarTable(
        "optics", {name: [value] for name, value in columns.items()}, comments=("# version 30001",)
    )


def _particle_table(imaging: Imaging, pose: Pose) -> StarTable:
    ctf = imaging.ctf
    angles = torch.rad2deg(euler_from_matrix(pose.rotation))
    numbers = {
        "rlnAngleRot": angles[:, 0],
        "rlnAngleTilt": angles[:, 1],
        "rlnAnglePsi": angles[:, 2],
        # RELION's origin moves the particle to the centre
        "rlnOriginXAngst": -pose.shift[:, 0],
        "rlnOriginYAngst": -pose.shift[:, 1],
        "rlnDefocusU": ctf.defocus_u,
        "rlnDefocusV": ctf.defocus_v,
        "rlnDefocusAngle": torch.rad2deg(ctf.defocus_angle),
    }
    if imaging.tilts:  # as Warp and M 1.x write tilt series
        numbers |= {"rlnCtfScalefactor": ctf.scale, "rlnCtfBfactor": -4 * ctf.dose}
    particle = imaging.particle.tolist()
    columns = {"rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(len(particle))]}
    columns |= {
        name: [f"{value:.6f}" for value in values.tolist()] for name, values in numbers.items()
    }
    columns |= {"rlnGroupName": [f"particle_{i:06d}" for i in particle]} if imaging.tilts else {}
    columns |= {
        "rlnOpticsGroup": ["1"] * len(particle),
        "rlnRandomSubset": [str(i % 2 + 1) for i in particle],
    }
    return StarTable("particles", columns, comments=("# version 30001",))

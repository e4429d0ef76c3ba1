"""What a fit leaves on disk, and how to open it again.

A run is a folder that other programs can read: run.json (settings, versions, command, hashes of the input, seed), base.cif
(the base structure in the fit's frame), model.npz (beads and segments), latents.npz, motions.npz, particles.csv, history.csv,
summary.json (what was found), checkpoint.safetensors. Nothing in it is executed when it is opened.
"""

import csv
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .errors import FileFormatError, InputError, MissingFileError, OutputExistsError, UnmodelledWarning
from .io.whole_file import whole_file
from .structure.atoms import Structure, read_structure, write_structure
from .structure.beads import BeadModel, coarse_grain
from .structure.flexing import make_flexing, with_feature
from .structure.lifting import lift_residues
from .structure.mobile import Deformation, MobileBeads, MobileSegments
from .structure.motion import BeadMotion, RigidMotion
from .structure.surface import Surface

FORMAT = 1                 # of the folder; a number that this version does not know is refused
SETTINGS, BASE, MODEL, LATENTS, MOTIONS = "run.json", "base.cif", "model.npz", "latents.npz", "motions.npz"
PARTICLES, RESIDUES, HISTORY, SUMMARY = "particles.csv", "residues.csv", "history.csv", "summary.json"
POSES = "poses.csv"        # where poses were refined
CHECKPOINT, HALVES = "checkpoint.safetensors", ("half1.safetensors", "half2.safetensors")
BORDERS = "borders.npz"    # the segment of each residue, as learned
CORRECTION = "base_correction.npz"      # how far each bead of the base model is moved, by either half-set
REPORT, ANALYSIS = "report.html", "analysis"      # a page, and a folder beside it, where `analyze` is not told otherwise
FIELD, MEAN, MAP = "field.safetensors", "mean.mrc", "map.mrc"      # of a volume run (volume_run.py)
FILES = (SETTINGS, BASE, MODEL, LATENTS, MOTIONS, PARTICLES, RESIDUES, HISTORY, SUMMARY, CHECKPOINT, *HALVES, BORDERS, CORRECTION,
         FIELD, MEAN, MAP, REPORT)
VOLUME = "volume"          # what run.json of a volume run says as `inference`


@dataclass(frozen=True, eq=False)
class Run:
    """A finished fit.

    Parameters
    ----------
    folder : Path
        Where it lies.
    settings : dict
        How it was made: run.json.
    summary : dict
        What was found: summary.json.
    """

    folder: Path
    settings: dict
    summary: dict

    @cached_property
    def structure(self) -> Structure:
        """The base structure in the fit's frame: the origin is what the poses turn about."""
        return read_structure(self.folder / BASE)

    @cached_property
    def model(self) -> dict[str, np.ndarray]:
        """Beads and segments: `bead` (bead, 3) A, `sigma` (bead,) A and `amplitude` (bead,) as fitted to the images,
        `base_shift` (bead, 3) A where they are moved from those of the base structure,
        `flexing` (feature, bead, 3) A where they move within their segments (see :class:`~.structure.flexing.Flexing`),
        `bead_of_atom` (atom,), `trace` (bead,); `centroid` (segment, 3) A, `weight` (bead, segment), or, where beads move one by
        one, `mode` (latent, bead, 3) and `shift` (bead, 3) A."""
        return read_arrays(self.folder / MODEL)

    @cached_property
    def bead_model(self) -> BeadModel:
        """Whose beads those of :attr:`model` are: their chains and residues."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnmodelledWarning)      # the fit has given them
            return coarse_grain(self.structure, beads=self.settings["fit"].get("beads", 1))

    @cached_property
    def deformation(self) -> Deformation:
        """What a latent decodes to, and where beads and atoms are then."""
        model = {name: torch.from_numpy(array) for name, array in self.model.items()}
        atom, bead = self.structure.position, model["bead"]
        if "base_shift" in model:
            atom = lift_residues(atom, self.bead_model, self.bead_model.position + model["base_shift"])
        if "mode" in model:
            return MobileBeads(atom, replace(self.bead_model, position=bead), model["mode"], model["shift"])
        none = torch.zeros(0, dtype=torch.long), torch.ones(len(model["centroid"]))
        flexing = make_flexing(replace(self.bead_model, position=bead), model["flexing"]) if "flexing" in model else None
        return MobileSegments(atom, bead, model["bead_of_atom"], model["centroid"], model["weight"],
                              model.get("free", none[0]), model.get("radius", none[1]), flexing)

    @cached_property
    def _latents(self):
        return read_arrays(self.folder / LATENTS)

    @property
    def latent(self) -> np.ndarray:
        """(particle, k): place of each particle along the k motions; one unit moves the superposed trace by 1 A r.m.s."""
        return self._latents["latent"]

    @property
    def latent_sd(self) -> np.ndarray:
        """(particle, k): standard deviation of `latent`."""
        return self._latents["latent_sd"]

    @property
    def has_draws(self) -> bool:
        """Whether :attr:`draws` are there: amortised fits and those of earlier versions have none."""
        return "draws" in self._latents

    @property
    def draws(self) -> np.ndarray:
        """(particle, draw, k): places from each particle's posterior, spread evenly over it."""
        if not self.has_draws:
            raise FileFormatError(f"{self.folder}: this run holds no draws from its particles' posteriors; the closed form makes "
                                  "them: fit again without --inference vae")
        return self._latents["draws"]

    def motion_at(self, place: np.ndarray) -> RigidMotion | BeadMotion:
        """Motion of each segment, or of each bead, at places along the motions (particle, k)."""
        if "surface_scale" not in self.model:
            raise FileFormatError(f"{self.folder}: this run holds its particles' conformations and none between them; the closed "
                                  "form makes them: fit again without --inference vae")
        place, surface = torch.as_tensor(place).float(), self.surface
        return self._flexed(self.deformation.motion(surface(place)), place)

    @property
    def surface(self) -> Surface:
        """The conformations along the motions, as the closed form leaves them."""
        return Surface(*(torch.from_numpy(self.model[name]) for name in ("surface_scale", "surface_coefficient")))

    def _flexed(self, motion, place):
        """A motion of segments at a place, with what beads do within them where that is known."""
        return with_feature(motion, self.surface.features(place)) if "flexing" in self.model else motion

    @cached_property
    def _motions(self):
        return read_arrays(self.folder / MOTIONS)

    @cached_property
    def motion(self) -> RigidMotion | BeadMotion:
        """Motion of each segment of each particle: rotation (particle, segment, 4), translation (particle, segment, 3) A; or of
        each bead: offset (particle, bead, 3) A, which takes memory where particles are many."""
        return self._motion_of(slice(None))

    def _motion_of(self, particles):
        """The same of some particles: what is linear in few numbers is made when it is wanted."""
        if "mode" in self.model:
            return self.deformation.motion(torch.from_numpy(self._motions["feature"])[particles])
        names = ("rotation", "translation")
        motion = RigidMotion(*(torch.from_numpy(self._motions[name])[particles] for name in names))
        return self._flexed(motion, torch.from_numpy(self.latent)[particles])

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        """Columns of particles.csv."""
        return read_numbers_table(self.folder / PARTICLES)

    @property
    def n_particles(self) -> int:
        return len(self.latent)

    def atoms(self, particles: Sequence[int]) -> Float[Tensor, "particle atom 3"]:
        """Positions of all atoms of some particles, A."""
        return self.atoms_of(self._motion_of(torch.as_tensor(particles)))

    def atoms_of(self, motion: RigidMotion | BeadMotion) -> Float[Tensor, "conformation atom 3"]:
        """Positions of all atoms of some conformations, A."""
        return self.deformation.atoms(motion)

    def b_factors(self, particles: Sequence[int]) -> Float[Tensor, "particle atom"]:
        """8 pi^2/3 times the squared error of each atom, A^2: the particle's own along the motions, and the half-sets'.

        The half-sets' is half their difference: of the mean, of each motion's size and of the base model's correction. What both
        have wrong alike is not in it, nor what they differ by in how residues move within their segments.

        References
        ----------
        The isotropic B-factor of a mean square displacement <u^2>.
        """
        model = self.model
        place, sd = self.latent[particles], self.latent_sd[particles]
        square = torch.from_numpy(model["half_error"]).square().expand(len(place), -1).clone()
        for axis in range(place.shape[1]):
            step = np.zeros_like(place)
            step[:, axis] = sd[:, axis]
            ends = [self.deformation.beads(self.motion_at(place + sign * step)) for sign in (1, -1)]
            square += (0.5 * (ends[0] - ends[1])).square().sum(-1)
        return (8 * np.pi**2 / 3 * square)[:, torch.from_numpy(model["bead_of_atom"])]

    def occupancy(self, particles: Sequence[int]) -> Float[Tensor, "particle atom"] | None:
        """1 for the atoms that are present in some particles and 0 for those that are absent; None where none may be."""
        present = self._motions.get("present")
        if present is None:
            return None
        weight, bead_of_atom = torch.from_numpy(self.model["weight"]), torch.from_numpy(self.model["bead_of_atom"])
        return (torch.from_numpy(present)[torch.as_tensor(particles)] @ weight.T)[:, bead_of_atom].clamp(0, 1)

    def beads(self, particles: Sequence[int]) -> Float[Tensor, "particle bead 3"]:
        """Positions of the beads of some particles, A."""
        return self.deformation.beads(self._motion_of(torch.as_tensor(particles)))


def open_run(folder) -> Run:
    """Open a finished run.

    Raises
    ------
    MissingFileError
        The folder is none, or its fit did not end.
    FileFormatError
        It was written by a later version, or is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(f"{folder}: there is no such folder; a run is the folder that `atomdrgn fit` wrote")
    settings = read_settings(folder)
    if settings.get("fit", {}).get("inference") == VOLUME:
        raise FileFormatError(f"{folder}: a run of `atomdrgn volume`, which has volumes and no structures (see `atomdrgn "
                              "volumes`); a run of `atomdrgn fit` is needed here")
    return Run(folder, settings, read_summary(folder))


def require_segments(run: Run, wanted: str) -> None:
    """Refuse a run whose beads move one by one, for what is made of rigid segments.

    Parameters
    ----------
    run : Run
    wanted : str
        What needs segments.

    Raises
    ------
    InputError
        The run has none.
    """
    if "weight" not in run.model:
        raise InputError(f"{run.folder}: every bead moves by itself in this run (--deformation beads), and {wanted} needs "
                         "segments that move as rigid bodies: fit again without --deformation beads")


def read_summary(folder: Path) -> dict:
    """What summary.json holds, which a run has once it is whole."""
    if not (folder / SUMMARY).exists():
        raise MissingFileError(f"{folder}: the fit did not end (there is no {SUMMARY}); "
                               "go on with it: the same command with --resume")
    return _read_json(folder / SUMMARY)


def read_settings(folder: Path) -> dict:
    """What run.json holds, when this version can read the folder."""
    if not (folder / SETTINGS).exists():
        raise MissingFileError(f"{folder}: there is no {SETTINGS}, so it is no run; name the folder that `atomdrgn fit` wrote")
    settings = _read_json(folder / SETTINGS)
    if settings.get("format") != FORMAT:
        raise FileFormatError(f"{folder / SETTINGS}: format {settings.get('format')!r} is not {FORMAT}: "
                              f"it was written by atomdrgn {settings.get('version')!r}; use that version or fit again")
    return settings


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where something is that a new run would mix with or replace.

    Raises
    ------
    OutputExistsError
        There is something.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file: choose a folder with --out")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / SETTINGS).exists():
            raise OutputExistsError(f"{folder} is not empty and is no run: choose another folder with --out")
        if not overwrite:
            raise OutputExistsError(f"{folder} holds a run: --resume goes on with it, --overwrite replaces it, "
                                    "--out puts this one elsewhere")


def create_run_folder(folder: Path, *, overwrite: bool) -> None:
    """A folder for a new run. Only the files of an earlier run are ever removed, and these only with `overwrite`."""
    require_free(folder, overwrite=overwrite)
    for name in (*FILES, POSES):
        (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def write_base(folder: Path, structure: Structure) -> None:
    """The base structure of a run."""
    write_structure(structure, folder / BASE, format="mmcif")


def write_json(path: Path, content: dict) -> None:
    """A dictionary as JSON, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Plain arrays as .npz, whole or not at all."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def write_table(path: Path, columns: dict[str, Iterable]) -> None:
    """Columns as CSV, whole or not at all."""
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_numbers_table(path: Path) -> dict[str, np.ndarray]:
    """Columns of a CSV file of a run, all of them numbers."""
    if not path.exists():
        raise MissingFileError(f"{path} is missing: the run is not whole; fit again with --overwrite")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        columns = zip(*rows, strict=True)
        return {name: np.array(column, dtype=float) for name, column in zip(header, columns, strict=True)}
    except ValueError as error:
        raise FileFormatError(f"{path}: damaged ({error}); fit again with --overwrite") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """What :func:`write_arrays` wrote."""
    if not path.exists():
        raise MissingFileError(f"{path} is missing: the run is not whole; fit again with --overwrite")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise FileFormatError(f"{path}: damaged ({error}); fit again with --overwrite") from error


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: not valid JSON ({error}); fit again with --overwrite") from error

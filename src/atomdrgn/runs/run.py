"""What a fit leaves on disk, and how to open it again.

A run is a folder that other programs can read: run.json (settings, versions, command, hashes of the
input, seed), base.cif (the base structure in the fit's frame), model.npz (beads and segments),
latents.npz, motions.npz, particles.csv, history.csv, summary.json (what was found),
checkpoint.safetensors. Nothing in it is executed when it is opened.
"""

import csv
import io
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import (
    FileFormatError,
    InputError,
    MissingFileError,
    OutputExistsError,
    UnmodelledWarning,
)
from ..io.folder_lock import LOCK, writing_in
from ..io.notebook_display import data_frame, facts_as_html, facts_in_line
from ..io.run_formats.arrays import read_npz
from ..io.run_formats.json_objects import JsonObject, read_json_object
from ..io.run_formats.table_cells import as_cell, from_cell
from ..io.whole_file import is_leftover, sync_folder, whole_file
from ..physics.record import Record
from ..structure.atoms import Structure, read_structure, write_structure
from ..structure.beads import BeadModel, coarse_grain
from ..structure.density_map import DensityMap, read_density_map
from ..structure.motion.bead_deformation import BeadDeformation
from ..structure.motion.deformation import Deformation
from ..structure.motion.flexing import with_feature
from ..structure.motion.kinds import KINDS, from_arrays, kind_of
from ..structure.motion.lifting import lift_residues
from ..structure.motion.motion import RigidMotion
from ..structure.motion.segment_deformation import SegmentDeformation
from ..structure.motion.surface import Surface
from ..structure.residue_kinds import residue_kinds
from . import run_contents as contents

if TYPE_CHECKING:
    import pandas

# What draws a run stands above it and knows analyses. It is named as text and loaded when it is
# asked for, as names of the package are.
NOTEBOOK = "atomdrgn.notebook"
FORMAT = 1  # of the folder; a number that this version does not know is refused
SETTINGS, BASE, MODEL, LATENTS, MOTIONS = (
    "run.json",
    "base.cif",
    "model.npz",
    "latents.npz",
    "motions.npz",
)
PARTICLES, RESIDUES, HISTORY, SUMMARY = (
    "particles.csv",
    "residues.csv",
    "history.csv",
    "summary.json",
)
# bytes of particles.csv that a particle takes: its number, first row and rows, commas, and more
LEAST_ROW = 8
POSES = "poses.csv"  # where poses were refined
POSE_VERDICT = "pose_verdict.json"  # what images say of their poses before the fit
CHECKPOINT, HALVES = "checkpoint.safetensors", ("half1.safetensors", "half2.safetensors")
BORDERS = "borders.npz"  # the segment of each residue, as learned
JUNK = "junk.npz"  # the particles that half-sets found to be junk
# how far each bead of the base model is moved, by either half-set
CORRECTION = "base_correction.npz"
# what images show that the base model is not: its map, half-maps, mask, and its parts
RESIDUAL_MAPS = (
    "residual.mrc",
    "residual_half1.mrc",
    "residual_half2.mrc",
    "residual_mask.mrc",
)
BLOBS = "blobs.csv"
# a page, and a folder beside it, where `analyze` is not told otherwise
REPORT, ANALYSIS = "report.html", "analysis"
FIELD, MEAN, MAP = "field.safetensors", "mean.mrc", "map.mrc"  # of a volume run (volume_run.py)
# of one in closed form: the mean's half-maps, mask and correlation, the density of the latents
HALF_MAPS, MASK, CORRELATION, POPULATION = (
    ("half1.mrc", "half2.mrc"),
    "mask.mrc",
    "fsc.csv",
    "population.npz",
)
COMPONENTS = "component*.mrc"  # one a component, counted from 1
# of a fit that was learned on a part: what further particles are placed by, and particles that are
# placed so far, some thousand a file
LANDSCAPE, PLACED = "landscape.npz", "placed*.safetensors"
PART = "part.json"  # how many particles are learned on, where these grew
FILES = (
    SETTINGS,
    BASE,
    MODEL,
    LATENTS,
    MOTIONS,
    PARTICLES,
    RESIDUES,
    HISTORY,
    SUMMARY,
    CHECKPOINT,
    *HALVES,
    BORDERS,
    JUNK,
    CORRECTION,
    POSE_VERDICT,
    *RESIDUAL_MAPS,
    BLOBS,
    LANDSCAPE,
    PART,
    FIELD,
    MEAN,
    MAP,
    *HALF_MAPS,
    MASK,
    CORRELATION,
    POPULATION,
    REPORT,
)
VOLUME = "volume"  # what run.json of a volume run says as `inference`


@dataclass(frozen=True, eq=False, repr=False)
class AnyRun:
    """A finished run, of structures or of volumes.

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
    def _sizes(self) -> dict[str, int]:
        """Of the dimensions of arrays, as far as summary.json and the files that were read say.

        All files have to agree.
        """
        said = {"particle": "particles", "segment": "segments", "bead": "beads"}
        return {
            dimension: self.summary[name]
            for dimension, name in said.items()
            if name in self.summary
        }

    def _read(self, name: str, contents: dict) -> dict[str, np.ndarray]:
        return read_arrays(self.folder / name, contents, sizes=self._sizes)

    @cached_property
    def _latents(self) -> dict[str, np.ndarray]:
        return self._read(LATENTS, contents.LATENTS)

    @property
    def latent(self) -> np.ndarray:
        """Latent coordinates of each particle, (particle, k).

        Along the k motions of a fit, where one unit moves the superposed trace by 1 A r.m.s.; of
        volumes, the posterior mean. Of no numbers where nothing moves or one volume is all.
        """
        return self._latents["latent"]

    @property
    def latent_sd(self) -> np.ndarray:
        """(particle, k): standard deviation of `latent`."""
        return self._latents["latent_sd"]

    @cached_property
    def table(self) -> dict[str, np.ndarray]:
        """Columns of particles.csv."""
        return read_numbers_table(self.folder / PARTICLES, rows=self.n_particles)

    @property
    def n_particles(self) -> int:
        """How many particles there are."""
        return len(self.latent)

    @property
    def particles(self) -> "pandas.DataFrame":
        """particles.csv as a DataFrame, a row a particle."""
        whole = ("particle", "first_row", "rows", "state", "images_left_out")
        return data_frame(
            {
                name: column.astype(int) if name in whole else column
                for name, column in self.table.items()
            }
        )

    def _facts(self) -> dict[str, object]:
        return {"particles": f"{self.summary.get('particles', 0):,}"}

    def __repr__(self) -> str:
        return facts_in_line(type(self).__name__, str(self.folder), self._facts())

    def _repr_html_(self) -> str:
        return facts_as_html(str(self.folder), self._facts())


class Run(AnyRun):
    """A finished fit.

    Parameters
    ----------
    folder : Path
        Where it lies.
    settings : dict
        How it was made: run.json.
    summary : dict
        What was found: summary.json.

    Examples
    --------
    >>> run = open_run("models/adk")
    >>> run.n_particles, run.summary["motions_supported"], run.latent.shape
    (1000, 1, (1000, 1))
    >>> run.atoms([0, 1]).shape  # A, of all atoms of two particles
    torch.Size([2, 1656, 3])
    """

    def _facts(self) -> dict[str, object]:
        found = self.summary
        supported = found.get("motions_supported")
        facts: dict[str, object] = {
            "particles": f"{found['particles']:,}",
            "residues": f"{found['residues']:,}",
            "resolution": f"{found['resolution']:.1f} A",
            "motions": "not tested" if supported is None else f"{supported} supported",
        }
        if found.get("states"):
            facts["states"] = " and ".join(f"{each['population']:.0%}" for each in found["states"])
        if found.get("half_set_error") is not None:
            facts["half-set error"] = f"{found['half_set_error']:.2f} A"
        return facts

    @property
    def residues(self) -> "pandas.DataFrame":
        """residues.csv as a DataFrame, a row a residue, in the order of the base structure."""
        path = self.folder / RESIDUES
        said = ("chain", "icode")
        return data_frame(
            {
                name: column
                if name in said
                else column_of_numbers(path, name, column, empty=math.nan).astype(
                    int if name in ("residue", "group") and "" not in column else float
                )
                for name, column in read_text_table(path).items()
            }
        )

    @property
    def plot(self) -> Any:
        """Plots of the run as matplotlib axes: `landscape`, `latents`, `history`, `residues`.

        See :class:`atomdrgn.notebook.run_plots.RunPlots`.
        """
        return import_module(NOTEBOOK + ".run_plots").RunPlots(self)

    def view(
        self,
        *,
        motion: int | None = None,
        particles: Iterable[int] | None = None,
        states: bool = False,
        size: tuple[int, int] = (700, 500),
    ) -> Any:
        """Its structures as a py3Dmol view, which a notebook shows.

        Parameters
        ----------
        motion : int, optional
            Play the structures along this motion, from 1; the first one where nothing else is said.
        particles : iterable of int, optional
            Lay the structures of these particles over each other.
        states : bool
            Lay the structures of the states over each other.
        size : (width, height)
            Pixels.

        Raises
        ------
        InputError
            More than one of them is wanted, or there is no such motion, particle or state.
        MissingPackageError
            py3Dmol is not installed.
        """
        view = import_module(NOTEBOOK + ".structure_views").view
        return view(self, motion=motion, particles=particles, states=states, size=size)

    @cached_property
    def structure(self) -> Structure:
        """The base structure in the fit's frame: the origin is what the poses turn about."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the fit has given them
            return read_structure(self.folder / BASE)

    @property
    def residual(self) -> DensityMap | None:
        """The density that images show and the base model lacks, where any stands out."""
        path = self.folder / RESIDUAL_MAPS[0]
        return read_density_map(path) if path.exists() else None

    @cached_property
    def model(self) -> dict[str, np.ndarray]:
        """Beads and segments.

        `bead` (bead, 3) A, `sigma` (bead,) A and `amplitude` (bead,) as fitted to the images,
        `base_shift` (bead, 3) A where they are moved from those of the base structure, `flexing`
        (feature, bead, 3) A where they move within their segments (see
        :class:`~atomdrgn.structure.motion.flexing.Flexing`), `bead_of_atom` (atom,), `trace`
        (bead,); `centroid` (segment, 3) A, `weight` (bead, segment), or, where beads move one by
        one, `mode` (latent, bead, 3) and `shift` (bead, 3) A. What another kind of deformation
        holds is its own, and `kind` names it.
        """
        model = self._read(MODEL, contents.MODEL)
        with _said_of(self.folder / MODEL):
            contents.check_together(model)
            kind = kind_of(model)
        if kind not in KINDS:
            raise FileFormatError(
                f"{self.folder / MODEL}: its conformations are of the kind {kind!r}, and "
                f"{', '.join(KINDS)} are known here: import the module that adds it to "
                "atomdrgn.structure.motion.kinds.KINDS"
            )
        with _said_of(self.folder / MODEL):
            contents.check_deformation(model, self._sizes)
        return model

    @property
    def kind(self) -> str:
        """What moves: a name of :data:`~atomdrgn.structure.motion.kinds.KINDS`."""
        return kind_of(self.model)

    @cached_property
    def bead_model(self) -> BeadModel:
        """Whose beads those of :attr:`model` are: their chains and residues."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnmodelledWarning)  # the fit has given them
            beads = coarse_grain(self.structure, beads=self.settings["fit"].get("beads", 1))
        with _said_of(self.folder / MODEL):
            if not np.array_equal(beads.bead_of_atom, self.model["bead_of_atom"]):
                raise FileFormatError(f"its beads are not those of {BASE}")
        return beads

    @cached_property
    def deformation(self) -> Deformation:
        """What a latent decodes to, and where beads and atoms are then."""
        atoms = len(self.structure.position)
        with _said_of(self.folder / MODEL):
            if atoms != len(self.model["bead_of_atom"]):
                raise FileFormatError(
                    f"it is of {len(self.model['bead_of_atom'])} atoms, and {BASE} has {atoms}"
                )
        return from_arrays(self.model, lambda: self.bead_model)

    @cached_property
    def base_atoms(self) -> Float[Tensor, "atom 3"]:
        """All atoms of the base model as it was corrected, A: what motions start from."""
        atom = self.structure.position
        if "base_shift" not in self.model:
            return atom
        shift = torch.from_numpy(self.model["base_shift"])
        return lift_residues(atom, self.bead_model, self.bead_model.position + shift)

    @property
    def has_draws(self) -> bool:
        """Whether :attr:`draws` are there.

        Amortised fits and those of earlier versions have none.
        """
        return "draws" in self._latents

    @property
    def draws(self) -> np.ndarray:
        """(particle, draw, k): places from each particle's posterior, spread evenly over it."""
        if not self.has_draws:
            raise FileFormatError(
                f"{self.folder}: this run holds no draws from its particles' posteriors; the "
                "closed form makes them: fit again without --inference vae"
            )
        return self._latents["draws"]

    def motion_at(self, place: np.ndarray) -> Record:
        """Motion of each segment, or of each bead, at places along the motions (particle, k)."""
        if "surface_scale" not in self.model:
            raise FileFormatError(
                f"{self.folder}: this run holds its particles' conformations and none between "
                "them; the closed form makes them: fit again without --inference vae"
            )
        at = torch.as_tensor(place).float()
        return self._flexed(self.deformation.motion(self.surface(at)), at)

    @property
    def surface(self) -> Surface:
        """The conformations along the motions, as the closed form leaves them."""
        return Surface(
            *(
                torch.from_numpy(self.model[name])
                for name in ("surface_scale", "surface_coefficient")
            )
        )

    def _flexed(self, motion: Record, place: Float[Tensor, "particle k"]) -> Record:
        """A motion of segments at a place, with what beads do within them where that is known."""
        if self.kind == SegmentDeformation.kind and "flexing" in self.model:
            assert isinstance(motion, RigidMotion)
            return with_feature(motion, self.surface.features(place))
        return motion

    @cached_property
    def _motions(self) -> dict[str, np.ndarray]:
        _ = self._latents, self.model  # which say of how many particles and segments
        motions = self._read(MOTIONS, contents.MOTIONS)
        with _said_of(self.folder / MOTIONS):
            contents.check_motions(motions, self.model, self._sizes)
        return motions

    @cached_property
    def motion(self) -> Record:
        """Motion of each segment of each particle.

        Rotation (particle, segment, 4), translation (particle, segment, 3) A; or of each bead:
        offset (particle, bead, 3) A, which takes memory where particles are many.
        """
        return self._motion_of(slice(None))

    @property
    def segment_motion(self) -> RigidMotion:
        """:attr:`motion` where segments move, not bead by bead (see :func:`require_segments`)."""
        motion = self.motion
        assert isinstance(motion, RigidMotion), f"{self.folder}: beads move one by one"
        return motion

    def _motion_of(self, particles: Tensor | slice) -> Record:
        """The same of some particles: what is made of few numbers is made when it is wanted."""
        held = {
            name: torch.from_numpy(self._motions[name])[particles]
            for name in self.deformation.MOTIONS
        }
        place = torch.from_numpy(self.latent)[particles]
        return self._flexed(self.deformation.motion_of(held), place)

    def atoms(self, particles: Sequence[int]) -> Float[Tensor, "particle atom 3"]:
        """Positions of all atoms of some particles, A."""
        return self.atoms_of(self._motion_of(torch.as_tensor(particles)))

    def atoms_of(self, motion: Record) -> Float[Tensor, "conformation atom 3"]:
        """Positions of all atoms of some conformations, A."""
        return self.deformation.atoms(motion, self.base_atoms)

    def b_factors(self, particles: Sequence[int]) -> Float[Tensor, "particle atom"]:
        """8 pi^2/3 times the squared error of each atom, A^2.

        The error is the particle's own along the motions, and the half-sets'.

        The half-sets' is half their difference: of the mean, of each motion's size and of the base
        model's correction. What both have wrong alike is not in it, nor what they differ by in how
        residues move within their segments.

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
        """1 for the atoms that are present in some particles and 0 for those that are absent.

        It is None where no atom may be absent.
        """
        present = self._motions.get("present")
        if present is None:
            return None
        weight, bead_of_atom = (
            torch.from_numpy(self.model["weight"]),
            torch.from_numpy(self.model["bead_of_atom"]),
        )
        return (torch.from_numpy(present)[torch.as_tensor(particles)] @ weight.T)[
            :, bead_of_atom
        ].clamp(0, 1)

    def beads(self, particles: Sequence[int]) -> Float[Tensor, "particle bead 3"]:
        """Positions of the beads of some particles, A."""
        return self.deformation.beads(self._motion_of(torch.as_tensor(particles)))


def open_run(folder: Path | str) -> Run:
    """Open a finished run.

    Raises
    ------
    MissingFileError
        The folder is none, or its fit did not end.
    FileFormatError
        It was written by a later version, or is damaged.

    Examples
    --------
    >>> open_run("models/adk").settings["fit"]["segments"]
    12
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingFileError(
            f"{folder}: there is no such folder; a run is the folder that `atomdrgn fit` wrote"
        )
    settings = read_settings(folder)
    if settings.get("fit", {}).get("inference") == VOLUME:
        raise FileFormatError(
            f"{folder}: a run of `atomdrgn volume`, which has volumes and no structures (see "
            "`atomdrgn volumes`); a run of `atomdrgn fit` is needed here"
        )
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
    if "weight" in run.model:
        return
    if run.kind != BeadDeformation.kind:
        raise InputError(
            f"{run.folder}: the conformations of this run are of the kind {run.kind!r}, and "
            f"{wanted} needs segments that move as rigid bodies"
        )
    raise InputError(
        f"{run.folder}: every bead moves by itself in this run (--deformation beads), and {wanted} "
        "needs segments that move as rigid bodies: fit again without --deformation beads"
    )


def read_summary(folder: Path) -> dict:
    """What summary.json holds, which a run has once it is whole."""
    if not (folder / SUMMARY).exists():
        _refuse_while_written(folder, SUMMARY)
        raise MissingFileError(
            f"{folder}: the fit did not end (there is no {SUMMARY}); go on with it: the same "
            "command with --resume"
        )
    return read_json(folder / SUMMARY, contents.SUMMARY)


def read_settings(folder: Path) -> dict:
    """What run.json holds, when this version can read the folder."""
    if not (folder / SETTINGS).exists():
        _refuse_while_written(folder, SETTINGS)
        if (folder / LOCK).exists() and _holds_nothing(folder):
            raise MissingFileError(
                f"{folder}: what should have become a run was stopped before its first file was "
                "written; give the command that makes it again"
            )
        raise MissingFileError(
            f"{folder}: there is no {SETTINGS}, so it is no run; name the folder that `atomdrgn "
            "fit` wrote"
        )
    settings = read_json(folder / SETTINGS, {})
    if settings.get("format") != FORMAT:
        raise FileFormatError(
            f"{folder / SETTINGS}: format {settings.get('format')!r} is not {FORMAT}: it was "
            f"written by atomdrgn {settings.get('version')!r}; use that version or fit again"
        )
    with _said_of(folder / SETTINGS):
        contents.check_said(settings, contents.SETTINGS)
    return settings


def _refuse_while_written(folder: Path, missing: str) -> None:
    writing = writing_in(folder)
    if writing:
        raise MissingFileError(
            f"{folder}: the run is not whole yet (there is no {missing}): {writing}"
        )


def require_whole(folder: Path) -> None:
    """Refuse a run that calls itself complete and has files that are missing or damaged.

    Raises
    ------
    MissingFileError, FileFormatError
        The first such file.
    """
    read_summary(folder)
    volume = read_settings(folder).get("fit", {}).get("inference") == VOLUME
    for name in (LATENTS,) if volume else (LATENTS, MODEL, MOTIONS):
        read_arrays(folder / name)
    for name in (PARTICLES,) if volume else (PARTICLES, RESIDUES):
        read_text_table(folder / name)
    for name in (FIELD, MEAN) if volume else (BASE,):
        if not (folder / name).exists() or not (folder / name).stat().st_size:
            raise MissingFileError(f"{folder / name} is missing or empty")


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where something is that a new run would mix with or replace.

    What a process that was killed before it wrote run.json has left is nothing.

    Raises
    ------
    OutputExistsError
        There is something.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder} is a file: choose a folder with --out")
    if folder.exists() and not _holds_nothing(folder):
        if not (folder / SETTINGS).exists():
            raise OutputExistsError(
                f"{folder} is not empty and is no run: choose another folder with --out"
            )
        if not overwrite:
            raise OutputExistsError(
                f"{folder} holds a run: --resume goes on with it, --overwrite replaces it, --out "
                "puts this one elsewhere"
            )


def _holds_nothing(folder: Path) -> bool:
    """Whether all that is in a folder is what a killed process has left."""
    return all(path.name == LOCK or is_leftover(path.name) for path in folder.iterdir())


def require_not_written(folder: Path) -> None:
    """Refuse a folder that another command is writing to.

    Raises
    ------
    OutputExistsError
        One is, or may be.
    """
    writing = writing_in(folder)
    if writing:
        raise OutputExistsError(f"{folder}: {writing}")


def create_run_folder(folder: Path, *, overwrite: bool) -> None:
    """A folder for a new run.

    Only the files of an earlier run are ever removed, and these only with `overwrite`.

    Wherever it is stopped, the folder is one that may be overwritten: summary.json, which calls a
    run complete, goes first, and run.json, which calls it a run, stays until the new one takes its
    place.
    """
    require_free(folder, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    counted = {path.name for kind in (COMPONENTS, PLACED) for path in folder.glob(kind)}
    names = {*FILES, POSES, *counted} - {SETTINGS}
    for name in sorted(names, key=lambda name: name != SUMMARY):
        (folder / name).unlink(missing_ok=True)
    # before the new run.json: it shall not be found with files of the run before
    sync_folder(folder)


def component_file(number: int) -> str:
    """Name of the map of a component, counted from 1."""
    return COMPONENTS.replace("*", str(number))


def placed_file(number: int) -> str:
    """Name of a file of particles that were placed, counted from 0."""
    return PLACED.replace("*", f"{number:06d}")


def write_base(folder: Path, structure: Structure) -> None:
    """The base structure of a run."""
    write_structure(structure, folder / BASE, format="mmcif")


def require_base_survives(structure: Structure) -> None:
    """Refuse a base structure whose atoms would be others once its run is opened.

    Every command after the fit reads the run's own base file, so that each residue has to be found
    there once.

    Raises
    ------
    InputError
        Two residues bear one name, or a residue is read back as another; both are named.
    """
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_base(Path(folder), structure)
        back = read_structure(Path(folder) / BASE)
    said = _difference(structure, back)
    if said:
        raise InputError(
            f"{structure.name}: {said}; give each residue a chain, a number and an insertion code "
            "that no other has"
        )


def _difference(structure: Structure, back: Structure) -> str | None:
    """What tells two structures apart that are meant to be one, in words.

    It is None where nothing does.
    """
    named: dict[str, int] = {}
    for atom in np.unique(structure.residue_index, return_index=True)[1].tolist():
        other = named.setdefault(_residue_label(structure, atom), atom)
        if other != atom:
            one, another = _residue_label(structure, other), _residue_label(structure, atom)
            return (
                f"residue {one} (atom {other + 1}) and residue {another} (atom {atom + 1}) cannot "
                "be told apart"
            )
    if len(structure) != len(back):
        return f"its {len(structure)} atoms are {len(back)} once written as mmCIF and read again"
    columns = (
        "element",
        "atom_name",
        "residue",
        "insertion_code",
        "residue_name",
        "chain",
        "altloc",
        "residue_index",
    )
    same = np.all([getattr(structure, name) == getattr(back, name) for name in columns], axis=0)
    same &= (
        residue_kinds(structure)[structure.residue_index] == residue_kinds(back)[back.residue_index]
    )
    if same.all():
        return None
    atom = int(np.argmin(same))
    was, becomes = _residue_label(structure, atom), _residue_label(back, atom)
    return f"residue {was} is read as residue {becomes} once written as mmCIF"


def _residue_label(structure: Structure, atom: int) -> str:
    number = f"{structure.residue[atom]}{structure.insertion_code[atom]}"
    return f"{structure.chain[atom]}:{number} {structure.residue_name[atom]}"


def write_json(path: Path, content: dict) -> None:
    """A dictionary as JSON, whole or not at all."""
    try:
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise InputError(
            f"{path}: {_not_finite(content)} is no finite number, so that nothing is written: "
            "images or settings led the fit astray; see what `atomdrgn inspect` says of the images"
        ) from error
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _not_finite(content: object, where: str = "") -> str:
    """Where in what JSON shall say there is a number that it cannot say."""
    parts = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list | tuple)
        else ()
    )
    if isinstance(content, float) and not math.isfinite(content):
        return where
    return next(
        (found for name, each in parts if (found := _not_finite(each, f"{where} {name}".strip()))),
        "",
    )


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Plain arrays as .npz, whole or not at all."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        named: dict[str, Any] = arrays  # none of them is an option of numpy's
        np.savez_compressed(file, **named)


def write_table(path: Path, columns: Mapping[str, Iterable]) -> None:
    """Columns as CSV, whole or not at all.

    Texts that look like formulas are as
    :func:`~atomdrgn.io.run_formats.table_cells.as_cell` writes them.
    """
    with whole_file(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows(
            [as_cell(value) for value in row]
            for row in (columns, *zip(*columns.values(), strict=True))
        )


def read_text_table(path: Path, *, rows: int | None = None) -> dict[str, list[str]]:
    """Columns of a CSV file of a run, as text; of no rows where it has none.

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        It is damaged, or does not have so many `rows`.
    """
    if not path.exists():
        raise MissingFileError(
            f"{path} is missing: the run is not whole; fit again with --overwrite"
        )
    with _said_of(path):
        try:
            text = path.read_bytes().decode("utf-8")
            lines = [
                [from_cell(cell) for cell in line]
                for line in csv.reader(io.StringIO(text, newline=""))
            ]
        except (ValueError, csv.Error) as error:
            raise FileFormatError(str(error)) from error
        header, *lines = lines or [[]]
        if not header or "\0" in text or len(set(header)) < len(header):
            raise FileFormatError("its first line does not name columns, each once")
        for number, line in enumerate(lines, 1):
            if len(line) != len(header):
                raise FileFormatError(
                    f"row {number} has {len(line)} cells under {len(header)} names"
                )
        if rows is not None and len(lines) != rows:
            raise FileFormatError(f"it has {len(lines)} rows, where {rows} are expected")
        return {name: [line[column] for line in lines] for column, name in enumerate(header)}


def read_numbers_table(path: Path, *, rows: int | None = None) -> dict[str, np.ndarray]:
    """Columns of a CSV file of a run, all of them numbers.

    It raises the errors of :func:`read_text_table`, and one for what is no number.
    """
    return {
        name: column_of_numbers(path, name, column)
        for name, column in read_text_table(path, rows=rows).items()
    }


def column_of_numbers(
    path: Path, name: str, column: Sequence[str], *, empty: float | None = None
) -> np.ndarray:
    """A column of a table of a run as numbers.

    Where `empty` is given, cells may be empty and are that.

    Raises
    ------
    FileFormatError
        A cell is no number.
    """
    numbers = np.empty(len(column))
    for row, cell in enumerate(column):
        try:
            numbers[row] = empty if not cell and empty is not None else float(cell)
        except ValueError:
            raise FileFormatError(
                f"{path}: damaged (row {row + 1} has {cell[:40]!r} as {name}, which is no number); "
                "fit again with --overwrite"
            ) from None
    return numbers


def read_arrays(
    path: Path, held: dict | None = None, *, sizes: dict[str, int] | None = None
) -> dict[str, np.ndarray]:
    """What :func:`write_arrays` wrote.

    Parameters
    ----------
    path : Path
    held : dict, optional
        What it has to hold: a table of :mod:`.run_contents`.
    sizes : dict, optional
        Of dimensions that are known; those that the file tells are added.

    Raises
    ------
    MissingFileError
        There is no such file.
    FileFormatError
        It is damaged, or does not hold what it has to.
    """
    if not path.exists():
        raise MissingFileError(
            f"{path} is missing: the run is not whole; fit again with --overwrite"
        )
    check = contents.Contents(held or {}, {} if sizes is None else sizes)
    with _said_of(path):
        arrays = read_npz(path, check=check.check_header, rows=_most_rows(path.parent))
        check.check_values(arrays)
    return arrays


def _most_rows(folder: Path) -> int:
    """How many particles a run can have by the size of its particles.csv."""
    table = folder / PARTICLES
    return table.stat().st_size // LEAST_ROW if table.exists() else 0


def read_json(path: Path, kinds: dict) -> JsonObject:
    """What :func:`write_json` wrote, checked.

    Parameters
    ----------
    path : Path
    kinds : dict
        Of what it says: a table of :mod:`.run_contents`.

    Raises
    ------
    FileFormatError
        It is damaged, or says something else.
    """
    try:
        said = read_json_object(path)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}; fit again with --overwrite") from error
    with _said_of(path):
        contents.check_said(said, kinds)
    return said


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """What is found to be wrong inside is said of a file of a run."""
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{path}: damaged ({error}); fit again with --overwrite") from error

"""The base model brought to its place in a consensus map, then to the frame of the poses."""

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, MissingFileError, OutputExistsError, UnmodelledWarning
from ..io.structure_files.structures import structure_format
from ..io.whole_file import whole_file
from ..reporting import Reporter
from ..structure.atoms import Structure, why_no_pdb, write_structure
from ..structure.density_map import DensityMap
from ..structure.placement import moved_rigidly
from ..structure.residue_kinds import residue_kinds
from .band import SAMPLING, Band, band_of_map, band_of_points, shell_correlation
from .placement_comparison import CLEAR, Alternative, compared
from .rigid_search import Placement, Points, refined, search

# resolution of the search, in radii of gyration: 8 degrees move little by more than half of it
COARSE = 0.5
# points at most: a model that is small beside its map is searched for at coarser resolution
SEARCH_GRID = 2**19
FINEST = 4.0  # A: finer placement than this resolution gives serves nothing
NYQUIST_MARGIN = 2.1  # voxels to a resolution
AGREES = 0.3  # shell correlation down to which model and map are compared
KEPT = 12, 6  # placements after the first refinement and after each later one
MOST_OUTSIDE, SOME_OUTSIDE = 0.5, 0.02
FRAMES = ("poses", "map")


@dataclass(frozen=True, eq=False)
class Docking:
    """A model in its place.

    Parameters
    ----------
    structure : Structure
        In the frame that was asked for.
    frame : {"poses", "map"}
        poses: the map's voxel ``n // 2`` is (0, 0, 0). map: as the map's header has it.
    rotation, translation : (3, 3), (3,)
        ``rotation @ x + translation`` took each atom there.
    placement : Placement
        The same in the frame of the poses, about the model's centroid, with its mean shell
        correlation.
    correlation : float
        Of model and map over the box, both without what is finer than `resolution`.
    error : float
        Standard error of the mean shell correlation, by leaving out one block of the box at a time.
    resolution : float
        At which all correlations were measured, A.
    outside : float
        Share of the model's electrons outside of the map.
    alternatives : tuple of Alternative
        Other placements in the map, best first; empty for a local refinement.
    mirror : Alternative or None
        The best placement in the map's mirror image; None for a local refinement.
    map_name : str
    map_centre : (3,)
        Where the box centre lies in the frame of the map, A.
    path, summary_path : Path or None
        What was written.

    Examples
    --------
    >>> from atomdrgn import read_density_map, read_structure
    >>> docking = dock(read_structure("base.pdb"), read_density_map("map.mrc"), local=True)
    >>> docking.correlation > 0.9, docking.outside < 0.01
    (True, True)
    """

    structure: Structure
    frame: str
    rotation: np.ndarray
    translation: np.ndarray
    placement: Placement
    correlation: float
    error: float
    resolution: float
    outside: float
    alternatives: tuple[Alternative, ...]
    mirror: Alternative | None
    map_name: str
    map_centre: tuple[float, float, float]
    path: Path | None = None
    summary_path: Path | None = None

    @property
    def symmetric(self) -> int:
        """How many placements, this one among them, are the same because the model is symmetric.

        It is 1 where the model is not.
        """
        return 1 + sum(other.alike for other in self.alternatives)

    @property
    def second(self) -> Alternative | None:
        """The best placement that is another one."""
        return next((other for other in self.alternatives if not other.alike), None)

    @property
    def hand(self) -> str:
        """What is known of the hand: "right", "wrong", "not told" or "not tested".

        "wrong": the mirror image fits better; "not told": neither fits clearly better.
        """
        if self.mirror is None:
            return "not tested"
        if abs(self.mirror.behind) <= CLEAR * self.mirror.error:
            return "not told"
        return "right" if self.mirror.behind > 0 else "wrong"

    def summary(self) -> dict:
        """All figures as plain values."""
        return {
            "model": self.structure.name,
            "map": self.map_name,
            "frame": self.frame,
            "map_centre": list(self.map_centre),
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
            "resolution": self.resolution,
            "correlation": self.correlation,
            "mean_shell_correlation": self.placement.score,
            "error": self.error,
            "outside": self.outside,
            "hand": self.hand,
            "symmetric_placements": self.symmetric,
            "mirror": None if self.mirror is None else self._plain(self.mirror, moved=False),
            "alternatives": [self._plain(other, moved=True) for other in self.alternatives],
        }

    def _plain(self, other: Alternative, *, moved: bool) -> dict:
        turned, shifted = self.placement.distance(other.placement)
        away = (
            {
                "turned_degrees": math.degrees(turned),
                "moved": shifted,
                "model_looks_the_same": other.alike,
            }
            if moved
            else {}
        )
        return {
            "correlation": other.correlation,
            "mean_shell_correlation": other.placement.score,
            "behind": other.behind,
            "behind_error": other.error,
            **away,
        }

    def lines(self) -> list[str]:
        """The result for people."""
        said = [
            f"{self.structure.name} in {self.map_name}, compared down to {self.resolution:.3g} A",
            "  placement              correlation   mean shell correlation   behind the best by",
            f"  best                   {self.correlation:11.3f}          "
            f"{self.placement.score:.3f} +- {self.error:.3f}",
        ]
        if self.second is not None:
            said.append(self._row("second best", self.second))
        if self.mirror is not None:
            said.append(self._row("best in mirrored map", self.mirror))
        if self.second is not None:
            turned, shifted = self.placement.distance(self.second.placement)
            said.append(
                f"  the second best is turned by {math.degrees(turned):.0f} degrees and "
                f"{shifted:.0f} A away"
            )
        if self.symmetric > 1:
            said.append(
                f"  the model is symmetric: {self.symmetric} placements are the same, and any of "
                "them is right"
            )
        said.append(
            {
                "right": "  the hand is right: the mirrored map fits clearly worse",
                "wrong": "  the hand is WRONG: the mirrored map fits clearly better",
                "not told": "  the hand cannot be told: the map and its mirror image fit alike",
                "not tested": "  refined where it was: neither other placements nor the hand were "
                "looked at",
            }[self.hand]
        )
        return said

    def _row(self, name: str, other: Alternative) -> str:
        errors = other.behind / max(other.error, 1e-9)
        behind = f"{other.behind:.3f} +- {other.error:.3f} ({errors:.1f} standard errors)"
        return f"  {name:<23}{other.correlation:11.3f}   {other.placement.score:22.3f}   {behind}"


def dock(
    structure: Structure,
    density_map: DensityMap,
    out: Path | str | None = None,
    *,
    frame: str = "poses",
    resolution: float | None = None,
    local: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Docking:
    """Place a model in a map as a rigid body.

    All rotations and translations are tried, or it goes on from where the model stands.

    The search compares model and map at half of the model's radius of gyration, by Fourier
    transforms; what it finds is refined by gradients at resolutions that rise until model and map
    no longer agree. The mirror image of the map is searched alike.

    Parameters
    ----------
    structure : Structure
        Waters add no density.
    density_map : DensityMap
        Of the whole molecule or of more.
    out : path, optional
        Where the placed model is written; the ending says the format. The figures go beside it,
        into a file that ends in .json.
    frame : {"poses", "map"}
        Of the placed model. poses: the map's box centre, voxel ``n // 2``, is (0, 0, 0), as
        :func:`atomdrgn.fit` wants it. map: as the map's header has it, so that model and map
        overlay.
    resolution : float, optional
        Finest frequencies compared, A; by default those at which the shell correlation is still
        0.3, at most 4 A.
    local : bool
        Refine only, from where the model stands in either frame, whichever fits better.
    overwrite : bool
        Replace files that are there.
    reporter : Reporter, optional

    Raises
    ------
    InputError
        The model has no density or is larger than the map, fits best where most of it is outside,
        or the resolution cannot be used.
    OutputExistsError
        A file that would be written is there.

    Warns
    -----
    UserWarning
        The mirror image fits better, other placements fit as well, or a part of the model lies
        outside of the map.

    References
    ----------
    Chacon & Wriggers, J. Mol. Biol. 317 (2002), 375-384: docking by filtered correlations and
    Fourier transforms. Alexa (2022): see :func:`atomdrgn.physics.rotations.uniform_rotations`.

    Examples
    --------
    >>> from atomdrgn import read_density_map, read_structure
    >>> model, density_map = read_structure("model.pdb"), read_density_map("map.mrc")
    >>> docking = dock(model, density_map, "placed.pdb")
    >>> docking.path.name, docking.summary_path.name
    ('placed.pdb', 'placed.json')
    >>> docking.correlation > docking.mirror.correlation
    True
    """
    if frame not in FRAMES:
        raise InputError(f"frame {frame!r}: choose one of {', '.join(FRAMES)}")
    path, summary_path = _free_files(out, structure, overwrite=overwrite)
    points, centroid = density_points(structure)
    _require_room(points, structure, density_map)
    coarse, fine = _resolutions(points, density_map, resolution)
    band = band_of_map(density_map, fine)
    points = points.thinned(fine)
    if local:
        # its frame is not known: that of the map's header, or that of the poses already
        found = {
            False: [
                Placement(np.eye(3), centroid - np.array(middle))
                for middle in (density_map.centre, (0, 0, 0))
            ]
        }
    else:
        found = search(points, band.cut(coarse), reporter=reporter)
    found, band = _refined_to_the_end(found, points, band, coarse, adaptive=resolution is None)
    best, of_densities, error, others = compared(found, points, band)
    centre = np.zeros(3) if frame == "poses" else np.array(density_map.centre)
    translation = best.shift + centre - best.rotation @ centroid
    docking = Docking(
        structure=moved_rigidly(structure, best.rotation, translation),
        frame=frame,
        rotation=best.rotation,
        translation=translation,
        placement=best,
        correlation=of_densities,
        error=error,
        resolution=band.resolution,
        outside=_outside(points, best, density_map),
        alternatives=() if local else tuple(others[False]),
        mirror=None if local else others[True][0],
        map_name=density_map.name,
        map_centre=density_map.centre,
        path=path,
        summary_path=summary_path,
    )
    _warn(docking)
    if frame == "poses":
        _warn_of_cut(density_map)
    if path is not None and summary_path is not None:
        write_structure(docking.structure, path)
        with whole_file(summary_path) as temporary:
            temporary.write_text(json.dumps(docking.summary(), indent=1) + "\n", encoding="utf-8")
    return docking


def density_points(structure: Structure) -> tuple[Points, np.ndarray]:
    """The atoms that give density, about their centroid.

    They are weighted by electrons and occupancy; that centroid (3,), A, comes with them.

    Raises
    ------
    InputError
        None does: the structure holds water, atoms of unknown element or occupancies of 0 alone, or
        a single atom.
    """
    water = residue_kinds(structure)[structure.residue_index] == "water"
    occupancy = structure.occupancy if structure.occupancy.any() else np.ones(len(structure))
    amplitude = np.where(water, 0.0, structure.element * np.clip(occupancy, 0, 1))
    dense = amplitude > 0
    position = structure.position.double().numpy()[dense]
    if len(np.unique(position, axis=0)) < 2:
        raise InputError(
            f"{structure.name}: {dense.sum()} of {len(structure)} atoms give density (waters, "
            "unknown elements and occupancies of 0 give none); a model to dock needs more than one "
            "place"
        )
    amplitude = amplitude[dense]
    centroid = (amplitude[:, None] * position).sum(0) / amplitude.sum()
    return Points(position - centroid, amplitude), centroid


def _free_files(
    out: Path | str | None, structure: Structure, *, overwrite: bool
) -> tuple[Path | None, Path | None]:
    """Paths of the placed model and of its summary.

    Neither is there unless it may be replaced.
    """
    if out is None:
        return None, None
    path = Path(out)
    reason = why_no_pdb(structure) if structure_format(path) == "pdb" else None
    if reason:
        raise InputError(f"{path}: {reason}: choose a name that ends in .cif with --out")
    name = path.name.removesuffix(".gz")
    files = path, path.with_name(f"{name[: name.rindex('.')]}.json")
    for file in files:
        if file.is_dir() or file.exists() and not overwrite:
            raise OutputExistsError(
                f"{file} is already there: choose another name with --out, or --overwrite to "
                "replace it"
            )
    if not path.parent.is_dir():
        raise MissingFileError(f"{path}: the folder {path.parent} is not there; make it first")
    return files


def _require_room(points: Points, structure: Structure, density_map: DensityMap) -> None:
    """Whether the box can hold the model at all, turned in any way."""
    along = points.position @ np.linalg.svd(points.position, full_matrices=False)[2].T
    model = np.sort(np.ptp(along, axis=0))[::-1]
    box = np.array(density_map.density.shape[::-1]) * density_map.voxel_size
    if model[0] > np.linalg.norm(box) or model[-1] > box.min():
        sizes = [" x ".join(f"{edge:.0f}" for edge in size) for size in (model, box)]
        raise InputError(
            f"{structure.name} measures {sizes[0]} A and {density_map.name} {sizes[1]} A: the map "
            f"is smaller than the model; check the voxel size ({density_map.voxel_size:.4g} A; "
            "--voxel-size), or dock a part of the model"
        )


def _resolutions(
    points: Points, density_map: DensityMap, resolution: float | None
) -> tuple[float, float]:
    """Resolutions at which the search is made, and the finest that is looked at, A."""
    box = np.array(density_map.density.shape[::-1]) * density_map.voxel_size
    held = NYQUIST_MARGIN * density_map.voxel_size
    fine = max(held, FINEST) if resolution is None else resolution
    coarse = max(COARSE * points.radius_of_gyration, fine)
    while np.prod(np.ceil(SAMPLING * box / coarse)) > SEARCH_GRID:
        coarse *= 1.1
    return min(coarse, max(fine, box.min() / 2)), fine


def _refined_to_the_end(
    found: dict[bool, list[Placement]], points: Points, band: Band, coarse: float, *, adaptive: bool
) -> tuple[dict[bool, list[Placement]], Band]:
    """Placements refined at rising resolutions, and the band of the last.

    They rise to where model and map no longer agree.
    """
    here = band.cut(coarse)
    found = _refined_hands(found, points, here, keep=KEPT[0])
    while here.resolution > band.resolution:
        finer = band.cut(max(0.5 * here.resolution, band.resolution))
        if adaptive:
            finer = finer.cut(_agreement(found, points, finer, at_least=here.resolution))
        if finer.resolution >= here.resolution:
            break
        stop, here = finer.resolution > max(0.5 * here.resolution, band.resolution), finer
        found = _refined_hands(found, points, here, keep=KEPT[1])
        if stop:
            break
    return found, here


def _refined_hands(
    found: dict[bool, list[Placement]], points: Points, band: Band, *, keep: int
) -> dict[bool, list[Placement]]:
    return {
        hand: refined(placements, points, band.other_hand() if hand else band, keep=keep)
        for hand, placements in found.items()
    }


def _agreement(
    found: dict[bool, list[Placement]], points: Points, band: Band, *, at_least: float
) -> float:
    """The finest resolution at which the best placement agrees, A.

    There its shell correlation, over three shells, still is AGREES.
    """
    hand = max(found, key=lambda one: found[one][0].score)
    model = band_of_points(points.at(found[hand][0]), points.amplitude, band)
    shells = shell_correlation(band.other_hand() if hand else band, model)
    # over shells 1 to 3, 2 to 4, ...
    smooth = np.convolve(shells[1:], np.ones(3) / 3, mode="valid")
    good = np.flatnonzero(smooth >= AGREES)
    if len(good) == 0:
        return at_least
    if good[-1] == len(smooth) - 1:
        return band.resolution
    return min(at_least, band.extent.max() / (good[-1] + 3))


def _outside(points: Points, placement: Placement, density_map: DensityMap) -> float:
    half = 0.5 * np.array(density_map.density.shape[::-1]) * density_map.voxel_size
    away = (np.abs(points.at(placement)) > half).any(1)
    return float(points.amplitude[away].sum() / points.amplitude.sum())


def _warn(docking: Docking) -> None:
    """What a user should know before going on with this placement.

    Raises
    ------
    InputError
        Most of the model lies outside of the map.
    """
    names, outside = (
        f"{docking.structure.name} in {docking.map_name}",
        f"{docking.outside:.0%} of the model",
    )
    if docking.outside > MOST_OUTSIDE:
        raise InputError(
            f"{names}: the best placement has {outside} outside of the map, so it is none; check "
            "that the map shows this molecule and that its voxel size is right (--voxel-size)"
        )
    if docking.outside > SOME_OUTSIDE:
        warnings.warn(
            f"{names}: {outside} lies outside of the map", UnmodelledWarning, stacklevel=3
        )
    second = docking.second
    if docking.mirror is not None and docking.hand == "wrong":
        warnings.warn(
            f"{names}: the mirror image of the map fits better (mean shell correlation "
            f"{docking.mirror.placement.score:.3f} against {docking.placement.score:.3f}), so the "
            "map has the wrong hand, and so have its poses; invert the hand of the reconstruction, "
            "refine the poses against it, and dock again",
            stacklevel=3,
        )
    elif second is not None and not second.clearly_worse:
        warnings.warn(
            f"{names}: another placement fits as well within the error (behind by "
            f"{second.behind:.3f} +- {second.error:.3f}): look at both, or give a map of finer "
            "resolution",
            stacklevel=3,
        )


def _warn_of_cut(density_map: DensityMap) -> None:
    z, y, x = density_map.density.shape
    if len({x, y, z}) > 1:
        warnings.warn(
            f"{density_map.name}: {x} x {y} x {z} voxels are no cube, so that it was cut from a "
            "larger box, about whose centre poses turn; its own centre is taken here: for atomdrgn "
            "fit, dock into the map as it was reconstructed",
            stacklevel=3,
        )

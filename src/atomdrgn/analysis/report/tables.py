"""What an examination has found, as CSV tables."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...runs.run import write_table
from ...structure.beads import BeadModel
from ...structure.selection import describe_residues
from ..examination.examination import Examination
from ..examination.landscape import Landscape


def write_tables(found: Examination, folder: Path) -> None:
    """The tables of an analysis, one a concept.

    Rows of particles.csv are particles in the order of their numbers.
    """
    tables: dict[str, Mapping[str, Iterable]] = {
        "particles.csv": particle_columns(found),
        "residues.csv": _residues(found),
        "segments.csv": _segments(found),
        "correlation.csv": _correlation(found),
        "clusters.csv": _clusters(found),
        "basins.csv": _basins(found),
        "turns.csv": _turns(found),
        "measures.csv": _measures(found),
        "principal_axes.csv": _axes(found),
        "traversals.csv": _traversals(found),
        **{
            f"landscape_{'_'.join(f'motion{axis + 1}' for axis in axes)}.csv": _landscape(
                axes, landscape
            )
            for axes, landscape in found.landscapes.items()
        },
    }
    for name, columns in tables.items():
        if columns:
            write_table(folder / name, columns)


def particle_columns(found: Examination) -> dict[str, list]:
    """Columns of particles.csv, besides those that the run's own table has."""
    columns: dict[str, list] = {"particle": list(range(found.run.n_particles))}
    if found.clusters is not None:
        columns |= {
            "cluster": (found.clusters.label + 1).tolist(),
            "basin": (found.basin + 1).tolist(),
        }
    if found.axes is not None:
        place = found.axes.place(found.run.latent)
        columns |= {f"pc{axis + 1}": _rounded(place[:, axis]) for axis in range(place.shape[1])}
    if found.map is not None:
        columns |= {f"umap{axis + 1}": _rounded(found.map[:, axis]) for axis in range(2)}
    columns |= {
        f"turn{number + 1}": _rounded(turn.degrees(found.run.segment_motion))
        for number, turn in enumerate(found.turns)
    }
    for name, (_, value, error) in found.measures.items():
        columns |= {name: _rounded(value), f"{name}_sd": _rounded(error)}
    return columns


def _residues(found: Examination) -> dict[str, list]:
    beads = found.run.bead_model
    trace = np.flatnonzero(beads.trace)
    return {
        "chain": beads.chain[trace].tolist(),
        "residue": beads.residue[trace].tolist(),
        "icode": beads.icode[trace].tolist(),
        "segment": (found.run.model["weight"][trace].argmax(1) + 1).tolist(),
        "rmsf": _rounded(found.fluctuations.rmsf),
    }


def _segments(found: Examination) -> dict[str, list]:
    beads, weight = found.run.bead_model, found.run.model["weight"]
    owner = weight.argmax(1)
    group_of = {
        label: group["number"]
        for group in found.run.summary.get("groups", [])
        for label in _members(beads, group["selection"])
    }
    present = np.unique(owner)
    members = [owner == segment for segment in present]
    majority = [
        _most([group_of.get(bead) for bead in np.flatnonzero(own & beads.trace).tolist()])
        for own in members
    ]
    return {
        "segment": (present + 1).tolist(),
        "selection": [describe_residues(beads, own) for own in members],
        "residues": [int((own & beads.trace).sum()) for own in members],
        "group": majority,
    }


def _members(beads: BeadModel, selection: str) -> list[int]:
    from ...structure.selection import select

    return np.flatnonzero(select(beads, selection)).tolist()


def _most(values: Iterable[int | None]) -> int | str:
    """The value that is there most often; no text where none is."""
    there = [value for value in values if value is not None]
    return max(set(there), key=there.count) if there else ""


def _correlation(found: Examination) -> dict[str, Sequence]:
    table = found.fluctuations.correlation
    columns = {f"segment{other + 1}": _rounded(column) for other, column in enumerate(table.T)}
    return {"segment": range(1, len(table) + 1), **columns}


def _clusters(found: Examination) -> dict[str, Sequence]:
    clusters = found.clusters
    if clusters is None:
        return {}
    place = found.run.latent[clusters.on_data]
    return {
        "cluster": range(1, len(place) + 1),
        "particles": clusters.size.tolist(),
        "share": _rounded(clusters.size / clusters.size.sum()),
        "nearest_particle": clusters.on_data.tolist(),
        **_places(place),
    }


def _basins(found: Examination) -> dict[str, Sequence]:
    rows = found.basins
    if not rows:
        return {}
    return {
        "basin": range(1, len(rows) + 1),
        **_places(np.array([row.place for row in rows])),
        "population": _rounded([row.population for row in rows]),
        "free_energy_kT": _rounded([row.free_energy for row in rows]),
        "error_kT": _rounded([row.error for row in rows]),
        "barrier_kT": _rounded([row.barrier for row in rows]),
        "barrier_error_kT": _rounded([row.barrier_error for row in rows]),
    }


def _landscape(axes: tuple[int, ...], landscape: Landscape) -> dict[str, list[float]]:
    centres = np.stack(np.meshgrid(*landscape.centres, indexing="ij"), -1).reshape(-1, len(axes))
    seen = landscape.population.ravel() > 0
    return {
        **{f"motion{axis + 1}": _rounded(centres[seen, place]) for place, axis in enumerate(axes)},
        "population": np.round(landscape.population.ravel()[seen], 6).tolist(),
        "free_energy_kT": _rounded(landscape.free_energy.ravel()[seen]),
        "error_kT": _rounded(landscape.error.ravel()[seen]),
    }


def _turns(found: Examination) -> dict[str, Sequence]:
    rows = found.turns
    if not rows:
        return {}
    nowhere = np.full(3, np.nan)
    axis = np.array([row.axis for row in rows])
    point = np.array([nowhere if row.point is None else row.point for row in rows])
    return {
        "turn": range(1, len(rows) + 1),
        "moving": [row.moving for row in rows],
        "fixed": [row.fixed for row in rows],
        "residues": [row.residues for row in rows],
        "sd_degrees": _rounded([row.sd for row in rows]),
        "low_degrees": _rounded([row.range[0] for row in rows]),
        "high_degrees": _rounded([row.range[1] for row in rows]),
        **{f"axis_{name}": np.round(axis[:, i], 5).tolist() for i, name in enumerate("xyz")},
        **{f"point_{name}": _rounded(point[:, i]) for i, name in enumerate("xyz")},
        "slide": _rounded([row.slide for row in rows]),
        "hinge": [" ".join(row.hinge) for row in rows],
    }


def _measures(found: Examination) -> dict[str, list]:
    if not found.measures:
        return {}
    return {
        "measure": list(found.measures),
        "kind": [measure.kind for measure, *_ in found.measures.values()],
        "of": [measure.text for measure, *_ in found.measures.values()],
        "unit": [measure.unit for measure, *_ in found.measures.values()],
        "mean": _rounded([value.mean() for _, value, _ in found.measures.values()]),
        "sd": _rounded([value.std() for _, value, _ in found.measures.values()]),
        "median_error": _rounded([np.median(error) for *_, error in found.measures.values()]),
    }


def _axes(found: Examination) -> dict[str, Sequence]:
    if found.axes is None:
        return {}
    return {
        "axis": range(1, len(found.axes.axis) + 1),
        "variance": _rounded(found.axes.variance),
        "share": _rounded(found.axes.share),
        **{
            f"motion{number + 1}": np.round(column, 5).tolist()
            for number, column in enumerate(found.axes.axis.T)
        },
    }


def _traversals(found: Examination) -> dict[str, list]:
    ways = found.traversals
    k = found.run.latent.shape[1]
    return {
        "traversal": [way.name for way in ways for _ in way.place],
        "frame": [frame + 1 for way in ways for frame in range(len(way.place))],
        "particle": [
            particle
            for way in ways
            for particle in (
                [""] * len(way.place) if way.particle is None else way.particle.tolist()
            )
        ],
        **(_places(np.concatenate([way.place for way in ways])) if k else {}),
    }


def _places(place: np.ndarray) -> dict[str, list[float]]:
    return {f"motion{number + 1}": _rounded(column) for number, column in enumerate(place.T)}


def _rounded(values: Sequence | np.ndarray) -> list[float]:
    return np.round(np.asarray(values, dtype=float), 3).tolist()

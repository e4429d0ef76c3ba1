"""One page that shows a run.

Everything it needs is inside it, and it asks for nothing from the network.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import FileFormatError
from ...io.run_formats.json_objects import read_json_object
from ...physics.maps.maps import low_pass
from ...runs.run import HISTORY, RESIDUES, Run, column_of_numbers, read_text_table
from ...runs.run_contents import check_said, number, text, whole
from ...structure.atoms import Structure
from ...structure.beads import BeadModel
from ...structure.motion.segment_deformation import SegmentDeformation
from ...structure.selection import describe_residues
from ..examination.domains import Turn
from ..examination.examination import Examination, still_group
from ..examination.landscape import Landscape
from ..examination.traversal import Traversal
from ..examination.verdict import cautions, verdict
from ..structure_files.colours import GROUP_COLOURS, STATE_COLOURS, group_colours
from .static_page import static_page
from .tables import particle_columns

PAGE = files(__package__) / "page"
SCRIPTS = ("decoder.js", "viewer.js", "charts.js", "map.js", "compare.js", "report.js")
MOST_DRAWN = 200_000  # points on the map; of more particles, so many are drawn evenly
# Columns of so many particles have 16 bits a value. Of more, only the first motions have, others
# 8, and the page holds no more columns than its size allows.
MOST_PRECISE, PRECISE_MOTIONS, MOST_BYTES = 200_000, 2, 9_500_000
# of a segment in a bead's motion: smaller ones are left out of the page
SMALLEST_WEIGHT = 1e-3
PROTEIN, NUCLEOTIDE = ("CA", "O"), ("P", "OP2", "O2P", "O5'", "C5'", "O3'", "N1", "N3")
PURINES = {"A", "G", "DA", "DG"}
SUPPORT, GEOMETRY = "support.csv", "geometry.json"
GEOMETRY_SAYS = {
    "structures": whole,
    "columns": {text},
    "base": {(number,)},
    "median": {(number,)},
    "largest": {(number,)},
}
MOST_VOXELS = 64  # of the residual density along an edge
SURFACE = 0.2  # of its largest value: where its surface is drawn
MISSING = {16: 65535, 8: 255}  # a value that is not there, by the bits of the column


def report_page(found: Examination, also: Sequence[Path] = ()) -> str:
    """The page as HTML.

    Parameters
    ----------
    found : Examination
    also : sequence of Path
        Folders whose support.csv (of `debias`) or geometry.json (of `export --relax`) is shown.
    """
    parts = {
        "static": static_page(found),
        "title": _escaped(f"{found.run.folder.resolve().name} · atomdrgn"),
        "style": _text("report.css"),
        "viewer": _text("3dmol/3Dmol-min.js"),
        "licence": _escaped(_text("3dmol/LICENSE")),
        "data": _json(page_data(found, also)),
        "script": "\n".join(_text(name) for name in SCRIPTS),
    }
    # in one pass: what stands in a part, such as a name of {{script}}, is not filled in again
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _text("report.html"))


def page_data(found: Examination, also: Sequence[Path] = ()) -> dict:
    """All that the page shows, ready for JSON."""
    run = found.run
    summary = run.summary
    molecule, used = _molecule(run)
    return {
        "name": run.folder.resolve().name,
        "facts": _facts(run),
        "verdict": verdict(found, angstrom="Å", plus_minus="±"),
        "cautions": cautions(found, angstrom="Å"),
        "colours": GROUP_COLOURS,
        "groupColours": colours_of(summary.get("groups", [])),
        "stateColours": STATE_COLOURS,
        "molecule": molecule,
        "decoder": _decoder(found, used),
        "residual": _residual(run),
        "view": _view(found),
        "residues": _residues(found, also),
        "segments": _segments(run),
        "groups": summary.get("groups", []),
        "still": still_group(summary["groups"]) if summary.get("groups") else None,
        "turns": [_turn(turn) for turn in found.turns],
        "correlation": np.round(found.fluctuations.correlation, 2).tolist(),
        "particles": _particles(found),
        "traversals": [_traversal(found, way) for way in found.traversals],
        "motions": summary["motions"],
        "supported": summary.get("motions_supported"),
        "tested": summary.get("motions_tested", []),
        "states": summary.get("states", []),
        "landscapes": [_landscape(axes, landscape) for axes, landscape in found.landscapes.items()],
        "basins": [
            vars(basin) | {"barrier": basin.barrier if np.isfinite(basin.barrier) else None}
            for basin in found.basins
        ],
        "composition": summary.get("composition"),
        "history": _history(run),
        "geometry": _geometry(also),
        "measures": [
            {
                "column": name,
                "of": measure.text,
                "kind": measure.kind,
                "unit": measure.unit,
                "mean": float(value.mean()),
                "sd": float(value.std()),
                "error": float(np.median(error)),
            }
            for name, (measure, value, error) in found.measures.items()
        ],
        "made": {
            "command": run.settings.get("command", ""),
            "version": run.settings.get("version", ""),
            "structure": run.settings.get("input", {}).get("structure", ""),
        },
    }


def colours_of(groups: list[dict]) -> list[str]:
    """The colour of each group of summary.json, in the report, scripts and notebooks alike."""
    return group_colours(len(groups), still_group(groups)) if groups else []


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _escaped(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()  # names of files may hold what is no text
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _json(data: dict[str, Any]) -> str:
    # what stands in a script element must not end it
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


# ---- numbers as text ----------------------------------------------------------------------------


def _packed(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=dtype).tobytes()).decode()


def _points(position: np.ndarray) -> dict[str, float | str]:
    """Coordinates as 16-bit numbers and their unit, A."""
    unit = max(float(np.abs(position).max()), 1.0) / 32767
    return {"unit": unit, "xyz": _packed(np.rint(position / unit), "<i2")}


def _column(values: np.ndarray, bits: int = 16) -> dict[str, float | str]:
    """A column as steps of so many bits from its smallest to its largest value."""
    values = np.asarray(values, dtype=float)
    there = np.isfinite(values)
    low = float(values[there].min()) if there.any() else 0.0
    step = (float(values[there].max()) - low) / (MISSING[bits] - 1) if there.any() else 0.0
    distinct = np.unique(values[there])
    if len(distinct) < MISSING[bits] and (distinct == np.rint(distinct)).all():
        step = max(1.0, step)  # whole numbers stay what they are
    steps = np.where(
        there, np.rint((np.where(there, values, low) - low) / step) if step else 0, MISSING[bits]
    )
    return {"low": low, "step": step, "bits": bits, "values": _packed(steps, f"<u{bits // 8}")}


def _rounded(values: np.ndarray, digits: int = 3) -> list[float | None]:
    return [
        None if not np.isfinite(value) else round(float(value), digits)
        for value in np.asarray(values, dtype=float)
    ]


# ---- what the base model lacks ------------------------------------------------------------------


def _residual(run: Run) -> dict[str, Any] | None:
    """The residual density around what is dense in it, as 8-bit numbers, and where it is drawn.

    `size`, `first` (A) and `voxel` (A) are along x, y and z; z changes fastest.
    """
    found, said = run.residual, run.summary.get("residual")
    if found is None or not said or float(found.density.max()) <= 0:
        return None
    every = -(-max(found.density.shape) // MOST_VOXELS)
    smooth = found.density
    if every > 1:
        smooth = low_pass(
            smooth, voxel_size=found.voxel_size, resolution=2 * every * found.voxel_size
        )
    # the middle voxel stays one
    middle = [n // 2 for n in smooth.shape]
    part = tuple(slice(n % every, None, every) for n in middle)
    density = smooth[part].permute(2, 1, 0).clamp_min(0)
    centre = torch.tensor([n // every for n in middle[::-1]])
    voxel = every * found.voxel_size
    level = SURFACE * float(density.max())
    there = torch.nonzero(density > 0.5 * level)
    low = (there.amin(0) - 1).clamp_min(0)
    high = torch.minimum(there.amax(0) + 2, torch.tensor(density.shape))
    shown = density[tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))]
    first = (low - centre) * voxel
    step = float(density.max()) / 255
    return {
        "said": said["said"],
        "size": list(shown.shape),
        "first": [round(float(value), 3) for value in first],
        "voxel": round(voxel, 4),
        "level": level / step,
        "values": _packed((shown / step).round().numpy(), "<u1"),
    }


# ---- the molecule and its motion ----------------------------------------------------------------


def _molecule(run: Run) -> tuple[dict[str, Any], np.ndarray]:
    """Atoms to be drawn, the bead that each follows, and what moves the beads.

    The last are the segments that move them, and the numbers of these beads.
    """
    structure, beads, model = run.structure, run.bead_model, run.model
    trace = np.flatnonzero(beads.trace)
    atoms, residue_of, ribbon = _drawn_atoms(structure, beads, trace)
    used, bead = np.unique(model["bead_of_atom"][atoms], return_inverse=True)
    weight = np.where(model["weight"][used] < SMALLEST_WEIGHT, 0, model["weight"][used])
    of_bead, segment = np.nonzero(weight)
    ends = np.cumsum(np.bincount(of_bead, minlength=len(used)))
    position = run.base_atoms.numpy()[atoms]
    return {
        "ribbon": ribbon,
        "atoms": _points(position),
        "bead": _packed(bead, "<u4"),
        "residue": _packed(residue_of, "<u4"),
        "names": structure.atom_name[atoms].tolist(),
        "elements": [name[0] for name in structure.atom_name[atoms].tolist()],
        "beads": _points(model["bead"][used]),
        "ends": _packed(ends, "<u4"),
        "segment": _packed(segment, "<u2"),
        "weight": _packed(weight[of_bead, segment], "<f4"),
        "centroid": np.round(model["centroid"], 4).tolist(),
        "stretch": _stretches(run, trace),
        "fold": _fold(structure, beads, trace),
        "kinds": beads.residue_name[trace].tolist(),
    }, used


def _drawn_atoms(
    structure: Structure, beads: BeadModel, trace: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The atoms that ribbons, or a trace, are drawn through.

    They are given as numbers, with the residue of each, and whether they are ribbons.
    """
    residue_of_bead = np.full(len(beads), -1)
    residue_of_bead[trace] = np.arange(len(trace))
    residue = residue_of_bead[beads.anchor[beads.bead_of_atom]]
    polymer = beads.polymer[beads.bead_of_atom]
    first_location = np.isin(structure.altloc, ("", "A"))
    name = structure.atom_name
    base = np.where(np.isin(beads.residue_name[beads.bead_of_atom], list(PURINES)), "N1", "N3")
    nucleotide = np.isin(name, NUCLEOTIDE[:6]) | (name == base)
    has_ca = np.isin(residue, residue[polymer & (name == "CA")])
    drawn = polymer & first_location & np.where(has_ca, np.isin(name, PROTEIN), nucleotide)
    atoms = np.flatnonzero(drawn)
    ribbon = bool((name[atoms] == "O").any() or (name[atoms] == "O5'").any())
    if not ribbon:
        atoms = atoms[np.isin(name[atoms], ("CA", "P"))]
    if not len(atoms):  # residues that have neither: whatever stands first in each
        atoms = np.array(
            [np.flatnonzero(polymer & (residue == number))[0] for number in range(len(trace))]
        )
    return atoms, residue[atoms], ribbon


def _stretches(run: Run, trace: np.ndarray) -> list[int]:
    """Number of the unbroken stretch of chain that each residue is in."""
    beads = run.bead_model
    place = run.model["bead"][trace]
    gap = np.linalg.norm(np.diff(place, axis=0), axis=1)
    nucleic = np.isin(
        beads.residue_name[trace], ["A", "C", "G", "U", "I", "DA", "DC", "DG", "DT", "DI"]
    )
    breaks = (beads.chain[trace][1:] != beads.chain[trace][:-1]) | (
        gap > np.where(nucleic[1:], 14.0, 9.0)
    )
    return np.concatenate([[0], np.cumsum(breaks)]).tolist()


def _fold(structure: Structure, beads: BeadModel, trace: np.ndarray) -> str:
    """Of each residue h, s or c: helix, strand, coil, from the distances and angles of CA atoms."""
    from biotite.structure import AtomArray, annotate_sse

    anchor = beads.anchor[beads.bead_of_atom]
    polymer = beads.polymer[beads.bead_of_atom]
    ca = np.flatnonzero(
        (structure.atom_name == "CA") & polymer & np.isin(structure.altloc, ("", "A"))
    )
    fold = dict.fromkeys(trace.tolist(), "c")
    for chain in dict.fromkeys(structure.chain[ca].tolist()):
        own = ca[structure.chain[ca] == chain]
        array = AtomArray(len(own))
        array.coord, array.res_id = structure.position.numpy()[own], np.arange(len(own)) + 1
        array.chain_id[:], array.res_name[:], array.atom_name[:], array.element[:] = (
            "A",
            "ALA",
            "CA",
            "C",
        )
        letters = np.array(annotate_sse(array))
        fold |= dict(
            zip(
                anchor[own].tolist(),
                np.select([letters == "a", letters == "b"], ["h", "s"], "c").tolist(),
                strict=True,
            )
        )
    return "".join(fold[bead] for bead in trace.tolist())


def _decoder(found: Examination, used: np.ndarray) -> dict[str, Any]:
    """From places to conformations; of what beads do within their segments, that of some."""
    surface = found.decoder.surface
    deformation = found.run.deformation
    flexing = None
    if found.decoder.flexes and isinstance(deformation, SegmentDeformation):
        flexing = deformation.flexing
    fields = {} if flexing is None else {"offset": flexing.offset, "turn": flexing.turn}
    return {
        "scale": surface.scale.tolist(),
        "coefficient": [_rounded(row, 5) for row in surface.coefficient.numpy()],
        "free": found.decoder.free.tolist(),
        "radius": _rounded(found.decoder.radius.numpy(), 5),
        "flexing": {
            name: _points(field[:, used].reshape(-1, 3).numpy()) for name, field in fields.items()
        }
        or None,
    }


def _view(found: Examination) -> list[list[float]]:
    """Rotation (3, 3) in which motions are in the plane of the screen.

    The molecule's longest extent is along x.
    """
    trace = torch.from_numpy(np.flatnonzero(found.run.model["trace"]))
    bead, centroid, weight = (
        torch.from_numpy(found.run.model[name]) for name in ("bead", "centroid", "weight")
    )
    base = bead[trace]
    spread = base - base.mean(0)
    extent = (spread.T @ spread / len(base)).double().numpy()
    seen = 1e-6 * extent
    for way in found.traversals:
        if way.name.startswith("motion"):
            ends = found.decoder(torch.from_numpy(way.place[[0, -1]])).apply(
                base, centroid, weight=weight[trace]
            )
            moved = (ends[1] - ends[0]).double().numpy()
            seen = seen + moved.T @ moved / len(moved)
    towards = np.linalg.eigh(seen)[1][:, 0]
    flat = np.eye(3) - np.outer(towards, towards)
    across = np.linalg.eigh(flat @ extent @ flat)[1][:, -1]
    return np.round([across, np.cross(towards, across), towards], 6).tolist()


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "moving": turn.moving,
        "fixed": turn.fixed,
        "sd": turn.sd,
        "range": turn.range,
        "axis": turn.axis.tolist(),
        "point": None if turn.point is None else turn.point.tolist(),
        "slide": turn.slide,
        "hinge": turn.hinge,
    }


def _traversal(found: Examination, way: Traversal) -> dict:
    return {
        "name": way.name,
        "place": np.round(way.place, 4).tolist(),
        "particle": None if way.particle is None else way.particle.tolist(),
    }


# ---- residues, segments, particles --------------------------------------------------------------


def _residues(found: Examination, also: Sequence[Path]) -> dict:
    """What is known of each residue, in the order of the trace."""
    run = found.run
    beads = run.bead_model
    trace = np.flatnonzero(beads.trace)
    shown = ("motion", "posterior_error", "half_set_error")
    table = _numbers(
        run.folder / RESIDUES, lambda name: name == "group" or name in shown, rows=len(trace)
    )
    columns = {
        "rmsf": _rounded(found.fluctuations.rmsf),
        **{name: table[name] for name in shown if name in table},
    }
    group = [int(value or 1) - 1 for value in table.get("group", [1] * len(trace))]
    if not set(group) <= set(range(max(1, len(run.summary.get("groups", []))))):
        raise FileFormatError(
            f"{run.folder / RESIDUES}: damaged (it names a group that summary.json has not); fit "
            "again with --overwrite"
        )
    return {
        "chain": beads.chain[trace].tolist(),
        "number": [
            f"{n}{i}"
            for n, i in zip(beads.residue[trace].tolist(), beads.icode[trace].tolist(), strict=True)
        ],
        "group": group,
        "segment": run.model["weight"][trace].argmax(1).tolist(),
        "columns": columns,
        **_support(also, beads, trace),
    }


def _support(
    also: Sequence[Path], beads: BeadModel, trace: np.ndarray
) -> dict[str, dict[str, list[None | float]]]:
    """Columns of numbers of support.csv: how well images support the base model at each residue."""
    table = next(
        (read_text_table(folder / SUPPORT) for folder in also if (folder / SUPPORT).exists()), None
    )
    if not table or not {"chain", "residue"} <= set(table):
        return {}
    icode = table.get("icode", [""] * len(table["chain"]))
    row = {
        key: number
        for number, key in enumerate(zip(table["chain"], table["residue"], icode, strict=True))
    }
    keys = [(beads.chain[b], str(beads.residue[b]), beads.icode[b]) for b in trace.tolist()]
    columns = {}
    for name in table:
        if name in ("chain", "residue", "icode"):
            continue
        values = [table[name][row[key]] if key in row else "" for key in keys]
        try:
            columns[name] = [float(value) if value else None for value in values]
        except ValueError:
            continue
    return {"support": columns}


def _segments(run: Run) -> list[str]:
    owner = run.model["weight"].argmax(1)
    return [
        describe_residues(run.bead_model, owner == segment) if (owner == segment).any() else ""
        for segment in range(run.model["weight"].shape[1])
    ]


def _particles(found: Examination) -> dict:
    """Columns of all particles, and which of them are drawn where they are very many."""
    run = found.run
    n = run.n_particles
    wanted: dict[str, np.ndarray | list] = {
        f"motion{axis + 1}": run.latent[:, axis] for axis in range(run.latent.shape[1])
    }
    told = ("state", "junk", "log_likelihood_gain", "outlier_score", "signal")
    wanted |= {name: run.table[name] for name in told if name in run.table}
    wanted |= {f"sd{axis + 1}": run.latent_sd[:, axis] for axis in range(run.latent.shape[1])}
    wanted |= {name: column for name, column in run.table.items() if name.startswith("absent_")}
    wanted |= {
        name: column for name, column in particle_columns(found).items() if name != "particle"
    }
    # a column of one value says nothing on a map
    shown = [
        name
        for name, column in wanted.items()
        if name.startswith(("motion", "sd")) or np.ptp(column) > 0
    ]
    columns, size = {}, 0
    for order, name in enumerate(shown):
        precise = n <= MOST_PRECISE or order < PRECISE_MOTIONS
        size += n * (2 if precise else 1) * 4 // 3
        if n > MOST_PRECISE and size > MOST_BYTES:
            break
        columns[name] = _column(np.asarray(wanted[name], dtype=float), 16 if precise else 8)
    present = run._motions.get("present")
    absent = (
        {}
        if present is None or n > MOST_PRECISE
        else {"present": _packed(np.packbits(present > 0.5, axis=1), "u1")}
    )
    return {
        "count": n,
        "drawn": min(n, MOST_DRAWN),
        "columns": columns,
        "left": shown[len(columns) :],
        "own": list(run.table),
        **absent,
    }


# ---- how well, and how it went ------------------------------------------------------------------


def _facts(run: Run) -> dict[str, str]:
    summary = run.summary
    facts = {
        "particles": f"{summary['particles']:,}",
        "images": f"{summary['images']:,}",
        "residues": f"{summary['residues']:,}",
        "segments": f"{summary['segments']}",
        "resolution used": f"{summary['resolution']:.1f} Å",
        "log-likelihood gained": f"{summary['mean_log_likelihood_gain']:.1f} a particle",
    }
    if summary.get("half_set_error") is not None:
        facts["half-set error"] = f"{summary['half_set_error']:.2f} Å"
    return facts


def _landscape(axes: tuple[int, ...], landscape: Landscape) -> dict:
    return {
        "motions": [axis + 1 for axis in axes],
        "edges": [_rounded(edge, 4) for edge in landscape.edges],
        "shape": list(landscape.free_energy.shape),
        "energy": _rounded(landscape.free_energy.ravel()),
        "error": _rounded(landscape.error.ravel()),
        "population": _rounded(landscape.population.ravel(), 6),
    }


def _history(run: Run) -> dict[str, list[float | None]]:
    shown = ("half", "step", "epoch", "resolution", "evidence", "loss", "directions")
    table = _numbers(
        run.folder / HISTORY, lambda name: name in shown or name.startswith("variance")
    )
    return table if all(table.values()) else {}


def _geometry(also: Sequence[Path]) -> dict[str, Any] | None:
    """What geometry.json says of the base model, the median structure and the worst one."""
    path = next((folder / GEOMETRY for folder in also if (folder / GEOMETRY).exists()), None)
    if path is None:
        return None
    try:
        found = read_json_object(path)
        check_said(found, GEOMETRY_SAYS)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}; export the structures again") from error
    return {
        "structures": found["structures"],
        "rows": [
            [says, *(found[of].get(name) for of in ("base", "median", "largest"))]
            for name, says in found["columns"].items()
        ],
    }


def _numbers(
    path: Path, wanted: Callable[[str], bool], *, rows: int | None = None
) -> dict[str, list[float | None]]:
    """The `wanted` columns of a CSV file of a run.

    A number is None where a cell is empty; there are no columns where there is no file.
    """
    table = read_text_table(path, rows=rows) if path.exists() else {}
    columns = {
        name: column_of_numbers(path, name, table[name], empty=np.nan)
        for name in table
        if wanted(name)
    }
    return {
        name: [value if np.isfinite(value) else None for value in column.tolist()]
        for name, column in columns.items()
    }

"""Tables, structures and a report from a run: ``atomdrgn analyze``."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import InputError, MissingFileError, OutputExistsError
from ..io.folder_lock import locked_folder
from ..io.trajectories import write_trajectory
from ..io.whole_file import whole_file, whole_folder
from ..reporting import Reporter
from ..runs.run import ANALYSIS, REPORT, Run, require_segments
from ..structure.motion.motion import RigidMotion
from ..structure.placement import place as placed
from .examination.examination import Examination, examine
from .examination.traversal import Traversal
from .report.report import GEOMETRY, SUPPORT, colours_of, report_page
from .report.tables import write_tables
from .structure_files.chimerax import write_script
from .structure_files.conformation_files import write_models
from .structure_files.export import ENDINGS, TRAJECTORIES, require_held, write_reference

CLUSTERS, FRAMES = 8, 21


@dataclass(frozen=True, eq=False)
class Analysis:
    """What has been found and written.

    Parameters
    ----------
    found : Examination
        The findings.
    folder : Path
        Of tables and structures.
    report : Path
        The page to open in a browser.
    """

    found: Examination
    folder: Path
    report: Path


def analyze(  # noqa: PLR0913 - a keyword a setting of the command
    run: Run,
    out: Path | str | None = None,
    *,
    clusters: int = CLUSTERS,
    frames: int = FRAMES,
    distances: Sequence[str] = (),
    angles: Sequence[str] = (),
    formats: Sequence[str] = ("mmcif",),
    umap: bool = False,
    origin: Sequence[float | int] | np.ndarray | None = None,
    also: Sequence[Path | str] = (),
    seed: int = 0,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Analysis:
    """Analyse a run: a report, tables and structures.

    The report is out/report.html, one page that needs no network; out/analysis holds the rest.

    Parameters
    ----------
    run : Run
        An opened run whose segments move.
    out : path, optional
        The run's own folder by default.
    clusters : int
        Clusters of k-means.
    frames : int
        Conformations of a traversal.
    distances, angles : sequence of str
        Such as "A:1-226 and B"; an angle of three selections is at the second, one of two is the
        turn of the first against the second.
    formats : sequence of {"mmcif", "bcif", "pdb", "dcd", "xtc"}
        Of centres and traversals: files of several models, or trajectories with a reference
        structure.
    umap : bool
        Embed the latents by UMAP too.
    origin : (3,), optional
        Where the origin of the poses stands in the frame that structures are wanted in, A.
    also : sequence of Path
        Folders whose support.csv (of `debias`) or geometry.json (of `export --relax`) the report
        shows.
    seed : int
        Of clusters, errors of landscapes and UMAP.
    overwrite : bool
        Replace an analysis that is there.
    reporter : Reporter, optional
        Is told how far it is.

    Raises
    ------
    MissingFileError
        A folder of `also` holds neither file.
    InputError
        A run without segments, a format that is another or cannot hold the structure, a selection
        that names nothing, or settings that make no sense.
    OutputExistsError
        An analysis is there.

    Examples
    --------
    >>> from atomdrgn import open_run
    >>> analysis = analyze(open_run("models/adk"), "analysed", clusters=2, frames=3)
    >>> analysis.report.name, [step.name for step in analysis.found.traversals]
    ('report.html', ['motion1', 'centres'])
    """
    out, reporter = run.folder if out is None else Path(out), reporter or Reporter()
    require_segments(run, "analyze")
    unknown = [name for name in formats if name not in (*ENDINGS, *TRAJECTORIES)]
    if unknown or not formats:
        raise InputError(
            f"format {unknown[0] if unknown else ''!r}: choose from "
            f"{', '.join([*ENDINGS, *TRAJECTORIES])}"
        )
    _require_something(shown := [Path(folder) for folder in also])
    require_no_analysis(out, overwrite=overwrite)
    at = np.zeros(3) if origin is None else np.asarray(origin, float)
    require_held(placed(run.structure, -at), formats)
    found = examine(
        run,
        clusters=clusters,
        frames=frames,
        distances=distances,
        angles=angles,
        umap=umap,
        seed=seed,
        reporter=reporter,
    )
    folder, report = out / ANALYSIS, out / REPORT
    with locked_folder(out, reporter):
        with whole_folder(folder) as temporary:
            write_tables(found, temporary)
            _write_structures(found, temporary, formats, at, reporter)
            settings = {
                "clusters": clusters,
                "frames": frames,
                "distances": list(distances),
                "angles": list(angles),
                "formats": list(formats),
                "umap": umap,
                "seed": seed,
                "version": run.settings.get("version"),
            }
            (temporary / MARK).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        with whole_file(report) as temporary:
            temporary.write_text(report_page(found, shown), encoding="utf-8")
    return Analysis(found, folder, report)


MARK = "analysis.json"  # says that a folder is an analysis


def _require_something(also: Iterable[Path]) -> None:
    for folder in also:
        if not any((folder / name).exists() for name in (SUPPORT, GEOMETRY)):
            raise MissingFileError(
                f"{folder}: there is neither {SUPPORT} of `atomdrgn debias` nor {GEOMETRY} of "
                "`atomdrgn export --relax`"
            )


def require_no_analysis(out: Path, *, overwrite: bool) -> None:
    """Refuse a place where an analysis is, unless it may be replaced, or something else is.

    Raises
    ------
    OutputExistsError
        There is something.
    """
    if out.exists() and not out.is_dir():
        raise OutputExistsError(f"{out} is a file: choose a folder with another name")
    folder, report = out / ANALYSIS, out / REPORT
    if folder.exists() and not (folder / MARK).exists():
        raise OutputExistsError(
            f"{folder} is there and is no analysis: choose another folder with --out"
        )
    for path in (folder, report):
        if path.exists() and not overwrite:
            raise OutputExistsError(
                f"{path} is there: --overwrite replaces it, --out puts the analysis elsewhere"
            )


def _write_structures(
    found: Examination,
    folder: Path,
    formats: Sequence[str],
    origin: np.ndarray,
    reporter: Reporter,
) -> None:
    run = found.run
    structure = placed(run.structure, -origin)
    reference = (
        write_reference(structure, folder, reporter=reporter)
        if set(formats) & set(TRAJECTORIES)
        else None
    )
    reporter.start("writing structures", len(found.traversals))
    written: dict[str, dict[str, str]] = {}
    for way in found.traversals:
        position = run.atoms_of(motion_along(found, way)).numpy() + origin
        for format in formats:
            path = folder / f"{way.name}.{ENDINGS.get(format, format)}"
            if format in TRAJECTORIES:
                write_trajectory(path, position)
            else:
                write_models(structure, position, path, **_of_particles(run, way))
            written.setdefault(format, {})[path.name] = _title(way)
        reporter.advance()
    reporter.finish()
    shown = next((format for format in ("mmcif", "pdb", "dcd", "xtc") if format in written), None)
    if shown:
        write_script(
            folder / "show.cxc",
            files=written[shown],
            groups=run.summary.get("groups", []),
            colours=colours_of(run.summary.get("groups", [])),
            topology=reference.name if reference and shown in TRAJECTORIES else None,
            chains=np.unique(structure.chain).tolist(),
            name=run.folder.resolve().name,
        )


def motion_along(found: Examination, way: Traversal) -> RigidMotion:
    """Motions of segments along a traversal.

    They are particles' own where it goes from particle to particle.
    """
    if way.particle is not None:
        return found.run.segment_motion[torch.from_numpy(way.particle)]
    return found.decoder(torch.from_numpy(way.place))


def _of_particles(run: Run, way: Traversal) -> dict[str, np.ndarray]:
    """Occupancies and B-factors of the conformations that are particles'."""
    if way.particle is None:
        return {}
    chosen = way.particle.tolist()
    present = run.occupancy(chosen)
    values = {} if present is None else {"occupancy": present.numpy() * run.structure.occupancy}
    if "half_error" in run.model:
        values["b_factor"] = np.minimum(run.b_factors(chosen).numpy(), 999.99)
    return values


def _title(way: Traversal) -> str:
    if way.name == "centres":
        return "one particle in the middle of each cluster, the largest cluster first"
    if way.name == "path":
        return "from cluster to cluster, where particles are"
    return f"along {way.name}, from one end to the other"

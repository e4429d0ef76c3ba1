"""``atomdrgn analyze``"""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from .export import Format, Frame
from .failures import command
from .options import Debug, Quiet
from .progress import progress


@command
def analyze(
    run: Annotated[Path, Argument(metavar="RUN", show_default=False, help="Folder that atomdrgn fit has written.")],
    out: Annotated[Path | None, Option(
        "--out", "-o", metavar="DIR", show_default="the run's own folder", help="Folder for report.html and analysis/.")] = None,
    clusters: Annotated[int, Option(metavar="N", help="Clusters of particles, by k-means.")] = 8,
    frames: Annotated[int, Option(metavar="N", help="Structures along each motion.")] = 21,
    distance: Annotated[list[str] | None, Option(
        metavar="SELECTIONS", show_default=False,
        help="Distance between the centres of two parts in every particle, such as 'A:1-226 and B'; repeat it for more.")] = None,
    angle: Annotated[list[str] | None, Option(
        metavar="SELECTIONS", show_default=False,
        help="Angle at the second of three parts, 'A and B and C', or by how much the first of two is turned against the second, "
             "compared with the base; repeat it for more.")] = None,
    format: Annotated[list[Format] | None, Option(
        "--format", "-f", metavar="mmcif|bcif|pdb|dcd|xtc", show_default="mmcif",
        help="Structures: several models in a file, or a trajectory with a reference; repeat it for more.")] = None,
    umap: Annotated[bool, Option("--umap", help="Embed the particles by UMAP too (needs the extra umap).")] = False,
    frame: Annotated[Frame, Option(
        metavar="poses|base", help="Of the structures, as in atomdrgn export.")] = Frame.poses,
    also: Annotated[list[Path] | None, Option(
        metavar="DIR", show_default=False,
        help="Folder of atomdrgn debias or atomdrgn export --relax: the report shows its support.csv or geometry.json.")] = None,
    seed: Annotated[int, Option(metavar="N", help="The same seed gives the same result.")] = 0,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace an analysis that is there.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
):
    """What a fit has found, to be looked at: a report, structures to open, tables.

    DIR/report.html is one page that needs no network: open it in a browser.
    DIR/analysis holds structures along each motion and of clusters, a
    ChimeraX script that shows them (show.cxc), and tables: free-energy
    landscapes with errors, clusters, turns of domains, fluctuations,
    distances and angles of every particle.

    [bold]Examples[/bold]

        atomdrgn analyze particles.fit
        atomdrgn analyze particles.fit --out look --distance "A:1-226 and B"
        atomdrgn analyze particles.fit --out look --format pdb --format bcif
        chimerax particles.fit/analysis/show.cxc
    """
    from ..analysis.analyze import analyze as analyze_run
    from ..run import open_run

    opened = open_run(run)
    with progress(quiet=quiet) as reporter:
        origin = opened.settings.get("reading", {}).get("origin") if frame is Frame.base else None
        written = analyze_run(opened, out, clusters=clusters, frames=frames, distances=distance or (), angles=angle or (),
                              formats=[each.value for each in format or [Format.mmcif]], umap=umap, origin=origin,
                              also=also or (), seed=seed, overwrite=overwrite, reporter=reporter)
    if not quiet:
        from ..analysis.verdict import verdict

        print(f"{verdict(written.found)}\nthe report is {written.report}; tables and structures are in {written.folder}")

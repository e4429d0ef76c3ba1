"""A ChimeraX script that opens what an analysis has written, and colours it."""

from pathlib import Path

from ..io.whole_file import whole_file
from .colours import GROUP_COLOURS

SECONDS = 10      # frames that each conformation stays


def write_script(path: Path, *, files: dict[str, str], topology: str | None, groups: list[dict]) -> None:
    """Write the script: each file is opened as one model with many coordinates, in the colours of the groups.

    Parameters
    ----------
    path : Path
        Of the script, beside the files.
    files : dict
        Name of each file, and what it shows; the first is played, the others are hidden.
    topology : str or None
        The structure that names the atoms of trajectories.
    groups : list of dict
        Of summary.json: what moves as one.
    """
    lines = ["# open it in ChimeraX; atoms that are absent from a conformation have an occupancy of 0", "close session",
             "set bgColor white", "lighting soft", "graphics silhouettes true"]
    for number, (name, says) in enumerate(files.items(), start=1):
        lines.append(f"# model #{number}: {says}")
        if topology is None:
            lines.append(f'open "{name}" coordsets true')
        else:
            lines += [f'open "{topology}"', f'open "{name}" structureModel #{number}']
    lines += ["hide atoms", "show cartoons", "color lightgray"]
    lines += [f"color {chimerax_selection(group['selection'])} {colour}"
              for group, colour in zip(groups, GROUP_COLOURS, strict=False)]
    if len(files) > 1:
        lines.append(f"hide #2-{len(files)} models")
    lines += ["view", f"coordset #1 1,-1 pauseFrames {SECONDS} loop 20 bounce true", "coordset slider #1"]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def chimerax_selection(selection: str) -> str:
    """A selection of ours, "A:1-226,B:5" or ":1-20" where the chain has no name, as ChimeraX writes it."""
    spans = {}
    for item in selection.split(","):
        chain, _, span = item.strip().partition(":")
        spans.setdefault(chain, []).append(span)
    # residues of one chain are a list behind it; chains follow each other
    return "".join((f"/{chain}" if chain else "") + (f":{','.join(ranges)}" if all(ranges) else "")
                   for chain, ranges in spans.items())

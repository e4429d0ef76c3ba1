"""ChimeraX scripts that open what has been written, and colour it."""

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


def write_placed_script(path: Path, *, files: list[str], colours: list[str], tomogram: str, ends: tuple[float, float] | None,
                        tomogram_map: Path | None) -> None:
    """Write the script that opens the particles of a tomogram where they stand, each in its colour.

    Parameters
    ----------
    path : Path
        Of the script, beside the files.
    files : list of str
        One file with a model a particle, or a file a particle.
    colours : list of str
        Of each particle, #rrggbb.
    tomogram : str
        Its name.
    ends : (float, float) or None
        What the darkest and the lightest colour stand for; None where they stand for nothing.
    tomogram_map : Path or None
        The tomogram: it is turned over in z, as the structures are.
    """
    said = "grey: no motion is supported" if ends is None else (
        f"colours: motion 1, dark blue at {ends[0]:.3g} or below, yellow at {ends[1]:.3g} or above")
    lines = [f"# particles of tomogram {tomogram}; {said}", "close session", "set bgColor white", "lighting soft"]
    lines += [f'open "{name}"' for name in files]
    lines += ["hide atoms", "show cartoons"]
    # a file of several models is one model of many: #1.1, #1.2, ...
    models = [f"#{number}" if len(files) == len(colours) else f"#1.{number}" for number in range(1, len(colours) + 1)]
    lines += [f"color {model} {colour}" for model, colour in zip(models, colours, strict=True)]
    if tomogram_map is not None:
        last = len(files) + 1
        lines += ["# the structures have the hand of the model: the tomogram is turned over in z to match",
                  f'open "{tomogram_map}"', f"volume flip #{last} axis z", f"hide #{last} models"]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join([*lines, "view"]) + "\n")


def chimerax_selection(selection: str) -> str:
    """A selection of ours, "A:1-226,B:5" or ":1-20" where the chain has no name, as ChimeraX writes it."""
    spans = {}
    for item in selection.split(","):
        chain, _, span = item.strip().partition(":")
        spans.setdefault(chain, []).append(span)
    # residues of one chain are a list behind it; chains follow each other
    return "".join((f"/{chain}" if chain else "") + (f":{','.join(ranges)}" if all(ranges) else "")
                   for chain, ranges in spans.items())

"""ChimeraX scripts that open what has been written, and colour it."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ...io.whole_file import whole_file
from ...structure.selection import RANGE
from .colours import GROUP_COLOURS

SECONDS = 10  # frames that each conformation stays
FREE_NUMBER = 9001  # of a model, that nobody has reached by opening files

# A chain name that stands in ChimeraX's grammar behind a slash as it is; others are compared with
# the attribute `chain_id`, where the wildcards *, ? and [ stand in brackets, and what could end the
# value, the command or the line is any one character.
PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+")
WILDCARDS = "*?["
NEVER_WRITTEN = ";#\\$`"
NEVER_IN_PATHS = '"\\\n\r'


def write_script(
    path: Path,
    *,
    files: dict[str, str],
    topology: str | None,
    groups: list[dict],
    colours: Sequence[str] = GROUP_COLOURS,
    chains: Iterable[str] | None = None,
    name: str | None = None,
) -> None:
    """Write the script.

    Each file is opened as one model with many coordinates, in the colours of the groups, beside
    what is open already: commands name the script's own models alone.

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
    colours : sequence of str
        Of each group.
    chains : names, optional
        Of all chains of the structure; those in the groups by default.
    name : str, optional
        What tells its models from others that are open; the name of its folder by default.
    """
    if chains is None:
        chains = {
            item.partition(":")[0] for group in groups for item in group["selection"].split(",")
        }
    own = _own(name or path.absolute().parent.name)
    lines = [
        "# open it in ChimeraX; atoms that are absent from a conformation have an occupancy of 0",
        "set bgColor white",
        "lighting soft",
        "graphics silhouettes true",
    ]
    for file, says in files.items():
        model = f"{own} {_stem(file)}"
        lines.append(f"# {says}")
        if topology is None:
            lines.append(f'open "{file}" coordsets true name "{model}"')
        else:
            lines += [
                f'open "{topology}" name "{model}"',
                f'open "{file}" structureModel ##name="{model}"',
            ]
    all_of_it, first, *others = (f'##name="{own} {each}"' for each in ("*", *map(_stem, files)))
    lines += [f"hide {all_of_it} atoms", f"show {all_of_it} cartoons"]
    lines.append(f"color {all_of_it} lightgray")
    for number, (group, colour) in enumerate(zip(groups, colours, strict=False), start=1):
        selection = chimerax_selection(group["selection"], chains)
        lines.append(
            f"# group {number} has no colour: its chain cannot be told from others in a script"
            if selection is None
            else f"color {all_of_it} & ({selection}) {colour}"
        )
    lines += [f"hide {other} models" for other in others]
    lines += [
        f"view {first}",
        f"coordset {first} 1,-1 pauseFrames {SECONDS} loop 20 bounce true",
        f"coordset slider {first}",
    ]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_placed_script(
    path: Path,
    *,
    files: list[str],
    colours: list[str],
    tomogram: str,
    ends: tuple[float, float] | None,
    tomogram_map: Path | None,
) -> None:
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
    said = (
        "grey: no motion is supported"
        if ends is None
        else (
            f"colours: motion 1, dark blue at {ends[0]:.3g} or below, yellow at {ends[1]:.3g} or "
            "above"
        )
    )
    lines = [
        f"# particles of tomogram {_on_one_line(tomogram)}; {said}",
        "set bgColor white",
        "lighting soft",
    ]
    own = _own(path.absolute().parent.name)
    particles = f'##name="{own} particle*"'
    if len(files) == len(colours):
        models = [f'##name="{own} particle {number}"' for number in range(1, len(colours) + 1)]
        lines += [
            f'open "{name}" name "{own} particle {number}"'
            for number, name in enumerate(files, start=1)
        ]
    else:  # a file of several models is one model of many, which are told by their numbers
        models = [f"#{FREE_NUMBER}.{number}" for number in range(1, len(colours) + 1)]
        lines += [
            f'open "{files[0]}" name "{own} particles"',
            f'rename ##name="{own} particles group" id #{FREE_NUMBER}',
        ]
    lines += [f"hide {particles} atoms", f"show {particles} cartoons"]
    lines += [f"color {model} {colour}" for model, colour in zip(models, colours, strict=True)]
    if tomogram_map is not None:
        lines += [
            "# the structures have the hand of the model: the tomogram is turned over in z to match"
        ]
        lines += (
            [
                f'open "{tomogram_map}" name "{own} tomogram"',
                f'volume flip ##name="{own} tomogram" axis z',
                f'hide ##name="{own} tomogram" models',
            ]
            if not set(str(tomogram_map)) & set(NEVER_IN_PATHS)
            else ["# its path cannot stand in a script: open it by hand, then volume flip"]
        )
    with whole_file(path) as temporary:
        temporary.write_text("\n".join([*lines, f"view {particles}"]) + "\n", encoding="utf-8")


def _own(name: str) -> str:
    """What the names of a script's models begin with, which tells them from others that are open.

    What a name in quotes could not hold is left out.
    """
    return f"atomdrgn {re.sub(r'[^A-Za-z0-9._-]', '_', name)}"


def _stem(name: str) -> str:
    return Path(name).stem


def chimerax_selection(selection: str, chains: Iterable[str] | None = None) -> str | None:
    """A selection of ours as ChimeraX writes it.

    It is "A:1-226,B:5", or ":1-20" where the chain has no name.

    Parameters
    ----------
    selection : str
        As :func:`.selection.describe_residues` writes it.
    chains : names, optional
        Of all chains of the structure, which may hold commas, colons and whatever ends a command;
        by default those that stand before the colons of the selection.

    Returns
    -------
    str or None
        None where a chain cannot be told from another one.
    """
    if chains is None:
        chains = {item.partition(":")[0] for item in selection.split(",")}
    chains = set(chains)
    spans = _spans(selection, chains)
    named = {chain: _chain(chain, chains) for chain in chains} if spans else {}
    if not spans:
        return None
    # residues of one chain are a list behind it; chains follow each other
    parts = {}
    for chain, ranges in spans.items():
        name = named[chain]
        if name is None:
            return None
        parts[chain] = name + (f":{','.join(ranges)}" if all(ranges) else "")
    nameless = parts.pop("", None)
    others = "".join(sorted(name for name in named.values() if name))
    if nameless is None or not others:
        return nameless or "".join(parts.values())
    # no way to name a chain without a name: what is in none of the others
    nameless = f"{nameless} & ~({others})" if nameless else f"~({others})"
    return f"{''.join(parts.values())} | {nameless}" if parts else nameless


def _spans(selection: str, chains: set[str]) -> dict[str, list[str]] | None:
    """Ranges of residues by chain, "" for all of it.

    It is None where the selection is not made of these chains.
    """
    spans: dict[str, list[str]] = {}
    at = 0
    longest_first = sorted(chains, key=lambda name: (-len(name), name))
    while at <= len(selection):
        for chain in longest_first:
            item = re.compile(f"{re.escape(chain)}(?::({RANGE.pattern}))?(?:,|$)").match(
                selection, at
            )
            if item and (item.end() > at or at == len(selection)):
                break
        else:
            return None
        spans.setdefault(chain, []).append(item[1] or "")
        at = item.end() + (item.end() == len(selection))
    return spans


def _chain(name: str, chains: set[str]) -> str | None:
    if not name:
        return ""
    if PLAIN_NAME.fullmatch(name):
        return f"/{name}"
    quote = "'" if '"' in name else '"'
    pattern = "".join(
        f"[{c}]"
        if c in WILDCARDS
        else c
        if c.isprintable() and c not in NEVER_WRITTEN + quote
        else "?"
        for c in name
    )
    # blanks at the ends would be skipped
    pattern = re.sub(r"^ | $", "?", pattern)
    if any(other != name and fnmatchcase(other, pattern) for other in chains):
        return None
    # one equals sign looks past capitals
    alike = any(other != name and fnmatchcase(other.lower(), pattern.lower()) for other in chains)
    return f"//chain_id{'==' if alike else '='}{quote}{pattern}{quote}"


def _on_one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)

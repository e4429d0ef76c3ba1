"""What the page says where scripts do not run: the verdict, and the tables of the summary."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from ..examination.examination import Examination
from ..examination.verdict import cautions, verdict


def static_page(found: Examination) -> str:
    """The same findings as plain HTML, for browsers without JavaScript.

    Parameters
    ----------
    found : Examination
    """
    summary = found.run.summary
    parts = [
        f"<h1>{_escaped(found.run.folder.resolve().name)}</h1>",
        f"<p class='verdict'>{_escaped(verdict(found, angstrom='Å', plus_minus='±'))}</p>",
        "<p>This page runs scripts to show structures and charts, and they are switched off here. "
        "Structures and all tables are in the folder analysis beside it.</p>",
    ]
    bear = cautions(found, angstrom="Å")
    if bear:
        listed = "".join(f"<li>{_escaped(text)}</li>" for text in bear)
        parts.append(f"<h2>Bear in mind</h2><ul>{listed}</ul>")
    parts.append(_table("Motions", ("motion", "r.m.s. (Å)", "share"), _motions(summary)))
    parts.append(
        _table("Parts that move as one", ("part", "residues", "r.m.s. (Å)"), _groups(summary))
    )
    parts.append(
        _table(
            "Turns",
            ("part", "against", "s.d. (°)", "5 to 95 % (°)"),
            (
                (turn.moving, turn.fixed, f"{turn.sd:.1f}", "{:.0f} to {:.0f}".format(*turn.range))
                for turn in found.turns
            ),
        )
    )
    parts.append(_table("States", ("state", "share"), _states(summary)))
    return "\n".join(part for part in parts if part)


def _motions(summary: Mapping) -> Iterable[Sequence[str]]:
    for motion in summary["motions"]:
        yield str(motion["number"]), f"{motion['variance'] ** 0.5:.2f}", f"{motion['share']:.1%}"


def _groups(summary: Mapping) -> Iterable[Sequence[str]]:
    for group in summary.get("groups", []):
        yield group["selection"], str(group["residues"]), f"{group['motion']:.1f}"


def _states(summary: Mapping) -> Iterable[Sequence[str]]:
    for state in summary.get("states", []):
        yield str(state["number"]), f"{state['population']:.1%} ± {state['error']:.1%}"


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    lines = "".join(
        f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    names = "".join(f"<th>{_escaped(name)}</th>" for name in head)
    return f"<h2>{title}</h2><div class='wide'><table><tr>{names}</tr>{lines}</table></div>"


def _escaped(text: str) -> str:
    return escape(text.encode("utf-8", "replace").decode())

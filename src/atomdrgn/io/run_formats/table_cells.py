"""Cells of CSV tables.

A text that a spreadsheet would take for a formula gets an apostrophe in front, and loses it when
read.
"""

import re
from typing import Any

# what a formula may begin with; some spreadsheets take the wide signs too
FORMULA = "=+-@\t\r＝＋－＠"
APOSTROPHE = "'"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.ASCII)


def as_cell(value: Any) -> Any:
    """What is written for a value.

    It is the value itself, but for a text that begins like a formula, or with an apostrophe, and is
    no number.

    Names of chains, selections and titles come from files that anybody may have made: opened in a
    spreadsheet, a chain that is called ``=HYPERLINK(...)`` would act.

    References
    ----------
    OWASP, CSV injection.
    """
    if (
        isinstance(value, str)
        and value[:1]
        and value[0] in FORMULA + APOSTROPHE
        and not NUMBER.fullmatch(value)
    ):
        return APOSTROPHE + value
    return value


def from_cell(cell: str) -> str:
    """The text that :func:`as_cell` wrote as a cell."""
    return cell[1:] if cell.startswith(APOSTROPHE) else cell

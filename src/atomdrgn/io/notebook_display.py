"""What notebooks show of an object: a few facts as HTML, and tables as pandas DataFrames."""

from collections.abc import Mapping
from html import escape
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import MissingPackageError

if TYPE_CHECKING:
    import pandas


def facts_as_html(title: str, facts: Mapping[str, object]) -> str:
    """A small table as HTML, for ``_repr_html_``.

    Parameters
    ----------
    title : str
        Its first row.
    facts : mapping
        Names and what they are.

    Examples
    --------
    >>> facts_as_html("adk.fit", {"particles": "1,000"}).count("<tr>")
    2
    """
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    head = f"<tr><th colspan='2' style='text-align:left'>{escape(title)}</th></tr>"
    return f"<table>{head}{rows}</table>"


def facts_in_line(kind: str, title: str, facts: Mapping[str, object]) -> str:
    """The same as one line, for ``__repr__``.

    Examples
    --------
    >>> facts_in_line("Run", "adk.fit", {"particles": "1,000", "motions": 1})
    "<Run 'adk.fit': particles 1,000, motions 1>"
    """
    return f"<{kind} {title!r}: {', '.join(f'{name} {value}' for name, value in facts.items())}>"


def data_frame(columns: Mapping[str, object]) -> "pandas.DataFrame":
    """Columns as a DataFrame.

    Raises
    ------
    MissingPackageError
        pandas is not installed.

    Examples
    --------
    >>> data_frame({"particle": [0, 1], "motion1": [0.5, -2.0]}).shape
    (2, 2)
    """
    return needed("pandas").DataFrame(dict(columns))


def needed(package: str) -> ModuleType:
    """An optional package of the extra `notebook`.

    Raises
    ------
    MissingPackageError
        It is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{package.partition('.')[0]} is needed and not installed: "
            "pip install 'atomdrgn[notebook]'"
        ) from error

"""What is printed is text to a terminal and to a shell.

It is so whatever stands in a file or a name.
"""

import io
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO


def printable(text: str, *, keep: str = "") -> str:
    """A text in which what would steer a terminal is spelled out.

    The escape that begins a terminal's commands is such.

    Parameters
    ----------
    text : str
    keep : str
        Characters that stay although they do not print.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in keep
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shell_word(path: Path | str) -> str:
    """A path as one word of a command line, which is no option either."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def tell(lines: Iterable[str], found: Mapping[str, object], *, as_json: bool, quiet: bool) -> None:
    """Print what a command has found: its closing lines, or all of it as one JSON object.

    Parameters
    ----------
    lines : iterable of str
    found : mapping
        Of numbers, texts, paths, and lists and mappings of them.
    as_json : bool
        The object, also of a command that is quiet.
    quiet : bool
        No closing lines.
    """
    if as_json:
        print(json.dumps(found, default=str, allow_nan=False))
    elif not quiet:
        print("\n".join(lines))


class PlainOutput(io.TextIOBase):
    """A stream that hands text on to another one, printable: lines and tabs stay as they are."""

    def __init__(self, stream: TextIO | io.TextIOBase) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write what a terminal shows as text."""
        self.stream.write(printable(text, keep="\n\t"))
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.stream.isatty()

"""Names from files and folders are text: to the terminal, to the shell and to the page."""

import io
import json
import re
import shlex
import signal
import sys

import numpy as np
import pytest

from atomdrgn.analysis.examination.examination import examine
from atomdrgn.analysis.report.report import report_page
from atomdrgn.cli.failures import command, explain
from atomdrgn.cli.progress import PlainReporter
from atomdrgn.cli.summary import summary_lines
from atomdrgn.cli.terminal import PlainOutput, printable, shell_word
from atomdrgn.errors import InputError
from hinged import hinged_run, two_helices

HOSTILE = "\x1b]0;title\x07\x1b[2Ja\x9b31m\rb\u202egnp\x00"


def test_what_steers_a_terminal_is_spelled_out():
    assert printable("plain é Å 中 text") == "plain é Å 中 text"
    shown = printable(HOSTILE)
    assert shown == r"\x1b]0;title\x07\x1b[2Ja\x9b31m\rb\u202egnp\x00" and shown.isprintable()
    assert printable("a\nb\tc\x1b", keep="\n\t") == "a\nb\tc\\x1b"
    assert printable("\udcff") == r"\udcff"


def test_output_errors_and_warnings_of_commands_are_printable(capsys):
    import warnings

    @command
    def speak(*, debug):
        print(f"chain {HOSTILE}")
        warnings.warn(f"title {HOSTILE}", stacklevel=2)
        PlainReporter().say(HOSTILE)
        raise InputError(f"path {HOSTILE}")

    with pytest.raises(Exception, match="2"):
        speak(debug=False)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert (
            all(letter.isprintable() or letter == "\n" for letter in text)
            and r"\x1b]0;title\x07" in text
        )
    assert said.out.count("\n") == 1 and said.err.count("\n") == 3


def test_the_name_of_a_file_in_an_error_of_the_system_is_printable():
    code, line = explain(FileNotFoundError(2, "No such file", f"/{HOSTILE}"))
    assert "\x1b" not in printable(line) and code == 1


def test_a_stream_passes_on_lines_and_tabs():
    below = io.StringIO()
    stream = PlainOutput(below)
    print("a\tb", "\x1b[31m", file=stream)
    assert below.getvalue() == "a\tb \\x1b[31m\n" and not stream.isatty()


@pytest.mark.parametrize(
    "name", ["a b.fit", "x; rm -rf ~.fit", "$(id).fit", "-x.fit", "it's.fit", "`id`"]
)
def test_printed_commands_may_be_typed(name, tmp_path):
    assert shlex.split(f"atomdrgn export {shell_word(name)}") == [
        "atomdrgn",
        "export",
        f"./{name}" if name[0] == "-" else name,
    ]
    run = hinged_run(tmp_path, two_helices(tmp_path), np.linspace(-3, 3, 6), name=name)
    typed = shlex.split(summary_lines(run)[-1].split("its structures: ")[1])
    assert typed == ["atomdrgn", "export", str(tmp_path / name), "--out", "DIR", "--format", "dcd"]


NAMES = [
    "e{{script}}{{data}}{{viewer}}.fit",
    "</script><script>alert(1)<!--",
    "&lt;{{title}}",
    "a'b\"c",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_names_and_does_nothing_else_with_them(name, tmp_path):
    run = hinged_run(
        tmp_path, two_helices(tmp_path), np.linspace(-3, 3, 12), name=name.replace("/", "∕")
    )
    run.settings["command"], run.settings["input"]["structure"] = f"fit {name}", name
    found = examine(run, clusters=2, frames=3)
    run.summary["groups"][0]["selection"] = name
    page = report_page(found)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[
        1
    ]
    said = json.loads(data)
    assert said["name"] == run.folder.name and said["made"] == {
        "command": f"fit {name}",
        "version": "0.1.0",
        "structure": name,
    }
    assert said["groups"][0]["selection"] == name
    plain = report_page(
        examine(
            hinged_run(tmp_path, run.structure, np.linspace(-3, 3, 12), name="plain"),
            clusters=2,
            frames=3,
        )
    )
    assert page.count("<script") == plain.count("<script") and page.count(
        "</script"
    ) == plain.count("</script")
    assert abs(len(page) - len(plain)) < 2000
    title = re.search("<title>(.*?)</title>", page)[1]
    assert title.replace("&lt;", "<").replace("&amp;", "&") == f"{run.folder.name} · atomdrgn"


def test_a_polite_end_is_one_by_hand(capsys):
    @command
    def wait(*, debug):
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Exception, match="130"):
        wait(debug=False)
    assert capsys.readouterr().err == "stopped\n" and signal.getsignal(signal.SIGTERM) is before
    assert sys.stdout is not None

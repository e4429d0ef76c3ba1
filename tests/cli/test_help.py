"""Help is quick, has examples, and knows every option; usage errors are one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "atomdrgn"
COMMANDS = [
    "fit",
    "refine",
    "export",
    "place",
    "backproject",
    "debias",
    "dock",
    "inspect",
    "select",
    "simulate",
    "analyze",
    "volume",
    "volumes",
    "example",
]


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_has_an_example(arguments):
    shown = subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert (
        "Examples" in shown.stdout
        and f"atomdrgn {arguments[0] if len(arguments) > 1 else 'fit'}" in shown.stdout
    )


def test_help_loads_nothing_heavy():
    code = "import sys\nfrom atomdrgn.cli import main\ntry: main(['fit', '--help'])\nfinally: print('loaded', *sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert not {"torch", "numba", "numpy", "scipy", "gemmi", "biotite"} & set(
        shown.split("loaded")[-1].split()
    )


def test_the_version_is_printed(atomdrgn):
    ended = atomdrgn("--version")
    assert ended.code == 0 and re.fullmatch(r"atomdrgn \d+\.\d+\.\d+\S*\n", ended.out)


def test_the_package_can_be_run_as_a_module():
    shown = subprocess.run(
        [sys.executable, "-m", "atomdrgn", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("atomdrgn ")


@pytest.mark.parametrize(
    "arguments, says",
    [
        (
            ["fit", "a.pdb", "b.star", "--segmnts", "3"],
            r"No such option: --segmnts.*--segments.*atomdrgn fit --help",
        ),
        (["fit", "a.pdb"], r"Missing argument.*PARTICLES.*atomdrgn fit --help"),
        (["fit", "a.pdb", "b.star", "--segments", "many"], r"'--segments'.*integer"),
        (["export", "run"], r"Missing option '--out'"),
        (["export", "run", "--out", "x", "--format", "gro"], r"'gro' is not one of"),
        (["fitt"], r"No such command 'fitt'"),
    ],
)
def test_usage_errors_are_one_line(atomdrgn, arguments, says):
    ended = atomdrgn(*arguments)
    assert (
        ended.code == 2
        and ended.out == ""
        and re.search(says, ended.err)
        and ended.err.count("\n") == 1
    )
    assert ended.err.startswith("error: ")


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)])
def test_without_arguments_there_is_help(atomdrgn, arguments):
    assert "Usage" in atomdrgn(*arguments).out


@pytest.mark.parametrize(
    "typed, offered",
    [
        ("atomdrgn vol", ["volume", "volumes"]),
        ("atomdrgn fit --seg", ["--segments"]),
        ("atomdrgn export run --format m", ["mmcif"]),
    ],
)
def test_the_tab_key_completes(typed, offered):
    """As the script that bash is given asks for it."""
    shown = subprocess.run(
        [COMMAND],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "_ATOMDRGN_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split()) - 1),
        },
    )
    assert shown.stdout.split() == offered and not shown.stderr


def test_completion_is_installed_for_the_shell_that_asks(tmp_path):
    """bash reads a file that the script is written to."""
    subprocess.run(
        ["bash", "-c", f"{COMMAND} --install-completion; true"],
        check=True,
        capture_output=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    script = tmp_path / ".bash_completions" / "atomdrgn.sh"
    assert "_ATOMDRGN_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()

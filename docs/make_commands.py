"""Write docs/commands.md, the reference of the command line, from the texts that --help shows.

python docs/make_commands.py
"""

import re
from pathlib import Path

import typer

from atomdrgn.cli import app

PAGE = Path(__file__).parent / "commands.md"
SHARED = {
    "volumes": "volume",
    "example": "tutorial",
    "fit-more": "fit",
}  # commands on the page of another
HEAD = """# Commands

Made from the texts of `--help` by docs/make_commands.py; do not edit it by hand.

Results are printed on standard output; progress, warnings and errors on standard error. Exit codes:
0 for success, 2 for input or settings that cannot be used, 1 for what went wrong otherwise, such as
a full disk, 130 for Ctrl-C. An error is one line that says what was found, what was expected and
what to do; `--debug` shows where it comes from.

`atomdrgn --install-completion` lets the Tab key complete commands, options and their values;
`atomdrgn --show-completion` prints the script of that. Both are for the shell they are typed in:
bash, zsh, fish or PowerShell.
"""


def reference() -> str:
    """The page."""
    group = typer.main.get_command(app)
    sections = [_section(f"atomdrgn {name}", command) for name, command in group.commands.items()]
    return "\n".join([HEAD, _text(group.help), _pages(group.commands), *sections])


def _pages(commands):
    """A list of links: each command's page says what for, what comes out, and what to look at."""
    links = [f"- [{name}]({SHARED.get(name, name)}.md)" for name in commands]
    return "\n".join(
        [
            "What each command is for, what it writes, and what to look at before it is believed:",
            "",
            *links,
            "",
        ]
    )


def _section(name, command):
    lines = [f"## {name}", "", _text(command.help), "| | what it says | default |", "|---|---|---|"]
    lines += [_row(parameter) for parameter in command.params if parameter.name != "help"]
    return "\n".join([*lines, ""])


def _text(text):
    """A help text as Markdown: what stands below "Examples" becomes a block of code."""
    body, _, examples = (
        text.replace("[bold]", "**").replace("[/bold]", "**").partition("**Examples**")
    )
    body = re.sub(r"\*\*(atomdrgn \w+)\*\*", r"`\1`", body).strip()
    code = "\n".join(line.strip() for line in examples.strip().splitlines())
    return f"{body}\n\n```sh\n{code}\n```\n"


def _row(parameter):
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar}`"
    else:
        names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
        value = parameter.metavar or ("" if parameter.is_flag else "VALUE")
        names += f" `{value}`" if value else ""
    return f"| {names.replace('|', chr(92) + '|')} | {parameter.help} | {_default(parameter)} |"


def _default(parameter):
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    if parameter.default is None or parameter.default is False:
        return ""
    return f"{getattr(parameter.default, 'value', parameter.default)}"


if __name__ == "__main__":
    PAGE.write_text(reference())
    print(PAGE)

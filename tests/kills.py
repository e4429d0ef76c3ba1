"""Commands are killed at their file operations, then gone on with or started over as they say: ``python tests/kills.py fit``.

Each command runs in a child of this process, which ends without a word before its N-th operation. What it leaves has to be, in
the end, what the command leaves undisturbed. With a number behind the command so many moments are tried, spread evenly.
"""

import builtins
import io
import json
import os
import shutil
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import numpy as np

KILLED = 77
PARTICLES = ["base.pdb", "particles.star"]
# Of each command its words, and what goes on with it or starts it over.
COMMANDS = {
    "fit": (["fit", *PARTICLES, "--segments", "2", "--out", "out"], "--resume"),
    "fit-vae": (["fit", *PARTICLES, "--inference", "vae", "--epochs", "2", "--segments", "2", "--out", "out"], "--resume"),
    "volume": (["volume", "particles.star", "--latent", "2", "--epochs", "2", "--width", "16", "--depth", "1", "--out", "out"],
               "--resume"),
    "refine": (["refine", *PARTICLES, "--restraint-weight", "1", "--out", "out"], "--overwrite"),
    "backproject": (["backproject", "particles.star", "--out", "out"], "--overwrite"),
    "export": (["export", "run", "--format", "pdb", "--out", "out"], "--overwrite"),
    "export-dcd": (["export", "run", "--out", "out"], "--overwrite"),
    "analyze": (["analyze", "run", "--clusters", "2", "--frames", "3", "--out", "out"], "--overwrite"),
    "debias": (["debias", "run", "--methods", "following", "--out", "out"], "--overwrite"),
    "simulate": (["simulate", "base.pdb", "--particles", "20", "--box", "32", "--pixel-size", "3", "--out", "out"],
                 "--overwrite"),
    "select": (["select", "run", "--where", "motion1 > 0", "--out", "out.star"], "--overwrite"),
}


def main(command: str, moments: int | None = None) -> dict:
    """How many operations there are, at how many the command was killed, and what is wrong then: nothing, if all is well."""
    words, again = COMMANDS[command]
    for module in ("analysis.analyze", "analysis.export", "inference.fit", "reconstruction.debias", "simulate"):
        import_module(f"atomdrgn.{module}")      # here once, and not in every child
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        _in_child(_make_particles)
        if "run" in words:
            _in_child(lambda: _call(["fit", *PARTICLES, "--segments", "2", "--out", "run"]))
        count = _in_child(lambda: _call(words), at=None)
        expected = _left()
        _clear()
        every = count if moments is None else moments
        chosen = np.unique(np.linspace(1, count, every).round().astype(int)).tolist()
        wrong = {}
        for moment in chosen:
            fault = _fault(words, again, moment, expected)
            if fault:
                wrong[moment] = fault
            _clear()
        return {"operations": count, "killed": len(chosen), "wrong": wrong}


def _fault(words, again, moment, expected):
    """What is wrong when a command that was killed at a moment is gone on with."""
    if _in_child(lambda: _call(words), at=moment) != KILLED:
        return "was not killed"
    code = _in_child(lambda: _call([*words, again]))
    if code:
        return f"{again} ends with {code}: {Path('said').read_text()[-300:]}"
    found = _left()
    names = sorted(found.keys() ^ expected.keys())
    if names:
        return f"files that are missing or too many: {names}"
    return ", ".join(name for name in expected if found[name] != expected[name])


def _call(words):
    """Exit code of the command line; what it says is in the file `said`."""
    from atomdrgn.cli import main

    sys.argv = ["atomdrgn", *words]
    with open("said", "w") as said, redirect_stdout(said), redirect_stderr(said):
        try:
            main([*words, "--quiet"])
        except SystemExit as end:
            return end.code
    return 0


def _make_particles():
    import torch

    from atomdrgn import ImageGrid, read_structure, simulate_particles
    from molecules import helix, write_pdb

    lines = helix("A", 12, start=(0, 0, -9)) + helix("A", 12, first=13, start=(12, 0, -9))
    structure = read_structure(write_pdb(Path("two.pdb"), lines))
    moves = torch.as_tensor(structure.residue > 12)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    conformations = structure.position + torch.linspace(-3, 3, 12)[:, None, None] * moves
    simulate_particles(structure, conformations, ".", grid=ImageGrid(32, 3.0), snr=0.5)
    Path("two.pdb").unlink()


def _in_child(work, *, at: int | None = 0) -> int:
    """What a child that does some work ends with, killed before its operation number `at`; how many there are, of None."""
    child = os.fork()
    if child == 0:
        try:
            if at != 0:
                count = _count_operations(at or sys.maxsize)
            code = work() or 0
            if at is None:
                Path("count").write_text(str(count[0]))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            code = 99
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if at is None:
        if code:
            raise SystemExit(f"the command ends with {code}: {Path('said').read_text()}")
        number = int(Path("count").read_text())
        Path("count").unlink()
        return number
    return code


def _count_operations(last):
    """Count what changes files here; end the process before one of them."""
    count, here = [0], os.getcwd()

    def counted(function, changes):
        def wrapped(path, *more, **named):
            if not isinstance(path, int) and changes(*more, **named) and os.path.abspath(path).startswith(here) and (
                    os.path.basename(path) != "said"):
                count[0] += 1
                if count[0] == last:
                    os._exit(KILLED)
            return function(path, *more, **named)
        return wrapped

    for name in ("replace", "rename", "unlink", "mkdir", "rmdir", "truncate"):
        setattr(os, name, counted(getattr(os, name), lambda *_, **__: True))
    os.open = counted(os.open, lambda flags, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR)))
    for module in (builtins, io):
        module.open = counted(open, lambda mode="r", *_, **__: any(letter in mode for letter in "wax+"))
    return count


def _left() -> dict[str, bytes]:
    """What stands in the command's files, but for times and what tells how it was called."""
    files = sorted(path for path in Path().rglob("*") if path.is_file() and path.parts[0].startswith(("out", ".out")))
    return {str(path): _content(path) for path in files}


def _content(path):
    if path.suffix == ".npz":
        with np.load(path) as held:
            return b"".join(name.encode() + str(held[name].shape).encode() + held[name].tobytes() for name in sorted(held)
                            if name != "command")
    if path.suffix in (".mrc", ".mrcs", ".dcd"):
        return path.read_bytes()[{".dcd": 276}.get(path.suffix, 1024):]      # headers have the time in them
    if path.suffix == ".json":
        said = json.loads(path.read_text())
        return json.dumps({name: said[name] for name in sorted(said) if name not in ("command", "cpu_seconds")}).encode()
    if path.name == "history.csv":
        header, *rows = [line.split(",") for line in path.read_text().splitlines()]
        kept = [i for i, name in enumerate(header) if name not in ("seconds", "cpu_seconds", "moved_by_search")]
        return repr([[float(row[i]) for i in kept] for row in rows]).encode()
    return path.read_bytes()


def _clear():
    for path in list(Path().iterdir()):
        if path.name.startswith(("out", ".out")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:])), indent=2))

"""Commands are killed, then gone on with or started over as they say: ``python tests/kills.py
fit,export``.

Each command runs in a child of this process, which ends without a word before its N-th file
operation. What it leaves has to be, in the end, what the command leaves undisturbed, and what is
said on the way has to fit. With a number behind the command so many operations are tried, spread
evenly; with ``2:227:2`` these, from the second on every other; with ``--moments`` before the number
the command is killed after so many random times.

``fit-pair`` is a fit by two processes. The other one is treated as torchrun does it, which ends it
politely; it has to end.
"""

import builtins
import io
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import numpy as np

KILLED, SLAIN, HUNG = 77, -signal.SIGKILL, -1000  # exit codes
PATIENCE, MERCY = 40.0, 2.0  # s until a process that has to end hangs; until it is told to
PARTICLES = ["base.pdb", "particles.star"]
# Of each command its words, and what goes on with it or starts it over.
COMMANDS = {
    "fit": (["fit", *PARTICLES, "--segments", "2", "--out", "out"], "--resume"),
    "fit-pair": (["fit", *PARTICLES, "--segments", "2", "--out", "out"], "--resume"),
    "fit-vae": (
        [
            "fit",
            *PARTICLES,
            "--inference",
            "vae",
            "--epochs",
            "2",
            "--segments",
            "2",
            "--out",
            "out",
        ],
        "--resume",
    ),
    "volume": (["volume", "particles.star", "--latent", "2", "--out", "out"], "--resume"),
    "volume-encoder": (
        [
            "volume",
            "particles.star",
            "--latents",
            "encoder",
            "--latent",
            "2",
            "--epochs",
            "2",
            "--width",
            "16",
            "--depth",
            "1",
            "--out",
            "out",
        ],
        "--resume",
    ),
    "refine": (["refine", *PARTICLES, "--restraint-weight", "1", "--out", "out"], "--overwrite"),
    "backproject": (["backproject", "particles.star", "--out", "out"], "--overwrite"),
    "export": (["export", "run", "--format", "pdb", "--out", "out"], "--overwrite"),
    "export-dcd": (["export", "run", "--out", "out"], "--overwrite"),
    "analyze": (
        ["analyze", "run", "--clusters", "2", "--frames", "3", "--out", "out"],
        "--overwrite",
    ),
    "debias": (["debias", "run", "--methods", "following", "--out", "out"], "--overwrite"),
    "simulate": (
        [
            "simulate",
            "base.pdb",
            "--particles",
            "20",
            "--box",
            "32",
            "--pixel-size",
            "3",
            "--out",
            "out",
        ],
        "--overwrite",
    ),
    "select": (["select", "run", "--where", "motion1 > 0", "--out", "out.star"], "--overwrite"),
}


PROCESSES = {"fit-pair": 2}


def main(commands: list[str], moments: int | range | None = None, *, timed: bool = False) -> dict:
    """Of each command the number of operations and of kills, what is wrong then (nothing, if all is
    well), and all files. Particles, and a run for those that want one, are made once.
    """
    for module in (
        "analysis.analyze",
        "analysis.structure_files.export",
        "inference.fit",
        "debiasing.debias",
        "simulate",
    ):
        import_module(f"atomdrgn.{module}")  # here once, and not in every child
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        _in_child(_make_particles)
        if any("run" in COMMANDS[command][0] for command in commands):
            _in_child(lambda: _call(["fit", *PARTICLES, "--segments", "2", "--out", "run"]))
        return {command: _killed(command, moments, timed=timed) for command in commands}


def _killed(command, moments, *, timed):
    words, processes = COMMANDS[command][0], PROCESSES.get(command, 1)
    # of one process, also where it is compared with two
    count = _in_child(lambda: _call(words), at=None)
    expected = _left()
    _clear()
    kills = (
        _at_times(words, processes, moments)
        if timed
        else _at_operations(words, processes, _operations(moments or count, count))
    )
    killed, wrong = 0, {}
    for moment, fault in kills:
        fault = fault or _fault(command, killed, expected)
        if fault:
            wrong[moment] = fault
        killed += 1
        _clear()
    return {
        "operations": count,
        "killed": killed,
        "wrong": wrong,
        "files": [Path(name).name for name in expected],
    }


def _operations(moments, count):
    """Numbers of the operations before which a command is killed, of all from 1 on."""
    if isinstance(moments, range):
        return [moment for moment in moments if 1 <= moment <= count]
    return np.unique(np.linspace(1, count, moments).round().astype(int)).tolist()


def _at_operations(words, processes, moments):
    """Kill the command before each of these operations: which one it was, and what went wrong so
    far.
    """
    for moment in moments:
        codes = _ended(words, processes, at=moment)
        yield moment, "was not killed" if codes[0] != KILLED else _fault_of_survivors(codes)


def _at_times(words, processes, moments):
    """Kill the command as often, after times that are random: some seconds, and what went wrong so
    far.
    """
    random = np.random.default_rng(0)
    began = time.monotonic()
    _ended(words, processes)
    longest = time.monotonic() - began
    _clear()
    killed = 0
    while killed < moments:
        after, whom = (
            random.uniform(0, longest),
            [[0], [1], [0, 1]][random.integers(3)] if processes > 1 else [0],
        )
        codes = _ended(words, processes, after=after, whom=whom)
        if all(code == 0 for code in codes):  # this time it was quicker
            _clear()
            continue
        killed += 1
        yield f"{after:.3f} s, {whom}", _fault_of_survivors(codes)


def _fault_of_survivors(codes):
    """What is wrong with the processes that were not killed: they have to end in one line that says
    what to do.
    """
    for rank, code in enumerate(codes):
        if code in (KILLED, SLAIN, 0):
            continue
        lines = Path(f"said{rank}").read_text().splitlines()
        if code == HUNG:
            return f"process {rank} hangs"
        if code not in (2, 130) or len(lines) != 1 or "--resume" not in lines[0]:
            return f"process {rank} ends with {code}: {lines}"
    return ""


def _fault(command, number, expected):
    """What is wrong when a command that was killed is given again: plainly every other time, then
    as that says.
    """
    words, again = COMMANDS[command]
    processes = 1 + number // 2 % PROCESSES.get(command, 1)
    if number % 2 == 0:
        code = _ended(words, processes)[0]
        if code == 0:  # nothing was left that counts
            return _difference(expected)
        said = Path("said0").read_text()
        if code != 2 or again not in said or said.count("\n") != 1:
            return f"given again it ends with {code}: {said[-300:]}"
    begun, lock = Path("out/run.json").exists(), Path("out/unfinished.lock")
    taken_over = lock.exists() and lock.read_text() != ""
    code = _ended([*words, again], processes, quiet=False)[0]
    said = Path("said0").read_text()
    if code:
        return f"{again} ends with {code}: {said[-300:]}"
    if again == "--resume" and ("no run to go on with" in said) == begun:
        return f"what --resume says is not so: {said[-300:]}"
    if ("going on in its folder" in said) != taken_over:
        return f"whether the folder is taken over is not said: {said[-300:]}"
    return _difference(expected)


def _difference(expected):
    """How what is left differs from what it should be, in words; nothing where it does not."""
    found = _left()
    names = sorted(found.keys() ^ expected.keys())
    if names:
        return f"files that are missing or too many: {names}"
    return ", ".join(name for name in expected if found[name] != expected[name])


def _call(words, *, rank: int = 0, quiet: bool = True):
    """Exit code of the command line; what it says is in the file `said0`, or that of the process'
    rank.
    """
    from atomdrgn.cli import main

    sys.argv = ["atomdrgn", *words]
    with open(f"said{rank}", "w") as said, redirect_stdout(said), redirect_stderr(said):
        try:
            main([*words, *(["--quiet"] if quiet else [])])
        except SystemExit as end:
            return end.code
    return 0


def _ended(words, processes=1, *, at=0, after=None, whom=(), quiet=True) -> list[int]:
    """What each process of a command ends with, whose first is killed before an operation, or some
    of them after some seconds.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]

    def work(rank):
        if processes > 1:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        return _call(words, rank=rank, quiet=quiet)

    children = {
        rank: _child(lambda rank=rank: work(rank), at=0 if rank else at)
        for rank in range(processes)
    }
    codes, began, fallen, told = {}, time.monotonic(), None, False
    while len(codes) < processes:
        for rank in children.keys() - codes.keys():
            pid, status = os.waitpid(children[rank], os.WNOHANG)
            if pid:
                codes[rank] = os.waitstatus_to_exitcode(status)
        now, left = time.monotonic(), children.keys() - codes.keys()
        if after is not None and now - began >= after:
            for rank in left & set(whom):
                os.kill(children[rank], signal.SIGKILL)
            after = None
        if fallen is None and any(codes.values()):
            fallen = now
        if fallen is not None and now - fallen > PATIENCE:
            for rank in left:
                os.kill(children[rank], signal.SIGKILL)
                os.waitpid(children[rank], 0)
                codes[rank] = HUNG
        elif fallen is not None and now - fallen > MERCY and not told:
            for rank in left:
                os.kill(children[rank], signal.SIGTERM)
            told = True
        time.sleep(0.002)
    return [codes[rank] for rank in range(processes)]


def _make_particles():
    import torch

    from atomdrgn import ImageGrid, read_structure, simulate_particles
    from molecules import helix, write_pdb

    lines = helix("A", 12, start=(0, 0, -9)) + helix("A", 12, first=13, start=(12, 0, -9))
    structure = read_structure(write_pdb(Path("two.pdb"), lines))
    moves = torch.as_tensor(structure.residue > 12)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    # as many as make half-sets, learned borders and a corrected base: all that a fit leaves on its
    # way
    conformations = structure.position + torch.linspace(-3, 3, 24)[:, None, None] * moves
    simulate_particles(structure, conformations, ".", grid=ImageGrid(32, 3.0), snr=0.5)
    Path("two.pdb").unlink()


def _in_child(work, *, at: int | None = 0) -> int:
    """What a child that does some work ends with; the number of its operations where `at` is None."""
    code = os.waitstatus_to_exitcode(os.waitpid(_child(work, at=at), 0)[1])
    if code:
        raise SystemExit(f"it ends with {code}: {Path('said0').read_text()}")
    if at is None:
        number = int(Path("count").read_text())
        Path("count").unlink()
        return number
    return code


def _child(work, *, at: int | None) -> int:
    """Number of a child that does some work and is killed before its operation number `at`; of None
    it counts them.
    """
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
    return child


def _count_operations(last):
    """Count what changes files here; end the process before one of them."""
    count, here = [0], os.getcwd()

    def counted(function, changes):
        def wrapped(path, *more, **named):
            if (
                not isinstance(path, int)
                and changes(*more, **named)
                and os.path.abspath(path).startswith(here)
                and (not os.path.basename(path).startswith("said"))
            ):
                count[0] += 1
                if count[0] == last:
                    os._exit(KILLED)
            return function(path, *more, **named)

        return wrapped

    for name in ("replace", "rename", "unlink", "mkdir", "rmdir", "truncate"):
        setattr(os, name, counted(getattr(os, name), lambda *_, **__: True))
    os.open = counted(os.open, lambda flags, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR)))
    for module in (builtins, io):
        module.open = counted(
            open, lambda mode="r", *_, **__: any(letter in mode for letter in "wax+")
        )
    return count


def _left() -> dict[str, bytes]:
    """What stands in the command's files, but for times and what tells how it was called."""
    files = sorted(
        path
        for path in Path().rglob("*")
        if path.is_file() and path.parts[0].startswith(("out", ".out"))
    )
    return {str(path): _content(path) for path in files}


def _content(path):
    if path.suffix == ".npz":
        with np.load(path) as held:
            return b"".join(
                name.encode() + str(held[name].shape).encode() + held[name].tobytes()
                for name in sorted(held)
                if name != "command"
            )
    if path.suffix in (".mrc", ".mrcs", ".dcd"):
        # headers have the time in them
        return path.read_bytes()[{".dcd": 276}.get(path.suffix, 1024) :]
    if path.suffix == ".json":
        said = json.loads(path.read_text())
        return json.dumps(
            {name: said[name] for name in sorted(said) if name not in ("command", "cpu_seconds")}
        ).encode()
    if path.name == "history.csv":
        header, *rows = [line.split(",") for line in path.read_text().splitlines()]
        kept = [
            i
            for i, name in enumerate(header)
            if name not in ("seconds", "cpu_seconds", "moved_by_search")
        ]
        return repr([[float(row[i]) for i in kept] for row in rows]).encode()
    return path.read_bytes()


def _clear():
    for path in list(Path().iterdir()):
        if path.name.startswith(("out", ".out")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    given, *which = [word for word in sys.argv[1:] if word != "--moments"]
    chosen = [range(*map(int, word.split(":"))) if ":" in word else int(word) for word in which]
    found = main(given.split(","), *chosen, timed="--moments" in sys.argv)
    print(json.dumps(found, indent=2))

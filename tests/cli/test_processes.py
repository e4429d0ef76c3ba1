"""Several processes share one fit; one that is killed costs time only."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from atomdrgn import open_run, parallel
from hinge import make_hinged

pytestmark = pytest.mark.seconds

FIT = ["-m", "atomdrgn", "fit", "base.pdb", "particles.star", "--segments", "2"]

# the command, with portions of the work that are smaller than they are otherwise
SMALL_PORTIONS = """
import sys

from atomdrgn import parallel
from atomdrgn.cli import main

parallel.LEAST_PORTION = 32
main(sys.argv[1:])
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(*arguments, processes=1, words=FIT):
    """The fit, or other words for Python, by so many processes."""
    launcher = [
        "-m",
        "torch.distributed.run",
        "--master-port",
        str(free_port()),
        "--nproc-per-node",
        str(processes),
    ]
    command = [sys.executable, *(launcher if processes > 1 else []), *words, *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def same(one, other):
    """Whether two runs are the same to the last bit."""
    for name in (
        "checkpoint.safetensors",
        "latents.npz",
        "motions.npz",
        "model.npz",
        "particles.csv",
        "residues.csv",
        "summary.json",
    ):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert np.isfinite(open_run(other).latent).all()


@pytest.fixture
def alone(folder, atomdrgn):
    """What one process finds; this one, which has imported all."""
    ended = atomdrgn(*FIT[2:], "--out", "alone")
    assert ended.code == 0, ended.err
    return folder / "alone"


def test_two_processes_and_one_agree(alone, folder):
    pair = start("--out", "pair", processes=2)
    out, err = pair.communicate(timeout=300)
    assert pair.returncode == 0, err
    assert out.count("12 particles") == 1
    same(alone, folder / "pair")


def test_a_killed_worker_ends_the_run_and_resume_goes_on(alone, folder):
    pair = start("--out", "pair", processes=2)
    checkpoint = folder / "pair" / "checkpoint.safetensors"
    deadline = time.monotonic() + 200
    while not checkpoint.exists() and pair.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = subprocess.run(
        ["pgrep", "-P", str(pair.pid)], capture_output=True, text=True
    ).stdout.split()
    assert len(workers) == 2, pair.communicate()
    os.kill(int(workers[-1]), signal.SIGKILL)
    _, err = pair.communicate(timeout=100)
    assert pair.returncode != 0 and "Signal 9" in err
    again = start("--out", "pair", "--resume")
    assert again.wait(300) == 0, again.stderr.read()
    same(alone, folder / "pair")


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--refine-poses", "--keep-base"), ("--composition",)])
def test_three_processes_and_one_are_the_same_to_the_last_bit(
    tmp_path, monkeypatch, atomdrgn, options
):
    """Of more images than three portions of the work have, so that each process sums some."""
    make_hinged(tmp_path, count=150)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parallel, "LEAST_PORTION", 32)
    Path("small_portions.py").write_text(SMALL_PORTIONS)
    choices = (*FIT[2:], "--resolution", "20", *options)
    one = atomdrgn(*choices, "--out", "of_1")
    assert one.code == 0, one.err
    three = start(*choices, "--out", "of_3", processes=3, words=["small_portions.py"])
    _, err = three.communicate(timeout=600)
    assert three.returncode == 0, err
    same(tmp_path / "of_1", tmp_path / "of_3")


def test_a_process_that_waits_for_one_that_never_comes_ends_when_it_is_told(folder):
    """As torchrun tells it where the other one was lost: in one line, not when the library has
    waited for long enough.
    """
    port = free_port()
    waiting = subprocess.Popen(
        [sys.executable, *FIT, "--out", "pair"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "RANK": "0",
            "WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        },
    )
    deadline = time.monotonic() + 100
    while True:  # until it listens
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert waiting.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    waiting.send_signal(signal.SIGTERM)
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130 and err.splitlines()[-1] == (
        "stopped; to go on: atomdrgn fit base.pdb particles.star --segments 2 --out pair --resume"
    ), err
    assert not (folder / "pair").exists()

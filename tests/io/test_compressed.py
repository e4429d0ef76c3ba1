"""Compressed files: what unpacks beyond measure is refused, and little memory is taken for that."""

import gzip
import os
import re
import tracemalloc

import mrcfile
import numpy as np
import pytest

from atomdrgn import open_run, read_structure
from atomdrgn.errors import FileFormatError
from atomdrgn.io.compressed import MOST_UNPACKED, unpack_start, unpack_text
from atomdrgn.io.mrc import read_map
from atomdrgn.io.run_formats import arrays
from atomdrgn.io.run_formats.arrays import read_npz
from hinged import hinged_run, two_helices
from molecules import helix, write_pdb


def bomb(path, start, line, count):
    """A gzip file of many equal lines."""
    with gzip.open(path, "wb", 9) as file:
        file.write(start)
        for _ in range(count // 1000):
            file.write(line * 1000)
    return path


def test_a_file_unpacks_to_what_it_was(tmp_path):
    text = os.urandom(10**5) + b"x" * 10**5
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(text))
    assert unpack_text(path) == text and unpack_start(path, 10) == text[:10]


@pytest.mark.parametrize(
    "name, line",
    [("x.pdb.gz", b"REMARK 300 nothing\n"), ("x.cif.gz", b"# nothing\n"), ("x.bcif.gz", b"x" * 20)],
)
def test_structures_that_unpack_beyond_measure_are_refused_without_memory(tmp_path, name, line):
    path = bomb(tmp_path / name, b"", line, 10**9 // len(line) // 5)
    tracemalloc.start()
    try:
        with pytest.raises(
            FileFormatError, match=re.escape(f"{MOST_UNPACKED} times its size and more")
        ):
            read_structure(path)
        assert tracemalloc.get_traced_memory()[1] < 5e7
    finally:
        tracemalloc.stop()


def test_a_structure_of_few_words_may_be_small(tmp_path):
    """A molecule of many equal residues packs well, and is read."""
    path = write_pdb(tmp_path / "x.pdb", helix("A", 500, names=("GLY",)))
    (tmp_path / "x.pdb.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert len(read_structure(tmp_path / "x.pdb.gz")) == 2000


def test_maps_that_unpack_beyond_measure_are_refused(tmp_path):
    with mrcfile.new(tmp_path / "x.mrc", np.zeros((2, 2, 2), np.float32)):
        pass
    raw = bytearray((tmp_path / "x.mrc").read_bytes())
    raw[:12] = np.array([1000] * 3, "<i4").tobytes()
    with gzip.open(tmp_path / "x.map.gz", "wb", 1) as file:
        file.write(raw + bytes(10**6))
    with pytest.raises(FileFormatError, match="a compressed map of this size holds at most"):
        read_map(tmp_path / "x.map.gz")


@pytest.fixture
def one_megabyte(monkeypatch):
    """Arrays may unpack to a megabyte, whatever their file's size."""
    monkeypatch.setattr(arrays, "ALWAYS_NUMBERS", 2**20)


def test_arrays_of_zeros_are_as_large_as_their_rows_explain(tmp_path, one_megabyte):
    """Particles that do not move have rows that are alike, however many there are; arrays of few
    particles are not so large.
    """
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(10**6))
    assert read_npz(tmp_path / "x.npz", rows=10**4)["a"].shape == (10**6,)
    with pytest.raises(FileFormatError, match="unpack to 8,000,128"):
        read_npz(tmp_path / "x.npz", rows=10)


def test_a_run_takes_no_more_memory_than_its_particles_explain(tmp_path, one_megabyte):
    folder = hinged_run(tmp_path, two_helices(tmp_path), np.linspace(-4, 4, 12)).folder
    with np.load(folder / "latents.npz") as held:
        held = dict(held)
    np.savez_compressed(folder / "latents.npz", **held | {"draws": np.zeros((12, 10**6, 1))})
    run = open_run(folder)
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="latents.npz: damaged .*unpack to 96,"):
            _ = run.latent
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()

"""A set of particles is known again by its pixels, wherever it lies."""

import shutil

import numpy as np
import pytest
import torch

from atomdrgn import ImageGrid, read_particles, read_structure, simulate_particles
from atomdrgn.particles.stack.fingerprint import SAMPLED, fingerprint
from molecules import helix, write_pdb


@pytest.fixture
def folder(tmp_path):
    structure = read_structure(write_pdb(tmp_path / "helix.pdb", helix("A", 12, start=(0, 0, -9))))
    simulate_particles(
        structure,
        structure.position.expand(40, -1, -1),
        tmp_path / "set",
        grid=ImageGrid(16, 4.0),
        snr=0.5,
    )
    return tmp_path / "set"


def changed(folder, section):
    """A pixel of one image is another."""
    path = folder / "particles.mrcs"
    pixels = np.memmap(path, "<f4", "r+", 1024, (40, 16, 16))
    pixels[section, 3, 5] += 1
    pixels.flush()


def test_the_same_images_elsewhere_are_the_same(folder, tmp_path):
    first = fingerprint(read_particles(folder / "particles.star"))
    # as they are on disk
    assert first == fingerprint(read_particles(folder / "particles.star", box=12))
    moved = shutil.move(folder, tmp_path / "moved")
    assert fingerprint(read_particles(moved / "particles.star")) == first
    header = bytearray((moved / "particles.mrcs").read_bytes())
    header[224:240] = b"another label..."
    (moved / "particles.mrcs").write_bytes(header)
    assert fingerprint(read_particles(moved / "particles.star")) == first


def test_other_pixels_stacks_and_contrast_are_others(folder):
    found = {fingerprint(read_particles(folder / "particles.star"))}
    found.add(fingerprint(read_particles(folder / "particles.star", invert_contrast=True)))
    found.add(fingerprint(read_particles(folder / "particles.star")[torch.arange(39)]))
    for section in (0, 39):
        changed(folder, section)
        found.add(fingerprint(read_particles(folder / "particles.star")))
    with open(folder / "particles.mrcs", "ab") as file:  # a longer stack, whose header says so
        file.write(bytes(16 * 16 * 4))
    content = bytearray((folder / "particles.mrcs").read_bytes())
    content[8:12] = (41).to_bytes(4, "little")
    (folder / "particles.mrcs").write_bytes(content)
    found.add(fingerprint(read_particles(folder / "particles.star")))
    assert len(found) == 6


def test_few_images_are_read_however_many_there_are(folder, monkeypatch):
    read = []
    monkeypatch.setattr(
        "atomdrgn.particles.stack.image_files.read_sections",
        lambda header, index: read.extend(index) or np.zeros((len(index), 16, 16), np.float32),
    )
    fingerprint(read_particles(folder / "particles.star"))
    assert len(read) == SAMPLED and read[0] == 0 and read[-1] == 39

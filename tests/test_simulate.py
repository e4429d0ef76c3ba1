"""Simulated particles are read back as what they were made from."""

import math

import numpy as np
import pytest
import torch

from atomdrgn import (
    ImageGrid,
    coarse_grain,
    normalized_cross_correlation,
    project_beads,
    read_particles,
    read_structure,
    simulate_particles,
)
from atomdrgn.errors import InputError, OutputExistsError
from atomdrgn.physics.fourier import inverse_transform, transform
from atomdrgn.structure.beads import ATOMIC_BLUR
from molecules import helix, write_pdb

GRID = ImageGrid(32, 2.0)


@pytest.fixture
def structure(tmp_path):
    lines = helix("A", 8, start=(0, 0, -6)) + helix("A", 8, first=11, start=(12, 5, 0))
    return read_structure(write_pdb(tmp_path / "two.pdb", lines))


def conformations(structure, count):
    return structure.position + torch.linspace(0, 4, count)[:, None, None]


def test_images_are_projections_at_the_poses_of_the_file(structure, tmp_path):
    """Read back and projected through pose and CTF of the file, every image is the one that was written."""
    moved = conformations(structure, 5)
    grid = ImageGrid(96, 2.0)
    stack = read_particles(simulate_particles(structure, moved, tmp_path / "set", grid=grid, snr=math.inf))
    assert stack.grid == grid and len(stack) == 5 and set(stack.half.tolist()) == {1, 2}
    amplitude = torch.tensor(structure.element, dtype=torch.float32)
    image = project_beads(stack.pose.apply(moved), amplitude, torch.full_like(amplitude, ATOMIC_BLUR), grid)
    image = inverse_transform(transform(image) * stack.ctf.evaluate(grid), grid.box_size)
    # what the CTF spreads beyond the box is lost in the file and comes back at the other side here
    assert normalized_cross_correlation(image, stack.read()).min() > 0.97


def test_truth_is_what_the_file_says(structure, tmp_path):
    star = simulate_particles(structure, conformations(structure, 4), tmp_path / "set", grid=GRID, snr=1.0,
                              truth={"opening": np.arange(4)})
    truth, stack = np.load(tmp_path / "set" / "truth.npz"), read_particles(star)
    np.testing.assert_allclose(truth["rotation"], stack.pose.rotation, atol=1e-5)
    np.testing.assert_allclose(truth["shift"], stack.pose.shift, atol=1e-5)
    np.testing.assert_allclose(truth["defocus"][:, 0], stack.ctf.defocus_u, rtol=1e-6)
    assert truth["opening"].tolist() == [0, 1, 2, 3]
    base = read_structure(tmp_path / "set" / "base.pdb")
    torch.testing.assert_close(base.position, structure.position)
    assert len(coarse_grain(base)) == 16


def test_noise_has_the_variance_that_the_ratio_says(structure, tmp_path):
    moved = conformations(structure, 40)
    clean = read_particles(simulate_particles(structure, moved, tmp_path / "clean", grid=GRID, snr=math.inf)).read()
    noisy = read_particles(simulate_particles(structure, moved, tmp_path / "noisy", grid=GRID, snr=0.2)).read()
    assert (clean.var((-2, -1)).mean() / (noisy - clean).var()).item() == pytest.approx(0.2, rel=0.03)


def test_a_seed_says_everything(structure, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate_particles(structure, conformations(structure, 3), tmp_path / name, grid=GRID, snr=0.1,
                           generator=torch.Generator().manual_seed(seed))
    first, same, other = ((tmp_path / name / "particles.mrcs").read_bytes()[1024:] for name in "abc")
    assert first == same != other
    assert (tmp_path / "a" / "particles.star").read_text() == (tmp_path / "b" / "particles.star").read_text()


def test_particles_are_not_overwritten(structure, tmp_path):
    simulate_particles(structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0)
    with pytest.raises(OutputExistsError, match="holds particles"):
        simulate_particles(structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0)
    simulate_particles(structure, conformations(structure, 3), tmp_path, grid=GRID, snr=1.0, overwrite=True)
    assert len(read_particles(tmp_path / "particles.star")) == 3


def test_what_does_not_fit_is_refused(structure, tmp_path):
    with pytest.raises(InputError, match="conformations of 79 atoms for two.pdb, which has 80"):
        simulate_particles(structure, conformations(structure, 2)[:, 1:], tmp_path, grid=GRID, snr=1.0)
    with pytest.raises(InputError, match="ratio of 0"):
        simulate_particles(structure, conformations(structure, 2), tmp_path, grid=GRID, snr=0.0)

"""Simulated particles are read back as what they were made from."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn import (
    ImageGrid,
    Pose,
    coarse_grain,
    normalized_cross_correlation,
    project_beads,
    read_particles,
    read_structure,
    simulate_particles,
    write_structure,
)
from atomdrgn.errors import InputError, OutputExistsError
from atomdrgn.physics.fourier import inverse_transform, transform
from atomdrgn.reporting import Reporter
from atomdrgn.simulate.noisy_images import atoms_of, clean_images
from atomdrgn.simulate.particles import Errors, require_free
from atomdrgn.structure.beads import ATOMIC_BLUR
from molecules import atom_line, helix, write_pdb

GRID = ImageGrid(32, 2.0)


@pytest.fixture
def structure(tmp_path):
    lines = helix("A", 8, start=(0, 0, -6)) + helix("A", 8, first=11, start=(12, 5, 0))
    return read_structure(write_pdb(tmp_path / "two.pdb", lines))


def conformations(structure, count):
    return structure.position + torch.linspace(0, 4, count)[:, None, None]


def test_images_are_projections_at_the_poses_of_the_file(structure, tmp_path):
    """Read back and projected through pose and CTF of the file, every image is the one that was
    written.
    """
    moved = conformations(structure, 5)
    grid = ImageGrid(96, 2.0)
    stack = read_particles(
        simulate_particles(structure, moved, tmp_path / "set", grid=grid, snr=math.inf)
    )
    assert stack.grid == grid and len(stack) == 5 and set(stack.half.tolist()) == {1, 2}
    amplitude = torch.tensor(structure.element, dtype=torch.float32)
    image = project_beads(
        stack.pose.apply(moved), amplitude, torch.full_like(amplitude, ATOMIC_BLUR), grid
    )
    image = inverse_transform(transform(image) * stack.ctf.evaluate(grid), grid.box_size)
    # what the CTF spreads beyond the box is lost in the file and comes back at the other side here
    assert normalized_cross_correlation(image, stack.read()).min() > 0.97


def test_truth_is_what_the_file_says(structure, tmp_path):
    star = simulate_particles(
        structure,
        conformations(structure, 4),
        tmp_path / "set",
        grid=GRID,
        snr=1.0,
        truth={"opening": np.arange(4)},
    )
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
    clean = read_particles(
        simulate_particles(structure, moved, tmp_path / "clean", grid=GRID, snr=math.inf)
    ).read()
    noisy = read_particles(
        simulate_particles(structure, moved, tmp_path / "noisy", grid=GRID, snr=0.2)
    ).read()
    assert (clean.var((-2, -1)).mean() / (noisy - clean).var()).item() == pytest.approx(
        0.2, rel=0.03
    )


def test_a_seed_says_everything(structure, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate_particles(
            structure,
            conformations(structure, 3),
            tmp_path / name,
            grid=GRID,
            snr=0.1,
            generator=torch.Generator().manual_seed(seed),
        )
    first, same, other = (
        (tmp_path / name / "particles.mrcs").read_bytes()[1024:] for name in "abc"
    )
    assert first == same != other
    assert (tmp_path / "a" / "particles.star").read_text() == (
        tmp_path / "b" / "particles.star"
    ).read_text()


def test_particles_are_not_overwritten(structure, tmp_path):
    simulate_particles(structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0)
    with pytest.raises(OutputExistsError, match="holds particles.star"):
        simulate_particles(structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0)
    simulate_particles(
        structure, conformations(structure, 3), tmp_path, grid=GRID, snr=1.0, overwrite=True
    )
    assert len(read_particles(tmp_path / "particles.star")) == 3


def test_no_base_model_of_before_is_left_or_lost(structure, tmp_path):
    """A set has one base model: another that is there is the user's, until they say that it may go."""
    write_structure(structure, tmp_path / "base.pdb")
    before = (tmp_path / "base.pdb").read_bytes()
    structure.source[0][0].name = "AA"
    with pytest.raises(OutputExistsError, match="holds base.pdb"):
        simulate_particles(structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0)
    assert (tmp_path / "base.pdb").read_bytes() == before and not (tmp_path / "base.cif").exists()
    simulate_particles(
        structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0, overwrite=True
    )
    assert (tmp_path / "base.cif").exists() and not (tmp_path / "base.pdb").exists()
    structure.source[0][0].name = "A"
    simulate_particles(
        structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0, overwrite=True
    )
    assert (tmp_path / "base.pdb").exists() and not (tmp_path / "base.cif").exists()


def test_a_base_model_that_is_read_is_not_replaced(structure, tmp_path):
    write_structure(structure, tmp_path / "base.pdb")
    with pytest.raises(OutputExistsError, match="base.pdb is read"):
        require_free(tmp_path, overwrite=True, inputs=[tmp_path / "base.pdb"])
    with pytest.raises(OutputExistsError, match="holds base.pdb"):
        require_free(tmp_path, overwrite=False, inputs=[tmp_path / "two.pdb"])
    require_free(tmp_path, overwrite=True, inputs=[tmp_path / "two.pdb"])


def test_a_base_that_no_pdb_file_holds_is_mmcif_and_said(structure, tmp_path):
    structure.source[0][0].name = "AA"
    said = []

    class Listening(Reporter):
        def say(self, text):
            said.append(text)

    simulate_particles(
        structure,
        conformations(structure, 2),
        tmp_path / "set",
        grid=GRID,
        snr=1.0,
        reporter=Listening(),
    )
    assert said == ["a PDB file holds chain names of one character, not 'AA': base.cif is written"]
    assert set(read_structure(tmp_path / "set" / "base.cif").chain) == {"AA"}
    assert not (tmp_path / "set" / "base.pdb").exists()


def test_what_does_not_fit_is_refused(structure, tmp_path):
    with pytest.raises(InputError, match="conformations of 79 atoms for two.pdb, which has 80"):
        simulate_particles(
            structure, conformations(structure, 2)[:, 1:], tmp_path, grid=GRID, snr=1.0
        )
    with pytest.raises(InputError, match="ratio of 0"):
        simulate_particles(structure, conformations(structure, 2), tmp_path, grid=GRID, snr=0.0)
    with pytest.raises(InputError, match="detail 'orbitals': choose one of atoms, residues"):
        simulate_particles(
            structure, conformations(structure, 2), tmp_path, grid=GRID, snr=1.0, detail="orbitals"
        )
    with pytest.raises(InputError, match="one of the two"):
        simulate_particles(structure, conformations(structure, 2), tmp_path, snr=1.0)
    with pytest.raises(InputError, match="largest number 2 of 2"):
        simulate_particles(
            structure,
            conformations(structure, 2),
            tmp_path,
            grid=GRID,
            snr=1.0,
            which=torch.tensor([0, 2]),
        )
    with pytest.raises(InputError, match="no negative"):
        Errors(shift=-1.0)


def test_each_particle_shows_the_conformation_that_truth_says(structure, tmp_path):
    """By imaging the chosen conformations one by one with the same seed, so at the same poses."""
    states, which = conformations(structure, 2), torch.tensor([1, 0, 0, 1])
    few = read_particles(
        simulate_particles(
            structure, states, tmp_path / "few", grid=GRID, snr=math.inf, which=which
        )
    )
    each = read_particles(
        simulate_particles(structure, states[which], tmp_path / "each", grid=GRID, snr=math.inf)
    )
    assert (few.read() == each.read()).all() and np.load(tmp_path / "few" / "truth.npz")[
        "which"
    ].tolist() == [1, 0, 0, 1]


def test_residues_show_what_atoms_show_at_their_resolution(structure, tmp_path):
    moved = conformations(structure, 6)
    grid = ImageGrid(48, 3.0)
    atoms, residues = (
        read_particles(
            simulate_particles(
                structure, moved, tmp_path / detail, grid=grid, snr=math.inf, detail=detail
            )
        ).read()
        for detail in ("atoms", "residues")
    )
    assert normalized_cross_correlation(atoms, residues).min() > 0.98


def test_waters_are_not_imaged(structure, tmp_path):
    water = [
        atom_line(900 + i, "O", "HOH", "W", 1 + i, (3.0 * i, 9, 9), record="HETATM")
        for i in range(5)
    ]
    lines = helix("A", 8, start=(0, 0, -6)) + helix("A", 8, first=11, start=(12, 5, 0))
    wet = read_structure(write_pdb(tmp_path / "wet.pdb", lines, water))
    for detail in ("atoms", "residues"):
        images = [
            read_particles(
                simulate_particles(
                    each,
                    each.position[None],
                    tmp_path / f"{detail}{len(each)}",
                    grid=GRID,
                    snr=math.inf,
                    detail=detail,
                )
            ).read()
            for each in (structure, wet)
        ]
        torch.testing.assert_close(*images)


def test_errors_are_in_the_file_and_the_truth_in_the_truth(structure, tmp_path):
    """Written poses are off by what was asked for, contrasts vary, and images are those of the true
    poses.
    """
    errors = Errors(contrast=0.2, rotation=2.0, shift=1.5)
    moved = structure.position.expand(400, -1, -1)
    stack = read_particles(
        simulate_particles(
            structure, moved, tmp_path / "set", grid=GRID, snr=math.inf, errors=errors
        )
    )
    truth = np.load(tmp_path / "set" / "truth.npz")
    wrong = truth["rotation"].transpose(0, 2, 1) @ stack.pose.rotation.numpy()
    vector = Rotation.from_matrix(wrong).as_rotvec(degrees=True)
    np.testing.assert_allclose(vector.std(0), 2.0, rtol=0.15)
    assert (stack.pose.shift.numpy() - truth["shift"]).std() == pytest.approx(1.5, rel=0.1)
    assert truth["contrast"].std() == pytest.approx(0.2, rel=0.1)
    pose = Pose(torch.tensor(truth["rotation"]), torch.tensor(truth["shift"]))
    scatterers = atoms_of(structure)
    clean = clean_images(scatterers, moved[:8], pose=pose[:8], ctf=stack.ctf[:8], grid=GRID)
    torch.testing.assert_close(
        stack.read()[:8],
        torch.tensor(truth["contrast"][:8, None, None]) * clean,
        rtol=1e-3,
        atol=1e-4 * float(clean.abs().max()),
    )

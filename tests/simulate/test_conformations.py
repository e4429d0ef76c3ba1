"""Conformations of one molecule, whatever files they come in."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from atomdrgn import read_structure
from atomdrgn.errors import FileFormatError, InputError, MissingFileError
from atomdrgn.io.trajectories import write_trajectory
from atomdrgn.simulate.conformations import RunConformations, centred, choose, read_molecule
from molecules import atom_line, helix, write_pdb
from runs import write_bead_run, write_run

LINES = helix("A", 6, start=(30, 0, 0))


def model(number, shift):
    """One model of a PDB file, moved along x."""
    moved = helix("A", 6, start=(30 + shift, 0, 0))
    return [f"MODEL     {number:4d}", *moved, "ENDMDL"]


@pytest.fixture
def structure(tmp_path):
    return read_structure(write_pdb(tmp_path / "one.pdb", LINES))


def test_every_model_of_every_file(structure, tmp_path):
    (tmp_path / "many.pdb").write_text("\n".join(model(1, 0) + model(2, 5)) + "\nEND\n")
    molecule = read_molecule([tmp_path / "one.pdb", tmp_path / "many.pdb"])
    assert len(molecule.conformations) == 3
    torch.testing.assert_close(
        molecule.conformations[2], structure.position + torch.tensor([5.0, 0, 0])
    )


def test_atoms_in_another_order(structure, tmp_path):
    write_pdb(
        tmp_path / "turned.pdb",
        [line for start in range(0, 30, 5) for line in reversed(LINES[start : start + 5])],
    )
    molecule = read_molecule([tmp_path / "one.pdb", tmp_path / "turned.pdb"])
    torch.testing.assert_close(molecule.conformations[0], molecule.conformations[1])


@pytest.mark.parametrize("ending", ["dcd", "xtc"])
def test_frames_are_the_conformations_and_the_structure_is_none(structure, tmp_path, ending):
    frames = structure.position.numpy() + np.arange(4)[:, None, None]
    write_trajectory(tmp_path / f"path.{ending}", frames)
    molecule = read_molecule(
        [tmp_path / f"path.{ending}", tmp_path / "one.pdb", tmp_path / f"path.{ending}"]
    )
    assert len(molecule.conformations) == 8
    np.testing.assert_allclose(molecule.conformations[4:], frames, atol=6e-3)


def test_superposed_conformations_keep_their_shape_only(structure, tmp_path):
    turn = Rotation.random(3, random_state=0).as_matrix()
    bent = structure.position.numpy().copy()
    bent[15:] += [0, 2, 0]
    write_trajectory(tmp_path / "path.dcd", [bent @ each.T + 7 for each in turn])
    placed = read_molecule(
        [tmp_path / "one.pdb", tmp_path / "path.dcd"], superposed=True
    ).conformations
    torch.testing.assert_close(placed[0], placed[1], atol=1e-3, rtol=0)
    first = placed[0].numpy()
    np.testing.assert_allclose(
        np.linalg.norm(first - first[0], axis=1), np.linalg.norm(bent - bent[0], axis=1), atol=1e-3
    )
    assert (placed[0] - structure.position).norm(dim=1).max() < 2


def test_the_centre_is_that_of_the_electrons_or_a_point(structure, tmp_path):
    molecule = centred(read_molecule([tmp_path / "one.pdb"]))
    electrons = torch.tensor(structure.element).float()
    torch.testing.assert_close(
        (electrons @ molecule.structure.position) / electrons.sum(),
        torch.zeros(3),
        atol=1e-4,
        rtol=0,
    )
    moved = centred(molecule, [1.0, 2, 3])
    torch.testing.assert_close(
        moved.conformations, molecule.conformations - torch.tensor([1.0, 2, 3])
    )


def test_a_run_gives_its_particles(structure, tmp_path):
    (tmp_path / "p.star").write_text("data_\n")
    write_run(
        tmp_path / "run",
        structure,
        tmp_path / "p.star",
        part=structure.residue > 3,
        rotation=np.tile([1.0, 0, 0, 0], (3, 1)),
        translation=np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]),
    )
    molecule = read_molecule([tmp_path / "run"], superposed=True)
    assert isinstance(molecule.conformations, RunConformations) and len(molecule.conformations) == 3
    moved = molecule.conformations[torch.tensor([2, 0])][:, -1] - structure.position[-1]
    torch.testing.assert_close(moved, torch.tensor([[2.0, 0, 0], [0, 0, 0]]), atol=1e-4, rtol=0)
    with pytest.raises(InputError, match="leave the origin out"):
        centred(molecule, [1.0, 0, 0])
    with pytest.raises(InputError, match="give one run, or files"):
        read_molecule([tmp_path / "run", tmp_path / "one.pdb"])


def test_a_run_of_beads_gives_its_particles(structure, tmp_path):
    (tmp_path / "p.star").write_text("data_\n")
    write_bead_run(
        tmp_path / "run",
        structure,
        tmp_path / "p.star",
        mode=np.tile([1.0, 0, 0], (1, 6, 1)),
        feature=[[0], [1], [2]],
    )
    moved = (
        read_molecule([tmp_path / "run"]).conformations[torch.tensor([2, 0])] - structure.position
    )
    torch.testing.assert_close(
        moved, torch.tensor([[[2.0, 0, 0]], [[0, 0, 0]]]).expand_as(moved), atol=1e-4, rtol=0
    )


def test_what_is_not_one_molecule(structure, tmp_path):
    write_pdb(tmp_path / "other.pdb", LINES[:-1])
    with pytest.raises(
        InputError, match=r"one.pdb and other.pdb do not hold the same atoms \(CB of A:6"
    ):
        read_molecule([tmp_path / "one.pdb", tmp_path / "other.pdb"])
    write_pdb(
        tmp_path / "more.pdb",
        LINES,
        [atom_line(99, "ZN", "ZN", "B", 1, (0, 0, 0), element="ZN", record="HETATM")],
    )
    with pytest.raises(InputError, match="ZN of B:1"):
        read_molecule([tmp_path / "one.pdb", tmp_path / "more.pdb"])
    write_trajectory(tmp_path / "path.dcd", [structure.position.numpy()[1:]])
    with pytest.raises(InputError, match="frames of 29 atoms, but one.pdb has 30"):
        read_molecule([tmp_path / "one.pdb", tmp_path / "path.dcd"])
    with pytest.raises(InputError, match="needs one structure .* 0 are given"):
        read_molecule([tmp_path / "path.dcd"])
    with pytest.raises(MissingFileError, match="none.dcd"):
        read_molecule([tmp_path / "one.pdb", tmp_path / "none.dcd"])
    (tmp_path / "bad.dcd").write_bytes(b"no trajectory")
    with pytest.raises(FileFormatError, match="bad.dcd"):
        read_molecule([tmp_path / "one.pdb", tmp_path / "bad.dcd"])


def test_who_has_which_conformation():
    generator = torch.Generator().manual_seed(0)
    assert choose(3, 7, generator, in_order=True).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert set(choose(3, 100, generator).tolist()) == {0, 1, 2}
    count = torch.bincount(choose(3, 4000, generator, populations=[7.0, 0.0, 3.0]), minlength=3)
    assert count[1] == 0 and abs(count[0] / 4000 - 0.7) < 0.03
    for populations in ([1.0], [1.0, -1.0, 1.0], [0.0] * 3, [float("nan"), 1.0, 1.0]):
        with pytest.raises(InputError, match="for 3 conformations: expected one for each"):
            choose(3, 4, generator, populations=populations)
    with pytest.raises(InputError, match="leave the order out"):
        choose(3, 4, generator, in_order=True, populations=[1.0, 1.0, 1.0])


def test_frames_of_a_file_whose_atoms_were_put_in_another_order_are_refused(tmp_path):
    path = tmp_path / "late.pdb"
    path.write_text("\n".join([*LINES[1:], LINES[0]]) + "\nEND\n")
    write_trajectory(tmp_path / "path.dcd", [np.zeros((len(LINES), 3), dtype=np.float32)] * 2)
    with (
        pytest.warns(UserWarning, match="put together"),
        pytest.raises(InputError, match="not in the order of the frames"),
    ):
        read_molecule([tmp_path / "late.pdb", tmp_path / "path.dcd"])

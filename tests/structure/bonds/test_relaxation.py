"""A bent molecule gets the base model's bonds, angles and peptides back, loses its clashes, and
stays where it was put.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import gemmi
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from atomdrgn import AtomdrgnError, read_structure
from atomdrgn.physics.rotations import matrix_from_vector
from atomdrgn.structure.atoms import write_structure
from atomdrgn.structure.bonds.bonding import find_bonds
from atomdrgn.structure.bonds.internal_coordinates import angle, distance, off_plane, torsion
from atomdrgn.structure.bonds.relaxation import Relaxation
from linked import MOLECULES, Linked, component, structure_of
from molecules import atom_line, peptide, write_pdb

pytest.importorskip("openmm")


def model(tmp_path, *groups):
    return read_structure(write_pdb(tmp_path / "model.pdb", *groups))


def bent(structure, degrees, moves):
    """The atoms of `moves` turned about the first of them, as a hinge of rigid segments turns them."""
    pivot = structure.position[moves][0]
    turn = matrix_from_vector(torch.tensor([np.radians(degrees), 0.0, 0.0], dtype=torch.float32))
    return torch.where(
        moves[:, None], (structure.position - pivot) @ turn.T + pivot, structure.position
    )


def near(structure, position, bonding):
    """Pairs of atoms that are not bonded and nearer than 2.5 A."""
    bonded = {tuple(pair) for pair in bonding.near_pairs().tolist()}
    return cKDTree(position.numpy()).query_pairs(2.5) - bonded


def test_the_base_model_stays_where_it_is(tmp_path):
    structure = model(tmp_path, peptide("A", 10))
    relaxed = Relaxation(structure)(structure.position)
    assert (relaxed - structure.position).abs().max() < 0.1


def test_a_bent_chain_is_mended(tmp_path):
    structure = model(tmp_path, peptide("A", 24))
    bonding = find_bonds(structure)
    moves = torch.from_numpy(structure.residue > 12)
    torn = bent(structure, 40.0, moves)
    bond = (
        structure.position[moves][0]
        - structure.position[~moves][structure.atom_name[structure.residue < 13] == "C"][-1]
    )
    torn[moves] += bond
    relaxed = Relaxation(structure, bonding)(torn)

    def strain(position):
        before, after = structure.position.double().numpy(), position.double().numpy()
        lengths = np.abs(distance(after, bonding.bonds) - distance(before, bonding.bonds)).max()
        angles = np.abs(angle(after, bonding.angles) - angle(before, bonding.angles)).max()
        flat = np.abs(off_plane(torsion(after, bonding.omega))).max()
        return lengths, np.degrees(angles), np.degrees(flat)

    before, after = strain(torn), strain(relaxed)
    assert before[0] > 0.5 and before[1] > 20
    assert after[0] < 0.05 and after[1] < 10
    assert after[2] < strain(structure.position)[2] + 3
    far = torch.from_numpy(np.abs(structure.residue - 12.5) > 6)
    assert (relaxed - torn)[far].norm(dim=1).max() < 0.5
    hands = (
        torsion(structure.position.double().numpy(), bonding.impropers),
        torsion(relaxed.double().numpy(), bonding.impropers),
    )
    assert np.abs(hands[0] - hands[1]).max() < np.radians(20)


def test_clashes_are_taken_apart(tmp_path):
    structure = model(tmp_path, peptide("A", 12), peptide("B", 12, start=(11.0, 0.0, 0.0)))
    bonding = find_bonds(structure)
    second = torch.from_numpy(structure.chain == "B")
    pushed = torch.where(
        second[:, None], structure.position - torch.tensor([4.5, 0.0, 0.0]), structure.position
    )
    relaxed = Relaxation(structure, bonding)(pushed)
    there = near(structure, structure.position, bonding)
    assert len(near(structure, pushed, bonding) - there) > 4
    assert not near(structure, relaxed, bonding) - there


def test_what_is_absent_pushes_nothing_away(tmp_path):
    structure = model(tmp_path, peptide("A", 8), peptide("B", 8, start=(14.0, 0.0, 0.0)))
    relaxation = Relaxation(structure)
    second = structure.chain == "B"
    onto = torch.where(
        torch.from_numpy(second)[:, None],
        structure.position - torch.tensor([11.0, 0.0, 0.0]),
        structure.position,
    )
    alone = relaxation(structure.position)
    free, pushed = (relaxation(onto, present) for present in (~second, None))
    torch.testing.assert_close(free[~second], alone[~second], atol=0.1, rtol=0)
    assert (pushed - alone)[~second].norm(dim=1).max() > 0.3


def test_the_same_positions_give_the_same_bits_whatever_came_before_and_on_any_thread(tmp_path):
    structure = model(tmp_path, peptide("A", 10), peptide("B", 10, start=(9.0, 0.0, 0.0)))
    moves = torch.from_numpy(structure.chain == "B")
    positions = [bent(structure, degrees, moves) for degrees in (5.0, 5.5, 30.0, -20.0)]
    relaxation = Relaxation(structure)
    alone = [Relaxation(structure)(position) for position in positions]
    after_others = [relaxation(position) for position in reversed(positions)][::-1]
    with ThreadPoolExecutor(3) as pool:
        on_threads = list(pool.map(relaxation, positions * 2))
    for first, *others in zip(alone, after_others, on_threads[:4], on_threads[4:], strict=True):
        assert all(torch.equal(first, other) for other in others)


def test_any_chemistry_is_taken(tmp_path):
    """A ligand that no template knows, an ion, water, hydrogens of unusual names, a trace alone,
    one site twice.
    """
    ligand = [
        atom_line(70, "X1", "Q9Q", "L", 1, (12, 0, 0), record="HETATM", element="C"),
        atom_line(71, "X2", "Q9Q", "L", 1, (13.4, 0, 0), record="HETATM", element="N"),
        # in one line
        atom_line(72, "X3", "Q9Q", "L", 1, (14.8, 0, 0), record="HETATM", element="O"),
        atom_line(73, "ZN", "ZN", "L", 2, (17.0, 0, 0), record="HETATM", element="ZN"),
        atom_line(74, "O", "HOH", "L", 3, (20.0, 0, 0), record="HETATM"),
        atom_line(75, "1HX", "Q9Q", "L", 1, (11.3, 0.8, 0), record="HETATM", element="H"),
    ]
    twice = [
        atom_line(
            80 + k,
            "CL",
            "CL",
            "M",
            1,
            (0, 25, 0),
            altloc=name,
            occupancy=0.5,
            record="HETATM",
            element="CL",
        )
        for k, name in enumerate("AB")
    ]
    trace = [line for line in peptide("T", 6, start=(0, -20, 0)) if line[12:16].strip() == "CA"]
    structure = model(tmp_path, peptide("A", 4), trace, ligand, twice)
    stretched = structure.position * torch.tensor([1.1, 1.0, 1.0])
    relaxed = Relaxation(structure)(stretched)
    assert relaxed.isfinite().all()
    chosen = np.flatnonzero(np.isin(structure.atom_name, ("X1", "X2", "X3")))
    length = distance(relaxed.double().numpy(), np.stack([chosen[:-1], chosen[1:]], 1))
    np.testing.assert_allclose(length, 1.4, atol=0.02)
    steps = find_bonds(structure).steps
    np.testing.assert_allclose(
        *(distance(x.double().numpy(), steps) for x in (relaxed, structure.position)), atol=0.1
    )


def pulled(structure, seed):
    """What hangs on the first chain turned and moved away, as segments of a fit are."""
    generator = np.random.default_rng(seed)
    # the chromophore is in one chain with what holds it
    moves = (structure.chain != "A") | (structure.residue > 66)
    axis, aside = generator.normal(size=(2, 3))
    away = (structure.position[moves].mean(0) - structure.position[~moves].mean(0)).numpy()
    shift = away / np.linalg.norm(away) + 0.5 * aside / np.linalg.norm(aside)
    turn = matrix_from_vector(
        torch.tensor(np.radians(10) * axis / np.linalg.norm(axis), dtype=torch.float32)
    )
    pivot = structure.position[moves][0]
    moved = (
        (structure.position - pivot) @ turn.T + pivot + torch.tensor(2 * shift, dtype=torch.float32)
    )
    return torch.where(torch.from_numpy(moves)[:, None], moved, structure.position)


@pytest.mark.parametrize("name", MOLECULES)
def test_bonds_that_a_file_declares_are_closed_again(tmp_path, name):
    made = MOLECULES[name]()
    structure = structure_of(made, tmp_path / "base.pdb")
    bonding = find_bonds(structure)
    relaxation = Relaxation(structure, bonding)
    hand = torsion(structure.position.double().numpy(), bonding.impropers)
    for seed in range(2):
        torn = pulled(structure, seed)
        write_structure(structure, tmp_path / "relaxed.cif", position=relaxation(torn))
        read = gemmi.read_structure(str(tmp_path / "relaxed.cif"))
        position = np.array([atom.atom.pos.tolist() for atom in read[0].all()])
        assert [atom.atom.name for atom in read[0].all()] == structure.atom_name.tolist()
        pairs = bonding.bonds[bonding.declared]
        if made.links:
            assert (
                np.abs(
                    distance(torn.double().numpy(), pairs) - bonding.lengths[bonding.declared]
                ).max()
                > 0.5
            )
        np.testing.assert_allclose(
            distance(position, pairs), bonding.lengths[bonding.declared], atol=0.03
        )
        assert len(pairs) == len(made.links) + len(made.conect)
        for connection, (_, _, length) in zip(read.connections, made.links, strict=True):
            ends = [
                read[0].find_cra(end).atom.pos for end in (connection.partner1, connection.partner2)
            ]
            assert ends[0].dist(ends[1]) == pytest.approx(length, abs=0.03)
        assert np.abs(off_plane(torsion(position, bonding.impropers) - hand)).max() < np.radians(20)


def test_a_bond_that_is_open_in_the_base_model_is_closed(tmp_path):
    for apart in (2.3, 2.65, 4.0):
        made = Linked().join(component("A", 1, "CYS", without=("OXT",)))
        made.join(component("B", 1, "GLY", without=("OXT",)), "A:1:SG", "B:1:C", apart).link(
            "A:1:SG", "B:1:C"
        )
        structure = structure_of(made, tmp_path / "model.pdb")
        with pytest.warns(UserWarning, match="relaxation closes them"):
            bonding = find_bonds(structure)
        relaxed = Relaxation(structure, bonding)(structure.position).double().numpy()
        assert distance(relaxed, bonding.bonds[bonding.declared]) == pytest.approx([1.77], abs=0.03)
        np.testing.assert_allclose(distance(relaxed, bonding.bonds), bonding.lengths, atol=0.03)
        across = np.degrees(
            angle(
                relaxed,
                bonding.angles[
                    np.isin(bonding.angles, bonding.bonds[bonding.declared]).sum(1) == 2
                ],
            )
        )
        assert ((across > 95) & (across < 135)).all()


def test_without_openmm_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    structure = model(tmp_path, peptide("A", 3))
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(AtomdrgnError, match=r"pip install 'atomdrgn\[relax\]'"):
        Relaxation(structure)

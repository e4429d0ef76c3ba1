"""A model that looks like a chain is believed, one of scattered residues is held by bonds of the
usual length.
"""

from dataclasses import replace

import pytest
import torch

from atomdrgn import read_structure
from atomdrgn.likelihood.restraints.chain_restraints import bonded_residues, make_chain_restraints
from atomdrgn.structure.beads import coarse_grain
from molecules import helix, write_pdb


def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def structure(tmp_path_factory):
    """Two helices of 14 residues in one chain, numbered without a break, the end of one 21 A from
    the start of the other.
    """
    lines = helix("A", 14, names=("ALA", "GLY", "LEU")) + helix(
        "A", 14, first=15, start=(10.0, 0.0, 0.0)
    )
    return read_structure(write_pdb(tmp_path_factory.mktemp("model") / "model.pdb", lines))


def scattered(structure, size):
    """Every residue elsewhere by itself."""
    index = torch.from_numpy(structure.residue_index)
    shift = size * (2 * torch.rand(int(index.max()) + 1, 3, generator=generator()) - 1)
    return structure.moved(structure.position + shift[index])


def test_a_gap_is_no_bond_but_scattered_neighbours_have_one(structure):
    whole, torn = (
        bonded_residues(coarse_grain(s, beads=2)) for s in (structure, scattered(structure, 6.0))
    )
    assert len(whole) == 26 and len(torn) >= 26


def test_a_chain_is_not_strained_in_itself(structure):
    for beads in (1, 2):
        model = coarse_grain(structure, beads=beads)
        assert float(make_chain_restraints(model)(model.position)) < 0.1 * len(model)


def test_without_bonds_only_side_chains_and_clashes_are_left(structure):
    model = coarse_grain(structure, beads=2)
    free = make_chain_restraints(model, bonds=False)
    side, moved = int(free.tethers[0, 0]), model.position.clone()
    moved[torch.from_numpy(model.trace) & torch.from_numpy(model.residue > 14)] += 50.0
    assert not len(free.pairs) and float(free(model.position)) == 0 and float(free(moved)) > 0
    assert side not in model.trace_index.tolist()


def test_many_conformations_at_once_are_each_by_itself(structure):
    model = coarse_grain(structure, beads=2)
    restraints = make_chain_restraints(model)
    position = model.position + torch.randn(2, 3, len(model), 3, generator=generator())
    together = restraints(position)
    assert together.shape == (2, 3) and together.min() > 1
    torch.testing.assert_close(together[1, 2], restraints(position[1, 2]))


def test_without_contacts_chains_may_part_and_keep_their_shape(structure):
    """The second helix goes away by 8 A: contacts hold it, and only the bond between them does
    without.
    """
    model = coarse_grain(structure)
    firm, loose = make_chain_restraints(model), make_chain_restraints(model, contacts=False)
    second = torch.from_numpy(model.residue > 22)
    parted = model.position + second[:, None] * torch.tensor([8.0, 0.0, 0.0])
    along = (loose.pairs[:, 0] - loose.pairs[:, 1]).abs()
    assert along.max() <= 8 < (firm.pairs[:, 0] - firm.pairs[:, 1]).abs().max()
    across = (second[firm.pairs[:, 0]] != second[firm.pairs[:, 1]]) & (
        (firm.pairs[:, 0] - firm.pairs[:, 1]).abs() > 8
    )
    assert across.any() and float(firm(parted)) > float(loose(parted)) > 0


def test_scattered_residues_are_not_believed(structure):
    whole, torn = (
        make_chain_restraints(coarse_grain(s, beads=2))
        for s in (structure, scattered(structure, 5.0))
    )
    bonds = int((whole.sigma == whole.sigma.min()).sum())
    assert whole.bond_error < 0.5 and torn.bond_error > 2
    assert torn.sigma[bonds:].min() > torn.bond_error and float(torn.length[:bonds].max()) <= 4.0


def test_restraint_curvature_is_the_second_derivative_where_nothing_is_strained(structure):
    beads = coarse_grain(structure, beads=2)
    restraints = make_chain_restraints(beads)
    first, second = beads.position[restraints.pairs].unbind(1)
    restraints = replace(
        restraints,
        length=(first - second).norm(dim=1),
        tethers=restraints.tethers[:0],
        longest=restraints.longest[:0],
    )
    step = 1e-2 * torch.randn(beads.position.shape, generator=generator())
    second = sum(float(restraints((beads.position + sign * step).double())) for sign in (1, -1))
    matrix = restraints.curvature(beads.position)
    flat = step.double().flatten()
    assert float(restraints(beads.position)) == pytest.approx(0, abs=1e-6)
    assert second == pytest.approx(float(flat @ matrix @ flat), rel=0.15)

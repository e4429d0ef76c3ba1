"""A model that looks like a chain is believed, one of scattered residues is held by bonds of the
usual length.
"""

from dataclasses import replace

import pytest
import torch

from atomdrgn import read_structure
from atomdrgn.likelihood.restraints import chain_restraints
from atomdrgn.likelihood.restraints.chain_restraints import (
    bond_error,
    bonded_residues,
    chain_springs,
    make_chain_restraints,
)
from atomdrgn.likelihood.restraints.pair_restraints import Springs
from atomdrgn.likelihood.restraints.segment_restraints import Restraints
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
        assert float(make_chain_restraints(model).strain(model.position)) < 0.1 * len(model)


def test_without_bonds_only_side_chains_and_clashes_are_left(structure):
    model = coarse_grain(structure, beads=2)
    free = make_chain_restraints(model, bonds=False)
    springs, tethers, _ = free.terms
    side, moved = int(tethers.pairs[0, 0]), model.position.clone()
    moved[torch.from_numpy(model.trace) & torch.from_numpy(model.residue > 14)] += 50.0
    assert not len(springs.pairs) and float(free.strain(model.position)) == 0
    assert float(free.strain(moved)) > 0
    assert side not in model.trace_index.tolist()


def test_many_conformations_at_once_are_each_by_itself(structure):
    model = coarse_grain(structure, beads=2)
    restraints = make_chain_restraints(model)
    position = model.position + torch.randn(2, 3, len(model), 3, generator=generator())
    together = restraints.strain(position)
    assert together.shape == (2, 3) and together.min() > 1
    torch.testing.assert_close(together[1, 2], restraints.strain(position[1, 2]))


def test_without_contacts_chains_may_part_and_keep_their_shape(structure):
    """The second helix goes away by 8 A: contacts hold it, and only the bond between them does
    without.
    """
    model = coarse_grain(structure)
    firm, loose = make_chain_restraints(model), make_chain_restraints(model, contacts=False)
    second = torch.from_numpy(model.residue > 22)
    parted = model.position + second[:, None] * torch.tensor([8.0, 0.0, 0.0])
    pairs, near = firm.terms[0].pairs, loose.terms[0].pairs
    along = (near[:, 0] - near[:, 1]).abs()
    assert along.max() <= 8 < (pairs[:, 0] - pairs[:, 1]).abs().max()
    across = (second[pairs[:, 0]] != second[pairs[:, 1]]) & ((pairs[:, 0] - pairs[:, 1]).abs() > 8)
    assert across.any() and float(firm.strain(parted)) > float(loose.strain(parted)) > 0


def test_scattered_residues_are_not_believed(structure):
    beads = [coarse_grain(s, beads=2) for s in (structure, scattered(structure, 5.0))]
    (whole, torn), error = map(chain_springs, beads), bond_error(beads[1])
    bonds = int((whole.sigma == whole.sigma.min()).sum())
    assert bond_error(beads[0]) < 0.5 and error > 2
    assert torn.sigma[bonds:].min() > error and float(torn.length[:bonds].max()) <= 4.0


def test_restraint_curvature_is_the_second_derivative_where_nothing_is_strained(structure):
    beads = coarse_grain(structure, beads=2)
    springs, _, clashes = make_chain_restraints(beads).terms
    first, second = beads.position[springs.pairs].unbind(1)
    restraints = Restraints((replace(springs, length=(first - second).norm(dim=1)), clashes))
    step = 1e-2 * torch.randn(beads.position.shape, generator=generator())
    second = sum(
        float(restraints.strain((beads.position + sign * step).double())) for sign in (1, -1)
    )
    matrix = restraints.curvature(beads.position)
    flat = step.double().flatten()
    assert float(restraints.strain(beads.position)) == pytest.approx(0, abs=1e-6)
    assert second == pytest.approx(float(flat @ matrix @ flat), rel=0.15)


def test_a_further_term_is_one_more_line(structure, monkeypatch):
    beads, asked = coarse_grain(structure), []

    def ends(beads, **wanted):
        asked.append(wanted)
        pair = torch.tensor([[0, len(beads) - 1]])
        return Springs("ends", pair, torch.tensor([5.0]), 1.0)

    without = make_chain_restraints(beads)
    monkeypatch.setattr(chain_restraints, "OF_BEADS", [*chain_restraints.OF_BEADS, ends])
    restraints = make_chain_restraints(beads, contacts=False)
    assert asked == [{"bonds": True, "contacts": False}]
    (more,) = (term for term in restraints.terms if term.name == "ends")
    position, together = beads.position, make_chain_restraints(beads)
    apart = float((position[0] - position[-1]).norm())
    assert float(more.strain(position)) == pytest.approx(0.5 * (apart - 5) ** 2)
    assert float(together.strain(position) - without.strain(position)) == pytest.approx(
        float(more.strain(position)), rel=1e-4
    )
    added = together.curvature(position) - without.curvature(position)
    assert float(added.trace()) == pytest.approx(2)  # a unit vector at either end

import numpy as np
import pytest

from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.contacts import bond_pairs, elastic_pairs, tether_pairs
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def beads(tmp_path):
    """Chain A with a gap in space behind residue 10, chain B beside it, and an ion."""
    ion = [atom_line(900, "ZN", "ZN", "A", 99, (0, 0, 0), element="ZN", record="HETATM")]
    lines = helix("A", 10) + helix("A", 10, first=40, start=(60, 0, 0))
    return coarse_grain(
        read_structure(
            write_pdb(tmp_path / "two.pdb", lines, helix("B", 10, start=(9, 0, 0)), ion)
        ),
        beads=2,
    )


def test_bonds_join_what_follows_in_a_chain_and_is_near(beads):
    pairs = bond_pairs(beads).numpy()
    assert len(pairs) == 9 + 9 + 9
    assert beads.trace[pairs].all() and (beads.chain[pairs[:, 0]] == beads.chain[pairs[:, 1]]).all()
    assert (np.diff(beads.residue[pairs], axis=1) == 1).all()


def test_tethers_hold_side_chains(beads):
    pairs = tether_pairs(beads).numpy()
    assert len(pairs) == 30 and (beads.residue[pairs[:, 0]] == beads.residue[pairs[:, 1]]).all()
    assert not beads.trace[pairs[:, 0]].any() and beads.trace[pairs[:, 1]].all()


def test_elastic_pairs_are_near_and_not_bonded(beads):
    pairs = elastic_pairs(beads)
    apart = (beads.position[pairs[:, 0]] - beads.position[pairs[:, 1]]).norm(dim=1)
    assert apart.max() < 10 and beads.trace[pairs.numpy()].all()
    assert (beads.chain[pairs[:, 0]] != beads.chain[pairs[:, 1]]).any()
    bonded = {tuple(sorted(p)) for p in bond_pairs(beads).tolist()}
    assert not bonded & {tuple(sorted(p)) for p in pairs.tolist()}


def test_one_residue_has_no_pairs(tmp_path):
    beads = coarse_grain(read_structure(write_pdb(tmp_path / "one.pdb", helix("A", 1))))
    assert len(bond_pairs(beads)) == len(tether_pairs(beads)) == len(elastic_pairs(beads)) == 0

import numpy as np
import pytest
import torch

from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.neighbours import NeighbourSearch
from atomdrgn.structure.segmentation import make_segments
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def beads(tmp_path):
    """Three helices side by side, the last with a gap in space, and an ion."""
    ion = [atom_line(900, "ZN", "ZN", "A", 99, (0, 0, 0), element="ZN", record="HETATM")]
    lines = helix("A", 10) + helix("A", 10, first=40, start=(60, 0, 0))
    return coarse_grain(
        read_structure(
            write_pdb(tmp_path / "three.pdb", lines, helix("B", 23, start=(7, 0, 0)), ion)
        ),
        beads=2,
    )


@pytest.fixture
def conformations(beads):
    """As it stands, shrunk, torn apart so far that nothing is near, stirred, and all in one place."""
    noise = torch.randn(beads.position.shape, generator=torch.Generator().manual_seed(0))
    position = beads.position.repeat(5, 1, 1)
    position[1] *= 0.2
    position[2] *= 50
    position[3] += 10 * noise
    position[4] = 0
    return position


def all_near(position, cutoff, beads, *, residues=2):
    """(batch, bead, bead) bool, above the diagonal: every distance taken."""
    chain, order = beads.chain[beads.anchor], beads.order
    far = torch.tensor((chain[:, None] != chain) | (np.abs(order[:, None] - order) > residues))
    apart = (position[:, :, None] - position[:, None]).square().sum(-1)
    return ((apart < cutoff**2) & far).triu(1)


def as_table(conformation, pairs, like):
    found = torch.zeros_like(like, dtype=torch.long)
    found.index_put_((conformation, *pairs.T), torch.tensor(1), accumulate=True)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cutoff", [4.0, 11.0])
def test_neighbours_are_those_whose_distance_is_short(beads, conformations, cutoff, dtype):
    expected = all_near(conformations.to(dtype), cutoff, beads)
    conformation, pairs = NeighbourSearch(beads)(conformations.to(dtype), cutoff)
    assert expected[0].any() and not expected[2].any() and expected[4].sum() > 500
    assert torch.equal(as_table(conformation, pairs, expected), expected.long())
    assert (pairs[:, 0] < pairs[:, 1]).all() and (conformation.diff() >= 0).all()


def test_pairs_of_one_segment_are_left_out(beads, conformations):
    segments = make_segments(beads, 4)
    together = (segments.weight @ segments.weight.T == 1) & (segments.weight.amax(1) == 1)
    expected = all_near(conformations, 6.0, beads) & ~together
    found = NeighbourSearch(beads, segments)(conformations, 6.0)
    assert torch.equal(as_table(*found, expected), expected.long())
    assert expected[0].sum() < all_near(conformations, 6.0, beads)[0].sum()


def test_one_segment_has_no_neighbours(beads, tmp_path):
    few = coarse_grain(
        read_structure(
            write_pdb(tmp_path / "few.pdb", helix("A", 3), helix("B", 3, start=(4, 0, 0)))
        )
    )
    for molecule in (beads, few):
        assert len(NeighbourSearch(molecule)(molecule.position[None], 6.0)[0])
        assert not len(
            NeighbourSearch(molecule, make_segments(molecule, 1))(molecule.position[None], 6.0)[0]
        )


def test_neighbours_in_the_chain_are_as_far_as_asked(beads, conformations):
    expected = all_near(conformations, 8.0, beads, residues=5)
    assert torch.equal(
        as_table(*NeighbourSearch(beads, residues=5)(conformations, 8.0), expected), expected.long()
    )


def test_no_neighbours_are_an_empty_list(beads):
    search = NeighbourSearch(beads)
    for position in (beads.position[None] * 50, beads.position[None][:0]):
        conformation, pairs = search(position, 4.0)
        assert conformation.shape == (0,) and pairs.shape == (0, 2) and pairs.dtype == torch.int64


def test_one_residue_has_no_neighbours(tmp_path):
    beads = coarse_grain(read_structure(write_pdb(tmp_path / "one.pdb", helix("A", 1))))
    assert len(NeighbourSearch(beads)(beads.position[None], 4.0)[0]) == 0

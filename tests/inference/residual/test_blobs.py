"""Parts of a density are told apart, measured, and named by the residues near them."""

import numpy as np
import pytest
import torch

from atomdrgn import coarse_grain, read_structure
from atomdrgn.inference.residual.blobs import Blob, find_blobs, in_words, near_residues
from molecules import helix, write_pdb

VOXEL = 2.0


def ball(centre, radius, box=40):
    """1 inside a ball, voxel ``box // 2`` at the origin; x, y, z in A."""
    along = VOXEL * (torch.arange(box) - box // 2)
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    return ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= radius**2).float()


def test_two_balls_are_two_blobs_the_larger_first():
    density = ball((20, 0, -10), 12) + 2 * ball((-20, 4, 0), 8)
    found = find_blobs(density, 10 * density, voxel_size=VOXEL, level=5.0, whole=1e4)
    (_, first), (points, second) = found
    assert first.centre == pytest.approx((20, 0, -10), abs=0.1)
    assert second.centre == pytest.approx((-20, 4, 0), abs=0.1)
    assert first.across == pytest.approx(24, rel=0.05) and second.across == pytest.approx(
        16, rel=0.08
    )
    assert first.share == pytest.approx(4 / 3 * np.pi * 12**3 / 1e4, rel=0.03)
    assert (first.significance, second.significance) == (10, 20)
    assert np.linalg.norm(points - [-20, 4, 0], axis=1).max() <= 8


def test_what_is_weak_or_tiny_is_none():
    density = ball((20, 0, -10), 12) + ball((-20, 0, 0), 4)
    weak = find_blobs(density, 4 * density, voxel_size=VOXEL, level=5.0, whole=1e4)
    assert not weak
    found = find_blobs(density, 10 * density, voxel_size=VOXEL, level=5.0, whole=1e5)
    assert len(found) == 1


def test_residues_near_are_named_with_their_group(tmp_path):
    lines = helix("A", 20) + helix("B", 20, start=(30.0, 0.0, 0.0), serial=500)
    beads = coarse_grain(read_structure(write_pdb(tmp_path / "two.pdb", lines)))
    trace = beads.position[beads.trace_index].numpy()
    group = torch.tensor([0] * 20 + [1] * 20)
    near, its_group = near_residues(trace[25:28] + [5.0, 0, 0], beads, trace, group)
    assert near.startswith("B:") and "A:" not in near and its_group == 2
    far, its_group = near_residues(np.array([[0.0, 0.0, -60.0]]), beads, trace, group)
    assert far == "A:1-3" and its_group == 1


def test_the_sentence_names_the_largest_and_the_longest_runs():
    many = Blob((0.0, 0.0, 0.0), 40.4, 0.25, 12.0, "A:1,A:5-90,B:7-9,C:-4,C:100-120,D:3-4")
    one = Blob((0.0, 0.0, 0.0), 20.0, 0.05, 8.0, "A:7")
    assert in_words([], name="x.pdb") == "no density beyond x.pdb is clear"
    assert in_words([one], name="x.pdb") == (
        "5% of the density is not in x.pdb: near A:7, 20 A across"
    )
    assert in_words([many, one], name="x.pdb") == (
        "23% of the density is not in x.pdb: near A:5-90, B:7-9, C:100-120 and others, 40 A "
        "across, and 1 smaller blob"
    )

import math

import numpy as np
import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.segmentation import make_segments
from atomdrgn.structure.selection import select
from molecules import atom_line, helix, write_pdb


@pytest.fixture
def beads(tmp_path):
    """Two helices of 60 and 30 residues, 8 A apart, and one of 5 that touches the second."""
    groups = helix("A", 60), helix("B", 30, start=(9, 0, 0)), helix("C", 5, start=(18, 0, 0))
    return coarse_grain(read_structure(write_pdb(tmp_path / "three.pdb", *groups)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 30, 95])
def test_rows_sum_to_one_and_every_segment_has_residues(beads, count):
    segments = make_segments(beads, count)
    assert segments.weight.shape == (95, count) and len(segments) == count
    torch.testing.assert_close(segments.weight.sum(1), torch.ones(95))
    assert set((segments.weight > 0).sum(1).tolist()) <= {1, 2}
    positive = segments.weight[segments.weight > 0]
    assert positive.min() >= 1e-3
    assert set(segments.weight.argmax(1).tolist()) == set(range(count))
    assert not segments.fixed.any()


def test_borders_fall_at_the_cut_and_are_four_residues_soft(beads):
    weight = make_segments(beads, 2, parts=["A:1-20,B,C", "A:21-60"]).weight[:60]
    assert (weight[:20, 0] > 0.5).all() and (weight[20:, 1] > 0.5).all()
    logit = torch.log(weight[15:25, 0] / weight[15:25, 1])
    # the border is between the twentieth residue and the next
    place = torch.arange(15, 25) - 19.5
    torch.testing.assert_close(logit, (-place * 2 * math.log(9) / 4), rtol=1e-3, atol=1e-3)
    assert (weight[:12, 1] == 0).all() and (weight[28:, 0] == 0).all()


def test_borders_are_equally_soft_whatever_the_lengths(beads):
    segments = make_segments(beads, 3, parts=["A:1-5", "A:6-16", "A:17-60,B,C"])
    own = torch.tensor([0] * 5 + [1] * 11 + [2] * 44)
    assert (segments.weight[:60].argmax(1) == own).all()
    assert segments.weight[4, 0] == pytest.approx(segments.weight[15, 1].item(), abs=0.01)


def test_equal_pieces_have_their_means_in_the_middle(tmp_path):
    segments = make_segments(
        coarse_grain(read_structure(write_pdb(tmp_path / "a.pdb", helix("A", 60)))), 3
    )
    torch.testing.assert_close(segments.mean, torch.tensor([9.5, 29.5, 49.5]))
    torch.testing.assert_close(segments.log_weight, torch.zeros(3), rtol=0, atol=1e-6)
    assert len(set(segments.width.tolist())) == 1


def test_long_chains_are_cut_and_small_ones_join_what_they_touch(beads):
    segments = make_segments(beads, 3)
    own = segments.weight.argmax(1).numpy()
    assert np.bincount(own).tolist() == [30, 30, 35]
    assert len(set(own[beads.chain == "B"]) | set(own[beads.chain == "C"])) == 1


def test_chains_that_touch_nothing_join_the_nearest(tmp_path):
    groups = helix("A", 20), helix("B", 10, start=(200, 0, 0)), helix("C", 20, start=(300, 0, 0))
    beads = coarse_grain(read_structure(write_pdb(tmp_path / "far.pdb", *groups)))
    own = make_segments(beads, 2).weight.argmax(1).numpy()
    assert own.tolist() == [0] * 20 + [1] * 30


def test_segments_keep_about_the_same_size(shared):
    ribosome = coarse_grain(
        read_structure(shared / "data/particles/warptools_dev/model_50S_placed.cif.gz")
    )
    size = np.bincount(make_segments(ribosome, 20).weight.argmax(1).numpy())
    assert len(size) == 20 and size.max() < 4 * size.min()


def test_a_larger_temperature_is_sharper(beads):
    soft, sharp = (make_segments(beads, 4, temperature=t).weight for t in (10.0, 80.0))
    assert ((soft > 0).sum(1) == 2).sum() > ((sharp > 0).sum(1) == 2).sum()
    assert torch.equal(soft.argmax(1), sharp.argmax(1))


def test_parts_come_first_and_the_fixed_segment_last(beads):
    segments = make_segments(beads, 5, parts=["A:41-60", "A:1-40"], fixed="C")
    own = segments.weight.argmax(1).numpy()
    assert set(own[select(beads, "A:41-60")]) == {0} and set(own[select(beads, "A:1-40")]) == {1}
    assert set(own[select(beads, "C")]) == {4} and set(own[select(beads, "B")]) == {2, 3}
    assert segments.fixed.tolist() == [False] * 4 + [True]


def test_parts_alone_say_how_many(beads):
    assert len(make_segments(beads, parts=["A", "B,C"])) == 2
    assert make_segments(beads, parts=["A"], fixed="B,C").fixed.tolist() == [False, True]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"count": 96}, "only 95 residues: ask for at most 95"),
        ({"count": 0}, "at least 1"),
        ({}, "at least 1"),
        ({"count": 2, "parts": ["A", "B"]}, "leave out 5 residues .*C:1"),
        ({"count": 3, "parts": ["A", "B,C"]}, "only 0 residues besides the 2"),
        ({"parts": ["A", "A:60,B,C"]}, "1 residues .*A:60.*one part only"),
        ({"count": 4, "parts": ["D"]}, "no chain 'D'"),
        ({"count": 4, "temperature": 0.0}, "temperature"),
        ({"count": 4, "temperature": float("nan")}, "temperature"),
    ],
)
def test_settings_that_do_not_fit_are_said(beads, settings, message):
    with pytest.raises(InputError, match=message):
        make_segments(beads, **settings)


def test_ligands_and_side_chains_follow_their_residue(tmp_path):
    ion = [atom_line(900, "MG", "MG", "M", 1, (4, 0, 60), element="MG", record="HETATM")]
    beads = coarse_grain(
        read_structure(write_pdb(tmp_path / "ion.pdb", helix("A", 60), ion)), beads=2
    )
    segments = make_segments(beads, 5)
    assert torch.equal(segments.weight, segments.weight[torch.tensor(beads.anchor)])
    nearest = (beads.position[:-1] - beads.position[-1]).norm(dim=1).argmin()
    assert torch.equal(segments.weight[-1], segments.weight[nearest])


def test_a_glycan_moves_as_its_residue(shared):
    beads = coarse_grain(read_structure(shared / "data/structures/1igy.cif"))
    segments = make_segments(beads, 12)
    asparagine = (beads.chain == "B") & (beads.residue == 314)
    glycan = segments.weight[torch.tensor(beads.chain == "E")]
    assert len(glycan) == 9 and torch.equal(
        glycan, segments.weight[torch.tensor(asparagine)].expand(9, -1)
    )


def test_membership_can_be_learned(beads):
    segments = make_segments(beads, 4)
    parameters = [
        p.double().requires_grad_() for p in (segments.mean, segments.width, segments.log_weight)
    ]
    target = torch.randn(95, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    value = (segments.membership(*parameters) * target).sum()
    gradients = torch.autograd.grad(value, parameters)
    for which, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0
        step = torch.zeros_like(parameter)
        step[1] = 1e-5
        moved = [p + step if k == which else p for k, p in enumerate(parameters)]
        back = [p - step if k == which else p for k, p in enumerate(parameters)]
        slope = ((segments.membership(*moved) - segments.membership(*back)) * target).sum() / 2e-5
        assert gradient[1].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-6)
    torch.testing.assert_close(
        segments.membership(segments.mean, segments.width, segments.log_weight), segments.weight
    )


def test_breaks_in_space_do_not_end_a_chain(tmp_path):
    lines = helix("A", 20) + helix("A", 20, first=50, start=(80, 0, 0))
    beads = coarse_grain(read_structure(write_pdb(tmp_path / "gap.pdb", lines)))
    assert beads.order.tolist() == list(range(40))
    assert np.bincount(make_segments(beads, 4).weight.argmax(1).numpy()).tolist() == [10] * 4

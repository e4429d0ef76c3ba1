import numpy as np
import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.likelihood.restraints.restraints import (
    clash,
    distances,
    harmonic,
    make_restraints,
    tether,
)
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.segmentation import make_segments
from molecules import helix, write_pdb


@pytest.fixture
def beads(tmp_path):
    """Two helices that touch: some of their beads are nearer than 4 A."""
    groups = helix("A", 24), helix("B", 12, start=(7, 0, 0))
    return coarse_grain(read_structure(write_pdb(tmp_path / "two.pdb", *groups)), beads=2).to(
        torch.float64
    )


@pytest.fixture
def bent(beads):
    generator = torch.Generator().manual_seed(1)
    return beads.position + torch.randn(
        3, *beads.position.shape, dtype=torch.float64, generator=generator
    )


def test_the_base_model_has_no_strain(beads):
    restraints = make_restraints(beads)
    assert all(len(pairs) for pairs in (restraints.bonds, restraints.tethers, restraints.elastic))
    parts = restraints.each(beads.position.repeat(2, 1, 1))
    for name, value in parts.items():
        assert value.shape == (2,) and torch.equal(value, torch.zeros(2, dtype=torch.float64)), name


def test_the_base_model_has_contacts_that_would_clash_elsewhere(beads):
    position = beads.position.clone()
    position[beads.chain == "B", 0] -= 1.5
    assert make_restraints(beads).each(position[None])["clash"] > 0


def test_rigid_motions_cost_nothing(beads):
    turn = torch.linalg.qr(
        torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    )[0]
    moved = beads.position @ turn.T + torch.tensor([10.0, -4, 3], dtype=torch.float64)
    assert make_restraints(beads)(moved[None]) < 1e-20


def test_springs_by_hand():
    position = torch.tensor([[[0.0, 0, 0], [3, 0, 0], [3, 4, 0]]])
    pairs = torch.tensor([[0, 1], [1, 2]])
    assert distances(position, pairs).tolist() == [[3, 4]]
    assert harmonic(position, pairs, rest_length=torch.tensor([2.0, 6.0]), sigma=0.5).tolist() == [
        0.5 * (1 + 4) / 0.25
    ]
    assert tether(position, pairs, longest=torch.tensor([2.0, 6.0]), sigma=0.5).tolist() == [
        0.5 * 1 / 0.25
    ]


def test_clashes_are_counted_where_they_are():
    position = torch.tensor([[[0.0, 0, 0], [3, 0, 0]], [[0.0, 0, 0], [9, 0, 0]]])
    value = clash(
        position, torch.tensor([0]), torch.tensor([[0, 1]]), nearest=torch.tensor([4.0]), sigma=0.5
    )
    assert value.tolist() == [2.0, 0.0]


def test_no_clash_is_zero_and_has_a_gradient(beads):
    position = (beads.position[None] * 20).requires_grad_()
    value = make_restraints(beads).each(position)["clash"]
    assert value.tolist() == [0.0]
    (gradient,) = torch.autograd.grad(value.sum(), position)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_beads_in_one_place_have_finite_gradients(beads):
    position = torch.zeros_like(beads.position)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(make_restraints(beads)(position).sum(), position)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["bond", "tether", "elastic", "clash"])
def test_gradients_agree_with_finite_differences(beads, bent, name):
    restraints = make_restraints(beads)
    position = bent.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(restraints.each(position)[name].sum(), position)
    direction = torch.randn(
        bent.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    step = 1e-6
    slope = (
        restraints.each(bent + step * direction)[name]
        - restraints.each(bent - step * direction)[name]
    ) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum((1, 2)), slope, rtol=1e-5, atol=1e-4)


def test_the_sum_and_its_gradient_are_those_of_the_parts(beads, bent):
    """The compiled loops against the definition."""
    restraints = make_restraints(beads)
    position = torch.cat([bent, beads.position[None]]).requires_grad_()
    value, parts = restraints(position), sum(restraints.each(position).values())
    torch.testing.assert_close(value, parts)
    scale = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(value @ scale, position)
    (expected,) = torch.autograd.grad(parts @ scale, position)
    torch.testing.assert_close(gradient, expected)


def test_the_gradient_of_the_sum_agrees_with_finite_differences(beads, bent):
    assert torch.autograd.gradcheck(
        make_restraints(beads), bent[:2].clone().requires_grad_(), atol=1e-3
    )


def test_the_sum_in_single_precision(beads, bent):
    restraints = make_restraints(beads)
    position = bent.float().requires_grad_()
    value = restraints(position)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), restraints(bent), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(value.sum(), position)
    assert gradient.dtype == torch.float32


def test_strained_pairs_hold_all_restraints(beads, bent):
    restraints = make_restraints(beads)
    strained = restraints.strained(bent)
    assert (np.diff(strained.conformation) >= 0).all()
    strain = 0.5 * np.bincount(strained.conformation, strained.weight * strained.residual**2)
    torch.testing.assert_close(torch.from_numpy(strain), sum(restraints.each(bent).values()))
    moved = (
        bent[strained.conformation, strained.pair[:, 0]]
        - bent[strained.conformation, strained.pair[:, 1]]
    )
    np.testing.assert_allclose(
        strained.direction, moved / moved.norm(dim=1, keepdim=True), atol=1e-12
    )


def test_segments_leave_only_the_pairs_that_can_strain(beads):
    segments = make_segments(beads, 3)
    restraints, all_of_them = make_restraints(beads, segments), make_restraints(beads)
    overlap = (
        segments.weight[restraints.elastic[:, 0]] * segments.weight[restraints.elastic[:, 1]]
    ).sum(1)
    assert ((overlap > 0) & (overlap < 1)).all()
    assert 0 < len(restraints.bonds) < len(all_of_them.bonds)
    # a motion of whole segments strains the same bonds, whether or not the idle ones are there
    shift = segments.weight.double() @ torch.tensor(
        [[0.0, 0, 0], [3, 1, 0], [0, -2, 5]], dtype=torch.float64
    )
    moved = (beads.position + shift)[None]
    torch.testing.assert_close(restraints.each(moved)["bond"], all_of_them.each(moved)["bond"])
    torch.testing.assert_close(restraints.each(moved)["tether"], all_of_them.each(moved)["tether"])


def test_one_segment_has_nothing_to_restrain(beads):
    restraints = make_restraints(beads, make_segments(beads, 1))
    assert len(restraints.bonds) == len(restraints.elastic) == len(restraints.tethers) == 0
    assert restraints(beads.position[None] + 5).tolist() == [0.0]


def test_a_sigma_of_zero_is_refused(beads):
    with pytest.raises(InputError, match="bond_sigma is 0"):
        make_restraints(beads, bond_sigma=0.0)


@pytest.mark.filterwarnings("ignore::atomdrgn.errors.UnmodelledWarning")
def test_a_simulated_closing_stays_near_the_restraints(shared):
    """Adenylate kinase from closed to open: bonds and tethers strain by about half a unit each, as
    the sigmas say.
    """
    from biotite.structure.io.dcd import DCDFile

    structure = read_structure(shared / "data/ensembles/adk_closed.pdb")
    beads = coarse_grain(structure, beads=2)
    last = torch.tensor(DCDFile.read(shared / "data/ensembles/adk_dims.dcd").get_coord()[-1])
    weight, owner = torch.tensor(structure.element).float(), torch.tensor(beads.bead_of_atom)
    position = torch.zeros_like(beads.position).index_add(0, owner, weight[:, None] * last)
    position /= torch.zeros(len(beads)).index_add(0, owner, weight)[:, None]
    restraints = make_restraints(beads)
    parts = restraints.each(position[None])
    assert (position - beads.position).norm(dim=1).mean() > 3
    assert parts["bond"].item() < 0.5 * len(restraints.bonds) and parts[
        "tether"
    ].item() < 0.5 * len(restraints.tethers)


def test_bonds_by_themselves_are_looser_and_let_beads_meet(beads, bent):
    """What is left of the strain is a ninth of that of bonds and tethers, also where the loop over
    strained pairs finds it.
    """
    restraints = make_restraints(beads)
    parts, left = restraints.each(bent), restraints.of_bonds(3.0)
    assert (parts["clash"] > 0).all() and (parts["elastic"] > 0).all()
    expected = (parts["bond"] + parts["tether"]) / 9
    torch.testing.assert_close(sum(left.each(bent).values()), expected)
    torch.testing.assert_close(left(bent), expected)

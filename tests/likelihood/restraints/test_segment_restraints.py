import numpy as np
import pytest
import torch

from atomdrgn.errors import InputError
from atomdrgn.likelihood.restraints.pair_restraints import (
    Clashes,
    Springs,
    StraightSprings,
    Tethers,
    distances,
)
from atomdrgn.likelihood.restraints.restraint import Restraint
from atomdrgn.likelihood.restraints.segment_restraints import (
    OF_SEGMENTS,
    Restraints,
    bonds,
    clashes,
    make_restraints,
)
from atomdrgn.structure.atoms import read_structure
from atomdrgn.structure.beads import coarse_grain
from atomdrgn.structure.neighbours import NeighbourSearch
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


def of_name(restraints):
    return {term.name: term for term in restraints.terms}


def test_the_base_model_has_no_strain(beads):
    restraints = make_restraints(beads)
    held = of_name(restraints)
    assert all(len(held[name].pairs) for name in ("bond", "tether", "elastic"))
    parts = restraints.each(beads.position.repeat(2, 1, 1))
    for name, value in parts.items():
        assert value.shape == (2,) and torch.equal(value, torch.zeros(2, dtype=torch.float64)), name


def test_the_base_model_has_contacts_that_would_clash_elsewhere(beads):
    position = beads.position.clone()
    position[beads.chain == "B", 0] -= 1.5
    assert make_restraints(beads).each(position[None])["clash"] > 0


@pytest.mark.seconds
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
    length = torch.tensor([2.0, 6.0])
    assert Springs("spring", pairs, length, 0.5).strain(position).tolist() == [0.5 * (1 + 4) / 0.25]
    each = Springs("spring", pairs, length, torch.tensor([0.5, 1.0]))
    assert each.strain(position).tolist() == [0.5 * (1 / 0.25 + 4)]
    assert Tethers("tether", pairs, length, 0.5).strain(position).tolist() == [0.5 * 1 / 0.25]


def test_clashes_are_counted_where_they_are(beads):
    """Beads far from each other but for two, in the first of two conformations."""
    apart = 20 * beads.position
    first, second = beads.trace_index[0], beads.trace_index[-1]

    def at_distance(distance):
        position = apart.clone()
        position[second] = position[first] + torch.tensor([distance, 0, 0], dtype=torch.float64)
        return position

    for base, expected in ((9.0, 2.0), (3.5, 0.5), (2.0, 0.0)):
        term = Clashes("clash", at_distance(base), NeighbourSearch(beads), 4.0, 0.5)
        value = term.strain(torch.stack([at_distance(3.0), apart]))
        torch.testing.assert_close(value, torch.tensor([expected, 0.0], dtype=torch.float64))


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


@pytest.mark.parametrize("name", ["bond", "tether", "elastic", "clash"])
def test_strained_rows_hold_all_of_a_term(beads, bent, name):
    """The compiled loop against the value, and against the residuals one conformation at a time."""
    term = of_name(make_restraints(beads))[name]
    strained, slow = term.strained(bent), Restraint.strained(term, bent)
    assert (np.diff(strained.conformation) >= 0).all()
    strain = 0.5 * np.bincount(strained.conformation, strained.weight * strained.residual**2)
    torch.testing.assert_close(torch.from_numpy(strain), term.strain(bent))
    for quick, twin in zip(strained, slow, strict=True):
        np.testing.assert_allclose(quick, twin, rtol=1e-9, atol=1e-9)
    moved = (
        bent[strained.conformation, strained.bead[:, 0]]
        - bent[strained.conformation, strained.bead[:, 1]]
    )
    along = moved / moved.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(strained.direction, torch.stack([along, -along], 1), atol=1e-12)


@pytest.mark.parametrize("name", ["bond", "tether", "elastic", "clash"])
def test_a_strain_made_of_residuals_is_the_same(beads, bent, name):
    """What a term has that brings no quicker strain of its own, whatever the batch is."""
    term = of_name(make_restraints(beads))[name]
    for position in (bent[0], bent, bent[:, None]):
        position = position.clone().requires_grad_()
        slow = Restraint.strain(term, position)
        torch.testing.assert_close(slow, term.strain(position))
        (gradient,) = torch.autograd.grad(slow.sum(), position, retain_graph=True)
        (expected,) = torch.autograd.grad(term.strain(position).sum(), position)
        torch.testing.assert_close(gradient, expected)


def test_straight_springs_by_hand():
    base = torch.tensor([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [4.0, 4.0, 0.0]])
    pairs, sigma = torch.tensor([[0, 1], [1, 2]]), torch.tensor([0.1, 0.5])
    springs = StraightSprings("neighbour", base, pairs, sigma)
    step = torch.zeros(2, 3, 3)
    step[0, 1, 0], step[1, 2, 1] = 0.2, 0.5  # stretch one of them each
    torch.testing.assert_close(springs.strain(base + step), torch.tensor([2.0, 0.5]))
    flat = step.reshape(2, 9).double()
    matrix = Restraints((springs,)).curvature(base)
    torch.testing.assert_close(
        0.5 * ((flat @ matrix) * flat).sum(1).float(), torch.tensor([2.0, 0.5])
    )


def test_straight_springs_are_springs_to_first_order(beads):
    held = of_name(make_restraints(beads))["bond"]
    sigma = torch.full((len(held.pairs),), 0.5, dtype=torch.float64)
    straight = StraightSprings("neighbour", beads.position, held.pairs, sigma)
    step = torch.randn(
        beads.position.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    near = beads.position + 1e-4 * step
    torch.testing.assert_close(straight.strain(near), held.strain(near), rtol=1e-3, atol=0)
    torch.testing.assert_close(
        straight.strain(beads.position + 2 * step), 4e8 * straight.strain(near)
    )
    torch.testing.assert_close(Restraint.strain(straight, near), straight.strain(near))
    torch.testing.assert_close(
        Restraints((straight,)).curvature(near), Restraints((held,)).curvature(beads.position)
    )


def test_the_curvature_is_that_of_the_squares(beads, bent):
    """The second derivative where nothing is strained, and the sum of its terms' anywhere."""
    restraints = make_restraints(beads)
    matrix = restraints.curvature(bent[0])
    terms = [Restraints((term,)).curvature(bent[0]) for term in restraints.terms]
    torch.testing.assert_close(matrix, sum(terms))
    held = Restraints(tuple(of_name(restraints)[name] for name in ("bond", "elastic")))
    step = torch.randn(
        beads.position.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4)
    )
    second = sum(held.strain(beads.position + sign * 1e-3 * step) for sign in (1, -1)) / 1e-6
    flat = step.flatten()
    torch.testing.assert_close(
        second, flat @ held.curvature(beads.position) @ flat, rtol=1e-3, atol=0
    )
    empty = Restraints(()).curvature(bent[0])
    assert empty.shape == matrix.shape and not empty.any()


def test_segments_leave_only_the_pairs_that_can_strain(beads):
    segments = make_segments(beads, 3)
    restraints, all_of_them = make_restraints(beads, segments), make_restraints(beads)
    held = of_name(restraints)
    i, j = held["elastic"].pairs.T
    overlap = (segments.weight[i] * segments.weight[j]).sum(1)
    assert ((overlap > 0) & (overlap < 1)).all()
    assert 0 < len(held["bond"].pairs) < len(of_name(all_of_them)["bond"].pairs)
    # a motion of whole segments strains the same bonds, whether or not the idle ones are there
    shift = segments.weight.double() @ torch.tensor(
        [[0.0, 0, 0], [3, 1, 0], [0, -2, 5]], dtype=torch.float64
    )
    moved = (beads.position + shift)[None]
    torch.testing.assert_close(restraints.each(moved)["bond"], all_of_them.each(moved)["bond"])
    torch.testing.assert_close(restraints.each(moved)["tether"], all_of_them.each(moved)["tether"])


def test_one_segment_has_nothing_to_restrain(beads):
    restraints = make_restraints(beads, make_segments(beads, 1))
    held = of_name(restraints)
    assert not any(len(held[name].pairs) for name in ("bond", "elastic", "tether"))
    assert restraints(beads.position[None] + 5).tolist() == [0.0]


def test_a_fit_is_held_by_the_terms_of_the_table(beads):
    restraints = make_restraints(beads, make_segments(beads, 3), OF_SEGMENTS)
    assert [term.name for term in restraints.terms] == ["bond", "tether", "clash"]


def test_a_sigma_of_zero_is_refused(beads):
    with pytest.raises(InputError, match="bond: 0.0 A"):
        bonds(beads, sigma=0.0)
    with pytest.raises(InputError, match="clash distance: -1.0 A"):
        clashes(beads, distance=-1.0)


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
    for name in ("bond", "tether"):
        assert parts[name].item() < 0.5 * len(of_name(restraints)[name].pairs)


def test_bonds_by_themselves_are_looser_and_let_beads_meet(beads, bent):
    """What is left of the strain is a ninth of that of bonds and tethers, also where the loop over
    strained pairs finds it.
    """
    restraints = make_restraints(beads)
    parts, left = restraints.each(bent), restraints.on_surface(3.0)
    assert (parts["clash"] > 0).all() and (parts["elastic"] > 0).all()
    expected = (parts["bond"] + parts["tether"]) / 9
    torch.testing.assert_close(sum(left.each(bent).values()), expected)
    torch.testing.assert_close(left(bent), expected)

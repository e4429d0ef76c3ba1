"""Motions count as supported where both half-sets say so, from the first on; the molecule's motion
as a whole is none.
"""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.findings.held_out_support import (
    SIGNIFICANT,
    MotionSupport,
    count_supported,
    judge_motions,
    mean_is_supported,
    whole_root,
    with_tails_drawn_in,
    without_whole,
)
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.population import Population
from atomdrgn.inference.problem.half_sets import half_sets
from atomdrgn.inference.problem.principal_motions import how_alike, motions_of
from hinge import make_hinged


def support(*gain, error=1.0, alike=1.0, testable=True):
    needed = torch.tensor([0.5] + [0.75] * len(gain))[: len(gain)]
    error, alike = (torch.as_tensor(each).expand(len(gain)).clone() for each in (error, alike))
    return MotionSupport(torch.tensor(gain), error, alike, needed, testable)


CLEAR, NOTHING = 2 * SIGNIFICANT, 0.5 * SIGNIFICANT


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        (((CLEAR, CLEAR), (CLEAR, CLEAR)), 2),
        (((CLEAR, -NOTHING, CLEAR), (CLEAR, CLEAR, CLEAR)), 1),
        (((CLEAR, CLEAR, NOTHING), (-NOTHING, CLEAR, CLEAR)), 0),
        (((CLEAR, -CLEAR), (CLEAR, -CLEAR)), 1),
        (((CLEAR, CLEAR, CLEAR), (CLEAR,)), 1),
        (((NOTHING,), (CLEAR, CLEAR)), 1),
        (((CLEAR,), ()), 0),
        (((0.7 * SIGNIFICANT,), (0.7 * SIGNIFICANT,)), 0),
    ],
)
def test_motions_count_up_to_the_first_that_both_together_do_not_support(gains, expected):
    """Though further ones may be supported, and though one half-set has looked at more of them."""
    supports = [support(*gain) for gain in gains]
    assert count_supported(supports) == expected == count_supported(supports[::-1])


def test_a_gain_counts_in_units_of_its_error():
    assert count_supported([support(0.4, error=0.1)] * 2) == 1
    assert count_supported([support(0.4, error=0.1), support(400.0, error=200.0)]) == 0


def test_a_further_motion_that_the_other_half_set_has_not_found_counts_for_nothing():
    """However much likelier it makes images: what mends an error of the model's differs from half
    to half.
    """
    assert count_supported([support(CLEAR, CLEAR), support(CLEAR, CLEAR, alike=0.6)]) == 1
    assert count_supported([support(CLEAR, CLEAR, alike=0.8)] * 2) == 2


def verdicts(*supports, agreement=None):
    judged = judge_motions(supports, None if agreement is None else torch.tensor(agreement))
    return [motion.verdict for motion in judged]


def test_a_motion_that_half_sets_do_not_agree_on_is_unconfirmed():
    """The first one too, from half on; what stands behind it can be no more than that."""
    for alike, said in ((0.4, "unconfirmed"), (0.6, "supported")):
        assert verdicts(support(CLEAR, alike=alike), support(CLEAR)) == [said]
    alike = torch.tensor([1.0, 0.3, 1.0])
    halves = support(CLEAR, CLEAR, CLEAR, alike=alike), support(CLEAR, CLEAR, CLEAR)
    assert verdicts(*halves) == ["supported", "unconfirmed", "unconfirmed"]
    assert count_supported(halves) == 1
    first, second, third = judge_motions(halves)
    assert (first.why, second.alike) == ("", pytest.approx(0.3))
    assert second.why == "the half-sets have not found the same motion"
    assert third.why == "stands behind one that is not confirmed"


def test_motions_of_all_particles_have_to_be_those_of_the_half_sets():
    """Two half-sets that agree, and a fit of both that goes another way along the second."""
    halves = [support(CLEAR, CLEAR)] * 2
    assert verdicts(*halves, agreement=[0.99, 0.03]) == ["supported", "unconfirmed"]
    assert verdicts(*halves, agreement=[0.99]) == ["supported", "supported"]
    assert verdicts(*halves, agreement=[0.99, 0.9, 0.0]) == ["supported", "supported"]


def test_half_sets_that_are_too_small_are_not_asked_whether_they_agree():
    halves = [support(CLEAR, CLEAR, NOTHING, alike=0.1, testable=False), support(CLEAR, CLEAR, 0.0)]
    assert verdicts(*halves, agreement=[0.1, 0.1]) == [
        "not testable",
        "not testable",
        "not supported",
    ]
    assert count_supported(halves) == 2
    assert judge_motions(halves)[0].why == "half-sets have fewer than 100 particles"


def test_why_a_motion_is_not_supported_is_said():
    losing = judge_motions([support(CLEAR, -1.0), support(CLEAR, CLEAR)])
    assert [motion.why for motion in losing] == ["", "images of half-set 1 do not gain by it"]
    chance = judge_motions([support(NOTHING, CLEAR)] * 2)
    assert [motion.why for motion in chance] == [
        "images gain less by it than 3 standard errors",
        "stands behind one that is not supported",
    ]
    assert {motion.verdict for motion in chance} == {"not supported"}


def test_gains_of_a_few_particles_decide_nothing():
    """Three of 400 gain very much; what all gain a little stays, and half of them that gain much."""
    noise = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    noise[:3, 0] += 400
    noise[:, 1] += 0.5
    noise[::2, 2] += 40
    drawn_in = with_tails_drawn_in(noise)
    assert noise[:, 0].mean() > 2 and drawn_in[:, 0].mean().abs() < 0.1
    torch.testing.assert_close(drawn_in[:, 1:].mean(0), noise[:, 1:].mean(0), rtol=0.02, atol=0.02)
    assert torch.equal(with_tails_drawn_in(noise[:99]), noise[:99])


@pytest.fixture(scope="module")
def model(begin):
    return begin(20.0)[0]


@pytest.fixture
def population(model):
    generator = torch.Generator().manual_seed(0)
    n = model.deformation.n_latent
    return Population(
        0.5 * torch.randn(n, generator=generator), torch.randn(n, n, generator=generator)
    )


def lengths(model, at, root):
    """Of each column, in the metric of the trace and after superposition, A."""
    trace = model.beads.trace_index
    return [
        torch.einsum("lk,lm,mk->k", root, metric(trace, at), root).clamp_min(0).sqrt()
        for metric in (model.deformation.trace_metric, model.deformation.shape_metric)
    ]


def test_the_motion_as_a_whole_spans_six_directions_without_a_change_of_shape(model, population):
    root = whole_root(model, population)
    moved, changed = lengths(model, population.mean, root)
    assert root.shape == (model.deformation.n_latent, 6) and torch.linalg.matrix_rank(root) == 6
    assert (changed < 0.01 * moved).all() and (moved > 0.01).all()


def test_a_population_that_moves_as_a_whole_only_is_found_whole(model, population):
    whole = model.deformation.whole_motion(population.mean)
    spread = torch.linalg.cholesky(
        torch.diag(torch.tensor([4.0, 1.0, 2.0, 1e-3, 2e-3, 1e-3])) + 1e-4
    )
    root = torch.cat([whole @ spread, torch.zeros(len(whole), len(whole) - 6)], 1)
    found = whole_root(model, Population(population.mean, root))
    torch.testing.assert_close(found @ found.T, root @ root.T, rtol=1e-3, atol=1e-3)


def test_what_is_left_of_a_step_is_its_change_of_shape(model, population):
    step = torch.randn(model.deformation.n_latent, 4, generator=torch.Generator().manual_seed(1))
    left = without_whole(model, population, step)
    _, change_before = lengths(model, population.mean, step)
    moved, change = lengths(model, population.mean, left)
    torch.testing.assert_close(change, change_before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved, change, rtol=1e-3, atol=1e-3)
    assert (
        without_whole(model, population, model.deformation.whole_motion(population.mean))
        .abs()
        .max()
        < 1e-3
    )


def test_motions_that_change_places_are_alike(model, population):
    found = motions_of(model, population)
    first, second = found.direction[:, :1], found.direction[:, 1:2]
    swapped = replace(found, direction=torch.cat([second, first, found.direction[:, 2:]], 1))
    alike = how_alike(model, found, swapped)
    assert alike[:2] == pytest.approx([1.0, 1.0], abs=1e-3)
    assert how_alike(
        model, found.first(1), replace(found.first(1), direction=second)
    ) == pytest.approx([0.0], abs=1e-3)
    between = replace(found.first(1), direction=(first + second) / 2**0.5)
    assert how_alike(model, found.first(1), between) == pytest.approx([0.5**0.5], abs=1e-3)


@pytest.mark.parametrize(("moved", "expected"), [(0.0, False), (3.0, True)])
def test_the_mean_conformation_counts_where_images_of_both_halves_want_it(
    tmp_path, moved, expected
):
    """Half-sets that have found the second bundle a little off, which it is not, or where it is."""
    structure, particles, _ = make_hinged(tmp_path, count=60, largest=0.0)
    off = torch.from_numpy(structure.chain == "B")[:, None] * torch.tensor([moved, 0.0, 0.0])
    model = assemble(
        structure.moved(structure.position - off),
        particles,
        FitOptions(segments=2, resolution=12.0),
    )
    model.images.load()
    disc = model.images.disc
    power = model.images.coefficients(torch.arange(60), disc).square().mean((0, 1))
    start = replace(
        first_state(model), spectrum=2 * power.mean().expand(1, int(disc.shell.max()) + 1)
    )
    halves, states = half_sets(model), []
    for half, noise in zip(halves, (0.3, -0.3), strict=True):
        latent = torch.zeros(model.deformation.n_latent)
        latent[6:9] = torch.tensor([moved, noise, 0.0])
        states.append(replace(half.state(start), population=replace(start.population, mean=latent)))
    assert mean_is_supported(halves, states) == expected

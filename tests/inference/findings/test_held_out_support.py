"""Motions count as supported where both half-sets say so, from the first on; the molecule's motion
as a whole is none.
"""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.findings.held_out_support import (
    SIGNIFICANT,
    MotionSupport,
    _without_whole,
    count_supported,
    how_alike,
    mean_is_supported,
    whole_root,
    with_tails_drawn_in,
)
from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.population import Population
from atomdrgn.inference.problem.half_sets import half_sets
from atomdrgn.inference.problem.principal_motions import motions_of
from hinge import make_hinged


def support(*gain, error=1.0, alike=1.0):
    return MotionSupport(
        torch.tensor(gain), torch.full((len(gain),), error), torch.full((len(gain),), alike)
    )


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
    left = _without_whole(model, population, step)
    _, change_before = lengths(model, population.mean, step)
    moved, change = lengths(model, population.mean, left)
    torch.testing.assert_close(change, change_before, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved, change, rtol=1e-3, atol=1e-3)
    assert (
        _without_whole(model, population, model.deformation.whole_motion(population.mean))
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

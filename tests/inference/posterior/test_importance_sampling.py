"""Draws and beliefs out of weighted places are those of the posterior that the places stand for."""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.latent_density import log_normal
from atomdrgn.inference.posterior.importance_sampling import (
    KEPT_DRAWS,
    LOOSER,
    Belief,
    Sampler,
    _even_normals,
    believe,
    draw,
    working_disc,
)
from atomdrgn.inference.posterior.pose_errors import no_play
from atomdrgn.inference.problem.principal_motions import motions_of
from atomdrgn.likelihood.restraints.restraint_equations import restraint_equations
from atomdrgn.likelihood.restraints.segment_restraints import Restraints
from atomdrgn.structure.motion.surface import straight_surface

NORMAL_95 = 1.6449


def weighted(mean, root, *, draws=400, wider=1.5, seed=0):
    """Places from wider Gaussians, with the weights that make them those of (particle, k) means and
    (particle, k, k) roots.
    """
    generator = torch.Generator().manual_seed(seed)
    place = mean + wider * (root @ torch.randn(draws, *mean.shape, 1, generator=generator))[..., 0]
    return place, (log_normal(place - mean, root) - log_normal(place - mean, wider * root)).softmax(
        0
    )


@pytest.fixture
def belief():
    """Of 300 particles along two motions, correlated by 0.8."""
    generator = torch.Generator().manual_seed(1)
    root = torch.tensor([[2.0, 0.0], [0.4, 0.3]]) * (
        0.5 + torch.rand(300, 1, 1, generator=generator)
    )
    return Belief(5 * torch.randn(300, 2, generator=generator), root)


def test_draws_are_spread_like_the_weighted_places(belief):
    """Mean over particles: the 5 % and 95 % quantiles of twenty draws are those of each Gaussian,
    its mean and spread too.
    """
    place, weight = weighted(belief.mean, belief.root)
    drawn = draw(place, weight, belief, torch.Generator().manual_seed(2))
    assert drawn.shape == (300, KEPT_DRAWS, 2)
    sd = belief.root.square().sum(-1).sqrt()
    standard = (drawn - belief.mean[:, None]) / sd[:, None]
    low, high = standard.quantile(torch.tensor([0.05, 0.95]), dim=1).mean(1)
    assert (low + NORMAL_95).abs().max() < 0.06 * NORMAL_95 and (
        high - NORMAL_95
    ).abs().max() < 0.06 * NORMAL_95
    assert standard.mean((0, 1)).abs().max() < 0.03
    assert (standard.std(1, correction=0).mean(0) - 1).abs().max() < 0.08


def test_draws_of_few_places_are_spread_as_these_are(belief):
    """Of two dozen places about each particle and eight anywhere, which have next to no weight:
    their tails reach no farther.
    """
    generator = torch.Generator().manual_seed(4)
    one = Belief(belief.mean[:, :1], belief.root[:, :1, :1])
    near = one.mean + 1.3 * _even_normals(24, 1, generator)[:, None] * one.root[..., 0]
    weight = (
        log_normal(near - one.mean, one.root) - log_normal(near - one.mean, 1.3 * one.root)
    ).softmax(0)
    far = one.mean + 20 * torch.randn(8, 300, 1, generator=generator) * one.sd
    drawn = draw(torch.cat([near, far]), torch.cat([weight, torch.zeros(8, 300)]), one, generator)
    ratio = drawn.std(1, correction=0) / one.sd
    assert 1.0 < ratio.mean() < 1.1 and ratio.max() < 1.2


def test_draws_enclose_the_truth_as_often_as_they_say(belief):
    generator = torch.Generator().manual_seed(3)
    truth = belief.mean + (belief.root @ torch.randn(300, 2, 1, generator=generator))[..., 0]
    drawn = draw(*weighted(belief.mean, belief.root), belief, generator)
    low, high = drawn.quantile(torch.tensor([0.05, 0.95]), dim=1)
    assert 0.86 < ((low < truth) & (truth < high)).float().mean() < 0.94


def test_draws_are_correlated_as_the_belief_is(belief):
    drawn = draw(*weighted(belief.mean, belief.root), belief, torch.Generator().manual_seed(2))
    offset = drawn - drawn.mean(1, keepdim=True)
    correlation = offset.prod(-1).sum(1) / offset.square().sum(1).prod(-1).sqrt()
    assert abs(float(correlation.mean()) - 0.8) < 0.04
    alone = draw(
        *weighted(belief.mean, belief.root),
        Belief(belief.mean, torch.eye(2).expand(300, 2, 2).clone()),
        torch.Generator().manual_seed(2),
    )
    offset = alone - alone.mean(1, keepdim=True)
    assert (
        abs(float((offset.prod(-1).sum(1) / offset.square().sum(1).prod(-1).sqrt()).mean())) < 0.05
    )


def test_draws_follow_places_that_are_no_gaussian():
    """Two peaks: draws stand in both, as often as the weights say, and next to none between them."""
    place = torch.cat([torch.linspace(-5.2, -4.8, 30), torch.linspace(4.8, 5.2, 30)])[
        :, None, None
    ].expand(-1, 4, 1)
    weight = torch.cat([torch.full((30,), 0.7 / 30), torch.full((30,), 0.3 / 30)])[:, None].expand(
        -1, 4
    )
    belief = Belief(torch.full((4, 1), -2.0), torch.full((4, 1, 1), 4.6))
    drawn = draw(place, weight, belief, torch.Generator().manual_seed(0))
    assert ((drawn < -4.7).sum(1) == 14).all() and ((drawn > 4.7).sum(1) == 6).all()


@pytest.mark.parametrize("near", [[0.0], [-0.03, -0.01, 0.01, 0.03]])
def test_draws_do_not_spread_towards_places_that_hold_no_weight(near):
    """One place that holds all of it, or some close together, and others 5 A away."""
    place = torch.tensor(near + [5.0, 6.0])[:, None, None].expand(-1, 3, 1)
    weight = torch.tensor([1 / len(near)] * len(near) + [0.0, 0.0])[:, None].expand(-1, 3)
    belief = Belief(torch.zeros(3, 1), torch.full((3, 1, 1), 0.02))
    drawn = draw(place, weight, belief, torch.Generator().manual_seed(0))
    assert drawn.abs().max() <= 6 * 0.02 + 1e-6 and drawn.std(1).min() > 0.01


def test_the_same_generator_gives_the_same_draws(belief):
    places = weighted(belief.mean, belief.root)
    first, second, other = (
        draw(*places, belief, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)
    torch.testing.assert_close(first.sort(1).values, other.sort(1).values)


def test_what_is_believed_is_mean_and_covariance_of_the_places(belief):
    place, weight = weighted(belief.mean, belief.root, draws=2000)
    found = believe(place, weight, Belief(torch.zeros(300, 2), belief.root.roll(1, 0)))
    sd = belief.root.square().sum(-1).sqrt()
    assert ((found.mean - belief.mean) / sd).abs().max() < 0.15
    difference = (found.root @ found.root.mT - belief.root @ belief.root.mT) / (
        sd[:, :, None] * sd[:, None]
    )
    assert difference.mean(0).abs().max() < 0.02 and difference.abs().max() < 0.25
    assert (found.root.triu(1) == 0).all()


def test_one_place_that_carries_all_weight_says_nothing_of_the_spread():
    place = torch.randn(32, 3, 2, generator=torch.Generator().manual_seed(0))
    weight = torch.zeros(32, 3)
    weight[5] = 1
    before = Belief(
        torch.zeros(3, 2), torch.tensor([[2.0, 0.0], [1.0, 0.5]]).expand(3, 2, 2).clone()
    )
    found = believe(place, weight, before)
    torch.testing.assert_close(found.mean, place[5])
    torch.testing.assert_close(found.root, 0.5 * before.root)


@pytest.mark.parametrize(("count", "trust"), [(2, 1 / 5), (9, 8 / 12)])
def test_few_places_say_little_of_the_spread(count, trust):
    """The rest is what was believed before, at half its width."""
    place = torch.randn(40, 3, 1, generator=torch.Generator().manual_seed(0))
    weight = torch.zeros(40, 3)
    weight[:count] = 1 / count
    found = believe(place, weight, Belief(torch.zeros(3, 1), torch.full((3, 1, 1), 7.0)))
    moment = place[:count].var(0, correction=0)
    torch.testing.assert_close(found.root[..., 0].square(), trust * moment + (1 - trust) * 3.5**2)


@pytest.mark.parametrize(("count", "k"), [(24, 1), (24, 2), (64, 3)])
def test_even_normals_have_the_moments_of_normals(count, k):
    """Nearer to them than random ones are, and others with each call."""
    generator = torch.Generator().manual_seed(0)
    many = torch.stack([_even_normals(count, k, generator) for _ in range(20)])
    assert many.shape == (20, count, k) and many.isfinite().all()
    random = torch.randn(20, count, k, generator=generator)
    assert many.mean(1).abs().max() < 0.5 * random.mean(1).abs().max()
    assert (many.flatten(0, 1).std(0) - 1).abs().max() < 0.08
    assert torch.corrcoef(many.flatten(0, 1).T).reshape(k, k).fill_diagonal_(0).abs().max() < 0.1
    assert k == 1 or not torch.equal(many[0], many[1])


@pytest.mark.parametrize("resolution", [9.0, 14.0, 25.0])
def test_the_working_disc_is_a_part_of_the_images(begin, resolution):
    """Never finer than they are, nor so coarse that little is left."""
    model, state = begin(resolution)
    flat = replace(state, spectrum=torch.ones(1, int(model.images.disc.shell.max()) + 1))
    disc = working_disc(model, flat, motions_of(model, state.population))
    assert (
        model.images.disc.resolution <= disc.resolution <= max(30.0, model.images.disc.resolution)
    )
    assert len(disc) <= len(model.images.disc) and disc.rank.max() < len(model.images.disc)


def test_what_is_blurred_is_looked_at_coarsely(begin):
    """Where wide beads leave no fine detail, the disc holds none."""
    model, state = begin(9.0)
    flat = replace(state, spectrum=torch.ones(1, int(model.images.disc.shell.max()) + 1))
    sharp, blurred = (
        working_disc(
            model, replace(flat, width2=width2), motions_of(model, state.population)
        ).resolution
        for width2 in (0.0, 36.0)
    )
    assert 9.0 <= sharp < blurred <= 30.0


def test_bonds_have_a_small_part_in_the_surface_and_clashes_none(hinged):
    """Pieces of each bundle apart, so that bonds between them are strained in every particle:
    images say where they are, bonds a ninth of what they do of single particles.
    """
    model = assemble(*hinged[:2], FitOptions(segments=4, resolution=20.0))
    model.images.load()
    n, state = model.n_particles, first_state(model)
    state = replace(
        state, spectrum=state.spectrum.expand(-1, int(model.images.disc.shell.max()) + 1)
    )
    motions = motions_of(model, state.population).first(1)
    surface = straight_surface(motions.mean, motions.direction, motions.variance.sqrt())
    place, weight = torch.full((1, n, 1), 3.0), torch.ones(1, n)
    play = no_play(place[0], state.latent)
    apart = surface.at(place[0])[torch.arange(1)]
    strained = restraint_equations(model.restraints, model.deformation, apart)
    assert float(strained.gradient.norm()) > 0.1

    def fitted(restraints):
        sampler = Sampler(
            replace(model, restraints=restraints),
            state,
            model.images.disc,
            play,
            torch.Generator().manual_seed(0),
        )
        return sampler.refit(surface, place, weight, times=1).coefficient

    def off(restraints):
        return float((fitted(restraints) - fitted(None)).norm())

    firm, own = model.restraints.on_surface(1 / LOOSER), model.restraints
    assert 0 < off(own) < 0.3 * off(firm)
    without = Restraints(tuple(term for term in own.terms if term.name != "clash"))
    assert len(without.terms) == 2 and torch.equal(fitted(own), fitted(without))

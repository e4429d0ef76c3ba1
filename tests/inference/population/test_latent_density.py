"""The density of a population, out of places that were measured with errors."""

import pytest
import torch

from atomdrgn.inference.population.latent_density import (
    Density,
    fit_density,
    log_normal,
    spread_out,
)

ERROR = 0.8


def density(weight, mean, root):
    return Density(torch.tensor(weight), torch.tensor(mean), torch.tensor(root))


@pytest.fixture
def two_peaks():
    return density(
        [0.3, 0.7], [[-2.0, 1.0], [1.5, 0.0]], [[[0.5, 0.0], [0.3, 0.8]], [[1.0, 0.0], [-0.4, 0.2]]]
    )


def looked_at(truth, generator, *, error=ERROR, draws=24):
    """Noisy values of places, importance places about each with the log of likelihood over
    proposal, and errors.
    """
    measured = truth + error * torch.randn(truth.shape, generator=generator)
    width = 1.5 * error
    place = measured + width * torch.randn(draws, *truth.shape, generator=generator)
    unit = torch.eye(truth.shape[1])
    weight = log_normal(measured - place, error * unit) - log_normal(place - measured, width * unit)
    return measured, place, weight, torch.full(truth.shape, error)


def test_a_density_integrates_to_one():
    mixture = density([0.2, 0.5, 0.3], [[-4.0], [0.0], [3.0]], [[[0.3]], [[2.0]], [[0.7]]])
    grid = torch.linspace(-15, 15, 6001)[:, None]
    assert abs(float(mixture.log(grid).exp().sum()) * 30 / 6000 - 1) < 1e-4


def test_a_normal_density_is_torchs(two_peaks):
    place = 2 * torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    for mean, root in zip(two_peaks.mean, two_peaks.root, strict=True):
        expected = torch.distributions.MultivariateNormal(mean, scale_tril=root).log_prob(place)
        torch.testing.assert_close(log_normal(place - mean, root), expected, rtol=1e-4, atol=1e-4)


def test_parts_are_of_the_whole(two_peaks):
    place = torch.randn(4, 5, 2, generator=torch.Generator().manual_seed(0))
    assert two_peaks.log_parts(place).shape == (4, 5, 2)
    torch.testing.assert_close(two_peaks.log_parts(place).exp().sum(-1).log(), two_peaks.log(place))


def test_draws_have_its_mean_variance_and_weights(two_peaks):
    drawn = two_peaks.draw(40000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), two_peaks.weight @ two_peaks.mean, atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(0), two_peaks.variance(), rtol=0.03, atol=0)
    assert abs((two_peaks.log_parts(drawn).argmax(-1) == 0).float().mean() - 0.3) < 0.02


def test_a_start_is_as_wide_as_the_places():
    place = torch.randn(600, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [3.0, 0.5]
    )
    start = spread_out(place)
    assert len(start.weight) == 6 and abs(start.weight.sum() - 1) < 1e-6
    torch.testing.assert_close(start.variance(), place.var(0), rtol=0.1, atol=0)
    assert len(spread_out(place[:20]).weight) == 1


@pytest.mark.parametrize("spread", [1.0, 2.5])
def test_the_spread_of_a_population_comes_without_the_errors_of_its_members(spread):
    generator = torch.Generator().manual_seed(1)
    truth = spread * torch.randn(1500, 1, generator=generator)
    measured, place, weight, error = looked_at(truth, generator)
    found = fit_density(spread_out(measured), place, weight, error=error)
    assert abs(found.variance().sqrt() / spread - 1) < 0.08
    assert measured.std() > 1.04 * found.variance().sqrt()


def test_the_spread_along_two_motions_is_recovered():
    generator = torch.Generator().manual_seed(2)
    root = torch.tensor([[2.5, 0.0], [1.0, 1.2]])
    truth = torch.randn(1500, 2, generator=generator) @ root.T
    measured, place, weight, error = looked_at(truth, generator)
    found = fit_density(spread_out(measured), place, weight, error=error)
    covariance = torch.cov(found.draw(40000, generator).T)
    torch.testing.assert_close(covariance, root @ root.T, rtol=0.15, atol=0.15)


def test_two_peaks_that_errors_blur_are_recovered():
    """At their places, in their parts, with next to nothing between them."""
    generator = torch.Generator().manual_seed(3)
    high = torch.rand(1500, generator=generator) < 0.3
    truth = torch.where(high, 3.0, -1.0)[:, None] + 0.9 * torch.randn(1500, 1, generator=generator)
    measured, place, weight, error = looked_at(truth, generator)
    found = fit_density(spread_out(measured), place, weight, error=error)
    grid = torch.linspace(-6, 8, 1401)[:, None]
    value = found.log(grid).exp()
    left, right, valley = grid[:, 0] < 1, grid[:, 0] > 1, (grid[:, 0] > 0.6) & (grid[:, 0] < 1.4)
    assert abs(float(value[right].sum() * 0.01) - float(high.float().mean())) < 0.05
    assert (
        abs(grid[left][value[left].argmax()] + 1) < 0.4
        and abs(grid[right][value[right].argmax()] - 3) < 0.4
    )
    assert value[valley].min() < 0.4 * min(value[left].max(), value[right].max())


@pytest.mark.parametrize("error", [0.3, 2.0])
def test_no_component_is_narrower_than_the_error(error):
    """Though the particles stand at three points."""
    generator = torch.Generator().manual_seed(4)
    truth = torch.tensor([[-6.0, 0.0], [0.0, 3.0], [6.0, 0.0]]).repeat(200, 1)
    measured, place, weight, errors = looked_at(truth, generator, error=error)
    found = fit_density(spread_out(measured), place, weight, error=errors)
    narrowest = torch.linalg.eigvalsh(found.root @ found.root.mT).min()
    assert narrowest > 0.999 * error**2
    assert abs(found.weight.sum() - 1) < 1e-5

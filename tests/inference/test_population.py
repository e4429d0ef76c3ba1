import pytest
import torch

from atomdrgn.inference.population import Population, fit_population, moments, posterior, update


def problem(n=3000, information=1.0, seed=0):
    """Latents from a known Gaussian, each seen through its own random linear measurement with unit noise."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.tensor([[4.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.5, 0.4]])
    mean = torch.tensor([1.0, -2.0, 0.5])
    latent = mean + torch.randn(n, 3, generator=generator) @ root.T
    measure = information * torch.randn(n, 4, 3, generator=generator)
    data = (measure @ latent[..., None])[..., 0] + torch.randn(n, 4, generator=generator)
    return latent, mean, root @ root.T, measure.transpose(1, 2) @ measure, (measure.transpose(1, 2) @ data[..., None])[..., 0]


START = Population(torch.zeros(3), 1.5 * torch.eye(3))


def test_the_gaussian_is_recovered():
    latent, mean, covariance, matrix, target = problem()
    found, _ = fit_population(matrix, target, START, rounds=90, tolerance=1e-3)
    assert (found.mean - mean).abs().max() < 0.25
    assert (found.covariance - covariance).norm() < 0.08 * covariance.norm()


def test_evidence_never_falls():
    _, _, _, matrix, target = problem(n=300)
    population, last = START, -torch.inf
    for _ in range(10):
        sums = moments(matrix, target, population)
        assert sums.evidence / sums.count > last - 1e-4
        last, population = sums.evidence / sums.count, update(population, sums)


def test_acceleration_gets_further_than_plain_rounds_where_data_are_weak():
    _, _, _, matrix, target = problem(n=1000, information=0.05)
    plain = START
    for _ in range(15):
        plain = update(plain, moments(matrix, target, plain))
    fast, _ = fit_population(matrix, target, START, rounds=15, tolerance=0.0)
    assert moments(matrix, target, fast).evidence > moments(matrix, target, plain).evidence


def test_posterior_is_that_of_a_gaussian():
    latent, mean, covariance, matrix, target = problem(n=500)
    population = Population(mean, torch.linalg.cholesky(covariance))
    each = posterior(matrix, target, population)
    prior = torch.linalg.inv(covariance)
    expected = torch.linalg.inv(prior + matrix)
    torch.testing.assert_close(population.root @ each.whitened @ population.root.T, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(each.mean, (expected @ (target + prior @ mean)[..., None])[..., 0], rtol=1e-3, atol=1e-3)


def test_posterior_errors_are_honest():
    """Standardised errors have unit variance."""
    latent, mean, covariance, matrix, target = problem()
    each = posterior(matrix, target, Population(mean, torch.linalg.cholesky(covariance)))
    sd = (torch.linalg.cholesky(covariance) @ each.whitened @ torch.linalg.cholesky(covariance).T).diagonal(dim1=1, dim2=2).sqrt()
    assert ((((latent - each.mean) / sd).var(0) - 1).abs() < 0.1).all()


def test_nothing_moves_when_nothing_moves():
    """Particles that are all the same leave no variance but what the data cannot exclude."""
    generator = torch.Generator().manual_seed(1)
    measure = torch.randn(2000, 4, 3, generator=generator)
    data = torch.randn(2000, 4, generator=generator)
    matrix, target = measure.transpose(1, 2) @ measure, (measure.transpose(1, 2) @ data[..., None])[..., 0]
    found, _ = fit_population(matrix, target, START, rounds=300, tolerance=1e-4)
    assert torch.linalg.eigvalsh(found.covariance).max() < 0.05


@pytest.mark.parametrize("n", [1, 2])
def test_one_particle_is_enough_to_run(n):
    _, _, _, matrix, target = problem(n=n)
    found, history = fit_population(matrix, target, START)
    assert torch.isfinite(found.root).all() and history

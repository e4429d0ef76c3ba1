import pytest
import torch

from atomdrgn.inference.population.population import (
    Directions,
    Equations,
    Population,
    PopulationPrior,
    _extrapolate,
    fit_population,
    informative_directions,
    posterior,
    precision_along,
)


def problem(n=3000, information=1.0, seed=0):
    """Latents from a known Gaussian, each seen through its own random linear measurement with unit
    noise.
    """
    generator = torch.Generator().manual_seed(seed)
    root = torch.tensor([[4.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.5, 0.4]])
    mean = torch.tensor([1.0, -2.0, 0.5])
    latent = mean + torch.randn(n, 3, generator=generator) @ root.T
    measure = information * torch.randn(n, 4, 3, generator=generator)
    data = (measure @ latent[..., None])[..., 0] + torch.randn(n, 4, generator=generator)
    return (
        latent,
        mean,
        root @ root.T,
        measure.transpose(1, 2) @ measure,
        (measure.transpose(1, 2) @ data[..., None])[..., 0],
    )


START = Population(torch.zeros(3), 1.5 * torch.eye(3))
# a prior that decides nothing
OPEN = PopulationPrior(torch.zeros(3), 1e4 * torch.eye(3), torch.eye(3), 1e-6)


def seen_along(population, count=3):
    """The first directions of a population as they are, the rest unseen."""
    return Directions(
        population.root[:, :count].contiguous(), population.root[:, count:].contiguous(), 0.0
    )


def fitted(matrix, target, start=START, *, directions=None, prior=OPEN, **options):
    directions = directions or seen_along(start)
    equations = Equations(directions.seen.T @ matrix, target, matrix.sum(0))
    return fit_population(equations, directions, start, prior=prior, **options)


def placed(matrix, target, population, directions):
    precision = precision_along(directions, population)
    return posterior(
        directions.seen.T @ matrix, target, population.mean, precision, seen=directions.seen
    )


def test_the_gaussian_is_recovered():
    latent, mean, covariance, matrix, target = problem()
    found, _ = fitted(matrix, target, rounds=90, enough=1e-3)
    assert (found.mean - mean).abs().max() < 0.25
    assert (found.covariance - covariance).norm() < 0.08 * covariance.norm()


def log_evidence(matrix, target, population):
    """Of all particles by the textbook: the data's log density with the latent integrated out, up
    to a constant of the data.
    """
    prior = torch.linalg.inv(population.covariance)
    both = matrix + prior
    right = target + prior @ population.mean
    value = (
        torch.einsum("pi,pij,pj->p", right, torch.linalg.inv(both), right)
        - population.mean @ prior @ population.mean
    )
    return float((0.5 * value - 0.5 * torch.logdet(both) + 0.5 * torch.logdet(prior)).sum())


def test_evidence_is_the_textbooks_and_never_falls():
    _, _, _, matrix, target = (value.double() for value in problem(n=300))
    start, last = START, -torch.inf
    for _ in range(6):
        found, history = fitted(matrix.float(), target.float(), start, rounds=3)
        assert min(history[1], history[-1]) >= history[0] - 1e-4 and history[0] >= last - 1e-4
        expected = (
            log_evidence(matrix, target, Population(found.mean.double(), found.root.double())) / 300
        )
        assert abs(history[-1] - expected) < 2e-3 * abs(expected)
        start, last = found, history[-1]


def test_the_mean_is_the_likeliest_at_its_covariance():
    """Moved a little in any direction, the mean makes the images less likely."""
    _, _, _, matrix, target = problem(n=200, information=0.2)
    found, _ = fitted(matrix, target, rounds=3)
    double = Population(found.mean.double(), found.root.double())
    best = log_evidence(matrix.double(), target.double(), double)
    for axis in range(3):
        for step in (-0.3, 0.3):
            moved = Population(
                double.mean + step * torch.eye(3, dtype=torch.float64)[axis], double.root
            )
            assert log_evidence(matrix.double(), target.double(), moved) < best


def test_a_mean_is_found_where_no_particle_alone_tells_of_it():
    """Directions that are left out of the posterior still count for the mean, whose information
    adds up.
    """
    _, mean, _, matrix, target = problem()
    start = Population(torch.zeros(3), torch.diag(torch.tensor([4.0, 2.0, 0.01])))
    found, _ = fitted(matrix, target, start, directions=seen_along(start, 2))
    assert (found.mean - mean).abs().max() < 0.25


def test_acceleration_gets_further_than_plain_rounds_where_data_are_weak():
    _, _, _, matrix, target = problem(n=1000, information=0.05)
    _, history = fitted(matrix, target, rounds=15, enough=0.0)
    # plain rounds gain, from their second on, at most what the round before gained
    plain = history[0] + 15 * (history[1] - history[0])
    assert history[-1] > history[0] and history[-1] > min(
        plain, history[1] + 5 * (history[1] - history[0])
    )


def test_directions_are_those_that_images_tell_of():
    root = torch.diag(torch.tensor([3.0, 1.0, 0.01]))
    found = informative_directions(torch.eye(3), root @ root.T, least=0.5)
    assert found.seen.shape == (3, 2) and found.unseen.shape == (3, 1)
    torch.testing.assert_close(
        found.seen @ found.seen.T + found.unseen @ found.unseen.T, root @ root.T
    )
    assert abs(found.left_out - 1e-4) < 1e-6
    assert informative_directions(1e-9 * torch.eye(3), root @ root.T, least=0.5).seen.shape == (
        3,
        1,
    )


def test_posterior_is_that_of_a_gaussian():
    latent, mean, covariance, matrix, target = problem(n=500)
    population = Population(mean, torch.linalg.cholesky(covariance))
    directions = seen_along(START)
    each = placed(matrix, target, population, directions)
    prior = torch.linalg.inv(covariance)
    expected = torch.linalg.inv(prior + matrix)
    torch.testing.assert_close(
        directions.seen @ each.covariance @ directions.seen.T, expected, rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(
        each.mean, (expected @ (target + prior @ mean)[..., None])[..., 0], rtol=1e-3, atol=1e-3
    )


def test_posterior_errors_are_honest():
    """Standardised errors have unit variance."""
    latent, mean, covariance, matrix, target = problem()
    directions = seen_along(START)
    each = placed(matrix, target, Population(mean, torch.linalg.cholesky(covariance)), directions)
    sd = (directions.seen @ each.covariance @ directions.seen.T).diagonal(dim1=1, dim2=2).sqrt()
    assert ((((latent - each.mean) / sd).var(0) - 1).abs() < 0.1).all()


def test_nothing_moves_when_nothing_moves():
    """Particles that are all the same leave no variance but what the data cannot exclude."""
    generator = torch.Generator().manual_seed(1)
    measure = torch.randn(2000, 4, 3, generator=generator)
    data = torch.randn(2000, 4, generator=generator)
    matrix, target = (
        measure.transpose(1, 2) @ measure,
        (measure.transpose(1, 2) @ data[..., None])[..., 0],
    )
    found, _ = fitted(matrix, target, rounds=300, enough=1e-4)
    assert torch.linalg.eigvalsh(found.covariance).max() < 0.05


def test_what_is_unseen_moves_towards_the_prior():
    _, _, _, matrix, target = problem(n=100)
    directions, prior = (
        seen_along(START, 2),
        PopulationPrior(torch.zeros(3), torch.eye(3), 0.01 * torch.eye(3), 1.0),
    )
    kept, half, gone = (
        fitted(matrix, target, directions=directions, prior=prior, keep_unseen=part)[0].covariance[
            2, 2
        ]
        for part in (1.0, 0.5, 0.0)
    )
    torch.testing.assert_close(
        torch.stack([kept, half, gone]), torch.tensor([2.25, 1.13, 0.01]), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("n", [1, 2])
def test_one_particle_is_enough_to_run(n):
    _, _, _, matrix, target = problem(n=n)
    prior = PopulationPrior(torch.zeros(3), torch.eye(3), torch.eye(3), 1.5)
    found, history = fitted(matrix, target, prior=prior)
    assert torch.isfinite(found.root).all() and history


def test_what_shrinks_fast_is_not_extrapolated_beyond_single_precision():
    """Particles' matrices are inverted in single precision, which has to hold the inverse of the
    covariance.
    """
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]
    before, first, second = (
        turn @ torch.diag(torch.tensor([3.0] * 3 + [shrunk] * 9, dtype=torch.float64)) @ turn.T
        for shrunk in (1.0, 1e-2, 1.1e-4)
    )
    found = _extrapolate(before, first, second)
    # raises where it is not positive definite
    torch.linalg.cholesky(torch.linalg.inv(found).float())
    assert torch.linalg.eigvalsh(found).max() > 2.5


def test_what_rounding_leaves_of_nothing_is_no_reason_for_a_wide_population():
    """Particles that tell very much along one direction, and along another a little less than
    nothing, as sums in single precision may leave it.
    """
    n = 200
    generator = torch.Generator().manual_seed(301)
    matrix = torch.tensor([4e5, 1.0, -7e-4]).diag().expand(n, 3, 3).contiguous()
    latent = torch.randn(n, 3, generator=generator)
    target = (matrix @ latent[..., None])[..., 0]
    target[:, 2] = 0.5 * torch.randn(n, generator=generator)
    prior = PopulationPrior(torch.zeros(3), 1e4 * torch.eye(3), torch.eye(3), 20.0)
    found, history = fitted(matrix, target, prior=prior)
    assert found.covariance.diagonal().max() < 100
    assert torch.tensor(history).isfinite().all() and max(history) < 1e6

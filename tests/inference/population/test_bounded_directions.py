import torch

from atomdrgn.inference.population.bounded_directions import (
    MANY,
    AlongDirections,
    EveryNumber,
    is_bounded,
    numbers_of,
)
from atomdrgn.inference.population.population import (
    Directions,
    Equations,
    Population,
    PopulationPrior,
    fit_population,
)

PRIOR = PopulationPrior(
    torch.tensor([0.5, -1.0, 0.2]),
    torch.tensor([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]]),
    torch.diag(torch.tensor([2.0, 1.0, 0.5])),
    6.0,
)
BEFORE = Population(
    torch.tensor([0.4, 0.3, -0.2]),
    torch.tensor([[2.0, 0.0, 0.0], [0.5, 1.5, 0.0], [0.1, -0.3, 1.0]]),
)


def found_in(numbers, matrix, target):
    """The population of particles with these equations, found in the numbers of a pass."""
    if isinstance(numbers, AlongDirections):
        seen = numbers.directions.seen
        target = (target - matrix @ numbers.origin) @ seen
        matrix = seen.T @ matrix @ seen
    own = numbers.own
    found, _ = fit_population(
        Equations(own.seen.T @ matrix, target, matrix.sum(0)),
        own,
        numbers.before(BEFORE),
        prior=numbers.prior(PRIOR),
        rounds=60,
        enough=1e-6,
    )
    return numbers.population(found, BEFORE, PRIOR, 0.25)


def particles(n=400):
    """Normal equations of latents from a Gaussian, each measured by four random rows."""
    generator = torch.Generator().manual_seed(0)
    latent = BEFORE.mean + torch.randn(n, 3, generator=generator) @ BEFORE.root.T
    rows = torch.randn(n, 4, 3, generator=generator)
    data = (rows @ latent[..., None])[..., 0] + torch.randn(n, 4, generator=generator)
    return rows.mT @ rows, (rows.mT @ data[..., None])[..., 0]


def test_along_all_directions_the_population_is_that_of_every_number():
    """Prior and all; only the numbers in which it is found differ."""
    directions = Directions(BEFORE.root, torch.zeros(3, 0), 0.0)
    one, other = (
        found_in(numbers, *particles())
        for numbers in (EveryNumber(directions), AlongDirections(directions, BEFORE.mean))
    )
    torch.testing.assert_close(one.mean, other.mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one.covariance, other.covariance, rtol=1e-3, atol=1e-3)


def test_beside_the_directions_the_mean_stays_and_the_covariance_nears_the_prior():
    directions = Directions(BEFORE.root[:, :2], BEFORE.root[:, 2:], 0.0)
    numbers = AlongDirections(directions, BEFORE.mean)
    found = found_in(numbers, *particles())
    back = torch.linalg.inv(BEFORE.root)
    assert abs(float(back[2] @ (found.mean - BEFORE.mean))) < 1e-6
    own = back @ found.covariance @ back.T
    expected = 0.25 + 0.75 * float(back[2] @ PRIOR.covariance @ back[2])
    assert abs(float(own[2, 2]) - expected) < 1e-5 and own[2, :2].abs().max() < 1e-5
    # what is believed of the mean is meant given that it stays there
    belief = numbers.prior(PRIOR)
    assert belief.particles == 4.0
    whole = torch.linalg.inv(PRIOR.mean_covariance.double())
    slope = whole @ (numbers.latent(belief.mean) - PRIOR.mean).double()
    assert (directions.seen.T.double() @ slope).abs().max() < 1e-5


def test_few_segments_are_found_in_every_number():
    assert not is_bounded(72) and is_bounded(360) and not is_bounded(MANY)
    for n, kind in ((12, EveryNumber), (180, AlongDirections)):
        population = Population(torch.zeros(n), torch.eye(n))
        directions = Directions(population.root[:, :8], population.root[:, 8:], 0.0)
        assert type(numbers_of(directions, population)) is kind

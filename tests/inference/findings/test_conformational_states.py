"""States are peaks with a dip between them, and nothing else is. Particles are in them by their
own likelihoods.
"""

import pytest
import torch

from atomdrgn.inference.findings.conformational_states import SMALLEST, find_states
from atomdrgn.inference.population.latent_density import Density
from atomdrgn.inference.posterior.importance_sampling import Looked

ERROR = 0.3


def mixture(weight, mean, sd=1.0):
    """Of round components."""
    mean = torch.tensor(mean)
    root = sd * torch.eye(mean.shape[1]).expand(len(mean), -1, -1)
    return Density(torch.tensor(weight), mean, root.clone())


def particles(density, n=3000, draws=12):
    """Component of each particle, and draws about where it is."""
    generator = torch.Generator().manual_seed(0)
    of = torch.multinomial(density.weight, n, replacement=True, generator=generator)
    k = density.mean.shape[1]
    place = (
        density.mean[of] + (density.root[of] @ torch.randn(n, k, 1, generator=generator))[..., 0]
    )
    return of, place[:, None] + ERROR * torch.randn(n, draws, k, generator=generator)


def looked_at(density, draws):
    """Draws from posteriors under a density, as places with likelihoods."""
    place = draws.movedim(1, 0)
    return Looked(place, -density.log(place))


def states_of(density, draws):
    return find_states(density, looked_at(density, draws), particles=len(draws))


TWO = mixture([0.3, 0.7], [[-4.0, 0.0], [4.0, 1.0]])


def test_two_separate_gaussians_are_two_states():
    of, draws = particles(TWO)
    found = states_of(TWO, draws)
    assert [row["number"] for row in found.rows] == [1, 2]
    counted = float((draws[..., 0] > 0).float().mean())
    assert [row["population"] for row in found.rows] == pytest.approx(
        [counted, 1 - counted], abs=1e-3
    )
    assert [row["place"] for row in found.rows] == [[4.0, 1.0], [-4.0, 0.0]]
    assert ((found.of_particle == 1) == (of == 1)).float().mean() > 0.99
    assert set(found.of_particle.tolist()) == {1, 2}


def test_probabilities_are_columns_that_sum_to_one():
    of, draws = particles(TWO)
    found = states_of(TWO, draws)
    columns = found.columns()
    assert list(columns) == ["state_probability_1", "state_probability_2"]
    first, second = (torch.tensor(column) for column in columns.values())
    torch.testing.assert_close(first + second, torch.ones(len(of)), atol=2e-6, rtol=0)
    assert torch.equal(found.of_particle == 1, first > second)
    assert first.mean() == pytest.approx(found.rows[0]["population"], abs=1e-4)


def test_states_are_numbered_by_their_populations():
    density = mixture([0.2, 0.5, 0.3], [[-8.0], [0.0], [8.0]])
    of, draws = particles(density)
    found = states_of(density, draws)
    assert [(row["number"], row["place"]) for row in found.rows] == [
        (1, [0.0]),
        (2, [8.0]),
        (3, [-8.0]),
    ]
    assert (found.of_particle == torch.tensor([3, 1, 2])[of]).float().mean() > 0.99


@pytest.mark.parametrize("n", [500, 3000])
def test_errors_of_populations_are_those_of_counting_where_membership_is_sure(n):
    of, draws = particles(TWO, n)
    rows = states_of(TWO, draws).rows
    counted = (0.3 * 0.7 / n) ** 0.5
    assert [row["error"] for row in rows] == pytest.approx([counted] * 2, rel=0.1)
    assert abs(rows[0]["population"] - float((of == 1).float().mean())) < 3 * rows[0]["error"]


def test_populations_are_those_of_all_particles_where_the_density_was_fitted_to_others():
    of, draws = particles(TWO)
    others = mixture([0.5, 0.5], [[-4.0, 0.0], [4.0, 1.0]])
    counted = float((draws[..., 0] > 0).float().mean())
    assert [row["population"] for row in states_of(others, draws).rows] == pytest.approx(
        [counted, 1 - counted], abs=1e-3
    )


def measured(weight, error, n, seed):
    """Particles of two states at -1 and 1, each measured once, with an error: their states, and
    places all over with likelihoods.
    """
    generator = torch.Generator().manual_seed(seed)
    state = torch.rand(n, generator=generator) > weight
    true = 2.0 * state - 1 + 0.1 * torch.randn(n, generator=generator)
    seen = true + error * torch.randn(n, generator=generator)
    place = torch.linspace(-3, 3, 61)[:, None, None].expand(-1, n, 1)
    return state, Looked(place, -0.5 * ((place[..., 0] - seen) / error).square())


@pytest.mark.parametrize(("error", "sure"), [(0.3, 0.99), (1.0, 0.8)])
def test_populations_are_likeliest_and_their_errors_honest_where_membership_is_unsure(error, sure):
    """Ten sets of 800: counts of the likelier state would be off where a fifth is in the wrong one,
    and errors of counting would be too small.
    """
    within, counts = [], []
    density = mixture([0.5, 0.5], [[-1.0], [1.0]], sd=0.1)
    for seed in range(10):
        state, looked = measured(0.65, error, 800, seed)
        found = find_states(density, looked, particles=800)
        first = found.rows[0]
        assert first["place"] == [-1.0]
        within.append(abs(first["population"] - 0.65) < 1.645 * first["error"])
        right = (found.of_particle == 2) == state
        assert right.float().mean() > sure
        counts.append(float((found.of_particle == 1).float().mean()))
        # probabilities say how many are right
        assert abs(right.float().mean() - found.probability.amax(1).mean()) < 0.04
    assert sum(within) >= 8
    if error == 1.0:
        assert sum(counts) / 10 > 0.67


def test_what_cannot_be_told_apart_has_larger_errors():
    _, draws = particles(TWO)
    wide = torch.cat([draws, -draws], 1)  # each particle may as well be in the other state
    sure, unsure = (states_of(TWO, each).rows[0]["error"] for each in (draws, wide))
    assert unsure > 1.5 * sure


def test_components_of_one_peak_are_one_state():
    density = mixture([0.2, 0.2, 0.6], [[-4.5], [-3.5], [4.0]])
    of, draws = particles(density)
    found = states_of(density, draws)
    counted = float(density.log_parts(draws).softmax(-1)[..., 2].mean())
    assert [row["population"] for row in found.rows] == pytest.approx(
        [counted, 1 - counted], abs=1e-3
    )
    assert found.rows[1]["place"] == pytest.approx([-4.0])
    assert ((found.of_particle == 2) == (of < 2)).float().mean() > 0.99


def test_a_peak_of_next_to_no_particles_is_none():
    small = SMALLEST / 2
    density = mixture([1 - small, small], [[0.0], [9.0]])
    assert states_of(density, particles(density)[1]).rows == []
    density = mixture([0.5 - small, small, 0.5], [[-6.0], [6.0], [18.0]])
    found = states_of(density, particles(density)[1])
    assert (
        sum(row["population"] for row in found.rows) == pytest.approx(1, abs=1e-4)
        and len(found.rows) == 2
    )


@pytest.mark.parametrize(
    "density",
    [
        None,
        mixture([1.0], [[0.0]]),
        mixture([1 / 6] * 6, [[float(x)] for x in range(-5, 6, 2)]),
        mixture([0.5, 0.5], [[-1.1], [1.1]]),
        mixture([0.5, 0.5], [[0.0], [0.0]]),
    ],
    ids=["nothing moves", "one Gaussian", "like a uniform one", "a shoulder", "twice the same"],
)
def test_without_a_dip_there_are_no_states(density):
    draws = 4 * torch.randn(40, 10, 1, generator=torch.Generator().manual_seed(0))
    looked = None if density is None else looked_at(density, draws)
    found = find_states(density, looked, particles=40)
    assert found.rows == [] and (found.of_particle == 1).all() and len(found.of_particle) == 40
    assert found.columns() == {}


def test_what_does_not_count_has_a_state_and_no_part_in_populations():
    of, draws = particles(TWO)
    seen = (of == 1) | (torch.arange(len(of)) % 2 == 0)
    looked = looked_at(TWO, draws)
    found = find_states(TWO, looked, particles=len(of), seen=seen)
    kept = Looked(looked.place[:, seen], looked.likelihood[:, seen])
    others = find_states(TWO, kept, particles=int(seen.sum()))
    assert found.rows == others.rows and len(found.of_particle) == len(of)
    assert torch.equal(found.of_particle[seen], others.of_particle)

"""Scores: what moves shows in their covariance, with its length; noise shows nothing."""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.posterior.score_statistics import (
    Scores,
    largest_of_noise,
    motion_of_scores,
    sum_scores,
)
from atomdrgn.inference.problem.linearisation import linearise


def scores(information, moving, *, count, seed):
    """Of so many particles that move by steps, drawn from N(information q, information)."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.linalg.cholesky(information)
    step = torch.randn(count, moving.shape[1], generator=generator, dtype=torch.float64) @ moving.T
    score = (
        step @ information
        + torch.randn(count, len(information), generator=generator, dtype=torch.float64) @ root.T
    )
    return Scores(count, count * information, score.sum(0), score.T @ score)


@pytest.fixture
def information():
    """Of twelve numbers, told of from well to next to nothing."""
    generator = torch.Generator().manual_seed(5)
    axes = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64))[0]
    return axes @ torch.diag(0.3 ** torch.arange(12, dtype=torch.float64)) @ axes.T


def aligned(found, truth, information):
    """Cosine, in the metric of the information."""
    both, lengths = (
        found @ information @ truth,
        (found @ information @ found) * (truth @ information @ truth),
    )
    return abs(float(both)) / float(lengths.sqrt())


def test_scores_show_the_motion_and_its_length(information):
    """Which each particle tells to a third of its variance."""
    step = torch.linalg.eigh(information)[1] @ torch.tensor(
        [0.0] * 9 + [0.5, 0.3, 0.6], dtype=torch.float64
    )
    found = motion_of_scores(
        scores(information, step[:, None], count=20_000, seed=0), torch.eye(12, dtype=torch.float64)
    )
    assert found.stands_out and aligned(found.step, step, information) > 0.98
    assert (
        abs(float(found.step @ information @ found.step) / float(step @ information @ step) - 1)
        < 0.1
    )


@pytest.mark.parametrize("seed", range(5))
def test_noise_shows_none(information, seed):
    none = scores(information, torch.zeros(12, 1, dtype=torch.float64), count=5000, seed=seed)
    assert not motion_of_scores(none, torch.eye(12, dtype=torch.float64)).stands_out


def test_what_is_known_is_not_found_again(information):
    """Of two motions the smaller; of the larger alone none."""
    axes = torch.linalg.eigh(information)[1]
    large, small = 1.0 * axes[:, -1], 0.9 * axes[:, -2]
    both = scores(information, torch.stack([large, small], 1), count=20_000, seed=1)
    prior = torch.eye(12, dtype=torch.float64)
    assert aligned(motion_of_scores(both, prior).step, large, information) > 0.95
    other = motion_of_scores(both, prior, besides=large[:, None])
    assert other.stands_out and aligned(other.step, small, information) > 0.98
    alone = scores(information, large[:, None], count=20_000, seed=1)
    assert not motion_of_scores(alone, prior, besides=large[:, None]).stands_out


def test_where_nothing_is_told_a_motion_is_none(information):
    """What it has of such directions is kept near zero by what is likely."""
    step = torch.linalg.eigh(information)[1] @ torch.tensor(
        [30.0] + [0.0] * 10 + [1.0], dtype=torch.float64
    )
    found = motion_of_scores(
        scores(information, step[:, None], count=5000, seed=2), torch.eye(12, dtype=torch.float64)
    )
    assert float(torch.linalg.eigh(information)[1][:, 0] @ found.step) < 2.0


def test_the_largest_eigenvalue_of_noise_is_below_its_bound():
    """Of a hundred covariances of white numbers none is above it, and the largest come near."""
    generator = torch.Generator().manual_seed(0)
    largest = torch.stack(
        [
            torch.linalg.eigvalsh(torch.cov(torch.randn(20, 1000, generator=generator)))[-1]
            for _ in range(100)
        ]
    )
    assert 0.95 * largest_of_noise(20, 1000) < largest.max() < largest_of_noise(20, 1000)


def test_scores_are_sums_of_the_particles_equations(begin):
    model, state = begin(20.0)
    free, disc = replace(model, restraints=None), model.images.disc.coarser(40.0)
    state = replace(state, spectrum=torch.full((1, int(model.images.disc.shell.max()) + 1), 50.0))
    found = sum_scores(model, state, disc, title="")
    each = list(linearise(free, state, disc, model.my_particles))
    gradient = torch.cat([part.target for part in each]).double()  # all latents are zero
    torch.testing.assert_close(found.target, gradient.sum(0), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(found.square, gradient.T @ gradient, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(
        found.information, sum(part.matrix.double().sum(0) for part in each), rtol=1e-3, atol=1e-2
    )

"""The part is chosen by the particle file alone, stands for all, and grows only as it has to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from atomdrgn.inference.findings.ensemble import Ensemble
from atomdrgn.inference.placing.part_choice import (
    ENOUGH,
    FIRST,
    MOST_WITHOUT,
    PartSize,
    choose_part,
)
from atomdrgn.physics.pose import Pose
from atomdrgn.physics.rotations import matrix_from_vector


@pytest.fixture(scope="module")
def particles(hinged):
    """1,200 images, of which those of the second optics group, half-set and defocus have shares of
    their own.
    """
    _, stack, _ = hinged
    generator, n = torch.Generator().manual_seed(301), 1200
    stack = stack[torch.randint(len(stack), (n,), generator=generator)]
    defocus = 1e4 * (1 + torch.rand(n, generator=generator))
    turn = matrix_from_vector(3 * torch.randn(n, 3, generator=generator))
    return replace(
        stack,
        particle=torch.arange(n),
        row=torch.arange(n),
        half=(torch.rand(n, generator=generator) < 0.4).long(),
        optics_group=(torch.rand(n, generator=generator) < 0.1).long(),
        optics_group_names=("one", "two"),
        ctf=replace(stack.ctf, defocus_u=defocus, defocus_v=defocus),
        pose=Pose(turn, torch.zeros(n, 2)),
    )


def test_images_are_not_read(particles, monkeypatch):
    monkeypatch.setattr(type(particles), "read", None)
    assert choose_part(particles, 100, seed=0).n_particles == 100


def test_the_same_seed_takes_the_same_and_another_others(particles):
    first, again, other = (choose_part(particles, 150, seed=seed).row for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert (first.diff() > 0).all() and len(first) == 150


def test_shares_are_those_of_all(particles):
    """Of half-sets to a particle, of optics groups of each half-set to two."""
    count = 240
    part = choose_part(particles, count, seed=3)
    for half in (0, 1):
        mine = particles.half == half
        assert abs(int((part.half == half).sum()) - count * float(mine.float().mean())) <= 1
        for group in (0, 1):
            share = float((mine & (particles.optics_group == group)).float().mean())
            of_part = int(((part.half == half) & (part.optics_group == group)).sum())
            assert abs(of_part - count * share) <= 2


def test_views_and_defocus_are_spread_as_those_of_all(particles):
    """Closer than at random: the mean is within two thirds of what chance would leave, for most
    seeds.
    """
    count, far = 200, []
    for seed in range(20):
        part = choose_part(particles, count, seed=seed)
        for value in (lambda s: s.ctf.defocus_u, lambda s: s.pose.rotation[:, 2, 2].abs()):
            whole = value(particles)
            chance = whole.std() * np.sqrt((1 - count / len(whole)) / count)
            far.append(float((value(part).mean() - whole.mean()) / chance))
    assert np.std(far) < 2 / 3


def test_all_images_of_a_particle_come_with_it(particles):
    """Where a particle has four, wherever they are in the file."""
    order = torch.randperm(1200, generator=torch.Generator().manual_seed(2))
    series = replace(particles, particle=(torch.arange(1200) // 4)[order])
    part = choose_part(series, 100, seed=0)
    assert (torch.unique(part.particle, return_counts=True)[1] == 4).all()
    assert part.n_particles == 100


@pytest.mark.parametrize("count", [1200, 5000])
def test_all_are_taken_as_they_are_where_there_are_no_more(particles, count):
    assert choose_part(particles, count, seed=0) is particles


def test_particles_of_one_half_set_view_and_defocus_are_chosen_too(particles):
    n = 300
    same = replace(
        particles[torch.zeros(n, dtype=torch.long)], particle=torch.arange(n), row=torch.arange(n)
    )
    assert choose_part(same, 120, seed=0).n_particles == 120


def test_the_size_that_a_fit_begins_with():
    def first(asked, particles, composition=False):
        return PartSize.first(asked, particles, composition=composition)

    assert first(300, 1000) == PartSize(300, False) and first(300, 200) == PartSize(200, False)
    assert first("all", 10**6) == PartSize(10**6, False)
    assert first("auto", 10**6) == PartSize(FIRST, True)
    assert first("auto", 10**6, composition=True) == PartSize(10**6, False)
    # all where few would be left
    assert first("auto", 2 * FIRST - 1) == PartSize(2 * FIRST - 1, False)


def learned(*, supported=2, apart=0.1, own=1.0):
    """An ensemble whose half-sets differ by so much, beside particles' errors (A)."""
    made = object.__new__(Ensemble)
    held = {
        "supported": supported,
        "half_error": torch.tensor([apart, apart, float("nan")]),
        "trace_step2": torch.ones(3, 1),
        "sd": torch.full((5, 1), own),
    }
    for name, value in held.items():
        object.__setattr__(made, name, value)
    return made


def test_it_grows_as_long_as_half_sets_disagree():
    size, many = PartSize(FIRST, True), 10**6
    assert size.larger(learned(apart=0.9 * ENOUGH**0.5), many) is None
    assert size.larger(learned(apart=1.1 * ENOUGH**0.5), many) == PartSize(2 * FIRST, True)
    # to all, where few would be left
    assert size.larger(learned(apart=2.0), 3 * FIRST) == PartSize(3 * FIRST, False)
    assert PartSize(FIRST, False).larger(learned(apart=2.0), many) is None


def test_where_nothing_moves_so_many_are_enough():
    nothing = learned(supported=0, apart=0.0)
    assert PartSize(FIRST, True).larger(nothing, 10**6) == PartSize(2 * FIRST, True)
    assert PartSize(MOST_WITHOUT, True).larger(nothing, 10**6) is None
    # nothing was tested: nothing says that it is too few
    assert PartSize(FIRST, True).larger(learned(supported=None, apart=9.0), 10**6) is None

"""Half-sets share no particle, hold all of them, and are put together as they were taken apart."""

from dataclasses import replace

import pytest
import torch

from atomdrgn.inference.fit_assembly import assemble, first_state
from atomdrgn.inference.fit_options import FitOptions
from atomdrgn.inference.population.population import Population
from atomdrgn.inference.problem.half_sets import FEWEST, half_sets, join, part_of


@pytest.fixture(scope="module")
def assembled(hinged):
    structure, particles, _ = hinged

    def call(change=lambda particles: particles):
        return assemble(structure, change(particles), FitOptions(segments=2, resolution=20.0))

    return call


def as_tilts(particles):
    """Each three images as those of one particle, in turn and the last particle first: 50
    particles, of unlike half-sets.
    """
    particle = 49 - torch.arange(150) % 50
    return replace(
        particles,
        particle=particle,
        tilt=torch.arange(150) // 50,
        half=1 + (particle % 5 == 0).long(),
    )


def small(count):
    return lambda particles: replace(particles, half=torch.where(torch.arange(150) < count, 2, 1))


@pytest.mark.parametrize(
    "change", [lambda particles: particles, as_tilts], ids=["single images", "tilt images"]
)
def test_half_sets_are_a_partition_of_particles_and_images(assembled, change):
    model = assembled(change)
    halves = half_sets(model)
    assert torch.cat([half.particle for half in halves]).sort().values.tolist() == list(
        range(model.n_particles)
    )
    assert torch.cat([half.image for half in halves]).sort().values.tolist() == list(range(150))
    for number, half in enumerate(halves):
        assert (model.images.stack.half[half.image] == number + 1).all()
        assert torch.equal(half.particle[half.model.particle], model.particle[half.image])
        assert torch.equal(half.model.images.stack.row, model.images.stack.row[half.image])
        # a particle's images stay together
        assert torch.equal(half.model.rows, model.rows[half.particle])
        assert half.model.my_particles.tolist() == list(range(half.model.n_particles))
        assert torch.equal(half.group[half.model.images.group], model.images.group[half.image])


@pytest.mark.parametrize("loaded", [True, False])
def test_images_of_a_part_are_those_of_the_whole(begin, assembled, loaded):
    model = begin(20.0)[0] if loaded else assembled()
    part = part_of(model, torch.tensor([3, 70, 149]))
    assert torch.equal(part.image, torch.tensor([3, 70, 149]))
    expected = model.images.coefficients(part.image, model.images.disc)
    torch.testing.assert_close(
        part.model.images.coefficients(torch.arange(3), model.images.disc), expected
    )


@pytest.mark.parametrize(
    ("count", "expected"), [(0, 0), (1, 0), (FEWEST - 1, 0), (FEWEST, 2), (150 - FEWEST + 1, 0)]
)
def test_a_half_set_of_next_to_no_particles_is_none(assembled, count, expected):
    assert len(half_sets(assembled(small(count)))) == expected


def test_images_do_not_stand_for_particles(assembled):
    """Fourteen particles of many images each are too few for two half-sets of eight."""
    few = assembled(
        lambda particles: replace(
            particles, particle=torch.arange(150) % 14, half=1 + torch.arange(150) % 14 % 2
        )
    )
    assert half_sets(few) == []


def fitted(half, seed):
    """A state of a half-set in which every number is its own."""
    generator = torch.Generator().manual_seed(seed)
    state, n, k = first_state(half.model), half.model.n_particles, half.model.deformation.n_latent
    n_groups = int(half.model.images.group.max()) + 1
    return replace(
        state,
        step=9,
        latent=torch.randn(n, k, generator=generator),
        freedom=torch.rand(n, generator=generator),
        contrast=torch.rand(len(half.image), generator=generator),
        amplitude=float(seed),
        width2=2.0 * seed,
        population=Population(
            torch.randn(k, generator=generator), torch.randn(k, k, generator=generator)
        ),
        uncertainty=torch.randn(k, k, generator=generator),
        spectrum=torch.rand(n_groups, 6, generator=generator),
    )


@pytest.mark.parametrize(
    "change", [lambda particles: particles, as_tilts], ids=["single images", "tilt images"]
)
def test_every_particle_goes_on_where_its_half_set_has_left_it(assembled, change):
    model = assembled(change)
    halves = half_sets(model)
    states = [fitted(half, seed + 1) for seed, half in enumerate(halves)]
    joined = join(model, halves, states, step=7)
    assert joined.step == 7
    for half, state in zip(halves, states, strict=True):
        assert torch.equal(joined.latent[half.particle], state.latent)
        assert torch.equal(joined.freedom[half.particle], state.freedom)
        assert torch.equal(joined.contrast[half.image], state.contrast)
    first, second = states
    assert (joined.amplitude, joined.width2) == (1.5, 3.0)
    torch.testing.assert_close(
        joined.population.mean, (first.population.mean + second.population.mean) / 2
    )
    torch.testing.assert_close(
        joined.population.covariance,
        (first.population.covariance + second.population.covariance) / 2,
        rtol=1e-4,
        atol=1e-4,
    )
    torch.testing.assert_close(
        joined.uncertainty @ joined.uncertainty.T,
        (first.uncertainty @ first.uncertainty.T + second.uncertainty @ second.uncertainty.T) / 2,
        rtol=1e-4,
        atol=1e-4,
    )
    torch.testing.assert_close(joined.spectrum, (first.spectrum + second.spectrum) / 2)


def test_a_noise_spectrum_is_of_the_half_sets_that_hold_its_group(assembled):
    """Optics group 0 is in the first only, 1 in both, 2 in the second only: the half-sets number
    them 0 and 1 each.
    """
    half = 1 + torch.arange(150) % 2
    group = torch.where(torch.arange(150) < 40, 1, torch.where(half == 1, 0, 2))
    model = assembled(lambda particles: replace(particles, half=half, optics_group=group))
    halves = half_sets(model)
    first, second = (fitted(half, seed + 1) for seed, half in enumerate(halves))
    spectrum = join(model, halves, [first, second], step=0).spectrum
    expected = torch.stack(
        [first.spectrum[0], (first.spectrum[1] + second.spectrum[0]) / 2, second.spectrum[1]]
    )
    torch.testing.assert_close(spectrum, expected)
